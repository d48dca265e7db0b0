// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, vi } from 'vitest';
import { buildAddon } from '../../native/build.ts';
import { FakeKernel, type FakeMount } from '../../zt/fake-kernel.ts';
import { HelperThreads } from '../../zt/helpers.ts';
import { checkFileSystem, memorySource } from './check.ts';
import { BLOCK_WORDS, I_FLAGS_MODE, SB_SAVED_BLOCK } from './format.ts';
import { addon, createVolume, type Volume } from './test-volume.ts';
import { zpmfs } from './zpmfs.ts';

// Machines that do other things as well are slow at times.
vi.setConfig({ testTimeout: 60_000 });

const FILES = 300;

/** As a crash leaves it, with an open file that has no name any more. */
function crashed(): { volume: Volume; fs: FakeMount } {
  const volume = createVolume(32 << 20);
  const fs = volume.kernel.mount();
  fs.mkdir('/d');
  for (let n = 0; n < FILES; n++) fs.writeFile(`/d/file${n}`, `content ${n}`.repeat(n * 20));
  fs.clone('/d/file200', 0, fs.create('/clone'), 0, fs.inode('/d/file200').size);
  fs.open('/d/file299');
  fs.unlink('/d/file299');
  return { volume, fs };
}

function mountHelped(volume: Volume, log: string[]): { kernel: FakeKernel; fs: FakeMount } {
  const { address, bytes } = volume;
  const helpers = (fileSystem: string) =>
    new HelperThreads({
      entry: new URL('../../thread.ts', import.meta.url),
      addon: buildAddon(),
      fileSystem,
      threads: 3,
      logLevel: 'error',
      worthwhile: 0,
    });
  const kernel = new FakeKernel({
    fileSystem: zpmfs,
    memory: { address, length: bytes.length },
    addon,
    helpers,
    log: (_level, message) => void log.push(message),
  });
  return { kernel, fs: kernel.mount() };
}

describe('a mount with helping threads', () => {
  it('finds what one thread finds', () => {
    const { volume } = crashed();
    const copy = createVolume(32 << 20);
    copy.bytes.set(volume.bytes);
    const alone = copy.kernel.mount().statfs();
    const log: string[] = [];
    const { fs } = mountHelped(volume, log);
    expect(fs.statfs()).toEqual(alone);
    expect(log.join()).toContain('1 orphans removed');
    for (let n = 0; n < FILES - 1; n++)
      expect(fs.readText(`/d/file${n}`).length).toBe(`content ${n}`.length * n * 20);
    fs.unlink('/clone');
    fs.unmount();
    // What was saved is what the trees say.
    expect(checkFileSystem(memorySource(volume.bytes)).problems.map(String)).toEqual([]);
    expect(
      new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset)[BLOCK_WORDS + SB_SAVED_BLOCK],
    ).not.toBe(0);
  });

  it('keeps damaged inodes from being followed', () => {
    const { volume, fs: before } = crashed();
    const { dpp } = before.inode('/d/file250');
    new Uint32Array(volume.bytes.buffer, volume.bytes.byteOffset)[dpp / 4 + I_FLAGS_MODE] = 0;
    const { fs } = mountHelped(volume, []);
    expect(() => fs.readFile('/d/file250')).toThrow('EUCLEAN');
    expect(fs.readText('/d/file20')).toBe('content 20'.repeat(400));
    fs.unmount();
  });
});
