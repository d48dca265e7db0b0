// SPDX-License-Identifier: BSD-3-Clause

/**
 * The kernel's part for tests without a kernel.
 *
 * ```ts
 * const kernel = new FakeKernel({ fileSystem: nullfs, devices: [{ node: 0, bytes: 64 << 20 }] });
 * const fs = kernel.mount();
 * fs.mkdir('/a');
 * fs.writeFile('/a/b', 'hello');
 * fs.unmount();
 * ```
 */

import type { Addon } from '../native/addon.ts';
import { buildAddon } from '../native/build.ts';
import { loadAddon } from '../native/load.ts';
import { PlayedKernel, type PlayedKernelOptions } from './played-kernel.ts';

export { BadReplyError, KernelError } from './fake-command.ts';
export { FakeInode, FakeMount } from './fake-mount.ts';
export type { FakeDevice, FakeMountOptions, FakeZt, SharedMount } from './played-kernel.ts';

export interface FakeKernelOptions extends Omit<PlayedKernelOptions, 'addon'> {
  /** Built and loaded when not given. */
  readonly addon?: Addon;
}

export class FakeKernel extends PlayedKernel {
  constructor(options: FakeKernelOptions) {
    super({ ...options, addon: options.addon ?? loadAddon(buildAddon()) });
  }
}
