// SPDX-License-Identifier: BSD-3-Clause

/** The file system that is measured just now: made, mounted and served in the guest, and taken away again. */

import { setTimeout as sleep } from 'node:timers/promises';
import { makeFileSystem } from '../lab/deploy/filesystem.ts';
import { mustRun } from '../lab/deploy/guest-command.ts';
import { LabError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { guestPrograms, mountPoint } from './measure.ts';
import type { BenchFileSystem, ServerSettings } from './schema.ts';

/** What lies below those of FUSE. */
const basePoint = '/mnt/bench-base';

/** How the server of ours is had with other settings. */
export interface ServerControl {
  /** Returns once it serves with these. Nothing may be mounted from it. */
  ensure(settings: ServerSettings): Promise<void>;
}

export interface StageOptions {
  readonly vm: Vm;
  /** One pmem device of each node, in the order of the nodes. */
  readonly devices: readonly string[];
  readonly server: ServerControl;
  readonly signal: AbortSignal;
}

/** How long a program of FUSE's may take until it has mounted. */
const fuseSeconds = 30;

export class Stage {
  readonly #options: StageOptions;
  /** Mounted, the last one first. */
  #mounted: string[] = [];

  constructor(options: StageOptions) {
    this.#options = options;
  }

  /** Make it anew and mount it. The directory that it is mounted on is `mountPoint`. */
  async set(fileSystem: BenchFileSystem): Promise<void> {
    await this.clear();
    if (fileSystem.kind === 'served') await this.#options.server.ensure(fileSystem.settings);
    await this.#must(['mkdir', '-p', mountPoint, basePoint]);
    await this.#mount(fileSystem, fileSystem.kind === 'fuse' ? basePoint : mountPoint);
    if (fileSystem.kind === 'fuse') await this.#startFuse(fileSystem);
  }

  /** Unmount what is there. What does not let go of it is left behind, detached. */
  async clear(): Promise<void> {
    const { vm, signal } = this.#options;
    for (const target of this.#mounted) {
      const { exitCode } = await vm.exec(['umount', target], { signal });
      if (exitCode !== 0) await this.#must(['umount', '--lazy', target]);
    }
    this.#mounted = [];
  }

  async #mount({ type, devices, options }: BenchFileSystem, target: string): Promise<void> {
    const { vm, signal } = this.#options;
    const chosen = this.#devices(devices);
    if (chosen.length > 0) await makeFileSystem(vm, { type, devices: chosen, target }, signal);
    const source = chosen[0] ?? type;
    await this.#must([
      'mount',
      '-t',
      type,
      ...(options === undefined ? [] : ['-o', options]),
      source,
      target,
    ]);
    this.#mounted.unshift(target);
  }

  #devices(which: BenchFileSystem['devices']): string[] {
    const { devices } = this.#options;
    if (which === 'none') return [];
    const chosen = which === 'all' ? devices : which === 'near' ? devices.slice(0, 1) : devices.slice(-1);
    if (chosen.length === 0 || (which === 'far' && devices.length < 2)) {
      throw new LabError(`The machine has no NVDIMM that is ${which === 'far' ? 'on another node' : which}.`);
    }
    return [...chosen];
  }

  async #startFuse({ program = [], pinned, name }: BenchFileSystem): Promise<void> {
    const { vm, signal } = this.#options;
    const words = program.map((word) => word.replace('BASE', basePoint).replace('MOUNT', mountPoint));
    // It leaves the terminal by itself, one of them before it has mounted.
    await this.#must([
      ...(pinned ? ['taskset', '--cpu-list', '0'] : []),
      `${guestPrograms}/${words[0]}`,
      ...words.slice(1),
    ]);
    const until = performance.now() + fuseSeconds * 1000;
    while ((await vm.exec(['findmnt', '-n', '-M', mountPoint], { signal })).exitCode !== 0) {
      if (performance.now() > until) {
        throw new LabError(`The program of ${name} did not mount within ${fuseSeconds} s.`);
      }
      await sleep(100, undefined, { signal });
    }
    this.#mounted.unshift(mountPoint);
  }

  async #must(command: readonly string[]): Promise<void> {
    await mustRun(this.#options.vm, 'A file system could not be set up', command, {
      signal: this.#options.signal,
    });
  }
}
