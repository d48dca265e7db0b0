// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import prettyBytes from 'pretty-bytes';
import type { LabContext } from '../../context.ts';
import { type MountedFileSystem, mountedFileSystems } from '../../deploy/mounts.ts';
import { ExitCode } from '../../errors.ts';
import { describeHealth } from '../../lifecycle.ts';
import { findLab } from '../../vm/running.ts';
import { labNames, siblingStateDir, type VmState, vmPaths } from '../../vm/state.ts';
import type { VmHealth } from '../../vm/vm.ts';
import { runCommand } from '../run-command.ts';

interface LabStatus {
  readonly name: string;
  /** `down`, or what `vm.health()` says. */
  readonly state: VmHealth['state'] | 'down';
  readonly vm?: VmState;
  readonly mounts?: readonly MountedFileSystem[];
  readonly consoleTail?: string;
  readonly files?: { readonly console: string; readonly sshConfig: string };
}

export function register(program: Command): void {
  program
    .command('status')
    .description('what the lab is: up or not, where it answers, what is mounted')
    .option('--all', 'every lab that is up')
    .addHelpText(
      'after',
      '\nExit code 2 when a lab is broken: its guest panicked, its QEMU ended, or SSH does not answer.',
    )
    .action((options: { all?: true }, command: Command) =>
      runCommand(command, async (context) => {
        const names = options.all ? (await labNames(context)).sort() : [context.name];
        const all: LabStatus[] = [];
        for (const name of names) {
          const status = await statusOf({ ...context, name, stateDir: siblingStateDir(context, name) });
          if (!options.all || status.state !== 'down') all.push(status);
        }
        const text = all.map(describe).join('\n\n');
        context.print(options.all ? { labs: all } : all[0], text === '' ? 'No lab is up.' : text);
        return all.every(({ state }) => state === 'running' || state === 'down')
          ? ExitCode.ok
          : ExitCode.labFailed;
      }),
    );
}

async function statusOf(context: LabContext): Promise<LabStatus> {
  const { name } = context;
  const lab = await findLab(context);
  if (lab === undefined) return { name, state: 'down' };
  await using vm = lab.vm;
  const health = await vm.health();
  const paths = vmPaths(context.stateDir);
  return {
    name,
    state: health.state,
    vm: lab.state,
    files: { console: paths.consoleLog, sshConfig: paths.sshConfig },
    ...(health.state === 'running'
      ? { mounts: await mountedFileSystems(vm, context.signal) }
      : { consoleTail: health.consoleTail }),
  };
}

function describe(status: LabStatus): string {
  const { name, state, vm, mounts = [], files, consoleTail } = status;
  if (state === 'down' || vm === undefined || files === undefined) return `${name}: down`;
  const memory = prettyBytes(vm.memory, { binary: true });
  const lines = [
    `${name}: ${describeHealth[state]}`,
    `  since      ${vm.startedAt}, ${vm.accelerator === 'kvm' ? 'KVM' : 'TCG'}, ${vm.cpus} vCPU(s), ${memory}, in ${vm.runtime === 'docker' ? `container ${vm.id.slice(0, 12)}` : `process ${vm.id}`}`,
    `  SSH        127.0.0.1:${vm.sshPort}; by hand: ssh -F ${files.sshConfig} guest`,
    `  console    ${files.console}`,
    ...(vm.distrusted === undefined ? [] : [`  given up   by a run of tests: ${vm.distrusted}`]),
    ...mounts.map(({ target, type, source }) => `  mount      ${target}  ${type}  ${source}`),
  ];
  if (consoleTail !== undefined) {
    lines.push('  Last lines of the console:', ...consoleTail.split('\n').map((line) => `  | ${line}`));
  }
  return lines.join('\n');
}
