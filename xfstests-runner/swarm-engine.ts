// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { LabConfig } from '../lab/config/schema.ts';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import { inImage, obtainTaskImage } from '../lab/swarm/image.ts';
import { nodesForTasks } from '../lab/swarm/nodes.ts';
import { reapRuns } from '../lab/swarm/reap.ts';
import { removeThings, requireAllRemoved, saysGone, type Thing, thingOf } from '../lab/swarm/removal.ts';
import { requireManager, tasksPerNode } from '../lab/swarm/requirements.ts';
import { runLabels, taskContainers } from '../lab/swarm/runs.ts';
import { taskService } from '../lab/swarm/service.ts';
import type { SwarmSettings } from '../lab/swarm/types.ts';
import type { StartedTasks, TaskEngine, TaskOrder } from './elsewhere.ts';

export interface SwarmEngineOptions {
  /** The engine of this machine, a manager of its swarm. */
  readonly manager: Docker;
  readonly address: string;
  /** Engines of the swarm's other nodes, which get the image from this one. */
  readonly others: readonly Docker[];
  /** The lab's builder image in the manager's engine. */
  readonly base: string;
  readonly settings: SwarmSettings;
}

const gatewayPort = 4000;
const gatewayName = 'gateway';
/** Where the run's socket file appears in the gateway. */
const socketDirectory = '/run/zufs-lab';
const pollMs = 1000;
/** A task that failed is told to have ended a moment before the one that takes its place is there. */
const restartMs = 10_000;

/** Tasks of a Docker Swarm: a replicated job on a network of its own, to which the run's socket file is passed on. */
export class SwarmEngine implements TaskEngine {
  readonly reaches = 'socket';
  readonly #options: SwarmEngineOptions;

  constructor(options: SwarmEngineOptions) {
    this.#options = options;
  }

  async start(context: LabContext, order: TaskOrder): Promise<StartedTasks> {
    const { manager, address, others, settings } = this.#options;
    requireManager(address, (await manager.info()) as Parameters<typeof requireManager>[1]);
    const reaped = await reapRuns(manager, others);
    if (reaped > 0)
      context.progress.note(`Removed ${reaped} things that a killed run had left in the swarm.`);
    const usable = await nodesForTasks(manager, others, settings);
    context.progress.note(`Nodes that can take tasks: ${usable.map(({ name }) => name).join(', ')}.`);
    const image = await context.step('Task image', (step) =>
      obtainTaskImage([manager, ...others], this.#options.base, order.artefacts, step),
    );
    const job = new SwarmJob(manager, others);
    try {
      await job.create(context, order, { image, perNode: tasksPerNode(usable, settings), settings });
      return job;
    } catch (error) {
      await job[Symbol.asyncDispose]();
      throw error;
    }
  }
}

/** What and where the tasks are. */
interface Placing {
  readonly image: string;
  /** Tasks that a node has room for. */
  readonly perNode: number;
  readonly settings: SwarmSettings;
}

/** All that a run has in the swarm. */
class SwarmJob implements StartedTasks {
  readonly failed: Promise<Error>;
  readonly #manager: Docker;
  readonly #others: readonly Docker[];
  readonly #ended = new AbortController();
  readonly #failed = Promise.withResolvers<Error>();
  readonly #things: Thing[] = [];
  #run = '';

  constructor(manager: Docker, others: readonly Docker[]) {
    this.#manager = manager;
    this.#others = others;
    this.failed = this.#failed.promise;
  }

