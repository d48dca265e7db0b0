// SPDX-License-Identifier: BSD-3-Clause

import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { extract, pack } from 'tar-stream';
import { expect, test } from 'vitest';
import { fakeContext } from '../../xfstests-runner/testing/context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import type { BootArtefacts } from '../vm/boot.ts';
import { copyImage } from './copy-image.ts';
import { obtainTaskImage } from './image.ts';

type Files = Readonly<Record<string, string>>;

async function untar(tar: AsyncIterable<Uint8Array>): Promise<Files> {
  const files: Record<string, string> = {};
  for await (const entry of Readable.from(tar).pipe(extract())) {
    const content = await text(entry);
    if (entry.header.type === 'file') files[entry.header.name] = content;
  }
  return files;
}

function tarOf(files: Files): Readable {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
  tar.finalize();
  return Readable.from(tar);
}

/** Images by their names, with their layers; what is built and loaded is kept, and can be refused. */
class PlayedEngine {
  readonly images = new Map<string, readonly string[]>();
  readonly built: Files[] = [];
  readonly loaded: Files[] = [];
  refuses: (files: Files) => boolean = () => false;
  saved: Files = {};
  saves = 0;

  get docker(): Docker {
    return {
      getImage: (name: string) => ({
        inspect: async () => {
          const layers = this.images.get(name);
          if (layers === undefined) throw Object.assign(new Error('none'), { statusCode: 404 });
          return { Id: `id of ${name}`, RootFS: { Layers: layers } };
        },
        get: async () => {
          this.saves += 1;
          return tarOf(this.saved);
        },
      }),
      listImages: async () => [...this.images.keys()].map((Id) => ({ Id })),
      buildImage: async (tar: Readable, { t }: { t: string }) => {
        this.built.push(await untar(tar));
        this.images.set(t, []);
        return undefined;
      },
      loadImage: async (tar: Readable) => {
        const files = await untar(tar);
        if (this.refuses(files)) throw new Error('a layer is not there');
        this.loaded.push(files);
        return undefined;
      },
      modem: { followProgress: (_: unknown, done: (error: null, lines: []) => void) => done(null, []) },
    } as unknown as Docker;
  }
}

/** A package, kernel and disk of a few bytes. */
async function small() {
  const root = await scratchDirectory();
  const parts =
    'lab xfstests-runner workloads bench server vm-images kernel-config node_modules/ours node_modules/tests';
  for (const part of parts.split(' ')) {
    await mkdir(join(root, part), { recursive: true });
    await writeFile(join(root, part, 'file'), part);
  }
  await writeFile(join(root, 'lab.yaml'), '');
  await writeFile(join(root, 'package.json'), '{"devDependencies": {"tests": "1"}}');
  for (const file of ['bzImage', 'root.ext4']) await writeFile(join(root, file), `${file} `.repeat(100));
  const artefacts: BootArtefacts = {
    kernel: { key: 'k1', bzImage: join(root, 'bzImage'), flavour: 'release' },
    image: { key: 'i1', disk: join(root, 'root.ext4'), hostKey: '', hit: true },
  };
  return { root, artefacts, context: { ...fakeContext(root), packageRoot: root } };
}

test('the image of the tasks is made of layers, and of those only what has changed', async () => {
  const { root, artefacts, context } = await small();
  const engine = new PlayedEngine();
  const id = await obtainTaskImage(engine.docker, 'builder:1', artefacts, context);
  const contents = engine.built.map((files) => Object.keys(files).filter((name) => name !== 'Dockerfile'));
  expect(contents).toEqual([
    ['root.ext4.zst'],
    ['node_modules/ours/file'],
    ['artefacts.json', 'bzImage'],
    expect.arrayContaining(['lab/file', 'package.json']),
  ]);
  // Each on top of the one before.
  const names = ['builder:1', ...engine.images.keys()];
  expect(engine.built.map(({ Dockerfile }) => Dockerfile.split('\n')[0])).toEqual(
    names.slice(0, -1).map((name) => `FROM ${name}`),
  );
  expect(id).toBe(`id of ${names.at(-1)}`);
  expect(await obtainTaskImage(engine.docker, 'builder:1', artefacts, context)).toBe(id);
  expect(engine.built).toHaveLength(4);

  await appendFile(join(root, 'lab', 'file'), 'an edit');
  expect(await obtainTaskImage(engine.docker, 'builder:1', artefacts, context)).not.toBe(id);
  expect(engine.built).toHaveLength(5);
  expect(engine.built.at(-1)?.['lab/file']).toContain('an edit');

  const kernel = { ...artefacts.kernel, key: 'k2' };
  await obtainTaskImage(engine.docker, 'builder:1', { ...artefacts, kernel }, context);
  expect(engine.built).toHaveLength(7);
});

/** As `docker save` has it: what is in the image comes last. */
const saved: Files = {
  'a/layer.tar': 'base',
  'b/layer.tar': 'disk',
  'c/layer.tar': 'package',
  'config.json': '{}',
  'manifest.json': JSON.stringify([
    { Config: 'config.json', Layers: ['a/layer.tar', 'b/layer.tar', 'c/layer.tar'] },
  ]),
};

test.each<[string, readonly string[], readonly string[]]>([
  ['nothing of it', ['other'], ['a', 'b', 'c']],
  ['what is below', ['base', 'disk', 'older package'], ['c']],
  ['the same layer on top of another', ['other', 'disk', 'package'], ['a', 'b', 'c']],
])('to an engine that has %s', async (_, has, sent) => {
  const { context } = await small();
  const [from, to] = [new PlayedEngine(), new PlayedEngine()];
  from.images.set('id', ['base', 'disk', 'package']);
  from.saved = saved;
  to.images.set('what is there', has);
  await copyImage(from.docker, [to.docker], 'id', context);
  const layers = sent.map((name) => `${name}/layer.tar`);
  expect(to.loaded.map((files) => Object.keys(files))).toEqual([[...layers, 'config.json', 'manifest.json']]);
});

test('an engine that wants every layer gets them all', async () => {
  const { context } = await small();
  const [from, to] = [new PlayedEngine(), new PlayedEngine()];
  from.images.set('id', ['base', 'disk', 'package']);
  from.saved = saved;
  to.images.set('what is there', ['base']);
  to.refuses = (files) => !('a/layer.tar' in files);
  await copyImage(from.docker, [to.docker], 'id', context);
  expect(to.loaded).toEqual([saved]);
});

test('several engines: the image is put together once, and each gets what it lacks', async () => {
  const { context } = await small();
  const [from, all, some, none] = [1, 2, 3, 4].map(() => new PlayedEngine());
  from.images.set('id', ['base', 'disk', 'package']);
  from.saved = saved;
  all.images.set('id', ['base', 'disk', 'package']);
  some.images.set('below', ['base']);
  const engines = [all, some, none].map(({ docker }) => docker);
  await copyImage(from.docker, engines, 'id', context);
  expect(from.saves).toBe(1);
  const layers = (engine: PlayedEngine) =>
    engine.loaded.map((files) => Object.keys(files).filter((name) => name.endsWith('layer.tar')));
  expect([all, some, none].map(layers)).toEqual([
    [],
    [['b/layer.tar', 'c/layer.tar']],
    [['a/layer.tar', 'b/layer.tar', 'c/layer.tar']],
  ]);
});
