// SPDX-License-Identifier: BSD-3-Clause

import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { InterruptedError, LabError } from '../lab/errors.ts';
import type { ReviveRequest } from '../lab/remote/messages.ts';
import { PlayedTasks } from '../lab/remote/testing/played-tasks.ts';
import { markdownSummary } from '../lab/test-run/report/summary.ts';
import type { RunReport } from '../lab/test-run/verdict.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import { PlayedVm, succeeded } from '../lab/vm/testing/played-vm.ts';
import type { GuestExecOptions, GuestResult } from '../lab/vm/vm.ts';
import { readWorkloads, selectWorkloads, type Workload } from './definition.ts';
import { runOnTasks } from './in-lab.ts';
import type { WorkloadLab } from './lab.ts';
import { runWorkloads, type WorkloadsResult } from './run.ts';

const artefacts = {
  kernel: { key: 'k', flavour: 'release', bzImage: '/nowhere' },
  image: { key: 'i', disk: '/nowhere', hostKey: '', hit: true },
} satisfies BootArtefacts;

const never = new Promise<never>(() => undefined);

/** What a program of a workload does, by workload and phase. */
type Programs = Readonly<
  Record<string, (options: GuestExecOptions, vm: PlayedVm) => GuestResult | Promise<GuestResult>>
>;

interface PlayedGuest {
  readonly vm: PlayedVm;
  /** Phases and other programs that were called, as lines. */
  readonly called: string[];
}

/** A VM in which every program succeeds at once but for these. */
async function guest(programs: Programs = {}): Promise<PlayedGuest> {
  const vm = new PlayedVm(await scratchDirectory());
  await writeFile(vm.consoleLog, 'Linux version 6.12\n');
  const called: string[] = [];
  vm.run = async (command, options) => {
    const [, file = '', phase] = command;
    const name = /programs\/(.*)\.(?:sh|js)$/.exec(file)?.[1];
    const line = name === undefined ? command.join(' ') : `${name} ${phase}`;
    called.push(line);
    const program = programs[line] ?? programs[command[0]];
    return (await program?.(options, vm)) ?? succeeded;
  };
  return { vm, called };
}

interface Setup {
  readonly workloads: readonly Workload[];
  readonly root: string;
  readonly context: ReturnType<typeof fakeContext>;
  readonly request: Parameters<typeof runWorkloads>[3];
}

/** Of these workloads, none of which needs anything of this machine. */
async function setup(...names: readonly string[]): Promise<Setup> {
  const root = await scratchDirectory();
  const context = fakeContext(root);
  const workloads = selectWorkloads(await readWorkloads(context.packageRoot), names);
  const request = { workloads, length: { short: true, time: 1 }, resultsRoot: join(root, 'results') };
  return { workloads, root, context, request };
}

async function runOn(
  engine: PlayedTasks,
  tasks: number,
  { context, request }: Setup,
): Promise<WorkloadsResult> {
  return await runOnTasks(context, artefacts, request, tasks, engine);
}

const verdicts = ({ tests }: RunReport) => tests.map(({ name, status }) => [name, status]);

test('two tasks: each takes the next workload, the longest first; the verdict is as on one machine, with the node of each', async () => {
  const run = await setup('git', 'fio', 'dbench', 'stress-ng');
  const workloads = run.workloads.map((one) => ({ ...one, needs: [] }));
  const file = join(run.root, 'cache', 'workloads-times.json');
  await mkdir(join(run.root, 'cache'));
  const took = { git: 5, fio: 20, dbench: 10, 'stress-ng': 30 };
  await writeFile(file, JSON.stringify({ 'zpmfs short 1 s': took }));
  const gate = Promise.withResolvers<GuestResult>();
  const a = await guest({ 'stress-ng run': () => gate.promise });
  const b = await guest({
    'dbench run': (options) => {
      options.onStdout?.('an operation had another result\n');
      return { ...succeeded, exitCode: 3 };
    },
    'git verify': () => {
      gate.resolve(succeeded);
      return succeeded;
    },
  });
  const engine = new PlayedTasks([
    { node: 'node-a', vm: a.vm },
    { node: 'node-b', vm: b.vm },
  ]);
  const { report, directory } = await runOn(engine, 2, { ...run, request: { ...run.request, workloads } });
  expect(verdicts(report)).toEqual([
    ['git', 'passed'],
    ['fio', 'passed'],
    ['dbench', 'failed'],
    ['stress-ng', 'passed'],
  ]);
  expect(report).toMatchObject({
    suite: 'workloads',
    verdict: 'failed',
    problems: [],
    events: [],
    shards: 2,
  });
  expect(report.tests[2].reason).toBe('run ended with 3: an operation had another result');
  const phases = b.called.filter((line) => line.endsWith(' run'));
  expect(phases).toEqual(['fio run', 'dbench run', 'git run']);
  expect(report.tests.map(({ node }) => node)).toEqual(
    ['b', 'b', 'b', 'a'].map((name) => `node-${name} (TCG)`),
  );
  expect(report.nodes?.map(({ node, tests }) => [node, tests])).toEqual([
    ['node-b (TCG)', 3],
    ['node-a (TCG)', 1],
  ]);
  expect(markdownSummary(report)).toMatch(/^- node-b \(TCG\): 3 tests, \d+ s$/m);
  expect(await readFile(join(directory, 'dbench.out'), 'utf8')).toContain('another result');
  expect(engine.order).toMatchObject({ tasks: 2, deploy: 'mounts', artefacts });
  // For the next run: what passed.
  const times = JSON.parse(await readFile(file, 'utf8')) as Record<string, Record<string, number>>;
  expect(times['zpmfs short 1 s']).toMatchObject({ dbench: 10 });
  expect(times['zpmfs short 1 s'].fio).toBeLessThan(20);
});

