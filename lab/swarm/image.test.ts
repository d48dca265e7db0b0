// SPDX-License-Identifier: BSD-3-Clause

import { createHash } from 'node:crypto';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { extract, pack } from 'tar-stream';
import { expect, test } from 'vitest';
import { fakeContext } from '../testing/fake-context.ts';
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

/** Images by their names and IDs, with their layers; what is built and loaded is kept, and can be refused. */
class PlayedEngine {
  readonly images = new Map<string, readonly string[]>();
  readonly built: Files[] = [];
  readonly loaded: Files[] = [];
  refuses: (files: Files) => boolean = () => false;
  /** What it says of the archives that it refuses. */
  complaint = 'a layer is not there';
  /** Another one, whose images this one has too. */
  has: PlayedEngine | undefined;
  saved: Files = {};
  saves = 0;

  get docker(): Docker {
    return {
      info: async () => ({ Name: 'node-b' }),
      getImage: (name: string) => ({
        inspect: async () => this.#inspect(name.replace(/^id of /, '')),
        get: async () => {
          this.saves += 1;
          return tarOf(this.saved);
        },
      }),
      listImages: async () => [...this.images.keys()].map((Id) => ({ Id })),
      buildImage: async (tar: Readable, { t }: { t: string }) => {
        this.built.push(await untar(tar));
        this.images.set(t, ['of what is below']);
        return undefined;
      },
      loadImage: async (tar: Readable) => {
        const files = await untar(tar);
        if (this.refuses(files)) throw new Error(this.complaint);
        this.loaded.push(files);
        const [{ RepoTags = [] }] = JSON.parse(files['manifest.json']) as [{ RepoTags?: string[] }];
        for (const name of RepoTags) this.images.set(name, []);
        return undefined;
      },
      modem: { followProgress: (_: unknown, done: (error: null, lines: []) => void) => done(null, []) },
    } as unknown as Docker;
  }

  #inspect(name: string): unknown {
    const layers = this.images.get(name) ?? this.has?.images.get(name);
    if (layers === undefined) throw Object.assign(new Error('none'), { statusCode: 404 });
    const config = { Architecture: 'amd64', Config: { Env: ['PATH=/bin'] } };
    return { Id: `id of ${name}`, RootFS: { Layers: layers }, ...config };
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
  for (const file of ['bzImage', 'root.ext4', 'pmem0'])
    await writeFile(join(root, file), `${file} `.repeat(100));
  const artefacts: BootArtefacts = {
    kernel: { key: 'k1', bzImage: join(root, 'bzImage'), flavour: 'release' },
    image: { key: 'i1', disk: join(root, 'root.ext4'), hostKey: '', hit: true },
    pmem: { key: 'p1', files: [join(root, 'pmem0')] },
  };
  return { root, artefacts, context: { ...fakeContext(root), packageRoot: root } };
}

/** What of an archive that was loaded is not about the image: its layers. */
const layersOf = (engine: PlayedEngine) =>
  engine.loaded.map((files) => Object.keys(files).filter((name) => name.endsWith('layer.tar')));

