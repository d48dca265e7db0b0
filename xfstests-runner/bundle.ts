// SPDX-License-Identifier: BSD-3-Clause

import { createWriteStream } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Pack, pack } from 'tar-stream';
import type { ArtefactCache } from '../lab/cache.ts';
import type { TaskContext } from '../lab/runtime/runtime.ts';

/** Parts of a built tree that running tests needs; the rest (git, docs, autotools) stays on the host. */
const PARTS = ['check', 'randomize.awk', 'VERSION', 'common', 'src', 'ltp', 'tests/generic'];

/** What building leaves behind and no test reads. */
const BUILD_ONLY = /(\.(c|h|o|lo|la|a|dep)|^Makefile|^\.dep|^\.libs)$/;

/** Those of our shell files that upstream's scripts source, and where they lie in the bundle. */
const SOURCED: ReadonlyMap<string, string> = new Map([
  ['zpmfs.sh', 'common/zufs-lab'],
  ['after-test.sh', 'common/zufs-lab-after-test'],
  ['leaks.sh', 'common/zufs-lab-leaks'],
  ['timing.sh', 'common/zufs-lab-timing'],
  ['report.sh', 'common/zufs-lab-report'],
  ['more.sh', 'common/zufs-lab-more'],
]);

/** Upstream's scripts that source ours as their last act, so that our functions come after theirs. */
const HOOKED: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'common/rc',
    ['common/zufs-lab', 'common/zufs-lab-after-test', 'common/zufs-lab-leaks', 'common/zufs-lab-timing'],
  ],
  ['common/attr', ['common/zufs-lab']],
  ['common/quota', ['common/zufs-lab']],
  ['common/scsi_debug', ['common/zufs-lab']],
  ['common/report', ['common/zufs-lab-report', 'common/zufs-lab-more']],
]);

/** Our own programs in the bundle, below this directory. */
export const GUEST_SCRIPTS = 'zufs-lab';

/** Directory of the runner's shell files and self-check tests in this package. */
function ownFiles(packageRoot: string): { readonly shell: string; readonly tests: string } {
  const runner = join(packageRoot, 'xfstests-runner');
  return { shell: join(runner, 'shell'), tests: join(runner, 'tests', 'runner') };
}

/** The runner's own tests with their groups, read from the line that every test starts with. */
export async function ownTests(packageRoot: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const directory = ownFiles(packageRoot).tests;
  const tests = new Map<string, readonly string[]>();
  for (const name of (await readdir(directory)).sort()) {
    if (!/^\d{3}$/.test(name)) continue;
    const groups = /^_begin_fstest (.*)$/m.exec(await readFile(join(directory, name), 'utf8'))?.[1] ?? '';
    tests.set(`runner/${name}`, groups.split(' '));
  }
  return tests;
}

/** A bundle: what is unpacked in the guest. */
export interface Bundle {
  /** Hash of everything in it. */
  readonly key: string;
  /** A gzipped tar on the host. */
  readonly file: string;
  /** Its `check` can be given more tests while it runs. */
  readonly refills?: boolean;
}

/** How `check` goes through its tests where shell/more.sh can add some; other versions of it have a loop that looks at its list once. */
const openLoop = /for \(\(ix = 0; ix < \$\{#_list\[\*\]\};/;

/**
 * Pack a built tree for the guest: its running parts, our functions for file systems that upstream has no case for, and
 * our self-checks. The tree is only read. Same tree, same bundle: the cache keeps it.
 */
export async function makeBundle(
  tree: string,
  packageRoot: string,
  cache: ArtefactCache,
  context: TaskContext,
): Promise<Bundle> {
  const own = ownFiles(packageRoot);
  const present: string[] = [];
  for (const part of PARTS) {
    const path = join(tree, part);
    if (await stat(path).catch(() => undefined)) present.push(path);
  }
  const inputs = ['layout 4', await cache.hashFiles(present), await cache.hashFiles([own.shell, own.tests])];
  const artefact = await cache.obtain('xfstests-bundle', inputs, context, async (directory) => {
    context.progress.update('packing xfstests for the guest');
    await writeBundle(tree, packageRoot, join(directory, 'xfstests.tar.gz'));
  });
  const check = await readFile(join(tree, 'check'), 'utf8').catch(() => '');
  return {
    key: artefact.key,
    file: join(artefact.directory, 'xfstests.tar.gz'),
    refills: openLoop.test(check),
  };
}

/** Write the tar itself; entries in name order and without times, so that it depends on the contents only. */
export async function writeBundle(tree: string, packageRoot: string, file: string): Promise<void> {
  const own = ownFiles(packageRoot);
  const tar = pack();
  const written = pipeline(tar, createGzip({ level: 6 }), createWriteStream(file));
  const filled = (async () => {
    for (const part of PARTS) await addTree(tar, join(tree, part), part);
    for (const name of (await readdir(own.shell)).sort()) {
      const place = SOURCED.get(name) ?? `${GUEST_SCRIPTS}/${name}`;
      await addFile(tar, join(own.shell, name), place);
    }
    await addTree(tar, own.tests, 'tests/runner');
    tar.entry(
      { name: 'tests/runner/group.list', mode: 0o644, mtime: new Date(0) },
      await groupList(packageRoot),
    );
    tar.finalize();
  })();
  await Promise.all([written, filled]);
}

async function addTree(tar: Pack, path: string, name: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isDirectory()) return addFile(tar, path, name);
  for (const entry of (await readdir(path, { withFileTypes: true })).sort(byName)) {
    if (BUILD_ONLY.test(entry.name)) continue;
    const from = join(path, entry.name);
    const to = `${name}/${entry.name}`;
    if (entry.isSymbolicLink()) {
      tar.entry({ name: to, type: 'symlink', linkname: await readlink(from), mtime: new Date(0) });
    } else if (entry.isDirectory()) await addTree(tar, from, to);
    else if (entry.isFile()) await addFile(tar, from, to);
  }
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

async function addFile(tar: Pack, path: string, name: string): Promise<void> {
  const { mode } = await stat(path);
  let content: Buffer = await readFile(path);
  const ours = HOOKED.get(name)?.map((file) => `. ./${file}\n`);
  if (ours !== undefined) content = Buffer.concat([content, Buffer.from(`\n${ours.join('')}`)]);
  const executable = (mode & 0o100) !== 0 || basename(name).endsWith('.sh');
  tar.entry({ name, mode: executable ? 0o755 : 0o644, mtime: new Date(0) }, content);
}

async function groupList(packageRoot: string): Promise<string> {
  const tests = await ownTests(packageRoot);
  return [...tests].map(([name, groups]) => `${basename(name)} ${groups.join(' ')}\n`).join('');
}
