// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { LabError } from '../errors.ts';
import { removeContainer } from '../runtime/docker-background.ts';

/**
 * What a run has in the swarm, in the order in which it goes: the service's tasks hold the secret, and with the gateway, a service of
 * its own, the network. Their containers go by themselves when the service does while they run, but not those that have ended, which
 * keep the network, too.
 */
const kinds = ['service', 'gateway', 'task container', 'secret', 'network'] as const;

export type ThingKind = (typeof kinds)[number];

/** One of them. */
export interface Thing {
  readonly kind: ThingKind;
  readonly id: string;
  /** Rejects when the engine does not do it, with its status code. */
  remove(): Promise<unknown>;
}

const retryMs = 1000;
/** A network or secret is in use until every node has noticed that the service's tasks are gone. */
const mostAttempts = 30;

export function thingOf(engine: Docker, kind: ThingKind, id: string): Thing {
  const removers: Readonly<Record<ThingKind, Thing['remove']>> = {
    service: () => engine.getService(id).remove(),
    'task container': () => removeContainer(engine.getContainer(id)),
    gateway: () => engine.getService(id).remove(),
    secret: () => engine.getSecret(id).remove(),
    network: () => engine.getNetwork(id).remove(),
  };
  return { kind, id, remove: removers[kind] };
}

/** As they go. */
export function inOrder<T extends Pick<Thing, 'kind'>>(things: readonly T[]): readonly T[] {
  return things.toSorted((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
}

export interface Removal {
  readonly removed: readonly Thing[];
  /** What the engine would not remove, and its words. */
  readonly left: readonly { readonly thing: Thing; readonly cause: unknown }[];
}

/** Remove them, in the order that works; what is gone already is fine. */
export async function removeThings(
  things: readonly Thing[],
  { attempts = mostAttempts, pauseMs = retryMs } = {},
): Promise<Removal> {
  const removed: Thing[] = [];
  const left: Removal['left'][number][] = [];
  for (const thing of inOrder(things)) {
    try {
      if (await removeOne(thing, attempts, pauseMs)) removed.push(thing);
    } catch (cause) {
      left.push({ thing, cause });
    }
  }
  return { removed, left };
}

/** A sentence that names what of `run` is still there; undefined when nothing is. */
export function whatIsLeft(run: string, { left }: Removal): string | undefined {
  if (left.length === 0) return undefined;
  const names = left.map(({ thing: { kind, id } }) => `${kind} ${id}`).join(', ');
  return `Of the run ${run}, the swarm still has: ${names}.`;
}

/** Throws a `LabError` that names what of `run` is still there. */
export function requireAllRemoved(run: string, removal: Removal): void {
  const left = whatIsLeft(run, removal);
  if (left === undefined) return;
  throw new LabError(left, { hint: 'zufs-lab swarm stop tries again.', cause: removal.left[0].cause });
}

/** Also of a network that the swarm has no more and the engine still lists, which it tells with a status of its own. */
export function saysGone(error: unknown): boolean {
  const { statusCode, message } = error as { statusCode?: number; message: string };
  return statusCode === 404 || /\bnetwork \S+ not found/.test(message);
}

/** Whether it was there. */
async function removeOne(thing: Thing, attempts: number, pauseMs: number): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await thing.remove();
      return true;
    } catch (error) {
      if (saysGone(error)) return false;
      if (attempt === attempts) throw error;
      await sleep(pauseMs);
    }
  }
}
