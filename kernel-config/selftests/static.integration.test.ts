// SPDX-License-Identifier: BSD-3-Clause

import { execFile } from 'node:child_process';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { exportSeries } from '../../lab/kernel/export.ts';
import { obtainSource } from '../../lab/kernel/source.ts';
import { packageRoot } from '../../lab/paths.ts';
import { installForTests } from '../../lab/testing/packages.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import { compileOurs, hostContext, inCompileTree } from './compile.ts';

interface Remark {
  readonly severity: string;
  readonly type: string;
  readonly line: string;
}

/** What checkpatch says of a patch: nothing at all, or remarks and their total, and then it ends with 1. */
async function checkpatch(script: string, patch: string): Promise<Remark[]> {
  const args = [script, '--strict', '--no-tree', '--show-types', '--terse', patch];
  const { stdout, code } = await promisify(execFile)('perl', args).then(
    (result) => ({ ...result, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
  if (code !== 0 && !/^total: \d+ errors/m.test(stdout))
    throw new Error(`checkpatch did not read ${patch}:\n${stdout}`);
  return [...stdout.matchAll(/^.*?: (ERROR|WARNING|CHECK):(\w+): .*$/gm)].map(([line, severity, type]) => ({
    severity: severity ?? '',
    type: type ?? '',
    line: line.slice(line.indexOf(basename(patch))),
  }));
}

/** Warnings that docs/kernel-review.md explains: the first column of its table. */
async function explained(): Promise<Set<string>> {
  const page = await readFile(join(packageRoot, 'docs/kernel-review.md'), 'utf8');
  return new Set([...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, type]) => type ?? ''));
}

test('checkpatch --strict finds no error in the series, and no warning that is not explained', async () => {
  const context = await hostContext();
  const source = await obtainSource(context);
  const series = await exportSeries(join(await scratchDirectory(), 'series'), context);
  const script = join(source.directory, 'scripts/checkpatch.pl');
  const patches = series.files.filter((file) => !basename(file).startsWith('0000-'));
  expect(patches.length).toBeGreaterThan(1);
  const remarks = (await Promise.all(patches.map((patch) => checkpatch(script, patch)))).flat();
  expect(remarks.filter((remark) => remark.severity === 'ERROR').map((remark) => remark.line)).toEqual([]);
  const known = await explained();
  expect(remarks.filter((remark) => !known.has(remark.type)).map((remark) => remark.line)).toEqual([]);
});

/** Ours to be compiled. */
const targets = ['fs/zuf/', 'mm/vm_local_cpu.o'];

describe('compiled with more warnings', () => {
  const warnings = (output: string) => output.split('\n').filter((line) => /\b(warning|error):/.test(line));
  const compiled = (output: string) => output.match(/^\s+CC\s+.*zuf/gm) ?? [];

  test('W=1 has nothing to say', async () => {
    const output = await inCompileTree('check', (tree) => compileOurs(tree, targets, ['W=1']));
    expect(compiled(output).length).toBeGreaterThan(20);
    expect(warnings(output)).toEqual([]);
  });

  test('sparse has nothing to say', async (context) => {
    const missing = await installForTests('sparse');
    if (missing !== undefined) context.skip(missing);
    const output = await inCompileTree('check', (tree) => compileOurs(tree, targets, ['C=2']));
    expect(output.match(/^\s+CHECK\s+.*zuf/gm)?.length).toBeGreaterThan(20);
    expect(warnings(output)).toEqual([]);
  });
});

/** Lines that are neither blank nor comment, as sloccount and cloc count them. */
function linesOfC(text: string): number {
  const withoutComments = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''));
  return withoutComments.split('\n').filter((line) => !/^\s*(\/\/.*)?$/.test(line)).length;
}

/** What the kernel of the lab exports to modules. */
async function exportedSymbols(systemMap: string): Promise<Set<string>> {
  const text = await readFile(systemMap, 'utf8');
  return new Set([...text.matchAll(/ __ksymtab_(\w+)$/gm)].map(([, name]) => name ?? ''));
}

async function output(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { maxBuffer: 2 ** 24 })).stdout;
}

describe('budgets', () => {
  test('fs/zuf has at most 6,000 lines of C, quotas 200 besides, and what it needs of mm 250', async () => {
    expect(linesOfC('// one\n\n/* two\n * more */\nint a; /* three */\n  /* four */ int b;\n')).toBe(2);
    const directory = join(packageRoot, 'kernel-config/tree/fs/zuf');
    const names = (await readdir(directory)).filter((name) => /\.[ch]$/.test(name));
    expect(names.length).toBeGreaterThan(20);
    const counts = await Promise.all(
      names.map(async (name) => linesOfC(await readFile(join(directory, name), 'utf8'))),
    );
    const quotas = counts[names.indexOf('quota.c')];
    const others = counts.reduce((sum, count) => sum + count, 0) - quotas;
    process.stdout.write(`fs/zuf: ${others} lines of C, and ${quotas} for quotas\n`);
    expect(others).toBeLessThanOrEqual(6000);
    expect(quotas).toBeLessThanOrEqual(200);
    const patch = await readFile(
      join(packageRoot, 'kernel-config/patches/6.12/0001-mm-mappings-that-only-one-CPU-touches.patch'),
      'utf8',
    );
    const added = patch
      .split('\n')
      .filter((line) => /^\+(?!\+\+)/.test(line))
      .map((line) => line.slice(1));
    expect(linesOfC(added.join('\n'))).toBeLessThanOrEqual(250);
  });

  test('zuf.ko has less than 200 KiB of text, and finds in the kernel all that it calls', async () => {
    await inCompileTree('module', async (tree) => {
      await appendFile(join(tree.objects, '.config'), 'CONFIG_ZUFS_FS=m\n');
      // There is no vmlinux to look up what it calls: that is done here.
      await compileOurs(tree, ['fs/zuf/zuf.ko'], ['KBUILD_MODPOST_WARN=1']);
      const module = join(tree.objects, 'fs/zuf/zuf.ko');
      const [, text] = /^\s*(\d+)/m.exec((await output('size', module)).split('\n')[1] ?? '') ?? [];
      process.stdout.write(`zuf.ko: ${text} bytes of text\n`);
      expect(Number(text)).toBeGreaterThan(10_000);
      expect(Number(text)).toBeLessThan(200 * 1024);
      const exported = await exportedSymbols(tree.kernel.systemMap);
      expect(exported.size).toBeGreaterThan(1000);
      const needed = [...(await output('nm', '--undefined-only', module)).matchAll(/ U (\w+)$/gm)].map(
        ([, name]) => name ?? '',
      );
      expect(needed).toContain('vm_local_cpu_map');
      expect(needed.filter((name) => !exported.has(name))).toEqual([]);
    });
  });
});
