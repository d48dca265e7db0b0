// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError } from 'commander';
import type Docker from 'dockerode';
import prettyMilliseconds from 'pretty-ms';
import type { SettingsContext } from '../../context.ts';
import { ExitCode, LabError } from '../../errors.ts';
import { taskLines } from '../../swarm/logs.ts';
import { findManager, reachableEngines } from '../../swarm/manager.ts';
import { removeThings, requireAllRemoved, type Thing } from '../../swarm/removal.ts';
import { findRun, listRuns, type RunTask, type SwarmRun } from '../../swarm/runs.ts';
import { removeTaskImages } from '../../swarm/task-images.ts';
import { runWithSettings } from '../run-command.ts';

export function register(program: Command): void {
  const swarm = program
    .command('swarm')
    .description('the runs whose tasks are in the Docker Swarm of this machine (--engine swarm)');

  swarm
    .command('status')
    .description('the runs in the swarm: whether their zufs-lab lives, their tasks on each node, their age')
    .action((_options: unknown, command: Command) => runWithSettings(command, showStatus));

  swarm
    .command('logs')
    .description('what the tasks of a run printed, as long as it is in the swarm')
    .argument('<run>', 'as swarm status names it')
    .option('-f, --follow', 'and what they print until Ctrl-C')
    .option('--task <number>', 'of one task alone, and of those that took its place', taskNumber)
    .action((run: string, options: { follow?: true; task?: number }, command: Command) =>
      runWithSettings(command, (context) => showLogs(context, run, options)),
    );

  swarm
    .command('stop')
    .description('remove what runs have in the swarm: service and tasks, gateway, secret, network')
    .argument('[run]', 'as swarm status names it')
    .option('--all', 'every run, also those whose zufs-lab lives')
    .option('--orphans', 'those that a killed zufs-lab of this machine left behind')
    .addHelpText(
      'after',
      '\nA zufs-lab whose run is stopped ends it as incomplete; xfstests --resume goes on with it.\n' +
        'Exit code 2 when there is no such run, or something of it could not be removed.',
    )
    .action((run: string | undefined, options: { all?: true; orphans?: true }, command: Command) =>
      runWithSettings(command, (context) => stop(context, run, options)),
    );

  swarm
    .command('clean')
    .description('remove the images of tasks from the engines of the swarm')
    .addHelpText(
      'after',
      '\nThe next run makes them again, and copies them. Exit code 2 while a run is in the swarm.',
    )
    .action((_options: unknown, command: Command) => runWithSettings(command, clean));
}

async function showStatus(context: SettingsContext): Promise<number> {
  const { manager } = await findManager();
  const runs = await listRuns(manager, await otherEngines(context));
  const text = runs.map((run) => describe(run, Date.now())).join('\n\n');
  context.print({ runs: runs.map(asData) }, text === '' ? 'No run is in the swarm.' : text);
  return ExitCode.ok;
}

const owners: Readonly<Record<SwarmRun['owner'], string>> = {
  alive: 'its zufs-lab runs',
  orphan: 'orphan: its zufs-lab is gone',
  elsewhere: 'its zufs-lab is on another machine',
};

function describe(run: SwarmRun, now: number): string {
  const age = (since: Date): string =>
    prettyMilliseconds(Math.max(0, now - since.getTime()), { compact: true });
  return [
    `${run.run}: ${owners[run.owner]}`,
    `  since      ${run.created.toISOString()} (${age(run.created)}), lab '${run.lab}' of ${run.host}`,
    ...run.tasks.map(
      ({ number, node, state, since, error }) =>
        `  task ${`${number}`.padEnd(5)} ${node || '-'}  ${state}, ${age(since)}${error === '' ? '' : `: ${error}`}`,
    ),
    `  has        ${namesOf(run.things)}`,
  ].join('\n');
}

/** `service, 2 task containers, network`. */
function namesOf(things: readonly Pick<Thing, 'kind'>[]): string {
  return [...Map.groupBy(things, ({ kind }) => kind)]
    .map(([kind, { length }]) => (length === 1 ? kind : `${length} ${kind}s`))
    .join(', ');
}

