// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HostRuntime } from '../runtime/host.ts';
import { testLabContext } from '../testing/lab-context.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { obtainPmem } from './boot.ts';
import { pmemKey } from './pmem.ts';
import { planTopology } from './topology.ts';

async function contextOf(...set: readonly string[]) {
  const root = await scratchDirectory();
  const runtime = new HostRuntime('test', root);
  return await testLabContext({
    runtime,
    cacheRoot: join(root, 'cache'),
    stateDir: join(root, 'state'),
    set,
  });
}

const small = ['vm.nodes=1', 'vm.cpus=1', 'vm.pmemSize=64M'];
const artefacts = {
  kernel: { key: 'k', bzImage: '/bzImage', flavour: 'release' },
  image: { key: 'i', disk: '/disk', hostKey: '', hit: true },
} as const;

test('NVDIMMs of the same sizes and nodes are prepared alike, whatever else the machine is', async () => {
  const key = async (...set: readonly string[]) =>
    pmemKey(planTopology((await contextOf(...small, ...set)).config.vm));
  expect(await key('vm.memory=1G')).toBe(await key('vm.memory=2G'));
  expect(await key('vm.pmemSize=128M')).not.toBe(await key());
  expect(await key('vm.nodes=2')).not.toBe(await key());
});

test('what came with the artefacts is taken for the machine that it is for, and for no other', async () => {
  const context = await contextOf(...small);
  const prepared = { key: pmemKey(planTopology(context.config.vm)), files: ['/pmem0', '/pmem1'] };
  const asked: string[] = [];
  context.cache.obtain = async (kind) => {
    asked.push(kind);
    return { key: 'other', directory: '/cache', hit: true };
  };
  expect(await obtainPmem(context, { ...artefacts, pmem: prepared })).toBe(prepared);
  expect(asked).toEqual([]);
  const others = { key: 'of other sizes', files: ['/elsewhere'] };
  expect(await obtainPmem(context, { ...artefacts, pmem: others })).toEqual({
    key: 'other',
    files: ['/cache/pmem0', '/cache/pmem1'],
  });
  expect(asked).toEqual(['pmem']);
});
