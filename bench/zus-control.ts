// SPDX-License-Identifier: BSD-3-Clause

import type { LabContext } from '../lab/context.ts';
import { mustRun } from '../lab/deploy/guest-command.ts';
import { deployServer, startServer, stopServer } from '../lab/deploy/server.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { ServerSettings } from './schema.ts';
import type { ServerControl } from './stage.ts';

/** zus in the guest, deployed once and started anew whenever other settings are asked for. */
export class ZusControl implements ServerControl {
  readonly #context: LabContext;
  readonly #vm: Vm;
  #settings = '';

  constructor(context: LabContext, vm: Vm) {
    this.#context = context;
    this.#vm = vm;
  }

  async ensure(settings: ServerSettings): Promise<void> {
    const wanted = JSON.stringify(settings);
    if (wanted === this.#settings) return;
    const { signal, config } = this.#context;
    const deployed = this.#settings !== '';
    this.#settings = '';
    const { localCpu, channels, extentCache } = settings;
    const context = {
      ...this.#context,
      config: { ...config, server: { ...config.server, channels, extentCache } },
    };
    if (deployed) await stopServer(this.#vm, signal);
    await mustRun(
      this.#vm,
      'zuf does not take its setting',
      ['tee', '/sys/module/zuf/parameters/local_cpu'],
      {
        signal,
        input: localCpu ? 'Y\n' : 'N\n',
      },
    );
    if (deployed) await startServer(context, this.#vm);
    else await deployServer(context, this.#vm);
    this.#settings = wanted;
  }
}
