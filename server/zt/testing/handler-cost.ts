// SPDX-License-Identifier: BSD-3-Clause

/**
 * `node server/zt/testing/handler-cost.ts [file system]`: what the handler of each operation costs, against the same loop
 * with a handler that does nothing. Prints a table for docs/performance.md.
 */

import { OP } from '../../abi/layout.ts';
import type { FileSystem, MountedFileSystem } from '../../fs/filesystem.ts';
import { loadFileSystems } from '../../fs/index.ts';
import { buildAddon } from '../../native/build.ts';
import { loadAddon } from '../../native/load.ts';
import { Dispatcher } from '../dispatch.ts';
import { FakeKernel } from '../fake-kernel.ts';
import { MountRegistry } from '../registry.ts';
import { OperationStatistics, STATISTICS_BYTES } from '../statistics.ts';
import { runZt } from '../zt-loop.ts';
import { CommandMix } from './command-mix.ts';

const BYTES = 64 << 20;
const OPERATIONS = 150_000;
/** The best of so many: a machine that does other things as well only adds. */
const ROUNDS = 12;

const rows: readonly (readonly [string, readonly number[]])[] = [
  ['NOOP', [OP.ZUFS_OP_NOOP]],
  ['LOOKUP', [OP.ZUFS_OP_LOOKUP]],
  ['READ of 4 KiB', [OP.ZUFS_OP_READ]],
  ['WRITE of 4 KiB, in place', [OP.ZUFS_OP_WRITE]],
  ['GET_MULTY', [OP.ZUFS_OP_GET_MULTY]],
  ['READDIR of 3 names', [OP.ZUFS_OP_READDIR]],
  ['SETATTR', [OP.ZUFS_OP_SETATTR]],
  ['STATFS', [OP.ZUFS_OP_STATFS]],
  [
    'NEW_INODE, REMOVE_DENTRY, FREE_INODE: each',
    [OP.ZUFS_OP_NEW_INODE, OP.ZUFS_OP_REMOVE_DENTRY, OP.ZUFS_OP_FREE_INODE],
  ],
];

/** Handlers that do nothing, for each that `real` has. */
function emptyHandlers(real: MountedFileSystem): MountedFileSystem {
  const names = [...Object.keys(real), ...Object.getOwnPropertyNames(Object.getPrototypeOf(real))];
  const nothing = () => 0;
  return Object.fromEntries(names.map((name) => [name, nothing])) as unknown as MountedFileSystem;
}

const [name = 'zpmfs'] = process.argv.slice(2);
const addon = loadAddon(buildAddon());
const [fileSystem] = await loadFileSystems([name]);

/** Nanoseconds an operation. */
function measure(only: readonly number[], empty: boolean): number {
  const address = addon.mmapAnonymous(BYTES);
  const memory = { address, length: BYTES, nodes: [{ node: 0, offset: 0, length: BYTES }] };
  fileSystem.formatScratch?.(addon, memory);
  let handlers: MountedFileSystem | undefined;
  const spied: FileSystem = {
    ...fileSystem,
    attach: (request) => {
      handlers = fileSystem.attach(request);
      return handlers;
    },
  };
  using kernel = new FakeKernel({ addon, memory, fileSystem: spied });
  const fs = kernel.mount();
  fs.mkdir('/somebody-has-to-be-attached');
  const nothing = emptyHandlers(handlers as MountedFileSystem);
  const dispatcher = new Dispatcher({
    operation: kernel.zt.operation,
    registry: new MountRegistry(kernel.share(fs).registry),
    statistics: new OperationStatistics(addon, new SharedArrayBuffer(STATISTICS_BYTES)),
    attach: () => (empty ? nothing : (handlers as MountedFileSystem)),
    report: (message) => void process.stderr.write(`${message}\n`),
  });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const mix = new CommandMix(kernel, fs, OPERATIONS, only);
    const started = addon.monotonic();
    runZt(mix, dispatcher);
    const nanoseconds = (addon.monotonic() - started) / OPERATIONS;
    // The first round is the one that compiles.
    if (round > 0) best = Math.min(best, nanoseconds);
    if (mix.errors > 0) throw new Error(`command ${mix.failedCommand} failed`);
    fs.unlink('/mix/file');
    fs.rmdir('/mix');
  }
  addon.munmap(address, BYTES);
  return best;
}

process.stdout.write(
  `| operation of ${name} | empty handler, ns | its handler, ns | what it costs, ns |\n| --- | ---: | ---: | ---: |\n`,
);
for (const [what, only] of rows) {
  const [empty, real] = [measure(only, true), measure(only, false)];
  process.stdout.write(
    `| ${what} | ${empty.toFixed(0)} | ${real.toFixed(0)} | ${(real - empty).toFixed(0)} |\n`,
  );
}
