// SPDX-License-Identifier: BSD-3-Clause

/**
 * `node server/fs/zpmfs/measure-mount.ts [files…]`: how long a mount takes, after a clean unmount and after a crash, what it
 * keeps in memory, and what a lookup costs in one directory with all the names. Prints a table for docs/performance.md.
 */

import { buildAddon } from '../../native/build.ts';
import { FakeKernel, type FakeMount } from '../../zt/fake-kernel.ts';
import { HelperThreads } from '../../zt/helpers.ts';
import type { FileSystem, MountResult } from '../filesystem.ts';
import { BLOCK_SIZE, BLOCK_WORDS, SB_SAVED_BLOCK } from './format.ts';
import { makeFileSystem } from './make.ts';
import { H_INODE_BLOCKS, SharedState } from './shared.ts';
import { addon } from './test-volume.ts';
import { zpmfs } from './zpmfs.ts';

/** One file in so many has a block of data, and one for the map to it. */
const DATA_EVERY = 8;
/** Bytes of media a file: an inode, a name in a leaf that is half full, its share of data, and some room. */
const BYTES_PER_FILE = 2 * 1024;

export interface MountFigures {
  readonly files: number;
  /** Of creating all files. */
  readonly microsecondsPerCreate: number;
  readonly nanosecondsPerLookup: number;
  readonly cleanMilliseconds: number;
  readonly crashMilliseconds: number;
  /** The same with three helping threads. */
  readonly helpedMilliseconds: number;
  /** What the server keeps of the mount: for its blocks, and for its inodes. */
  readonly bytesPerBlock: number;
  readonly bytesPerInode: number;
  /** Inodes that a mount looked at. */
  readonly checkedClean: number;
  readonly checkedCrash: number;
}

/** `directories` of equal size; one file in eight has a block of data. */
export function measureMount(files: number, directories: number): MountFigures {
  const length = Math.ceil((files * BYTES_PER_FILE + (64 << 20)) / (2 << 20)) * (2 << 20);
  const address = addon.mmapAnonymous(length);
  const bytes = new Uint8Array(addon.external(address, length));
  makeFileSystem([{ blocks: length / BLOCK_SIZE, node: 0 }], { hashSeed: 1 }, (block, content) => {
    bytes.set(content, block * BLOCK_SIZE);
  });
  let result: MountResult | undefined;
  const spied: FileSystem = {
    ...zpmfs,
    mount: (request) => {
      result = zpmfs.mount(request);
      return result;
    },
  };
  using kernel = new FakeKernel({ fileSystem: spied, memory: { address, length }, addon });
  try {
    let fs = kernel.mount();
    const started = performance.now();
    populate(fs, files, directories);
    const created = performance.now() - started;
    fs.unmount();
    fs = timedMount(kernel).fs;
    fs.dropCaches();
    const nanosecondsPerLookup = lookUp(fs, files, directories);
    fs.unmount();
    const clean = timedMount(kernel);
    const checkedClean = checkedInodes(result);
    clean.fs.unmount();
    new Uint32Array(bytes.buffer, bytes.byteOffset)[BLOCK_WORDS + SB_SAVED_BLOCK] = 0;
    const crash = timedMount(kernel);
    const checkedCrash = checkedInodes(result);
    const { inodes, other } = memoryOf(result);
    crash.fs.unmount();
    const helped = measureHelped(address, length);
    return {
      files,
      microsecondsPerCreate: (created * 1000) / files,
      nanosecondsPerLookup,
      cleanMilliseconds: clean.milliseconds,
      crashMilliseconds: crash.milliseconds,
      helpedMilliseconds: helped,
      bytesPerBlock: other / (length / BLOCK_SIZE),
      bytesPerInode: inodes / files,
      checkedClean,
      checkedCrash,
    };
  } finally {
    addon.munmap(address, length);
  }
}