  async create(context: LabContext, order: TaskOrder, { image, perNode, settings }: Placing): Promise<void> {
    if (!('socketFile' in order.at)) throw new Error('The run does not listen on a socket file.');
    const run = `${context.name}-${order.token.slice(0, 12)}`;
    this.#run = run;
    const labels = runLabels(context.name, run);
    const name = `zufs-lab-${run}`;
    const network = await this.#manager.createNetwork({
      Name: name,
      Driver: 'overlay',
      Attachable: true,
      Internal: true,
      Labels: labels,
    });
    this.#things.push(thingOf(this.#manager, 'network', network.id));
    const { id } = (await this.#manager.createSecret({
      Name: name,
      Labels: labels,
      Data: Buffer.from(order.token).toString('base64'),
    })) as { readonly id: string };
    this.#things.push(thingOf(this.#manager, 'secret', id));
    const gateway = await this.#manager.createContainer({
      Image: image,
      Labels: labels,
      Cmd: [
        `${inImage.package}/lab/remote/gateway-main.ts`,
        ...['0.0.0.0', `${gatewayPort}`, `${socketDirectory}/run.sock`],
      ],
      HostConfig: {
        Mounts: [{ Type: 'bind', Source: order.at.socketFile, Target: `${socketDirectory}/run.sock` }],
        NetworkMode: name,
      },
      NetworkingConfig: { EndpointsConfig: { [name]: { Aliases: [gatewayName] } } },
    });
    this.#things.push(thingOf(this.#manager, 'gateway', gateway.id));
    await gateway.start();
    const service = await this.#manager.createService(
      taskService(
        {
          lab: context.name,
          run,
          tasks: order.tasks,
          perNode,
          image,
          network: network.id,
          gateway: { host: gatewayName, port: gatewayPort },
          secret: { id, name },
          fileSystem: order.fileSystem,
          settings: settingsOf(context.config),
        },
        settings,
      ),
    );
    this.#things.push(thingOf(this.#manager, 'service', service.id));
    void this.#watch(service);
  }

  /** Until every task has ended: each has come to its end, or has failed as often as it may. */
  async #watch(service: Docker.Service): Promise<void> {
    let since = performance.now();
    while (!this.#ended.signal.aborted) {
      if (await isGone(service)) return this.#failed.resolve(new LabError('The run was stopped.'));
      const tasks = (await this.#manager
        .listTasks({ filters: { service: [service.id] } })
        .catch(() => [])) as readonly SwarmTask[];
      const over = tasks.filter(({ Status: { State } }) => endStates.has(State));
      if (tasks.length === 0 || over.length < tasks.length) since = performance.now();
      else if (performance.now() - since > restartMs) {
        const said = over.map(({ Status: { Err = '', State } }) => (Err === '' ? State : Err)).at(-1);
        return this.#failed.resolve(new LabError(`Every task of the run has ended (${said}).`));
      }
      await sleep(pollMs, undefined, { signal: this.#ended.signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    const engines = [this.#manager, ...this.#others];
    const containers = await Promise.all(
      // One that has gone with its node keeps what it has.
      engines.map((engine) => taskContainers(engine, this.#run).catch(() => [])),
    );
    requireAllRemoved(this.#run, await removeThings([...this.#things, ...containers.flat()]));
  }
}

interface SwarmTask {
  readonly Status: { readonly State: string; readonly Err?: string };
}

const endStates: ReadonlySet<string> = new Set([
  'complete',
  'failed',
  'rejected',
  'shutdown',
  'orphaned',
  'remove',
]);

/** Removed from outside, such as by `zufs-lab swarm stop`. */
async function isGone(service: Docker.Service): Promise<boolean> {
  return await service.inspect().then(
    () => false,
    (error: unknown) => saysGone(error),
  );
}

/** The settings that a task's own lab has to have, as `--set` takes them. */
function settingsOf(config: LabConfig): readonly string[] {
  const { bootTimeout, cpus, nodes, memory, pmemPerNode, pmemSize, kernelArguments } = config.vm;
  const vm = { bootTimeout, cpus, nodes, memory, pmemPerNode, pmemSize, kernelArguments };
  const all = { vm, server: config.server, mount: config.mount };
  return Object.entries(all).flatMap(([section, values]) =>
    Object.entries(values)
      .filter(([, value]) => !(Array.isArray(value) && value.length === 0))
      .map(([key, value]) => `${section}.${key}=${Array.isArray(value) ? value.join(',') : value}`),
  );
}
