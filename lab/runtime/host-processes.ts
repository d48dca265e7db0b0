// SPDX-License-Identifier: BSD-3-Clause

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.ts';
import { rootAccess } from './apt.ts';
import { hasLabels, isOrphan, labelOfLab } from './labels.ts';
import { endGroup } from './process-group.ts';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';
import type { Background, Labels, StartOptions } from './runtime.ts';
import { endThroughSudo } from './through-sudo.ts';

/** A program on record: a file in its lab's state directory, which outlives the zufs-lab that started it. */
export interface Launched {
  readonly file: string;
  /** Undefined when it had ended before it could be looked at. */
  readonly identity: ProcessIdentity | undefined;
  readonly labels: Labels;
  readonly command: readonly string[];
  /** The process is a sudo that runs the command, and leads no process group of its own. */
  readonly throughSudo?: boolean;
}

const pollMs = 100;
const defaultGraceMs = 10_000;
/** What root runs may have file systems to unmount. */
const rootGraceMs = 30_000;

/** Records of the programs that run on the host: `<state>/<lab>/processes/<pid>-<start time>.json`. */
export class ProcessRecords {
  readonly #stateRoot: string;
  /** Programs that this very process started: their exit codes nobody else can know. */
  readonly #started = new Map<
    string,
    { readonly child: ChildProcess; readonly code: Promise<number | null> }
  >();

  constructor(stateRoot: string) {
    this.#stateRoot = stateRoot;
  }

  add(
    lab: string,
    program: Pick<Launched, 'labels' | 'command' | 'throughSudo'> & { readonly pid: number },
  ): Launched {
    const directory = join(this.#stateRoot, lab, 'processes');
    mkdirSync(directory, { recursive: true });
    const identity = identify(program.pid);
    const { pid, ...about } = program;
    const launched: Launched = {
      file: join(directory, `${pid}-${identity?.startTime ?? 'ended'}.json`),
      identity,
      ...about,
    };
    const { file, ...content } = launched;
    // Whole or not at all: a reader may come at any moment.
    writeFileSync(`${file}.new`, `${JSON.stringify(content, undefined, 2)}\n`);
    renameSync(`${file}.new`, file);
    return launched;
  }

  remove(launched: Launched): void {
    rmSync(launched.file, { force: true });
  }

  /** Start a program that outlives this process. Recorded in the same turn as it is started. */
  async launch(
    lab: string,
    command: readonly string[],
    options: StartOptions,
  ): Promise<{ readonly child: ChildProcess; readonly launched: Launched }> {
    const log = openSync(options.logFile, 'a');
    try {
      const child = spawn(command[0], command.slice(1), {
        cwd: options.cwd,
        env: { ...process.env, LC_ALL: 'C' },
        detached: true,
        stdio: ['ignore', log, log],
      });
      child.unref();
      const labels: Labels = { [labelOfLab]: lab, ...options.labels };
      // Without a pid it did not start, and says why in its 'error' event, which the caller waits for.
      const launched =
        child.pid === undefined
          ? { file: '', identity: undefined, labels, command }
          : // With the lab that its label names, where `find` looks: not always the one that the command was given.
            this.add(labels[labelOfLab], { pid: child.pid, labels, command });
      const code = new Promise<number | null>((resolve) => child.once('exit', resolve));
      this.#started.set(launched.file, { child, code });
      return { child, launched };
    } finally {
      closeSync(log);
    }
  }

  find(labels: Labels): Launched[] {
    const lab = labels[labelOfLab];
    const labs = lab === undefined ? listed(this.#stateRoot) : [lab];
    return labs.flatMap((name) => this.#read(name)).filter((launched) => hasLabels(launched.labels, labels));
  }

  /** One that could only be ended with a password is left on record. Gives how many were ended. */
  async reapOrphans(): Promise<number> {
    const orphans = this.find({}).filter((launched) => isOrphan(launched.labels));
    let ended = 0;
    for (const orphan of orphans) {
      if (!(await end(orphan, undefined, { mayAsk: false }))) continue;
      this.remove(orphan);
      ended += 1;
    }
    return ended;
  }

  background(launched: Launched): Background {
    const { identity } = launched;
    const running = (): boolean => identity !== undefined && isAlive(identity);
    return {
      id: String(identity?.pid ?? 'ended'),
      labels: launched.labels,
      running: async () => running(),
      wait: async (signal) => {
        while (running()) await sleep(pollMs, undefined, { signal });
        return { code: await this.#codeOf(launched) };
      },
      stop: async (graceMs) => {
        if (!(await end(launched, graceMs, { mayAsk: true }))) throw notEnded(launched);
        this.remove(launched);
      },
    };
  }

  async #codeOf({ file }: Launched): Promise<number | null> {
    const started = this.#started.get(file);
    if (started === undefined) return null;
    // It is gone from /proc, but Node may not have heard of it: without a reference it would end with nothing else to do.
    started.child.ref();
    try {
      return await started.code;
    } finally {
      started.child.unref();
    }
  }

  #read(lab: string): Launched[] {
    const directory = join(this.#stateRoot, lab, 'processes');
    return listed(directory)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        const file = join(directory, name);
        try {
          return [{ file, ...(JSON.parse(readFileSync(file, 'utf8')) as Omit<Launched, 'file'>) }];
        } catch (error) {
          // Removed since the directory was read.
          if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
          throw error;
        }
      });
  }
}

/** End a program with all that it started; false when that takes a right that the user does not have, or does not want to use. */
async function end(
  { identity, throughSudo, command }: Launched,
  graceMs: number | undefined,
  { mayAsk }: { readonly mayAsk: boolean },
): Promise<boolean> {
  if (identity === undefined) return true;
  if (!throughSudo) {
    if (groupIsOurs(identity)) await endGroup(identity.pid, graceMs ?? defaultGraceMs);
    return true;
  }
  if (!isAlive(identity)) return true;
  const root = await rootAccess();
  if (root === undefined || (root.mayAsk && !mayAsk)) return false;
  const prompt = `To end ${command[0]} (process ${identity.pid}) as root, password for %p: `;
  const prefix = root.mayAsk ? [...root.prefix, '-p', prompt] : root.prefix;
  return await endThroughSudo(identity, prefix, graceMs ?? rootGraceMs);
}

function notEnded({ identity, command: [program] }: Launched): LabError {
  return new LabError(`${program}, which runs as root (process ${identity?.pid}), could not be ended.`, {
    hint: `Run: sudo kill ${identity?.pid}`,
  });
}

/**
 * Whether the process group of that number is still the recorded one. Its leader may have ended and left members behind: as
 * long as there are any, the kernel gives its number to nobody else.
 */
function groupIsOurs(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  if (now === undefined) return isSameBoot(identity);
  return isAlive(identity);
}

function isSameBoot(identity: ProcessIdentity): boolean {
  return identify(process.pid)?.bootId === identity.bootId;
}

function listed(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
