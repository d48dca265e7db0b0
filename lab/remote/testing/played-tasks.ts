// SPDX-License-Identifier: BSD-3-Clause

import type { Socket } from 'node:net';
import { quietContext } from '../../runtime/testing/context.ts';
import { scratchDirectory } from '../../testing/scratch.ts';
import type { Vm } from '../../vm/vm.ts';
import { type Hello, protocolVersion } from '../hello.ts';
import { joinRun } from '../join.ts';
import type { Booted, ReviveRequest } from '../messages.ts';
import { serveVm } from '../serve-vm.ts';
import type { StartedTasks, TaskEngine, TaskOrder } from '../task-engine.ts';

const host = '127.0.0.1';

export interface PlayedTaskOrder {
  readonly node: string;
  readonly vm: Vm;
  /** Default: the same VM again. */
  readonly revive?: (how: ReviveRequest) => Promise<Vm>;
  readonly devices?: Hello['devices'];
  readonly accelerator?: Hello['machine']['accelerator'];
}

export interface PlayedTask {
  readonly socket: Socket;
  /** Ends it, as when its machine goes; the run has what was printed before. */
  end(): void;
}

/** A task with a VM that is played, which joins a run on loopback. */
export async function joinPlayed(
  { port, token }: { readonly port: number; readonly token: string },
  order: PlayedTaskOrder,
): Promise<PlayedTask> {
  const { node, vm, revive = async () => vm } = order;
  const booted: Booted = {
    machine: {
      kernel: 'k',
      flavour: 'release',
      image: 'i',
      accelerator: order.accelerator ?? 'tcg',
      cpus: 1,
    },
    host: { cpu: `CPU of ${node}`, cpus: 4, qemu: '7.2.0' },
    devices: order.devices ?? { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] },
  };
  const socket = await joinRun(
    { host, port },
    {
      protocol: protocolVersion,
      token,
      task: node,
      node,
      architecture: 'x64',
      guest: { kernel: '6.12', server: '' },
      bootSeconds: 1,
      ...booted,
    },
  );
  const session = serveVm(socket, {
    vm,
    revive: async (how) => ({ vm: await revive(how), ...booted }),
    bindVcpus: async () => `bound on ${node}`,
    scratch: await scratchDirectory(),
    progress: quietContext().progress,
  });
  return { socket, end: () => void session.ping(() => session.ping(() => socket.destroy())) };
}

/** An engine whose tasks are played. */
export class PlayedTasks implements TaskEngine {
  readonly reaches = 'loopback';
  readonly #orders: readonly PlayedTaskOrder[];
  readonly #tasks = new Map<string, PlayedTask>();
  readonly #failed = Promise.withResolvers<Error>();
  /** Of the run, once it has asked for them. */
  order: TaskOrder | undefined;

  constructor(orders: readonly PlayedTaskOrder[]) {
    this.#orders = orders;
  }

  async start(_: unknown, order: TaskOrder): Promise<StartedTasks> {
    if (!('port' in order.at)) throw new Error('The run does not listen on loopback.');
    this.order = order;
    const run = { port: order.at.port, token: order.token };
    for (const one of this.#orders) this.#tasks.set(one.node, await joinPlayed(run, one));
    return {
      failed: this.#failed.promise,
      [Symbol.asyncDispose]: async () => {
        for (const { socket } of this.#tasks.values()) socket.destroy();
      },
    };
  }

  /** As when the machine goes. */
  end(node: string): void {
    this.#tasks.get(node)?.end();
  }

  /** No more of them will come. */
  fail(reason: Error): void {
    this.#failed.resolve(reason);
  }
}
