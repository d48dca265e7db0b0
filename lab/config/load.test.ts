// SPDX-License-Identifier: BSD-3-Clause

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { ConfigError } from '../errors.ts';
import { packageRoot } from '../paths.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { settingPaths } from './layer.ts';
import { loadConfig } from './load.ts';
import { labConfigSchema, labJsonSchema, userFileJsonSchema } from './schema.ts';

/** Load with `text` as the user's file; the message of the error, with its hint, if it is refused. */
async function load(options: { text?: string; environment?: Record<string, string>; set?: string[] }) {
  const directory = await scratchDirectory();
  const file = join(directory, 'mine.yaml');
  await writeFile(file, options.text ?? '{}');
  const result = loadConfig({
    packageRoot,
    userFile: file,
    environment: options.environment ?? {},
    set: options.set ?? [],
  });
  return { file, directory, result };
}

async function refusal(options: Parameters<typeof load>[0]): Promise<string> {
  const { file, result } = await load(options);
  const error = await result.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConfigError)) throw new Error(`not refused: ${String(error)}`);
  return `${error.message} ${error.hint ?? ''}`.trim().replaceAll(file, 'mine.yaml');
}

test('lab.yaml has every setting of the schema, and no other', async () => {
  const defaults: unknown = parse(await readFile(join(packageRoot, 'lab.yaml'), 'utf8'));
  expect(() => labConfigSchema.parse(defaults)).not.toThrow();
  const leaves = (value: unknown, path: string): string[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`))
      : [path];
  expect(leaves(defaults, '').sort()).toEqual(
    settingPaths(labJsonSchema())
      .map((path) => path.join('.'))
      .sort(),
  );
});

test('later places win: file, environment, flags', async () => {
  const text = 'vm:\n  memory: 4G\n  cpus: 3\n  nodes: 3\n';
  const environment = { ZUFS_LAB_VM_CPUS: '4', ZUFS_LAB_VM_NODES: '4', UNRELATED: 'x' };
  const { result } = await load({ text, environment, set: ['vm.nodes=5'] });
  expect((await result).vm).toMatchObject({ memory: '4G', cpus: 4, nodes: 5, pmemPerNode: 2 });
});

test('camel case and lists from the environment', async () => {
  const environment = { ZUFS_LAB_VM_PMEM_SIZE: '2G', ZUFS_LAB_XFSTESTS_TESTS: 'generic/001, generic/002' };
  const config = await (await load({ environment })).result;
  expect(config.vm.pmemSize).toBe('2G');
  expect(config.xfstests.tests).toEqual(['generic/001', 'generic/002']);
});

test('relative paths start from the file that sets them', async () => {
  const { directory, result } = await load({
    text: 'kernel:\n  source: ./linux\n  patches: [fix.patch, /abs/two]\n',
  });
  const { kernel } = await result;
  expect(kernel.source).toBe(join(directory, 'linux'));
  expect(kernel.patches).toEqual([join(directory, 'fix.patch'), '/abs/two']);
});

test('words and URLs of kernel.source stand for themselves', async () => {
  for (const source of ['debian', 'https://example.org/linux.git#v6.12']) {
    expect((await (await load({ set: [`kernel.source=${source}`] })).result).kernel.source).toBe(source);
  }
});

test('an empty file and an empty section change nothing', async () => {
  const plain = await (await load({})).result;
  expect(await (await load({ text: '' })).result).toEqual(plain);
  expect(await (await load({ text: 'vm:\n' })).result).toEqual(plain);
});

test('an unknown key is refused with its place and the key that was meant', async () => {
  expect(await refusal({ text: '# mine\nvm:\n  memroy: 4G\n' })).toBe(
    'mine.yaml:3:3: vm.memroy is no setting; did you mean memory?',
  );
});

test('an unknown key like no other is refused with all that is allowed', async () => {
  expect(await refusal({ text: 'mount:\n  zzzzzzzzzz: 1\n' })).toBe(
    'mine.yaml:2:3: mount.zzzzzzzzzz is no setting. Allowed here: filesystem, test, scratch.',
  );
});

test.each([
  ['vm:\n  cpus: many\n', 'mine.yaml:2:3: vm.cpus is the text "many"; allowed is a whole number'],
  ['vm:\n  cpus: 0\n', 'mine.yaml:2:3: vm.cpus is the number 0; allowed is a whole number >=1'],
  ['vm:\n  memory: lots\n', 'mine.yaml:2:3: vm.memory is the text "lots"; allowed is text'],
  ['vm:\n  memory: 4096\n', 'mine.yaml:2:3: vm.memory is the number 4096; allowed is text'],
  ['vm: 3\n', 'mine.yaml:1:1: vm is the number 3; allowed is a section with accelerator, cpus'],
  [
    'kernel:\n  flavour: fast\n',
    'mine.yaml:2:3: kernel.flavour is the text "fast"; allowed is `release`, `debug`.',
  ],
  [
    'server:\n  filesystems: [zpmfs, 7]\n',
    'mine.yaml:2:24: server.filesystems.1 is the number 7; allowed is text',
  ],
  ['runtime:\n', 'mine.yaml:1:1: runtime is empty; allowed is `auto`, `docker`, `host`.'],
])('a wrong value is refused with its place and what is allowed: %j', async (text, message) => {
  expect(await refusal({ text })).toContain(message);
});

test('what is not YAML is refused with its place', async () => {
  expect(await refusal({ text: 'vm:\n  memory: [4G\n' })).toMatch(/^mine\.yaml:\d+:\d+: .+\.$/);
  expect(await refusal({ text: '- vm\n' })).toBe('mine.yaml:1:1: the file must hold settings (key: value).');
});

test('flags and variables are refused by their own name', async () => {
  expect(await refusal({ set: ['vm.memroy=4G'] })).toBe(
    '--set vm.memroy=4G: vm.memroy is no setting; did you mean vm.memory?',
  );
  expect(await refusal({ set: ['vm.cpus=many'] })).toContain(
    '--set vm.cpus=many: vm.cpus is the text "many"',
  );
  expect(await refusal({ environment: { ZUFS_LAB_VM_CPU: '1' } })).toBe(
    'The environment variable ZUFS_LAB_VM_CPU is no setting; did you mean ZUFS_LAB_VM_CPUS?',
  );
});

test('a file that is not there is refused', async () => {
  const result = loadConfig({ packageRoot, userFile: '/nonexistent/lab.yaml', environment: {}, set: [] });
  await expect(result).rejects.toThrow('/nonexistent/lab.yaml cannot be read: it does not exist.');
});

test('the JSON Schema for editors requires nothing', () => {
  const schema = userFileJsonSchema();
  expect(JSON.stringify(schema)).not.toContain('"required"');
  expect(schema.properties?.vm?.properties?.cpus).toMatchObject({ type: 'integer', minimum: 1, maximum: 64 });
});

test('a switch is true or false, and nothing else', async () => {
  expect((await (await load({ set: ['server.extentCache=false'] })).result).server.extentCache).toBe(false);
  const environment = { ZUFS_LAB_SERVER_EXTENT_CACHE: 'true' };
  expect((await (await load({ environment })).result).server.extentCache).toBe(true);
  expect(await refusal({ set: ['server.extentCache=no'] })).toContain('server.extentCache=no');
});