test('the image of the tasks is made of layers, and of those only what has changed', async () => {
  const { root, artefacts, context } = await small();
  const engine = new PlayedEngine();
  engine.images.set('builder:1', ['base']);
  const id = await obtainTaskImage([engine.docker], 'builder:1', artefacts, context);
  const contents = engine.built.map((files) => Object.keys(files).filter((name) => name !== 'Dockerfile'));
  expect(contents).toEqual([
    ['root.ext4.zst'],
    ['node_modules/ours/file'],
    ['pmem.tar.gz'],
    ['artefacts.json', 'bzImage'],
  ]);
  expect(JSON.parse(engine.built[3]['artefacts.json'])).toMatchObject({
    kernel: { key: 'k1', bzImage: '/zufs-lab/bzImage' },
    image: { key: 'i1', disk: '/zufs-lab/root.ext4.zst' },
    pmem: { key: 'p1', archive: '/zufs-lab/pmem.tar.gz', files: ['pmem0'] },
  });
  const [top] = engine.loaded;
  const files = await untar(Readable.from([Buffer.from(top?.['top/layer.tar'] ?? '')]));
  expect(Object.keys(files)).toEqual(expect.arrayContaining(['zufs-lab/lab/file', 'zufs-lab/package.json']));
  // Each on top of the one before.
  const names = [...engine.images.keys()];
  expect(engine.built.map(({ Dockerfile }) => Dockerfile.split('\n')[0])).toEqual(
    names.slice(0, 4).map((name) => `FROM ${name}`),
  );
  expect(await obtainTaskImage([engine.docker], 'builder:1', artefacts, context)).toBe(id);
  expect([engine.built.length, engine.loaded.length]).toEqual([4, 1]);

  await appendFile(join(root, 'lab', 'file'), 'an edit');
  expect(await obtainTaskImage([engine.docker], 'builder:1', artefacts, context)).not.toBe(id);
  expect([engine.built.length, engine.loaded.length]).toEqual([4, 2]);
  expect(engine.loaded.at(-1)?.['top/layer.tar']).toContain('an edit');

  const kernel = { ...artefacts.kernel, key: 'k2' };
  await obtainTaskImage([engine.docker], 'builder:1', { ...artefacts, kernel }, context);
  expect([engine.built.length, engine.loaded.length]).toEqual([5, 3]);

  // NVDIMMs of other sizes: theirs, and the layers above.
  const pmem = { key: 'p2', files: artefacts.pmem?.files ?? [] };
  await obtainTaskImage([engine.docker], 'builder:1', { ...artefacts, pmem }, context);
  expect([engine.built.length, engine.loaded.length]).toEqual([7, 4]);
});

test('the last layer goes to each engine as it is, with what an archive of the whole would say', async () => {
  const { artefacts, context } = await small();
  const [first, other] = [new PlayedEngine(), new PlayedEngine()];
  first.images.set('builder:1', ['base']);
  const engines: [Docker, Docker] = [first.docker, other.docker];
  other.has = first;
  await obtainTaskImage(engines, 'builder:1', artefacts, context);
  expect(layersOf(first)).toEqual([['top/layer.tar']]);
  expect(other.loaded).toEqual(first.loaded);
  expect(first.saves).toBe(0);
  const [archive] = other.loaded;
  const [{ Config, Layers }] = JSON.parse(archive?.['manifest.json'] ?? '') as [
    { Config: string; Layers: string[] },
  ];
  const config = JSON.parse(archive?.[Config] ?? '') as { rootfs: { diff_ids: string[] } };
  const sum = createHash('sha256')
    .update(archive?.['top/layer.tar'] ?? '')
    .digest('hex');
  expect(config).toMatchObject({ architecture: 'amd64', config: { Env: ['PATH=/bin'] } });
  expect(config.rootfs.diff_ids).toEqual(['of what is below', `sha256:${sum}`]);
  expect(Layers).toHaveLength(2);
});

test('an engine that takes no archive with the last layer alone: it is built, and copied whole', async () => {
  const { artefacts, context } = await small();
  const engine = new PlayedEngine();
  engine.images.set('builder:1', ['base']);
  engine.refuses = () => true;
  const id = await obtainTaskImage([engine.docker], 'builder:1', artefacts, context);
  expect(engine.built.at(-1)?.Dockerfile).toContain('ENTRYPOINT');
  expect(engine.built.at(-1)?.['lab/file']).toBe('lab');
  expect(id).toBe(`id of ${[...engine.images.keys()].at(-1)}`);
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

test.each<[string, readonly string[]]>([
  ['nothing of it', []],
  ['what is below', ['base']],
])('an engine that has %s and no room is named, with what it says', async (_, has) => {
  const { context } = await small();
  const [from, to] = [new PlayedEngine(), new PlayedEngine()];
  from.images.set('id', ['base', 'disk', 'package']);
  from.saved = saved;
  to.images.set('what is there', has);
  to.refuses = () => true;
  to.complaint = 'write /layer.tar: no space left on device';
  await expect(copyImage(from.docker, [to.docker], 'id', context)).rejects.toThrow(
    'node-b did not take the image of the tasks: write /layer.tar: no space left on device.',
  );
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
  expect([all, some, none].map(layersOf)).toEqual([
    [],
    [['b/layer.tar', 'c/layer.tar']],
    [['a/layer.tar', 'b/layer.tar', 'c/layer.tar']],
  ]);
});
