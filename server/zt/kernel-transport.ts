// SPDX-License-Identifier: BSD-3-Clause

/** A ZT's channel to the kernel. */

import { CONST, IOCTL } from '../abi/layout.ts';
import type { Operation } from '../fs/filesystem.ts';
import type { Addon } from '../native/addon.ts';
import { COMMAND_BUFFER_SIZE, createOperation, WINDOW_SIZE } from './dispatch.ts';
import type { Transport } from './zt-loop.ts';
import { ZufFile } from './zuf-root.ts';

export class KernelTransport implements Transport, Disposable {
  readonly operation: Operation;
  readonly #addon: Addon;
  readonly #file: ZufFile;
  readonly #fd: number;
  readonly #command: number;
  readonly #window: number;

  /** The calling thread, which has to be bound to its CPU, becomes the ZT of that CPU and `channel`. */
  constructor(addon: Addon, root: string, channel: number) {
    this.#addon = addon;
    this.#file = new ZufFile(addon, root);
    this.#fd = this.#file.fd;
    try {
      this.#file.initThread(channel);
      this.#window = addon.mmap(this.#fd, 0, WINDOW_SIZE, true);
      this.#command = addon.mmap(this.#fd, CONST.ZUS_API_MAP_MAX_SIZE, COMMAND_BUFFER_SIZE, true);
    } catch (error) {
      this.#file.close();
      throw error;
    }
    this.operation = createOperation(addon, this.#command, this.#window);
  }

  wait(): number {
    return this.#addon.ioctl(this.#fd, IOCTL.ZU_IOC_WAIT_OPT, this.#command);
  }

  [Symbol.dispose](): void {
    this.#addon.munmap(this.#window, WINDOW_SIZE);
    this.#addon.munmap(this.#command, COMMAND_BUFFER_SIZE);
    this.#file.close();
  }
}
