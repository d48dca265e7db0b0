// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { ArtefactDirectory, artefactKey } from './cache-directory.ts';
import { CommandFailedError, InterruptedError, LabError } from './errors.ts';
import { quietContext } from './runtime/testing/context.ts';
import { scratchDirectory } from './testing/scratch.ts';
import { makeWorkDirectory, sweepWorkDirectories } from './work-directory.ts';

const write = (text: string) => (directory: string) => writeFile(join(directory, 'file'), text);

test('an artefact is built once and then found', async () => {
  const cache = new ArtefactDirectory(await scratchDirectory());
  const first = await cache.obtain('thing', ['a'], quietContext(), write('one'));
  const second = await cache.obtain('thing', ['a'], quietContext(), () =>
    Promise.reject(new Error('built again')),
  );
  expect([first.hit, second.hit]).toEqual([false, true]);
  expect(second.directory).toBe(first.directory);
  expect(await readFile(join(second.directory, 'file'), 'utf8')).toBe('one');
});

test('other inputs are another artefact, also when their texts run together alike', () => {
  expect(artefactKey('thing', ['ab', 'c'])).not.toBe(artefactKey('thing', ['a', 'bc']));
  expect(artefactKey('thing', ['a'])).not.toBe(artefactKey('other', ['a']));
});

test('a build that fails leaves nothing, and the next one works', async () => {
  const root = await scratchDirectory();
  const cache = new ArtefactDirectory(root);
  const failing = cache.obtain('thing', ['a'], quietContext(), async (directory) => {
    await write('half')(directory);
    throw new LabError('It broke.');
  });
  await expect(failing).rejects.toThrow('It broke.');
  expect(await readdir(join(root, 'thing'))).toEqual([]);
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
  expect((await cache.obtain('thing', ['a'], quietContext(), write('whole'))).hit).toBe(false);
});

test('a build that ends after an abort does not count', async () => {
  const root = await scratchDirectory();
  const controller = new AbortController();
  const build = new ArtefactDirectory(root).obtain(
    'thing',
    ['a'],
    quietContext(controller.signal),
    async (directory) => {
      await write('half')(directory);
      controller.abort(new InterruptedError());
    },
  );
  await expect(build).rejects.toThrow(InterruptedError);
  expect(await readdir(join(root, 'thing'))).toEqual([]);
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
});

test('what a killed build left is removed, what is under way is not', async () => {
  const root = await scratchDirectory();
  await using mine = await makeWorkDirectory(root, 'thing-mine');
  const killed = mine.path.replace('thing-mine', 'thing-killed').replace(String(process.pid), '4194305');
  await mkdir(killed);
  await writeFile(join(killed, 'half'), '');
  await sweepWorkDirectories(root);
  expect(await readdir(join(root, 'tmp'))).toEqual([basename(mine.path)]);
});

test('two builds of one artefact: the second waits and finds it', async () => {
  const root = await scratchDirectory();
  const waiting = quietContext();
  const obtain = (context: typeof waiting, build: (directory: string) => Promise<void>) =>
    new ArtefactDirectory(root).obtain('thing', ['a'], context, build);
  const building = Promise.withResolvers<void>();
  const first = obtain(quietContext(), async (directory) => {
    building.resolve();
    await expect.poll(() => waiting.notes.length).toBe(1);
    await write('one')(directory);
  });
  await building.promise;
  const second = obtain(waiting, () => expect.fail('built twice'));
  expect([(await first).hit, (await second).hit]).toEqual([false, true]);
  expect(waiting.notes).toEqual(['Waiting for another zufs-lab to finish this thing.']);
});

test('a build that another one overtook takes what is there, and its own goes', async () => {
  const root = await scratchDirectory();
  const cache = new ArtefactDirectory(root);
  const artefact = await cache.obtain('thing', ['a'], quietContext(), async (directory) => {
    // As after a sleep of the machine in which the lock was lost.
    const place = join(root, 'thing', artefactKey('thing', ['a']));
    await mkdir(place);
    await write('theirs')(place);
    await write('mine')(directory);
  });
  expect(artefact.hit).toBe(true);
  expect(await readFile(join(artefact.directory, 'file'), 'utf8')).toBe('theirs');
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
});

test.each([
  ['an error of the system', Object.assign(new Error('write failed'), { code: 'ENOSPC' })],
  [
    'the word of a program',
    new LabError('The kernel does not build.', {
      cause: new CommandFailedError('make failed.', {
        command: ['make'],
        exitCode: 2,
        outputTail: 'cc1: error: x.o: No space left on device',
      }),
    }),
  ],
])('a full disk is told as such: %s', async (_name, error) => {
  const root = await scratchDirectory();
  const build = new ArtefactDirectory(root).obtain('thing', ['a'], quietContext(), () =>
    Promise.reject(error),
  );
  await expect(build).rejects.toThrow(`No disk space: ${root} filled up while building.`);
  expect(await readdir(join(root, 'thing'))).toEqual([]);
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
});

test('the hash of files knows names, contents and the executable bit, not where they lie', async () => {
  const [one, two] = [await scratchDirectory(), await scratchDirectory()];
  const cache = new ArtefactDirectory(one);
  const hash = async (directory: string, name: string, text: string, mode: number): Promise<string> => {
    const tree = join(directory, `${name}${text}${mode}`, 'tree');
    await mkdir(join(tree, 'below'), { recursive: true });
    await writeFile(join(tree, 'below', name), text, { mode });
    return await cache.hashFiles([tree]);
  };
  const base = await hash(one, 'a', 'text', 0o644);
  expect(await hash(two, 'a', 'text', 0o644)).toBe(base);
  expect(await hash(two, 'b', 'text', 0o644)).not.toBe(base);
  expect(await hash(two, 'a', 'texts', 0o644)).not.toBe(base);
  expect(await hash(two, 'a', 'text', 0o755)).not.toBe(base);
});
