// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeKernel, type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import type { OperationMetrics } from '../../zt/metrics.ts';
import { zstatfs } from './zstatfs.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const MiB = 1 << 20;
const kernels: FakeKernel[] = [];

function start(cpus = 2): { kernel: FakeKernel; fs: FakeMount } {
  const kernel = new FakeKernel({ fileSystem: zstatfs, devices: [{ node: 0, bytes: 2 * MiB }], cpus });
  kernels.push(kernel);
  return { kernel, fs: kernel.mount() };
}

afterEach(() => {
  for (const kernel of kernels.splice(0)) expect(kernel.reports).toEqual([]);
});

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
  return 'success';
}

const operations = (fs: FakeMount, path = '/operations.json') =>
  JSON.parse(fs.readText(path)) as OperationMetrics[];

describe('zstatfs', () => {
  it('shows a directory a thread', () => {
    const { fs } = start();
    expect(fs.list('/')).toEqual(['metrics.prom', 'operations.json', 'ring', 'zt0.0', 'zt1.0']);
    expect(fs.list('/zt1.0')).toEqual(['operations.json']);
    expect(fs.stat('/').nlink).toBe(4);
    expect(fs.stat('/ring')).toMatchObject({ mode: 0o100444, size: 17 * 4096 });
    expect(fs.lookup(fs.inode('/zt1.0'), '..')).toBe(fs.root);
    expect(fs.readdir('/', 48).map(({ name }) => name)).toHaveLength(7);
    expect(fs.exists('/absent')).toBe(false);
  });

  it('counts operations, of all threads and of each', () => {
    const { kernel, fs } = start();
    expect(operations(fs)).toEqual([]);
    for (let i = 0; i < 20; i++) fs.statfs();
    kernel.cpu = 1;
    for (let i = 0; i < 5; i++) fs.statfs();
    kernel.tick();
    const count = (path: string) =>
      operations(fs, path).find(({ operation }) => operation === 'statfs')?.count;
    expect(count('/operations.json')).toBe(25);
    expect(count('/zt0.0/operations.json')).toBe(20);
    expect(count('/zt1.0/operations.json')).toBe(5);
    kernel.tick();
    expect(count('/operations.json')).toBe(25);
    expect(fs.readText('/metrics.prom')).toMatch(/^zus_operations_total\{operation="statfs"\} 25$/m);
    expect(fs.stat('/metrics.prom').size).toBe(fs.readFile('/metrics.prom').length);
  });

  it('leaves a text alone that a reader may be copying', () => {
    const { kernel, fs } = start(1);
    fs.statfs();
    kernel.tick();
    const text = Buffer.from(fs.readFile('/operations.json'));
    const at = Buffer.from(kernel.memory.buffer, kernel.memory.byteOffset, kernel.memory.length).indexOf(
      text,
    );
    expect(at).toBeGreaterThan(0);
    fs.statfs();
    kernel.tick();
    expect(Buffer.from(fs.readFile('/operations.json'))).not.toEqual(text);
    expect(Buffer.from(kernel.memory.subarray(at, at + text.length))).toEqual(text);
  });

  it('has a ring that a small program reads', () => {
    const directory = mkdtempSync(join(tmpdir(), 'zstatfs-'));
    try {
      const reader = join(directory, 'read-ring');
      const source = fileURLToPath(new URL('read-ring.c', import.meta.url));
      execFileSync('cc', ['-Wall', '-Wextra', '-Werror', '-O2', '-o', reader, source]);
      const { kernel, fs } = start(1);
      kernel.tick();
      for (let i = 0; i < 7; i++) fs.statfs();
      kernel.tick();
      for (let i = 0; i < 4; i++) fs.exists('/absent');
      kernel.tick();
      const at = (fs.getBlocks('/ring', 0, 4096).blocks[0] ?? 0) * 4096;
      const file = join(directory, 'ring');
      writeFileSync(file, kernel.memory.subarray(at, at + 17 * 4096));
      const lines = execFileSync(reader, [file, '2'], { encoding: 'utf8' }).trim().split('\n');
      expect(lines).toHaveLength(2);
      expect(lines[0]).toMatch(/^operations 7 errors 0 reads 0 writes 0 lookups 0 mean \d+ ns$/);
      expect(lines[1]).toMatch(/^operations 4 errors 4 reads 0 writes 0 lookups 4 mean \d+ ns$/);
      writeFileSync(file, new Uint8Array(17 * 4096));
      expect(() => execFileSync(reader, [file, '1'], { stdio: 'pipe' })).toThrow('not a ring of zstatfs');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('has a ring that can be read without a call', () => {
    const { kernel, fs } = start(1);
    const { blocks } = fs.getBlocks('/ring', 0, 17 * 4096);
    expect(blocks).toHaveLength(17);
    const at = (blocks[0] ?? 0) * 4096;
    const view = new DataView(kernel.memory.buffer, kernel.memory.byteOffset + at, 17 * 4096);
    expect(Buffer.from(kernel.memory.subarray(at, at + 4)).toString()).toBe('ZRNG');
    const written = view.getUint32(16, true);
    for (let i = 0; i < 10; i++) fs.statfs();
    kernel.tick();
    expect(view.getUint32(16, true)).toBe(written + 1);
    const record = 4096 + (written % 1024) * 64;
    expect(Math.abs(Number(view.getBigUint64(record, true)) / 1e6 - Date.now())).toBeLessThan(5000);
    expect(view.getBigUint64(record + 8, true)).toBeGreaterThanOrEqual(10n);
    for (let i = 0; i < 2000; i++) kernel.tick();
    expect(view.getUint32(16, true)).toBe(written + 2001);
    expect(view.getUint32(12, true)).toBe(1024);
  });

  it('is not to be written', () => {
    const { fs } = start();
    expect(code(() => fs.create('/f'))).toBe('EROFS');
    expect(code(() => fs.unlink('/ring'))).toBe('EROFS');
    expect(code(() => fs.write('/ring', 0, 'x'))).toBe('EROFS');
    expect(code(() => fs.truncate('/ring', 0))).toBe('EROFS');
    expect(code(() => fs.mmapWrite('/ring', 0, new Uint8Array(1)))).toBe('EROFS');
    expect(code(() => fs.getBlocks('/metrics.prom', 0, 4096))).toBe('ENODEV');
  });

  it('says how much memory it needs', () => {
    const kernel = new FakeKernel({ fileSystem: zstatfs, devices: [{ node: 0, bytes: 65536 }] });
    expect(code(() => kernel.mount())).toBe('ENOSPC');
  });
});
