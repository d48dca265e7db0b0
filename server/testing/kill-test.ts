// SPDX-License-Identifier: BSD-3-Clause

/**
 * Runs in the guest: kills the server while applications work, again and again, and looks each time whether all is there
 * that fsync(2) had promised.
 *
 *   zus-kill-test [--rounds 100] [--seconds 3] [--workers 3] [--mount /mnt/kill] DEVICE...
 *
 * Each round: mount, check every promised file, work for a while, SIGKILL of zus, unmount, start zus anew. In the end, and
 * after every round, fsck.zpmfs has to find nothing. The devices are formatted. Exit codes: 0, 1 a promise was broken, 2.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { contentOf, directoryOf, type Promised, work } from './kill-load.ts';

const EXIT = { OK: 0, BROKEN: 1, CANNOT: 2 } as const;
/** What an application may take to see that its server is gone. */
const END_SECONDS = 30;
const WORK = '--work';
/** What a worker says when it has seen that the server is gone. */
const STOPPED = 'stopped';

class BrokenError extends Error {}

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly workers: number;
  readonly mount: string;
  readonly devices: readonly string[];
}

export async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === WORK) {
    process.on('message', (round: number) => {
      work(argv[1], Number(argv[2]), round);
      process.send?.(STOPPED);
    });
    return EXIT.OK;
  }
  try {
    await killAgainAndAgain(parse(argv));
    return EXIT.OK;
  } catch (error) {
    process.stderr.write(`zus-kill-test: ${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof BrokenError ? EXIT.BROKEN : EXIT.CANNOT;
  }
}

function parse(argv: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '3' },
      workers: { type: 'string', default: '3' },
      mount: { type: 'string', default: '/mnt/kill' },
    },
  });
  if (positionals.length === 0) throw new Error('no device given');
  const { rounds, seconds, workers, mount } = values;
  return {
    rounds: Number(rounds),
    seconds: Number(seconds),
    workers: Number(workers),
    mount,
    devices: positionals,
  };
}

async function killAgainAndAgain(options: Options): Promise<void> {
  const { rounds, mount, devices } = options;
  mkdirSync(mount, { recursive: true });
  spawnSync('umount', [mount]);
  spawnSync('zus-service', ['stop']);
  must('mkfs.zpmfs', ['-q', '-f', ...devices]);
  must('zus-service', ['start']);
  const promised = new Map<string, Promised>();
  let checked = 0;
  await using applications = new Applications(options, promised);
  must('mount', ['-t', 'zpmfs', devices[0], mount]);
  for (let round = 1; round <= rounds; round++) {
    forget(options, round - 2, promised);
    const operations = await applications.workAndKill(round);
    must('umount', [mount]);
    must('zus-service', ['start']);
    must('mount', ['-t', 'zpmfs', devices[0], mount]);
    checked += check(mount, promised);
    must('umount', [mount]);
    const fsck = spawnSync('fsck.zpmfs', ['-n', devices[0]], { encoding: 'utf8' });
    if (fsck.status !== 0)
      throw new BrokenError(`round ${round}: fsck.zpmfs says ${fsck.status}: ${fsck.stdout}`);
    process.stdout.write(
      `round ${round}: ${operations} operations, then killed; ${promised.size} files promised and there; fsck clean\n`,
    );
    must('mount', ['-t', 'zpmfs', devices[0], mount]);
  }
  must('umount', [mount]);
  process.stdout.write(`${rounds} kills, ${checked} promised files looked at, all as they should be\n`);
}

/** What a round long ago left is removed, so that a round takes as long as the one before. */
function forget({ mount, workers }: Options, round: number, promised: Map<string, Promised>): void {
  for (let worker = 0; worker < workers; worker++) {
    const directory = directoryOf(worker, round);
    for (const name of promised.keys()) if (name.startsWith(`${directory}/`)) promised.delete(name);
    rmSync(`${mount}/${directory}`, { recursive: true, force: true });
  }
}

function must(program: string, arguments_: readonly string[]): void {
  const { status, error, stdout, stderr } = spawnSync(program, arguments_, { encoding: 'utf8' });
  if (status !== 0)
    throw new BrokenError(
      `${program} ${arguments_.join(' ')}: ${error?.message ?? `${status}: ${stdout}${stderr}`}`,
    );
}

/** Every promised file is there with what was in it. */
function check(mount: string, promised: ReadonlyMap<string, Promised>): number {
  for (const { name, seed, length } of promised.values()) {
    const path = `${mount}/${name}`;
    let got: Uint8Array;
    try {
      got = readFileSync(path);
    } catch (error) {
      throw new BrokenError(
        `${path} was fsynced and is gone: ${error instanceof Error ? error.message : error}`,
      );
    }
    const expected = contentOf(seed, length);
    if (Buffer.compare(got, expected) === 0) continue;
    const at = got.findIndex((byte, index) => byte !== expected[index]);
    throw new BrokenError(
      `${path} was fsynced with ${length} bytes, has ${got.length}; they differ at ${at}`,
    );
  }
  // Names that nobody vouches for can be listed and looked at all the same.
  const visit = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = `${directory}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile()) statSync(path);
    }
  };
  visit(mount);
  return promised.size;
}

/** What works on the mount. The same processes in all rounds: starting them takes as long as what they do. */
class Applications implements AsyncDisposable {
  readonly #options: Options;
  readonly #children: readonly ChildProcess[];
  #operations = 0;

  constructor(options: Options, promised: Map<string, Promised>) {
    this.#options = options;
    this.#children = Array.from({ length: options.workers }, (_, number) => {
      const child = spawn(process.execPath, [process.argv[1], WORK, options.mount, String(number)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      child.on('message', (message: Promised | typeof STOPPED) => {
        if (message === STOPPED) return;
        this.#operations += message.operations;
        if (message.kind === 'promised') promised.set(message.name, message);
        else promised.delete(message.name);
      });
      return child;
    });
  }

  /** Let them work, and kill the server under them. Returns what they did. */
  async workAndKill(round: number): Promise<number> {
    this.#operations = 0;
    const busy = this.#children.map((child) => next(child, (message) => message !== STOPPED));
    const stopped = this.#children.map((child) => next(child, (message) => message === STOPPED));
    for (const child of this.#children) child.send(round);
    await Promise.all(busy);
    await pause(this.#options.seconds * 1000 * (0.5 + Math.random()));
    process.kill(Number(readFileSync('/run/zus.pid', 'utf8')), 'SIGKILL');
    const late = pause(END_SECONDS * 1000).then(() => 'late' as const);
    if ((await Promise.race([Promise.all(stopped), late])) === 'late')
      throw new BrokenError(
        `round ${round}: applications hang ${END_SECONDS} s after their server was killed`,
      );
    return this.#operations;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

/** The next message of that kind; an error when the process ends instead. */
function next(child: ChildProcess, isWanted: (message: Promised | typeof STOPPED) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (message: Promised | typeof STOPPED): void => {
      if (!isWanted(message)) return;
      child.off('message', look);
      child.off('exit', fail);
      resolve();
    };
    const fail = (code: number | null, signal: string | null): void =>
      reject(new BrokenError(`an application ended with ${code ?? signal}`));
    child.on('message', look);
    child.on('exit', fail);
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