test('a node that goes in mid-workload: that runs once more on another, and the event is told', async () => {
  const run = await setup('fio');
  const ends = (node: string) => () => {
    engine.end(node);
    return never;
  };
  const engine: PlayedTasks = new PlayedTasks([
    { node: 'node-a', vm: (await guest({ 'fio run': ends('node-a') })).vm },
    { node: 'node-b', vm: (await guest()).vm },
  ]);
  const { report } = await runOn(engine, 1, run);
  expect(report).toMatchObject({ verdict: 'passed', problems: [], missing: [] });
  expect(report.tests).toEqual([expect.objectContaining({ name: 'fio', node: 'node-b (TCG)' })]);
  expect(report.events).toEqual(['The VM was lost (node-a is gone, or the task on it): fio runs once more.']);
});

test('a workload in which two nodes go has crashed; what is checked when its node goes has not failed', async () => {
  const run = await setup('fio', 'dbench');
  const ends = (node: string) => () => {
    engine.end(node);
    return never;
  };
  const engine: PlayedTasks = new PlayedTasks([
    { node: 'node-a', vm: (await guest({ 'fsck.zpmfs': ends('node-a') })).vm },
    { node: 'node-b', vm: (await guest({ 'fio run': ends('node-b') })).vm },
    { node: 'node-c', vm: (await guest()).vm },
  ]);
  const { report } = await runOn(engine, 1, run);
  // Given back, it comes after the other.
  expect(verdicts(report)).toEqual([
    ['fio', 'crashed'],
    ['dbench', 'passed'],
  ]);
  expect(report).toMatchObject({ verdict: 'failed', problems: [], missing: [] });
});

test('a VM whose QEMU ends is replaced on its node, and runs the workload once more', async () => {
  const run = await setup('fio');
  const first = await guest({
    'fio run': (_, vm) => {
      vm.state = { state: 'qemu-ended', code: null, consoleTail: 'the last line' };
      throw new LabError('QEMU has ended.');
    },
  });
  const asked: ReviveRequest[] = [];
  const second = await guest();
  const revive = async (how: ReviveRequest) => {
    asked.push(how);
    return second.vm;
  };
  const { report } = await runOn(new PlayedTasks([{ node: 'node-a', vm: first.vm, revive }]), 1, run);
  expect(report).toMatchObject({ verdict: 'passed', problems: [] });
  expect(report.events.join()).toContain(
    'QEMU ended (exit code unknown): the last line): fio runs once more.',
  );
  expect(asked).toEqual([{ keepPmem: false }]);
});

test('a guest that panics is the verdict on its workload, and the next one gets another VM', async () => {
  const run = await setup('fio', 'dbench');
  const first = await guest({
    'fio run': async (_, vm) => {
      await appendFile(vm.consoleLog, '[ 9.1] Kernel panic - not syncing: x\n');
      vm.state = { state: 'panicked', consoleTail: '[ 9.1] Kernel panic - not syncing: x' };
      throw new LabError('The guest has panicked.');
    },
  });
  const second = await guest();
  const { report } = await runOn(
    new PlayedTasks([{ node: 'node-a', vm: first.vm, revive: async () => second.vm }]),
    1,
    run,
  );
  expect(verdicts(report)).toEqual([
    ['fio', 'crashed'],
    ['dbench', 'passed'],
  ]);
  expect(report.tests[0].reason).toBe('the guest panicked: Kernel panic - not syncing: x');
  expect(second.called).not.toContain('fio run');
});

test('what the console of a VM elsewhere says until the end of a workload is its verdict', async () => {
  const run = await setup('fio', 'dbench');
  const first = await guest({
    'fio verify': async (_, vm) => {
      await appendFile(vm.consoleLog, '[ 9.1] BUG: KASAN: use-after-free\n');
      return succeeded;
    },
  });
  const second = await guest();
  const revive = async () => second.vm;
  const { report } = await runOn(new PlayedTasks([{ node: 'node-a', vm: first.vm, revive }]), 1, run);
  expect(report.tests.map(({ name, status, reason }) => [name, status, reason])).toEqual([
    ['fio', 'crashed', 'BUG: KASAN: use-after-free'],
    ['dbench', 'passed', ''],
  ]);
});

