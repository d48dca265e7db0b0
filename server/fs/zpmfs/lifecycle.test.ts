// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import type { FileSystem } from '../filesystem.ts';
import { BLOCK_SIZE } from './format.ts';
import { type EventKind, type MediaEvent, recorderFor } from './test-media.ts';
import { addon, checkMemory, formatVolume, Volume } from './test-volume.ts';
import { Zpmfs, zpmfs } from './zpmfs.ts';

const BYTES = 512 * BLOCK_SIZE;

/** What is done to the media for an inode that comes free: a file with one name, after `fill`. */
function freeing(fill: (fs: FakeMount) => void): EventKind[] {
  const events: MediaEvent[] = [];
  const recording: FileSystem = {
    ...zpmfs,
    attach: (request) => {
      const thread = new Zpmfs(request);
      thread.core.pmem.recorder = recorderFor(events, volume.bytes, 0);
      return thread;
    },
  };
  const volume = new Volume(addon.mmapAnonymous(BYTES), BYTES, 1, recording);
  formatVolume(volume);
  const fs = volume.kernel.mount();
  fs.create('/file');
  fill(fs);
  let steps: EventKind[] = [];
  volume.kernel.onOperation = (when, operation) => {
    if (operation !== 'FREE_INODE') return;
    if (when === 'before') events.length = 0;
    else steps = events.map(({ kind }) => kind);
  };
  fs.unlink('/file');
  fs.unmount();
  expect(checkMemory(volume)).toEqual([]);
  return steps;
}

describe('an inode that comes free', () => {
  it('without blocks is one word, and nobody waits for it', () => {
    expect(freeing(() => {})).toEqual(['store', 'writeBack']);
    expect(freeing((fs) => fs.setxattr('/file', 'user.a', 'inline'))).toEqual(['store', 'writeBack']);
  });

  it('is durably free before its blocks are', () => {
    expect(freeing((fs) => void fs.write('/file', 0, new Uint8Array(100)))).toContain('fence');
    expect(freeing((fs) => fs.setxattr('/file', 'user.b', new Uint8Array(6000)))).toContain('fence');
  });
});