/** A mount that walks all inodes in several threads, as after a crash. */
function measureHelped(address: number, length: number): number {
  const media = new Uint32Array(addon.external(address, length));
  media[BLOCK_WORDS + SB_SAVED_BLOCK] = 0;
  const helpers = (fileSystem: string) =>
    new HelperThreads({
      entry: new URL('../../thread.ts', import.meta.url),
      addon: buildAddon(),
      fileSystem,
      threads: 3,
      logLevel: 'info',
      worthwhile: 0,
    });
  using kernel = new FakeKernel({ fileSystem: zpmfs, memory: { address, length }, addon, helpers });
  const { fs, milliseconds } = timedMount(kernel);
  fs.unmount();
  return milliseconds;
}

function populate(fs: FakeMount, files: number, directories: number): void {
  const data = new Uint8Array(100).fill(1);
  for (let directory = 0; directory < directories; directory++) fs.mkdir(`/d${directory}`);
  for (let n = 0; n < files; n++) {
    const file = fs.create(`/d${n % directories}/file-${n}`);
    if (n % DATA_EVERY === 0) fs.write(file, 0, data);
    if (n % 20_000 === 0) fs.dropCaches();
  }
}

function timedMount(kernel: FakeKernel): { fs: FakeMount; milliseconds: number } {
  const started = performance.now();
  const fs = kernel.mount();
  return { fs, milliseconds: performance.now() - started };
}

/** Of the second time: the first one checks the inode. */
function lookUp(fs: FakeMount, files: number, directories: number): number {
  const samples = Math.min(files, 20_000);
  const step = Math.floor(files / samples);
  let nanoseconds = 0;
  for (let round = 0; round < 2; round++) {
    const started = performance.now();
    for (let sample = 0; sample < samples; sample++) {
      const n = sample * step;
      fs.inode(`/d${n % directories}/file-${n}`);
    }
    nanoseconds = ((performance.now() - started) * 1e6) / samples;
    fs.dropCaches();
  }
  return nanoseconds;
}

function checkedInodes(result: MountResult | undefined): number {
  if (result === undefined) throw new Error('not mounted');
  const shared = new SharedState(result.shared, addon);
  let checked = 0;
  for (let table = 0; table < shared.header[H_INODE_BLOCKS]; table++) {
    let bits = shared.inodeChecked[table] & shared.inodeBits[table] & 0xffff;
    // There is no inode 0.
    if (table === 0) bits &= ~1;
    for (; bits !== 0; bits &= bits - 1) checked++;
  }
  return checked;
}

/** Bytes that inodes in use take, and the rest. */
function memoryOf(result: MountResult | undefined): { readonly inodes: number; readonly other: number } {
  if (result === undefined) throw new Error('not mounted');
  const shared = new SharedState(result.shared, addon);
  const perTable = 3 * 4;
  return {
    inodes: shared.header[H_INODE_BLOCKS] * perTable,
    other: result.shared.byteLength - shared.inodeBlockMax * perTable,
  };
}

if (import.meta.main) {
  const sizes = process.argv.slice(2).map(Number);
  process.stdout.write(
    '| files | in | create, µs | lookup, ns | mount, clean | mount after a crash | with 3 threads | memory |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |\n',
  );
  for (const files of sizes.length > 0 ? sizes : [250_000, 500_000, 1_000_000]) {
    for (const directories of [1000, 1]) {
      const figures = measureMount(files, directories);
      const place = directories === 1 ? 'one directory' : `${directories} directories`;
      process.stdout.write(
        `| ${files} | ${place} | ${figures.microsecondsPerCreate.toFixed(1)} | ${figures.nanosecondsPerLookup.toFixed(0)} | ` +
          `${figures.cleanMilliseconds.toFixed(0)} ms | ${figures.crashMilliseconds.toFixed(0)} ms | ${figures.helpedMilliseconds.toFixed(0)} ms | ` +
          `${figures.bytesPerBlock.toFixed(2)} bytes a block, ${figures.bytesPerInode.toFixed(2)} an inode |\n`,
      );
    }
  }
}
