// SPDX-License-Identifier: BSD-3-Clause

import { constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it } from 'vitest';
import { buildAddon } from './build.ts';
import { loadAddon } from './load.ts';

const path = buildAddon();
const addon = loadAddon(path);
const directory = mkdtempSync(join(tmpdir(), 'zufs-addon-'));
afterAll(() => rmSync(directory, { recursive: true }));

const pages = 16;
const address = addon.mmapAnonymous(pages * 4096);
const memory = new Uint8Array(addon.external(address, pages * 4096));

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 1) & 0xff);
}

describe('memory', () => {
  it('is page aligned, zeroed, and the same for every view', () => {
    expect(address % 4096).toBe(0);
    expect(memory.every((byte) => byte === 0)).toBe(true);
    const second = new Uint8Array(addon.external(address, pages * 4096));
    expect(addon.external(address, 4096).byteLength).toBe(4096);
    expect(second.buffer).toBe(addon.external(address, pages * 4096));
    memory[5000] = 42;
    expect(second[5000]).toBe(42);
    memory[5000] = 0;
  });

  it('is the same in a worker', async () => {
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const module_ = { exports: {} };
      process.dlopen(module_, workerData.path);
      const view = new Int32Array(module_.exports.external(workerData.address, 4096));
      Atomics.add(view, 3, 77);
      parentPort.postMessage(view[3]);`;
    const worker = new Worker(code, { eval: true, workerData: { path, address } });
    const seen = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    expect(seen).toBe(77);
    expect(new Int32Array(memory.buffer)[3]).toBe(77);
    memory.fill(0);
  });

  it('tells the address of shared and plain buffers', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      const bytes = new Uint8Array(buffer);
      bytes.set(pattern(64));
      addon.copy(address, addon.addressOf(buffer), 64);
      expect(memory.subarray(0, 64)).toEqual(pattern(64));
    }
    memory.fill(0);
  });
});

describe('copies past the caches', () => {
  const from = 32768;
  it.each([0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 200, 4096, 5001])(
    'copies and zeroes %i bytes at any alignment',
    (length) => {
      memory.set(pattern(8192), from);
      for (const toShift of [0, 1, 3, 8, 15, 16, 33]) {
        for (const fromShift of [0, 1, 9]) {
          memory.fill(0xee, 0, 8192);
          addon.copyNonTemporal(address + 64 + toShift, address + from + fromShift, length);
          addon.fence();
          expect(memory.subarray(64 + toShift, 64 + toShift + length)).toEqual(
            pattern(8192).subarray(fromShift, fromShift + length),
          );
          expect(memory[63 + toShift]).toBe(0xee);
          expect(memory[64 + toShift + length]).toBe(0xee);
        }
        addon.zeroNonTemporal(address + 64 + toShift, length);
        expect(memory.subarray(64 + toShift, 64 + toShift + length).every((byte) => byte === 0)).toBe(true);
        expect(memory[63 + toShift]).toBe(0xee);
        expect(memory[64 + toShift + length]).toBe(0xee);
      }
    },
  );

  it('copies, zeroes and compares ordinary memory', () => {
    memory.set(pattern(100), 0);
    addon.copy(address + 1000, address, 100);
    expect(addon.equal(address, address + 1000, 100)).toBe(true);
    memory[1099] ^= 1;
    expect(addon.equal(address, address + 1000, 100)).toBe(false);
    expect(addon.equal(address, address + 1000, 99)).toBe(true);
    addon.zero(address + 10, 5);
    expect([...memory.subarray(9, 16)]).toEqual([
      ...pattern(100).subarray(9, 10),
      0,
      0,
      0,
      0,
      0,
      pattern(100)[15],
    ]);
  });

  it('finds the first byte that is not 0', () => {
    addon.zero(address, 4096);
    expect(addon.firstNonZero(address, 100)).toBe(100);
    expect(addon.firstNonZero(address, 0)).toBe(0);
    for (const start of [0, 1, 7, 8]) {
      for (const at of [0, 3, 7, 8, 64, 98]) {
        memory[start + at] = 0x80;
        memory[start + 99] = 1;
        expect(addon.firstNonZero(address + start, 99)).toBe(at);
        memory[start + at] = 0;
        expect(addon.firstNonZero(address + start, 99)).toBe(99);
        memory[start + 99] = 0;
      }
    }
  });

  it('writes back with an instruction that this CPU has', () => {
    expect(['clwb', 'clflushopt', 'clflush']).toContain(addon.writeBackInstruction);
    memory.set(pattern(300), 10);
    addon.writeBack(address + 10, 300);
    addon.writeBack(address + 10, 0);
    addon.fence();
    expect(memory.subarray(10, 310)).toEqual(pattern(300));
  });
});

describe('clocks', () => {
  it('stores the time of day in nanoseconds', () => {
    addon.clockRealtimeCoarse(address + 8);
    const time = Number(new BigUint64Array(memory.buffer)[1]) / 1e6;
    expect(Math.abs(time - Date.now())).toBeLessThan(1000);
  });

  it('counts nanoseconds up', () => {
    const first = addon.monotonic();
    const second = addon.monotonic();
    expect(second).toBeGreaterThan(first);
    expect(second - first).toBeLessThan(1e9);
  });
});

describe('files', () => {
  const file = join(directory, 'image');
  writeFileSync(file, Buffer.alloc(8192, 7));

  it('maps a file and syncs what is written to it', () => {
    const fd = addon.open(file, constants.O_RDWR, 0);
    expect(addon.sizeOf(fd)).toBe(8192);
    const at = addon.mmap(fd, 4096, 4096, true);
    const view = new Uint8Array(addon.external(at, 4096));
    expect(view[0]).toBe(7);
    view[0] = 9;
    addon.msync(at, 4096);
    const again = addon.mmap(fd, 0, 8192, false);
    expect(new Uint8Array(addon.external(again, 8192))[4096]).toBe(9);
    addon.munmap(at, 4096);
    addon.munmap(again, 8192);
    addon.close(fd);
  });

  it('locks a directory for one opener', () => {
    const first = addon.open(directory, constants.O_RDONLY | constants.O_DIRECTORY, 0);
    const second = addon.open(directory, constants.O_RDONLY | constants.O_DIRECTORY, 0);
    expect(addon.tryLock(first)).toBe(true);
    expect(addon.tryLock(second)).toBe(false);
    addon.close(first);
    expect(addon.tryLock(second)).toBe(true);
    addon.close(second);
  });

  it('says what failed', () => {
    expect(() => addon.open(join(directory, 'absent'), constants.O_RDONLY, 0)).toThrow(
      expect.objectContaining({ code: 'ENOENT', errno: 2, syscall: 'open' }),
    );
    expect(() => addon.close(12345)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'close' }));
    expect(() => addon.open(`/${'x'.repeat(5000)}`, 0, 0)).toThrow(
      expect.objectContaining({ code: 'ENAMETOOLONG' }),
    );
    expect(() => addon.mmap(12345, 0, 4096, true)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(addon.ioctl(12345, 0xc0185a12, address)).toBe(-9);
  });
});

describe('datagrams', () => {
  it('says that nobody listens', () => {
    expect(() => addon.sendDatagram(join(directory, 'nobody'), 'READY=1')).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'sendto' }),
    );
    expect(() => addon.sendDatagram('@zufs-test-nobody', 'READY=1')).toThrow(
      expect.objectContaining({ code: 'ECONNREFUSED' }),
    );
  });
});

describe('threads', () => {
  it('binds the calling thread', async () => {
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const module_ = { exports: {} };
      process.dlopen(module_, workerData.path);
      const { bindToCpu, currentCpu, threadId, setThreadName, blockSignals } = module_.exports;
      bindToCpu(0);
      setThreadName('zt-test');
      blockSignals();
      const fs = require('node:fs');
      const status = fs.readFileSync('/proc/self/task/' + threadId() + '/status', 'utf8');
      parentPort.postMessage({ cpu: currentCpu(), status });`;
    const worker = new Worker(code, { eval: true, workerData: { path } });
    const { cpu, status } = await new Promise<{ cpu: number; status: string }>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    expect(cpu).toBe(0);
    expect(status).toMatch(/^Name:\tzt-test$/m);
    expect(status).toMatch(/^Cpus_allowed_list:\t0$/m);
    const blocked = BigInt(`0x${/^SigBlk:\t([0-9a-f]+)$/m.exec(status)?.[1]}`);
    expect((blocked >> 14n) & 1n, 'SIGTERM').toBe(1n);
    expect((blocked >> 10n) & 1n, 'SIGSEGV').toBe(0n);
  });

  it('refuses a CPU that is not there', () => {
    expect(() => addon.bindToCpu(4095)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => addon.bindToCpu(-1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
