// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { SettingsContext } from './context.ts';
import { LabError } from './errors.ts';
import { staleMs, tryLock } from './lock.ts';
import { identify, isAlive } from './runtime/process-identity.ts';

/** What is needed of the context of a lab that a run takes for itself. */
export type RunLab = Pick<SettingsContext, 'name' | 'stateDir' | 'signal' | 'progress'>;

const holderSchema = z.object({
  pid: z.int(),
  startTime: z.string(),
  bootId: z.string(),
  /** As it was typed. */
  command: z.string(),
  /** Set when the lab is ended under the run. */
  ended: z.boolean().optional(),
});

/** The process whose run has a lab. */
export type RunHolder = z.infer<typeof holderSchema>;

/** Another run has the lab. */
export class LabTakenError extends LabError {
  constructor(lab: string, holder: RunHolder | undefined) {
    super(
      `The lab '${lab}' is taken by another run${holder === undefined ? '' : `: ${described(holder)}`}.`,
      {
        hint: 'Wait for its end, or take another lab: --name other.',
      },
    );
  }
}

const pollMs = 100;
/** The lock of a holder that was killed has lapsed by then. */
const lapseMs = 2 * staleMs;

/**
 * Run `body` with these labs to itself. Two runs in one guest would unmount each other's file systems and remove each other's results:
 * while one has a lab, others throw `LabTakenError`, and do not wait for an hour. Throws as well when a lab was ended under `body`, to
 * which the tests of that moment have crashed.
 */
export async function withRunLock<T>(labs: readonly RunLab[], body: () => Promise<T>): Promise<T> {
  await using held = new AsyncDisposableStack();
  for (const lab of labs) held.use(await acquire(lab));
  const result = await body();
  for (const lab of labs) await requireNotEnded(lab);
  return result;
}

/** Throws `LabTakenError` when a run has the lab: for what would disturb it, and is over soon. */
export async function requireNoRun({ name, stateDir }: Pick<RunLab, 'name' | 'stateDir'>): Promise<void> {
  const holder = await runHolder(stateDir);
  if (holder !== undefined) throw new LabTakenError(name, holder);
}

/** The process whose run has the lab of that state directory now. */
export async function runHolder(stateDir: string): Promise<RunHolder | undefined> {
  const holder = await readHolder(stateDir);
  return holder !== undefined && isAlive(holder) ? holder : undefined;
}

/** Have the run that has the lab, if there is one, lose it for good: what ends the lab calls this first. Gives whose run it is. */
export async function endRun(stateDir: string): Promise<RunHolder | undefined> {
  const holder = await runHolder(stateDir);
  if (holder !== undefined) await writeHolder(stateDir, { ...holder, ended: true });
  return holder;
}

/** Throws when the lab was ended under the run that has it: one that boots another VM would bring back what somebody wants gone. */
export async function requireNotEnded({ name, stateDir }: Pick<RunLab, 'name' | 'stateDir'>): Promise<void> {
  if ((await runHolder(stateDir))?.ended) throw new LabError(`The lab '${name}' was ended (zufs-lab down).`);
}

/**
 * Write down that this process is at work on the run in that directory, wherever its VMs are. Throws when another one is at it.
 * Without a lock: two that come in the same moment, to go on with one run, are nobody's habit.
 */
export async function takeRun(directory: string): Promise<void> {
  const holder = await runHolder(directory);
  if (holder !== undefined && holder.pid !== process.pid) {
    throw new LabError(`${basename(directory)} is still under way in ${described(holder)}.`);
  }
  await writeHolder(directory, thisProcess());
}

/** For a sentence. */
export function described({ pid, command }: RunHolder): string {
  return `process ${pid} (${command})`;
}

/**
 * Who has a lab is in a file: a process that lives is known to hold it, however long the machine slept. The lock beside it makes the
 * holder the only one; one that was killed leaves it behind until it lapses.
 */
async function acquire({ name, stateDir, signal, progress }: RunLab): Promise<AsyncDisposable> {
  await mkdir(stateDir, { recursive: true });
  const deadline = performance.now() + lapseMs;
  for (let waited = false; ; waited = true) {
    signal.throwIfAborted();
    const holder = await readHolder(stateDir);
    if (holder !== undefined && isAlive(holder)) throw new LabTakenError(name, holder);
    const lock = await tryLock(join(stateDir, 'run.lock'), () => undefined);
    if (lock !== undefined) return await record(stateDir, lock);
    if (performance.now() > deadline) throw new LabTakenError(name, undefined);
    if (!waited && holder !== undefined) {
      progress.note(
        `The run that had the lab '${name}' was killed, ${described(holder)}: waiting for its lock to lapse.`,
      );
    }
    await sleep(pollMs, undefined, { signal });
  }
}

async function record(stateDir: string, lock: AsyncDisposable): Promise<AsyncDisposable> {
  await writeHolder(stateDir, thisProcess());
  return {
    [Symbol.asyncDispose]: async () => {
      await rm(holderPath(stateDir), { force: true });
      await lock[Symbol.asyncDispose]();
    },
  };
}

function thisProcess(): RunHolder {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('This process is not in /proc.');
  return { ...self, command: ['zufs-lab', ...process.argv.slice(2)].join(' ') };
}

function holderPath(stateDir: string): string {
  return join(stateDir, 'run.json');
}

/** Whole or not at all: a reader may come at any moment. */
async function writeHolder(stateDir: string, holder: RunHolder): Promise<void> {
  const path = holderPath(stateDir);
  await writeFile(`${path}.new`, `${JSON.stringify(holder)}\n`);
  await rename(`${path}.new`, path);
}

/** Undefined as well when it is not what this version writes: the lock alone tells then. */
async function readHolder(stateDir: string): Promise<RunHolder | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(holderPath(stateDir), 'utf8')));
  } catch {
    return undefined;
  }
}
