// SPDX-License-Identifier: BSD-3-Clause

import type { GuestExecOptions, GuestResult, Vm, VmHealth } from '../../lab/vm/vm.ts';

const zufOperations = `op count errors mean_ns queued_ns switch_ns server_ns back_ns
16 1000 0 40000 1000 14000 9000 16000
29 3 0 10 1 2 3 4
`;

/** A guest without a VM, in which the programs of a benchmark answer as they would. */
export class FakeGuest implements Vm {
  readonly name = 'fake';
  readonly consoleLog = '/dev/null';
  /** Every program that was run, as a line. */
  readonly commands: string[] = [];
  readonly #mounted = new Set<string>();
  /** Called before a program answers; may throw, or give another answer. */
  onCommand: (line: string) => Partial<GuestResult> | undefined = () => undefined;
  /** Operations a second that the next measurement shows. */
  opsPerSec = 1000;

  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    const line = command.join(' ');
    this.commands.push(line);
    const other = this.onCommand(line);
    options.signal?.throwIfAborted();
    const result =
      other === undefined
        ? { exitCode: this.#exitCode(command), stdout: this.#answer(line), stderr: '' }
        : { exitCode: 0, stdout: '', stderr: '', ...other };
    if (result.stdout !== '') options.onStdout?.(result.stdout);
    return result;
  }

  /** Programs that measured, in order. */
  get measurements(): string[] {
    return this.commands.filter((line) => /--name=bench|zufs-bench-names/.test(line));
  }

  #exitCode(command: readonly string[]): number {
    const [program] = command;
    const target = command[command.length - 1];
    if (program === 'mount' || command.some((word) => word.includes('passthrough')))
      this.#mounted.add(target);
    if (program === 'umount') return this.#mounted.delete(target) ? 0 : 32;
    return program === 'findmnt' && !this.#mounted.has(target) ? 1 : 0;
  }

  #answer(line: string): string {
    if (line.includes('--name=bench')) return this.#fio();
    if (line.includes('zufs-bench-names')) {
      const bins = { 900000: 990, 2000000: 9, 5000000: 1 };
      return JSON.stringify({ operations: this.opsPerSec, seconds: 1, meanNs: 914_000, bins });
    }
    return line.startsWith('cat /sys/kernel/debug/zuf/operations') ? zufOperations : '';
  }

  #fio(): string {
    const nothing = { iops: 0, total_ios: 0, lat_ns: { mean: 0 } };
    const write = {
      iops: this.opsPerSec,
      total_ios: this.opsPerSec,
      lat_ns: {
        mean: 50_000,
        percentile: { '50.000000': 48_000, '99.000000': 90_000, '99.900000': 200_000 },
        bins: { 48000: 989, 90000: 10, 200000: 1 },
      },
    };
    return `fio: a remark\n${JSON.stringify({ jobs: [{ error: 0, read: nothing, write }] })}`;
  }

  upload(): Promise<void> {
    return Promise.resolve();
  }

  download(): Promise<void> {
    throw new Error('nothing is downloaded');
  }

  health(): Promise<VmHealth> {
    return Promise.resolve({ state: 'running' });
  }
}
