// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { LabContext } from '../lab/context.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import type { ReviveRequest } from '../lab/remote/messages.ts';
import { PlayedTasks } from '../lab/remote/testing/played-tasks.ts';
import { fakeContext } from '../lab/testing/fake-context.ts';
import { scratchDirectory } from '../lab/testing/scratch.ts';
import { readMatrix } from './declared.ts';
import type { BenchHost } from './host.ts';
import type { BenchWork } from './in-lab.ts';
import { planMatrix } from './plan.ts';
import { repeatOn, repeatOnTasks } from './repeat.ts';
import { repeatsMarkdown, repeatsSchema } from './report/repeats.ts';
import { type BenchReport, benchReportSchema } from './report/results.ts';
import type { Matrix } from './schema.ts';
import { FakeGuest } from './testing/fake-guest.ts';

const machine = { cpus: 1, nodes: 1, memory: '1G', pmemSize: '512M' };
const part = {
  machine,
  filesystems: ['ext4-dax', 'tmpfs'],
  workloads: ['randwrite-4k'],
  threads: [1],
};

interface Setup {
  readonly context: LabContext & ReturnType<typeof fakeContext>;
  readonly work: BenchWork;
}

/** Two rounds of a matrix whose ratio is 3 when ext4 makes 3000 and tmpfs 1000. */
async function setup(change: Partial<Matrix> = {}): Promise<Setup> {
  const root = await scratchDirectory();
  const matrix = {
    about: 'of a test',
    rounds: 2,
    warmUp: 0,
    seconds: 0.1,
    parts: [part],
    ratios: [
      {
        about: 'ext4 over tmpfs',
        workload: 'randwrite-4k',
        of: 'ext4-dax',
        over: ['tmpfs'],
        atLeast: { one: 2.9 },
      },
    ],
    ...change,
  };
  const file = join(root, 'own.yaml');
  await writeFile(file, stringify(matrix));
  const declared = await readMatrix(file);
  return {
    context: { ...fakeContext(root), packageRoot: root },
    work: {
      declared,
      machines: planMatrix(declared),
      programs: [],
      artefacts: {
        kernel: { key: 'k', flavour: 'release', bzImage: '/nowhere' },
        image: { key: 'i', disk: '/nowhere', hostKey: '', hit: true },
      },
    },
  };
}

/** A guest in which ext4 is so many times as fast as tmpfs. `onMeasurement` is called before each, with its number. */
function guest(ratio: number, onMeasurement: (number: number) => void = () => undefined): FakeGuest {
  const played = new FakeGuest();
  let count = 0;
  played.onCommand = (line) => {
    if (line.startsWith('mount -t ')) played.opsPerSec = line.includes('ext4') ? ratio * 1000 : 1000;
    if (line.includes('--name=bench')) {
      count += 1;
      onMeasurement(count);
    }
    return undefined;
  };
  return played;
}

async function reportOf(root: string, id: string): Promise<BenchReport> {
  const text = await readFile(join(root, 'build', 'bench', id, 'bench.json'), 'utf8');
  return benchReportSchema.parse(JSON.parse(text));
}

test('two tasks: a run for each, of its machine alone, and their ratios beside each other', async () => {
  const { context, work } = await setup();
  const engine = new PlayedTasks([
    { node: 'node-a', vm: guest(3) },
    { node: 'node-b', vm: guest(2), accelerator: 'kvm' },
  ]);
  const { report, directory } = await repeatOnTasks(context, work, 2, engine);
  expect(engine.order).toMatchObject({ tasks: 2, deploy: 'nothing', alone: true });
  expect(
    report.runs.map(({ number, node, cpu, accelerator, pinned }) => [number, node, cpu, accelerator, pinned]),
  ).toEqual([
    [1, 'node-a (TCG)', 'CPU of node-a', 'tcg', 'bound on node-a'],
    [2, 'node-b (KVM)', 'CPU of node-b', 'kvm', 'bound on node-b'],
  ]);
  expect(report.ratios).toEqual([
    {
      about: 'ext4 over tmpfs',
      threads: 1,
      of: 'ext4-dax',
      each: [3, 2],
      median: 2.5,
      spread: 0.4,
      atLeast: 2.9,
    },
  ]);
  expect(report.missing).toEqual([]);
  for (const [at, { id }] of report.runs.entries()) {
    const one = await reportOf(context.packageRoot, id);
    expect(one.results.map(({ rounds }) => rounds)).toEqual([
      [(3 - at) * 1000, (3 - at) * 1000],
      [1000, 1000],
    ]);
    expect(one.run).toMatchObject({ node: report.runs[at].node, hostCpus: 4, qemu: '7.2.0', server: '' });
  }
  expect(repeatsSchema.parse(JSON.parse(await readFile(join(directory, 'repeats.json'), 'utf8')))).toEqual(
    report,
  );
  const markdown = await readFile(join(directory, 'summary.md'), 'utf8');
  expect(markdown).toContain('| ext4 over tmpfs | 1 | 3.00 | 2.00 | 2.50 | 40 % | 2.9 | missed |');
  expect(markdown).toContain('| node-b (KVM) | 4 × CPU of node-b | KVM | bound on node-b |');
  const page = await readFile(join(directory, 'index.html'), 'utf8');
  expect(page).toContain(`<a href="../../bench/${report.runs[1].id}/index.html">`);
});

