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
    work(argv[1], Number(argv[2]), Number(argv[3]));
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
  for (let round = 1; round <= rounds; round++) {
    must('mount', ['-t', 'zpmfs', devices[0], mount]);
    checked += check(mount, promised);
    forget(options, round - 2, promised);
    const operations = await workAndKill(options, round, promised);
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
  }
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

/** Let applications work, kill the server under them, and take down what they were promised. Returns what they did. */
async function workAndKill(
  { mount, seconds, workers }: Options,
  round: number,
  promised: Map<string, Promised>,
): Promise<number> {
  let operations = 0;
  const children = Array.from({ length: workers }, (_, number) => {
    const child = spawn(process.execPath, [process.argv[1], WORK, mount, String(number), String(round)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const started = new Promise<void>((resolve) => child.once('message', () => resolve()));
    child.on('message', (message: Promised) => {
      operations = operations + message.operations;
      if (message.kind === 'promised') promised.set(message.name, message);
      else promised.delete(message.name);
    });
    return { child, started, ended: endOf(child) };
  });
  await Promise.all(children.map(({ started, ended }) => Promise.race([started, ended])));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000 * (0.5 + Math.random())));
  process.kill(Number(readFileSync('/run/zus.pid', 'utf8')), 'SIGKILL');
  const timer = setTimeout(() => {
    for (const { child } of children) child.kill('SIGKILL');
  }, END_SECONDS * 1000);
  const codes = await Promise.all(children.map(({ ended }) => ended));
  clearTimeout(timer);
  const stuck = codes.filter((code) => code !== 0).length;
  if (operations === 0) throw new BrokenError(`round ${round}: nobody did anything`);
  if (stuck > 0)
    throw new BrokenError(
      `round ${round}: ${stuck} of ${workers} applications did not end in order: ${codes.join(', ')}`,
    );
  return operations;
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    // Not 'exit': messages may still be on their way.
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
