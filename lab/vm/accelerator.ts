// SPDX-License-Identifier: BSD-3-Clause

import { access, constants, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { labelOfLab, labelOfRole } from '../runtime/labels.ts';
import { ConsoleLog } from './console.ts';
import { type Accelerator, qemuCommand } from './qemu.ts';
import { planTopology } from './topology.ts';

const answerSchema = z.object({ accelerator: z.enum(['kvm', 'tcg']), reason: z.string() });
type Answer = z.infer<typeof answerSchema>;

/** Working KVM shows the first console line within 1 s; where it hangs, it never does. */
const probeMs = 5000;
const pollMs = 50;

/** What the settings ask for; `auto` is found out by booting once and remembered for this machine. Says in one line what it is. */
export async function chooseAccelerator(context: LabContext, kernel: string): Promise<Accelerator> {
  const { accelerator } = context.config.vm;
  if (accelerator === 'tcg') return 'tcg';
  const answer = await probe(context, kernel);
  if (accelerator === 'kvm' && answer.accelerator !== 'kvm') {
    throw new LabError(`vm.accelerator is kvm, but ${answer.reason}.`, {
      hint: 'Set vm.accelerator to tcg or auto to emulate instead.',
    });
  }
  context.progress.note(
    answer.accelerator === 'kvm'
      ? 'Accelerator: KVM.'
      : `Accelerator: TCG (emulation), since ${answer.reason}.`,
  );
  return answer.accelerator;
}

async function probe(context: LabContext, kernel: string): Promise<Answer> {
  const unusable = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error,
  );
  if (unusable !== undefined) {
    const reason = unusable.code === 'ENOENT' ? 'there is no /dev/kvm' : 'this user may not open /dev/kvm';
    return { accelerator: 'tcg', reason };
  }
  // Which kernel it is does not matter: the answer is one about this machine.
  const inputs = ['1', context.runtime.kind, await machineId(), release(), cpus()[0]?.model ?? ''];
  const artefact = await context.cache.obtain('accelerator', inputs, context, async (directory) => {
    const answer = await bootUnderKvm(context, kernel);
    await writeFile(join(directory, 'answer.json'), `${JSON.stringify(answer, undefined, 2)}\n`);
  });
  return answerSchema.parse(JSON.parse(await readFile(join(artefact.directory, 'answer.json'), 'utf8')));
}

async function machineId(): Promise<string> {
  return await readFile('/etc/machine-id', 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
}

async function bootUnderKvm(context: LabContext, kernel: string): Promise<Answer> {
  context.progress.update('booting under KVM, to see whether it works');
  const directory = join(context.stateDir, 'kvm-probe');
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const consoleLog = new ConsoleLog(join(directory, 'console.log'));
  const settings = { ...context.config.vm, cpus: 1, nodes: 1, memory: '256M' };
  const background = await context.runtime.start(
    qemuCommand({
      accelerator: 'kvm',
      topology: planTopology(settings),
      kernel,
      // It never gets as far as to mount it.
      rootDisk: undefined,
      pmemFiles: [],
      kernelArguments: [],
      consoleLog: consoleLog.path,
      monitorSocket: undefined,
      consoleSocket: undefined,
      ssh: undefined,
    }),
    {
      cwd: directory,
      labels: { [labelOfLab]: context.name, [labelOfRole]: 'probe' },
      tools: 'vm',
      logFile: join(directory, 'qemu.log'),
      mounts: [
        { path: kernel, writable: false },
        { path: directory, writable: true },
      ],
      kvm: true,
    },
  );
  try {
    const deadline = performance.now() + probeMs;
    while (performance.now() < deadline) {
      await consoleLog.read();
      if (consoleLog.kernelStarted) return { accelerator: 'kvm', reason: 'a kernel boots under it' };
      if (!(await background.running())) {
        return { accelerator: 'tcg', reason: '/dev/kvm is there but QEMU ends under it' };
      }
      await sleep(pollMs, undefined, { signal: context.signal });
    }
    return { accelerator: 'tcg', reason: '/dev/kvm is there but no kernel boots under it' };
  } finally {
    await background.stop(0);
    await rm(directory, { recursive: true, force: true });
  }
}
