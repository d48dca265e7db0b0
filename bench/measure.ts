// SPDX-License-Identifier: BSD-3-Clause

/** One measurement in the guest. */

import { mustRun } from '../lab/deploy/guest-command.ts';
import { LabError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { fioCommand, layoutCommand, layoutOf, parseFio } from './fio.ts';
import type { Latencies } from './latencies.ts';
import { namesCommand, parseNames } from './names.ts';
import type { Cell } from './plan.ts';
import type { LatencyUs, Sample, Served } from './samples.ts';
import { operationsFile, parseOperations } from './served.ts';

export interface Timing {
  /** Seconds. */
  readonly warmUp: number;
  readonly seconds: number;
  /** CPUs of the guest; each thread is bound to one, by turns. */
  readonly cpus: readonly number[];
}

/** What a program that measures tells. */
export interface Measured {
  readonly opsPerSec: number;
  readonly latencyUs: LatencyUs;
  readonly latencies: Latencies;
}

/** Where programs lie in the guest. */
export const guestPrograms = '/opt/zufs-bench';
/** Where file systems are mounted in the guest. */
export const mountPoint = '/mnt/bench';

/** What a measurement may take besides its own time: a server that answers no more must not hold up the rest. */
const patienceSeconds = 120;

/** Measures on one file system that is mounted, and knows what it has laid out there. */
export class Measurer {
  readonly #vm: Vm;
  readonly #directory: string;
  readonly #timing: Timing;
  readonly #signal: AbortSignal;
  #layout = '';

  constructor(vm: Vm, directory: string, timing: Timing, signal: AbortSignal) {
    this.#vm = vm;
    this.#directory = directory;
    this.#timing = timing;
    this.#signal = signal;
  }

  /** `LabError` when a program in the guest fails or takes for ever; what became of the VM itself comes as it is. */
  async sample(cell: Cell, round: number): Promise<Sample> {
    const { workload, threads, fileSystem } = cell;
    if (workload.engine === 'fio') await this.#layOut(cell);
    const served = fileSystem.kind === 'served';
    if (served) await this.#run(['tee', operationsFile], '0\n');
    const measured =
      workload.engine === 'fio'
        ? parseFio(await this.#run(fioCommand(workload, threads, this.#directory, fileSystem, this.#timing)))
        : parseNames(
            await this.#run(
              namesCommand(
                `${guestPrograms}/zufs-bench-names`,
                workload,
                threads,
                `${this.#directory}/${workload.name}-${threads}`,
                this.#timing,
              ),
            ),
          );
    return {
      fs: cell.fs,
      workload: workload.name,
      threads,
      round,
      opsPerSec: measured.opsPerSec,
      latencyUs: measured.latencyUs,
      latencies: measured.latencies.map(([ns, count]) => [ns, count]),
      served: served ? await this.#served() : [],
    };
  }

  async #layOut({ workload, threads, fileSystem }: Cell): Promise<void> {
    if (workload.engine !== 'fio') return;
    const layout = layoutOf(workload, threads);
    if (layout === this.#layout) return;
    this.#layout = '';
    await this.#run(['find', this.#directory, '-maxdepth', '1', '-name', 'data.*', '-delete']);
    await this.#run(layoutCommand(workload, threads, this.#directory, fileSystem));
    this.#layout = layout;
  }

  async #served(): Promise<Served[]> {
    return parseOperations(await this.#run(['cat', operationsFile]));
  }

  async #run(command: readonly string[], input?: string): Promise<string> {
    const { warmUp, seconds } = this.#timing;
    const limit = patienceSeconds + 20 * (warmUp + seconds);
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new LabError(`\`${command[0]}\` did not end within ${limit.toFixed(0)} s.`));
    }, limit * 1000);
    try {
      const signal = AbortSignal.any([this.#signal, late.signal]);
      const { stdout } = await mustRun(this.#vm, 'A measurement failed', command, {
        signal,
        ...(input === undefined ? {} : { input }),
      });
      return stdout;
    } finally {
      clearTimeout(timer);
    }
  }
}
