// SPDX-License-Identifier: BSD-3-Clause

import { join, posix } from 'node:path';
import { z } from 'zod';
import type { LabContext } from '../context.ts';
import {
  checkFileSystem,
  type FileSystemPlan,
  mountFileSystem,
  plannedFileSystems,
  unmountFileSystem,
} from '../deploy/filesystem.ts';
import { mustRun } from '../deploy/guest-command.ts';
import { collectServerLog } from '../deploy/server.ts';
import type { VmState } from '../vm/state.ts';
import type { Vm } from '../vm/vm.ts';

const stepSchema = z.object({
  step: z.string(),
  ok: z.boolean(),
  /** Milliseconds in the guest. */
  ms: z.number(),
  error: z.string().optional(),
});

export type SmokeStep = z.infer<typeof stepSchema>;

export interface SmokeReport {
  readonly passed: boolean;
  readonly filesystem: string;
  readonly mount: string;
  readonly steps: readonly SmokeStep[];
}

const guestProgram = '/opt/zus-smoke.mjs';

/**
 * The lab's own quick check of a mounted file system: a tree is made and verified, the file system unmounted, checked with
 * fsck, mounted again, and everything verified once more. Stops at the first step that fails. `onStep` hears of each as it ends.
 */
export async function runSmoke(
  context: LabContext,
  vm: Vm,
  state: VmState,
  onStep: (step: SmokeStep) => void,
): Promise<SmokeReport> {
  const [plan] = plannedFileSystems(context, state);
  const run = new SmokeRun(context, vm, plan, onStep);
  const passed = await run.all();
  if (!passed) await collectServerLog(context, vm);
  return { passed, filesystem: plan.type, mount: plan.target, steps: run.steps };
}

class SmokeRun {
  readonly steps: SmokeStep[] = [];
  readonly #context: LabContext;
  readonly #vm: Vm;
  readonly #plan: FileSystemPlan;
  readonly #directory: string;
  readonly #onStep: (step: SmokeStep) => void;

  constructor(context: LabContext, vm: Vm, plan: FileSystemPlan, onStep: (step: SmokeStep) => void) {
    this.#context = context;
    this.#vm = vm;
    this.#plan = plan;
    this.#directory = posix.join(plan.target, 'zufs-smoke');
    this.#onStep = onStep;
  }

  /** True when every step passed. */
  async all(): Promise<boolean> {
    const { signal } = this.#context;
    const vm = this.#vm;
    const plan = this.#plan;
    await vm.upload(join(import.meta.dirname, 'program.js'), guestProgram, this.#context);
    return (
      (await this.#step('the mount is there and empty of an earlier run', async () => {
        await mustRun(
          vm,
          `Nothing of type ${plan.type} is mounted`,
          ['findmnt', '-t', plan.type, plan.target],
          {
            signal,
          },
        );
        await mustRun(vm, 'An earlier run is in the way', ['rm', '-rf', this.#directory], { signal });
        await mustRun(vm, 'The directory could not be made', ['mkdir', this.#directory], { signal });
      })) &&
      (await this.#program('write')) &&
      (await this.#step('it unmounts', () => unmountFileSystem(vm, plan.target, signal))) &&
      (await this.#step('fsck finds it clean', () => checkFileSystem(vm, plan, signal))) &&
      (await this.#step('it mounts again', () => mountFileSystem(vm, plan, signal))) &&
      (await this.#program('verify')) &&
      (await this.#step('all of it can be removed', async () => {
        await mustRun(vm, 'The tree could not be removed', ['rm', '-r', this.#directory], { signal });
      })) &&
      (await this.#step('fsck finds it clean after that', async () => {
        await unmountFileSystem(vm, plan.target, signal);
        await checkFileSystem(vm, plan, signal);
        await mountFileSystem(vm, plan, signal);
      }))
    );
  }

  async #step(title: string, body: () => Promise<void>): Promise<boolean> {
    this.#context.progress.update(title);
    const start = performance.now();
    let error: string | undefined;
    try {
      await body();
    } catch (thrown) {
      this.#context.signal.throwIfAborted();
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    return this.#ended({
      step: title,
      ok: error === undefined,
      ms: Math.round(performance.now() - start),
      ...(error === undefined ? {} : { error }),
    });
  }

  /** A phase of the program in the guest; its steps are heard of as they end. */
  async #program(phase: 'write' | 'verify'): Promise<boolean> {
    this.#context.progress.update(phase === 'write' ? 'writing' : 'verifying');
    let pending = '';
    let steps = 0;
    const onStdout = (chunk: string): void => {
      const lines = (pending + chunk).split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) {
        const step = stepSchema.parse(JSON.parse(line));
        steps += 1;
        this.#ended({ ...step, step: phase === 'verify' ? `after the remount: ${step.step}` : step.step });
      }
    };
    const { exitCode, stderr } = await this.#vm.exec(
      ['/usr/local/bin/node', guestProgram, phase, this.#directory],
      { signal: this.#context.signal, onStdout },
    );
    const passed = this.steps.slice(-steps).every(({ ok }) => ok);
    if (steps > 0 && (exitCode === 0 || !passed)) return passed;
    // It died before it could tell of a step: say so, rather than pass for want of a failure.
    return this.#ended({
      step: `the program that is ${phase === 'write' ? 'writing' : 'verifying'} ends in order`,
      ok: false,
      ms: 0,
      error: `exit code ${exitCode}: ${stderr.trim().slice(-500)}`,
    });
  }

  #ended(step: SmokeStep): boolean {
    this.steps.push(step);
    this.#onStep(step);
    return step.ok;
  }
}