test('a node that goes in mid-run: the repeat begins anew on another, and nothing that it measured counts', async () => {
  const { context, work } = await setup();
  const engine: PlayedTasks = new PlayedTasks([
    { node: 'node-a', vm: guest(9, (number) => number === 2 && dies()) },
    { node: 'node-b', vm: guest(3) },
  ]);
  const dies = (): never => {
    engine.end('node-a');
    throw new LabError('The VM is gone.');
  };
  const { report } = await repeatOnTasks(context, work, 1, engine);
  expect(report.runs).toEqual([
    expect.objectContaining({ number: 1, node: 'node-b (TCG)', failures: 0, incomplete: false }),
  ]);
  expect(report.ratios[0].each).toEqual([3]);
  const all = await readdir(join(context.packageRoot, 'build', 'bench'));
  expect(all).toHaveLength(2);
  const [lost] = all.filter((id) => id !== report.runs[0].id);
  expect(await reportOf(context.packageRoot, lost)).toMatchObject({
    run: { node: 'node-a (TCG)' },
    failures: [],
    incomplete: true,
  });
});

test('a measurement that fails on a VM that lives is told, and the others are made', async () => {
  const { context, work } = await setup();
  const fails = guest(3, (number) => {
    if (number === 1) throw new LabError('fio has no memory');
  });
  const { report } = await repeatOnTasks(context, work, 1, new PlayedTasks([{ node: 'node-a', vm: fails }]));
  expect(report.runs).toEqual([expect.objectContaining({ failures: 1, incomplete: false })]);
});

test('a matrix of two machines: the first VM is that of the task, the second is asked for by its settings', async () => {
  const { context, work } = await setup({
    parts: [part, { ...part, label: 'large', machine: { ...machine, cpus: 2, pmemSize: '1G' } }],
  });
  const asked: ReviveRequest[] = [];
  const vm = guest(3);
  const revive = async (how: ReviveRequest) => {
    asked.push(how);
    return vm;
  };
  const { report } = await repeatOnTasks(context, work, 1, new PlayedTasks([{ node: 'node-a', vm, revive }]));
  expect(asked).toEqual([{ keepPmem: false, machine: { cpus: 2, nodes: 1, memory: '1G', pmemSize: '1G' } }]);
  const { results, run } = await reportOf(context.packageRoot, report.runs[0].id);
  expect(results.map(({ fs }) => fs)).toEqual(['ext4-dax', 'tmpfs', 'large:ext4-dax', 'large:tmpfs']);
  expect(run.machines.map(({ pmemSize }) => pmemSize)).toEqual(['512M', '1G']);
});

test('a repeat that gets no task has no figures, which is said', async () => {
  const { context, work } = await setup();
  const engine: PlayedTasks = new PlayedTasks([
    { node: 'node-a', vm: guest(3, () => engine.fail(new LabError('Every task of the run has ended.'))) },
  ]);
  const { report } = await repeatOnTasks(context, work, 2, engine);
  expect(report.runs.map(({ number }) => number)).toEqual([1]);
  expect(report.missing).toEqual([{ number: 2, reason: 'Every task of the run has ended.' }]);
  expect(repeatsMarkdown(report)).toContain('**Repeat 2 has no figures: Every task of the run has ended.**');
});

/** This machine, with VMs that are played: one for each run. */
function hostOf(...guests: readonly FakeGuest[]): BenchHost {
  const left = [...guests];
  const facts = { cpu: 'a CPU', hostCpus: 2, accelerator: 'tcg', qemu: '7.2.0', pinned: 'no' };
  return {
    boot: async () => ({
      vm: left.shift() ?? expect.fail('no VM is left'),
      cpus: 1,
      devices: ['/dev/pmem0'],
      facts,
    }),
    end: async () => undefined,
  };
}

test('on this machine, one after the other', async () => {
  const { context, work } = await setup();
  const { report } = await repeatOn(hostOf(guest(3), guest(4), guest(3.5)), context, work, 3);
  expect(report.ratios[0]).toMatchObject({ each: [3, 4, 3.5], median: 3.5 });
  expect(report.runs.map(({ node }) => node)).toEqual([undefined, undefined, undefined]);
  expect(repeatsMarkdown(report)).toContain('| this machine | 2 × a CPU | TCG | no |');
});

test('interrupted, it leaves what the repeats say that came to their end', async () => {
  const { context, work } = await setup();
  const second = guest(4, () => context.abort.abort(new InterruptedError()));
  await expect(repeatOn(hostOf(guest(3), second), context, work, 3)).rejects.toThrow(InterruptedError);
  const root = join(context.packageRoot, 'build', 'bench-repeats');
  const [directory] = await readdir(root);
  const text = await readFile(join(root, directory, 'repeats.json'), 'utf8');
  expect(repeatsSchema.parse(JSON.parse(text))).toMatchObject({
    runs: [{ number: 1 }],
    missing: [],
    ratios: [{ each: [3] }],
  });
});
