// SPDX-License-Identifier: BSD-3-Clause

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { LabConfig } from '../config/schema.ts';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import type { StartedTasks, TaskEngine, TaskEvents, TaskOrder } from '../remote/task-engine.ts';
import { obtainPmem } from '../vm/boot.ts';
import { obtainTaskImage } from './image.ts';
import { answeringEngines } from './manager.ts';
import { DownNodes, listNodes, nodesForTasks } from './nodes.ts';
import { reapLater, reapRuns } from './reap.ts';
import { removeThings, saysGone, type Thing, thingOf, whatIsLeft } from './removal.ts';
import { type EngineInfo, requireManager, tasksPerNode } from './requirements.ts';
import { runLabels, taskContainers } from './runs.ts';
import { gatewayService, taskService } from './service.ts';
import type { SwarmSettings } from './types.ts';

export interface SwarmEngineOptions {
  /** The engine of this machine, a manager of its swarm. */
  readonly manager: Docker;
  readonly address: string;
  /** Addresses of engines of the swarm's other nodes, which get the image from this one. */
  readonly others: readonly string[];
  /** The lab's builder image in the manager's engine. */
  readonly base: string;
  readonly settings: SwarmSettings;
}

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

  async start(context: LabContext, order: TaskOrder, events: TaskEvents = {}): Promise<StartedTasks> {
    const { manager, address, settings } = this.#options;
    const { note } = context.progress;
    requireManager(address, (await manager.info()) as EngineInfo);
    // Those that answered before a kernel was built need not now.
    const others = (await answeringEngines(this.#options.others, note)).map(({ docker }) => docker);
    const reaped = await reapRuns(manager, others);
    if (reaped > 0) note(`Removed ${reaped} things that a killed run had left in the swarm.`);
    const { usable, leftOut } = await nodesForTasks(manager, others, settings);
    note(`Nodes that can take tasks: ${usable.map(({ name }) => name).join(', ')}.`);
    if (leftOut.length > 0) note(`Nodes that cannot: ${leftOut.join(', ')}.`);
    const { artefacts } = order;
    const image = await context.step('Task image', async (step) => {
      const pmem = await obtainPmem(step, artefacts);
      return await obtainTaskImage([manager, ...others], this.#options.base, { ...artefacts, pmem }, step);
    });
    const perNode = order.alone ? 1 : tasksPerNode(usable, settings);
    reapLater(this.#options.others);
    const job = new SwarmJob(manager, others, events, note);
    try {
      await job.create(context, order, { image, perNode, settings });
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
  readonly #events: TaskEvents;
  readonly #down = new DownNodes();
  readonly #note: (line: string) => void;
  #run = '';

  constructor(manager: Docker, others: readonly Docker[], events: TaskEvents, note: (line: string) => void) {
    this.#manager = manager;
    this.#others = others;
    this.#events = events;
    this.#note = note;
    this.failed = this.#failed.promise;
  }

  async create(context: LabContext, order: TaskOrder, { image, perNode, settings }: Placing): Promise<void> {
    if (!('socketFile' in order.at)) throw new Error('The run does not listen on a socket file.');
    const run = `${context.name}-${randomBytes(6).toString('hex')}`;
    this.#run = run;
    const labels = runLabels(context.name, run);
    const name = `zufs-lab-${run}`;
    const network = await this.#manager.createNetwork({
      Name: name,
      Driver: 'overlay',
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
    const all = { lab: context.name, run, image, network: network.id };
    const { Swarm: swarm } = (await this.#manager.info()) as EngineInfo;
    const gateway = await this.#manager.createService(
      gatewayService({ ...all, node: swarm?.NodeID ?? '', socketFile: order.at.socketFile }),
    );
    this.#things.push(thingOf(this.#manager, 'gateway', gateway.id));
    const service = await this.#manager.createService(
      taskService(
        {
          ...all,
          tasks: order.tasks,
          perNode,
          secret: { id, name },
          deploy: order.deploy,
          settings: settingsOf(context.config),
        },
        settings,
      ),
    );
    this.#things.push(thingOf(this.#manager, 'service', service.id));
    void this.#watch(service);
  }

  /** Tell of nodes that are lost, until every task has ended: each has come to its end, or has failed as often as it may. */
  async #watch(service: Docker.Service): Promise<void> {
    let since = performance.now();
    while (!this.#ended.signal.aborted) {
      if (await isGone(service)) return this.#failed.resolve(new LabError('The run was stopped.'));
      const nodes = await listNodes(this.#manager).catch(() => []);
      for (const node of this.#down.newAmong(nodes)) this.#events.onNodeLost?.(node);
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
    const removal = await removeThings([...this.#things, ...containers.flat()]);
    // What a killed run had left and was still in use when this one started: a network, until its last container has gone.
    await reapRuns(this.#manager, this.#others).catch(() => undefined);
    // The run has a verdict, or an error of its own, which this must not take the place of.
    const left = whatIsLeft(this.#run, removal);
    if (left !== undefined) this.#note(`${left} zufs-lab swarm stop tries again.`);
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