test('a workload that loses its VM: killed while it works, booted again over the same memory, and checked by what was acknowledged', async () => {
  const run = await setup('sqlite');
  const killed = Promise.withResolvers<never>();
  const first = await guest({
    'sqlite start': async (options) => {
      options.onStdout?.('running\nacknowledged 7\n');
      await killed.promise.catch(() => sleep(100));
      options.onStdout?.('acknowledged 9\n');
      throw new LabError('QEMU has ended.');
    },
  });
  let acknowledged: string | undefined;
  const second = await guest({
    'sqlite check': ({ env }) => {
      acknowledged = env?.ACKNOWLEDGED;
      return succeeded;
    },
  });
  const asked: ReviveRequest[] = [];
  const revive = async (how: ReviveRequest) => {
    asked.push(how);
    killed.reject(new Error('killed'));
    return second.vm;
  };
  const { report } = await runOn(new PlayedTasks([{ node: 'node-a', vm: first.vm, revive }]), 1, run);
  expect(report).toMatchObject({ verdict: 'passed', problems: [], events: [] });
  expect(asked).toEqual([{ keepPmem: true }]);
  expect(acknowledged).toBe('9');
  const order = second.called.filter((line) => /^(mount|mkfs|sqlite|fsck)/.test(line));
  expect(order.map((line) => line.split(' ')[0])).toEqual(['mount', 'sqlite', 'fsck.zpmfs', 'mount']);
});

test('a node that cannot boot over what its VM left: the workload runs once more elsewhere', async () => {
  const run = await setup('sqlite');
  const starts: Programs = {
    'sqlite start': (options) => {
      options.onStdout?.('running\n');
      return never;
    },
  };
  const again = await guest();
  const engine = new PlayedTasks([
    {
      node: 'node-a',
      vm: (await guest(starts)).vm,
      revive: async () => {
        throw new LabError('There is no room.');
      },
    },
    { node: 'node-b', vm: (await guest(starts)).vm, revive: async () => again.vm },
  ]);
  const { report } = await runOn(engine, 1, run);
  expect(report).toMatchObject({ verdict: 'passed', problems: [] });
  expect(report.tests[0].node).toBe('node-b (TCG)');
  expect(run.context.notes).toContain('node-a is not used any more: There is no room.');
});

test('when no task is left, the run is incomplete, with the reason', async () => {
  const run = await setup('fio', 'dbench');
  const engine = new PlayedTasks([
    {
      node: 'node-a',
      vm: (
        await guest({
          'dbench run': () => {
            engine.end('node-a');
            engine.fail(new LabError('The run was stopped.'));
            return never;
          },
        })
      ).vm,
    },
  ]);
  const { report } = await runOn(engine, 1, run);
  expect(verdicts(report)).toEqual([['fio', 'passed']]);
  expect(report).toMatchObject({ verdict: 'incomplete', missing: ['dbench'] });
  expect(report.problems).toEqual(['The run was stopped.']);
});

/** A lab of this machine, whose VM is played. */
function localLab({ vm }: PlayedGuest): WorkloadLab {
  const at = { vm, plan: { type: 'zpmfs', devices: ['/dev/pmem0'], target: '/mnt/test' } };
  return {
    facts: () => ({ server: 's', accelerator: 'tcg', cpus: 2 }),
    ready: async () => at,
    crash: async () => at,
    distrust: async () => undefined,
    release: async () => undefined,
  };
}

test('on this machine: in the order of the file, whatever took how long, and no node is told', async () => {
  const { context, request, root } = await setup('fio', 'dbench', 'stress-ng');
  await mkdir(join(root, 'cache'));
  const took = { fio: 1, dbench: 2, 'stress-ng': 3 };
  await writeFile(join(root, 'cache', 'workloads-times.json'), JSON.stringify({ 'zpmfs short 1 s': took }));
  const played = await guest();
  const { report } = await runWorkloads(context, artefacts, [localLab(played)], request);
  expect(played.called.filter((line) => line.endsWith(' run'))).toEqual([
    'fio run',
    'dbench run',
    'stress-ng run',
  ]);
  expect(report).toMatchObject({ verdict: 'passed', provenance: { server: 's', cpus: 2 } });
  expect(report.nodes).toBeUndefined();
  expect(report.tests[0]).not.toHaveProperty('node');
});

test('interrupted, it leaves the report of what ran', async () => {
  const { context, request, root } = await setup('fio', 'dbench');
  const played = await guest({
    'dbench run': ({ signal }) => {
      context.abort.abort(new InterruptedError());
      return Promise.reject(signal?.reason);
    },
  });
  await expect(runWorkloads(context, artefacts, [localLab(played)], request)).rejects.toThrow(
    InterruptedError,
  );
  const [directory] = await readdir(join(root, 'results'));
  const report = JSON.parse(
    await readFile(join(root, 'results', directory, 'report.json'), 'utf8'),
  ) as RunReport;
  expect(report).toMatchObject({ verdict: 'incomplete', missing: ['dbench'], problems: ['Interrupted.'] });
  expect(verdicts(report)).toEqual([['fio', 'passed']]);
});
