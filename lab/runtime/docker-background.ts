// SPDX-License-Identifier: BSD-3-Clause

import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Background, Labels } from './runtime.ts';

const defaultGraceMs = 10_000;
const pollMs = 100;

/** A program that runs in a container of its own. */
export function containerBackground(container: Docker.Container, labels: Labels): Background {
  const inspect = async (): Promise<Docker.ContainerInspectInfo | undefined> =>
    await container.inspect().catch(unlessStatus([404]));
  return {
    id: container.id,
    labels,
    running: async () => (await inspect())?.State.Running === true,
    wait: async (signal) => {
      signal.throwIfAborted();
      const ended = container.wait({ abortSignal: signal }).catch(unlessStatus([404]));
      const result = (await ended) as { readonly StatusCode: number } | undefined;
      // Above 128 the engine reports the signal that ended it.
      return { code: result === undefined || result.StatusCode > 128 ? null : result.StatusCode };
    },
    stop: async (graceMs = defaultGraceMs) => {
      // 304: it had ended already. 404: it is gone altogether.
      await container.stop({ t: Math.ceil(graceMs / 1000) }).catch(unlessStatus([304, 404]));
      await removeContainer(container);
    },
  };
}

/** End and remove a container, and wait until it is gone; fine when it is already. */
export async function removeContainer(container: Docker.Container): Promise<void> {
  // 409: its removal is under way.
  await container.remove({ force: true, v: true }).catch(unlessStatus([404, 409]));
  while ((await container.inspect().catch(unlessStatus([404]))) !== undefined) await sleep(pollMs);
}

/** For `catch`: an answer of the engine with one of these status codes is fine. */
function unlessStatus(statuses: readonly number[]): (error: unknown) => undefined {
  return (error) => {
    if (statuses.includes((error as { statusCode?: number }).statusCode ?? 0)) return undefined;
    throw error;
  };
}