/** As --json has it. */
function asData({ things, ...run }: SwarmRun): unknown {
  return { ...run, things: things.map(({ kind, id }) => ({ kind, id })) };
}

async function otherEngines({ config, progress }: SettingsContext): Promise<readonly Docker[]> {
  return await reachableEngines(config.swarm.engines, progress.note);
}

async function showLogs(
  { signal }: SettingsContext,
  name: string,
  { follow = false, task }: { readonly follow?: boolean; readonly task?: number },
): Promise<number> {
  const { manager } = await findManager();
  const run = await findRun(manager, name);
  const service = run.things.find(({ kind }) => kind === 'service');
  if (service === undefined) throw new LabError(`The run ${name} has no service any more, and so no logs.`);
  if (task !== undefined && !run.tasks.some(({ number }) => number === task)) {
    const numbers = [...new Set(run.tasks.map(({ number }) => number))];
    throw new LabError(`The run ${name} has no task ${task}, but ${numbers.join(', ') || 'none at all'}.`);
  }
  const tasks = new Map<string, RunTask>();
  for await (const line of taskLines(manager, service.id, { follow, signal })) {
    if (line.task === undefined) {
      process.stderr.write(`${line.text}\n`);
      continue;
    }
    // One that took the place of another while we follow is not known yet.
    if (!tasks.has(line.task)) for (const one of (await findRun(manager, name)).tasks) tasks.set(one.id, one);
    const of = tasks.get(line.task);
    if (task === undefined || of?.number === task) {
      process.stdout.write(`${of?.number ?? '?'} ${of?.node || '-'} | ${line.text}\n`);
    }
  }
  signal.throwIfAborted();
  return ExitCode.ok;
}

async function stop(
  context: SettingsContext,
  name: string | undefined,
  { all = false, orphans = false }: { readonly all?: boolean; readonly orphans?: boolean },
): Promise<number> {
  if ([name !== undefined, all, orphans].filter(Boolean).length !== 1) {
    throw new LabError('swarm stop takes the name of a run, or --all, or --orphans.');
  }
  const { manager } = await findManager();
  const others = await otherEngines(context);
  const runs =
    name === undefined
      ? (await listRuns(manager, others)).filter(({ owner }) => all || owner === 'orphan')
      : [await findRun(manager, name, others)];
  const stopped = [];
  for (const run of runs) {
    context.progress.update(`stopping ${run.run}`);
    stopped.push({ run: run.run, removal: await removeThings(run.things) });
  }
  const data = stopped.map(({ run, removal }) => ({
    run,
    removed: removal.removed.map(({ kind, id }) => ({ kind, id })),
    left: removal.left.map(({ thing: { kind, id } }) => ({ kind, id })),
  }));
  const text = data.map(({ run, removed }) => `${run}: removed ${namesOf(removed) || 'nothing'}.`);
  const none = orphans
    ? 'No killed zufs-lab of this machine left a run in the swarm.'
    : 'No run is in the swarm.';
  context.print({ runs: data }, text.length === 0 ? none : text.join('\n'));
  for (const { run, removal } of stopped) requireAllRemoved(run, removal);
  return ExitCode.ok;
}

async function clean(context: SettingsContext): Promise<number> {
  const { manager } = await findManager();
  const others = await otherEngines(context);
  const [run] = await listRuns(manager, others);
  if (run !== undefined) {
    throw new LabError(`The run ${run.run} is in the swarm: ${owners[run.owner]}.`, {
      hint: `zufs-lab swarm stop ${run.run}`,
    });
  }
  const engines = [];
  for (const engine of [manager, ...others]) engines.push(await removeTaskImages(engine));
  const text = engines.map(({ node, removed, kept }) => {
    const still = kept.length === 0 ? '' : `; in use: ${kept.join(', ')}`;
    return `${node}: removed ${removed.length} images${still}.`;
  });
  context.print({ engines }, text.join('\n'));
  return ExitCode.ok;
}

function taskNumber(value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new InvalidArgumentError('The number of a task, from 1.');
}
