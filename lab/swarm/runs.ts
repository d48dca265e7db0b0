// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type Docker from 'dockerode';
import { LabError } from '../errors.ts';
import { buildLabels, isOrphan, labelOfLab, labelOfRole } from '../runtime/labels.ts';
import type { Labels } from '../runtime/runtime.ts';
import { listNodes } from './nodes.ts';
import { inOrder, type Thing, type ThingKind, thingOf } from './removal.ts';

const labelOfRun = 'zufs-lab.run';
/** Machine of the zufs-lab that a run belongs to: whether that one lives can be told on that machine alone. */
const labelOfHost = 'zufs-lab.host';
/** What tells it from others of the same name. */
const labelOfMachine = 'zufs-lab.machine';
/** Of the service that is no task of the run, but its gateway. */
export const gatewayRole = 'gateway';

/** Of all that a run has in the swarm. */
export function runLabels(lab: string, run: string): Labels {
  return { ...buildLabels(lab), [labelOfRun]: run, [labelOfHost]: hostname(), [labelOfMachine]: machine() };
}

/** A hash, since machine-id(5) asks that the number itself be kept on the machine. Of one that has none, the name has to do. */
function machine(): string {
  let id = '';
  try {
    id = readFileSync('/etc/machine-id', 'utf8').trim();
  } catch {
    // Not every system has one.
  }
  return createHash('sha256').update(`zufs-lab ${id}`).digest('hex').slice(0, 16);
}

/** A task of a run, as the swarm tells of it. One that failed stays in the list beside the one that took its place. */
export interface RunTask {
  readonly id: string;
  /** Its shard's, from 1. */
  readonly number: number;
  /** Empty while it has none. */
  readonly node: string;
  /** In the swarm's words: `running`, `failed`, … */
  readonly state: string;
  readonly since: Date;
  /** What went wrong; empty if nothing did. */
  readonly error: string;
}

/** A run that has anything in the swarm. */
export interface SwarmRun {
  readonly run: string;
  readonly lab: string;
  /** Machine of its zufs-lab. */
  readonly host: string;
  /** Its zufs-lab: `elsewhere` is on another machine, where alone it can be told whether it lives. */
  readonly owner: 'alive' | 'orphan' | 'elsewhere';
  readonly created: Date;
  readonly tasks: readonly RunTask[];
  readonly things: readonly Thing[];
}

/** Something in the engine that carries the labels of a run. */
interface Found extends Thing {
  readonly created: Date;
  readonly labels: Labels;
}

/**
 * The runs in the swarm, the oldest first. No manager tells of the containers of other engines: of those in `others` they are
 * listed too.
 */
export async function listRuns(
  manager: Docker,
  others: readonly Docker[] = [],
): Promise<readonly SwarmRun[]> {
  const containers = await Promise.all([manager, ...others].map((engine) => findContainers(engine)));
  const found = [...(await findObjects(manager)), ...containers.flat()];
  const byRun = Map.groupBy(found, ({ labels }) => labels[labelOfRun]);
  const nodes = byRun.size === 0 ? new Map<string, string>() : await nodeNames(manager);
  const runs = await Promise.all(
    [...byRun].map(async ([run, found]): Promise<SwarmRun> => {
      const [{ labels }] = found;
      const service = found.find(({ kind }) => kind === 'service');
      return {
        run,
        lab: labels[labelOfLab] ?? '',
        host: labels[labelOfHost] ?? '',
        owner: ownerOf(labels),
        created: new Date(Math.min(...found.map(({ created }) => created.getTime()))),
        tasks: service === undefined ? [] : await tasksOf(manager, service.id, nodes),
        things: inOrder(found),
      };
    }),
  );
  return runs.sort((a, b) => a.created.getTime() - b.created.getTime());
}

/** The run of that name. Throws a `LabError` with those that there are. */
export async function findRun(
  manager: Docker,
  name: string,
  others: readonly Docker[] = [],
): Promise<SwarmRun> {
  const runs = await listRuns(manager, others);
  const run = runs.find((one) => one.run === name);
  if (run !== undefined) return run;
  const names = runs.map((one) => one.run).join(', ');
  throw new LabError(`The swarm has no run '${name}'. It has ${names || 'none'}.`);
}

function ownerOf(labels: Labels): SwarmRun['owner'] {
  if (labels[labelOfHost] !== hostname() || labels[labelOfMachine] !== machine()) return 'elsewhere';
  return isOrphan(labels) ? 'orphan' : 'alive';
}

async function findObjects(manager: Docker): Promise<readonly Found[]> {
  const filters = { label: [labelOfRun] };
  const [services, secrets, networks] = await Promise.all([
    manager.listServices({ filters }) as Promise<unknown> as Promise<readonly ApiObject[]>,
    manager.listSecrets({ filters }) as Promise<unknown> as Promise<readonly ApiObject[]>,
    manager.listNetworks({ filters }),
  ]);
  const of = (kind: ThingKind, id: string, created: string, labels: Labels = {}): Found => ({
    ...thingOf(manager, kind, id),
    created: new Date(created),
    labels,
  });
  return [
    ...services.map(({ ID, CreatedAt, Spec: { Labels: labels } }) =>
      of(labels?.[labelOfRole] === gatewayRole ? 'gateway' : 'service', ID, CreatedAt, labels),
    ),
    ...secrets.map(({ ID, CreatedAt, Spec }) => of('secret', ID, CreatedAt, Spec.Labels)),
    ...networks.map(({ Id, Created, Labels: labels }) => of('network', Id, Created, labels)),
  ];
}

async function findContainers(engine: Docker): Promise<readonly Found[]> {
  const containers = await engine.listContainers({ all: true, filters: { label: [labelOfRun] } });
  return containers.map(({ Id, Created, Labels: labels }) => ({
    ...thingOf(engine, 'task container', Id),
    created: new Date(Created * 1000),
    labels,
  }));
}

/** The containers of a run's tasks in an engine. */
export async function taskContainers(engine: Docker, run: string): Promise<readonly Thing[]> {
  return (await findContainers(engine)).filter(({ labels }) => labels[labelOfRun] === run);
}

async function nodeNames(manager: Docker): Promise<ReadonlyMap<string, string>> {
  return new Map((await listNodes(manager)).map(({ id, name }) => [id, name]));
}

/** The tasks of a service, by number and age. */
async function tasksOf(
  manager: Docker,
  service: string,
  nodes: ReadonlyMap<string, string>,
): Promise<readonly RunTask[]> {
  const tasks = (await manager.listTasks({ filters: { service: [service] } })) as readonly ApiTask[];
  return tasks
    .toSorted((a, b) => numberOf(a) - numberOf(b) || a.CreatedAt.localeCompare(b.CreatedAt))
    .map((task) => ({
      id: task.ID,
      number: numberOf(task),
      node: nodes.get(task.NodeID ?? '') ?? '',
      state: task.Status.State,
      since: new Date(task.Status.Timestamp),
      error: task.Status.Err ?? '',
    }));
}

/** Slots of a job count from 0, and that of the first is left out. */
function numberOf({ Slot = 0 }: ApiTask): number {
  return Slot + 1;
}

/** As the engine's API has them. */
interface ApiObject {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Spec: { readonly Labels?: Labels };
}

interface ApiTask {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly Status: { readonly State: string; readonly Timestamp: string; readonly Err?: string };
}
