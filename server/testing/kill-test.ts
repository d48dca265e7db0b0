// SPDX-License-Identifier: BSD-3-Clause

/**
 * Runs in the guest: kills the server while applications work, again and again, and looks each time whether all is there
 * that fsync(2) had promised.
 *
 *   zus-kill-test [--rounds 100] [--seconds 3] [--workers 3] [--size 512M] [--mount /mnt/kill] [--load fsstress|own] DEVICE...
 *
 * Each round: work for a while, SIGKILL of zus, unmount, start zus anew, mount, check every promised file, unmount, and
 * fsck.zpmfs has to find nothing. Of the workers one writes files and vouches for them after fsync; the others are processes
 * of xfstests' fsstress, or, without an xfstests tree in the guest, such as the first. The devices are formatted. Exit codes:
 * 0, 1 a promise was broken, 2.
 */

import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Applications, BrokenError, type Load, STOPPED, WORK } from './kill-applications.ts';
import { contentOf, directoryOf, type Promised, work } from './kill-load.ts';
import { Fsstress, findFsstress } from './kill-stress.ts';

const EXIT = { OK: 0, BROKEN: 1, CANNOT: 2 } as const;

interface Options extends Load {
  readonly rounds: number;
  readonly size: string | null;
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
      size: { type: 'string' },
      mount: { type: 'string', default: '/mnt/kill' },
      load: { type: 'string' },
    },
  });
  if (positionals.length === 0) throw new Error('no device given');
  const { rounds, seconds, workers, size, mount, load } = values;
  if (load !== undefined && load !== 'fsstress' && load !== 'own')
    throw new Error(`--load ${load}: there are fsstress and own`);
  const fsstress = load === 'own' ? null : findFsstress();
  if (load === 'fsstress' && fsstress === null) throw new Error('there is no xfstests tree in this guest');
  return {
    rounds: Number(rounds),
    seconds: Number(seconds),
    workers: Number(workers),
    size: size ?? null,
    mount,
    fsstress,
    devices: positionals,
  };
}

async function killAgainAndAgain(options: Options): Promise<void> {
  const { rounds, mount, devices, workers, fsstress } = options;
  mkdirSync(mount, { recursive: true });
  spawnSync('umount', [mount]);
  spawnSync('zus-service', ['stop']);
  must('mkfs.zpmfs', ['-q', '-f', ...(options.size === null ? [] : ['-s', options.size]), ...devices]);
  must('zus-service', ['start']);
  const promised = new Map<string, Promised>();
  let checked = 0;
  let made = 0;
  const load =
    fsstress === null
      ? `${workers} workers of our own; no fsstress`
      : `fsstress with ${workers - 1} processes, and a worker of our own`;
  process.stdout.write(`load: ${load}\n`);
  await using applications = new Applications(options, promised);
  must('mount', ['-t', 'zpmfs', devices[0], mount]);
  for (let round = 1; round <= rounds; round++) {
    forget(options, round - 2, promised);
    const operations = await applications.workAndKill(round);
    must('umount', [mount]);
    must('zus-service', ['start']);
    must('mount', ['-t', 'zpmfs', devices[0], mount]);
    checked += check(mount, promised);
    const stressed = fsstress === null ? 0 : countEntries(Fsstress.directory(mount, round));
    made += stressed;
    const entries = countEntries(mount);
    must('umount', [mount]);
    const fsck = spawnSync('fsck.zpmfs', ['-n', devices[0]], { encoding: 'utf8' });
    if (fsck.status !== 0)
      throw new BrokenError(`round ${round}: fsck.zpmfs says ${fsck.status}: ${fsck.stdout}`);
    process.stdout.write(
      `round ${round}: ${operations} operations of our own, then killed; ` +
        `${promised.size} files promised and there, ${entries} names in all${fsstress === null ? '' : `, ${stressed} of this round's fsstress`}; fsck clean\n`,
    );
    must('mount', ['-t', 'zpmfs', devices[0], mount]);
  }
  must('umount', [mount]);
  if (fsstress !== null && made === 0) throw new Error('fsstress made nothing: it was no load');
  process.stdout.write(
    `${rounds} kills under load (${load}), ${checked} promised files looked at, all as they should be\n`,
  );
}

/** What a round long ago left is removed, so that a round takes as long as the one before. */
function forget({ mount, workers }: Options, round: number, promised: Map<string, Promised>): void {
  for (let worker = 0; worker < workers; worker++) {
    const directory = directoryOf(worker, round);
    for (const name of promised.keys()) if (name.startsWith(`${directory}/`)) promised.delete(name);
    rmSync(`${mount}/${directory}`, { recursive: true, force: true });
  }
  Fsstress.forget(mount, round);
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
  return promised.size;
}

/** Names that nobody vouches for can be listed and looked at all the same. */
function countEntries(directory: string): number {
  let entries = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    entries += entry.isDirectory() ? 1 + countEntries(path) : 1;
    lstatSync(path);
  }
  return entries;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
