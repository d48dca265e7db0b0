// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it, onTestFinished } from 'vitest';
import type { FakeMount } from '../../zt/fake-kernel.ts';
import { BLOCK_SIZE } from './format.ts';
import { Pmem } from './pmem.ts';
import { type EventKind, type MediaEvent, recorderFor } from './test-media.ts';
import { checkMemory, createVolume } from './test-volume.ts';

/** What is done to the media for an inode that comes free: a file with one name, after `fill`. */
function freeing(fill: (fs: FakeMount) => void): EventKind[] {
  const events: MediaEvent[] = [];
  const volume = createVolume(512 * BLOCK_SIZE);
  onTestFinished(() => {
    Pmem.onCreate = null;
  });
  Pmem.onCreate = (pmem) => {
    pmem.recorder = recorderFor(events, volume.bytes, 0);
  };
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

  it('with blocks is durably free when the call ends, as they are free then', () => {
    const durably = ['store', 'writeBack', 'fence'];
    expect(freeing((fs) => void fs.write('/file', 0, new Uint8Array(100)))).toEqual(durably);
    expect(freeing((fs) => fs.setxattr('/file', 'user.b', new Uint8Array(6000)))).toEqual(durably);
  });
});
