// SPDX-License-Identifier: BSD-3-Clause

import { describe, expect, it } from 'vitest';
import { buildAddon } from '../../native/build.ts';
import { loadAddon } from '../../native/load.ts';

import {
  BLOCK_SIZE,
  BLOCK_WORDS,
  checkWords,
  J_CHECK_HIGH,
  J_CHECK_LOW,
  J_RECORDS,
  J_SEQUENCE,
  J_WORDS,
  JOURNAL_CHECK_SEED_HIGH,
  JOURNAL_CHECK_SEED_LOW,
} from './format.ts';
import { Pmem, type Recorder } from './pmem.ts';
import { StagedWords } from './staged-words.ts';
import { Random } from './test-model.ts';

const addon = loadAddon(buildAddon());
const ROOM = 4096;
/** Block of the journal's slot. */
const SLOT = 3;
const log = new Uint32Array(ROOM);
const logAddress = addon.addressOf(log.buffer);

function writeLog(staged: StagedWords, room = ROOM): number {
  return addon.writeLog(addon.addressOf(staged.groups.buffer), staged.count, logAddress, room);
}

/** The records of the log: block, first word, words. */
function records(used: number): { block: number; word: number; values: number[] }[] {
  const found = [];
  for (let at = J_RECORDS; at < used; ) {
    const count = log[at + 1] & 0xffff;
    const values = [...log.subarray(at + 2, at + 2 + count)];
    found.push({ block: log[at], word: log[at + 1] >>> 16, values });
    at += 2 + count;
  }
  return found;
}

describe('the log of a transaction', () => {
  it('has a record for neighbouring words, also across groups, and none across blocks', () => {
    const staged = new StagedWords();
    for (const word of [3, 4, 31, 32, 63, 64, 65]) staged.set(7, word, word * 10);
    for (const word of [1022, 1023]) staged.set(7, word, word);
    staged.set(8, 0, 0xffffffff);
    const used = writeLog(staged);
    expect(records(used)).toEqual([
      { block: 7, word: 3, values: [30, 40] },
      { block: 7, word: 31, values: [310, 320] },
      { block: 7, word: 63, values: [630, 640, 650] },
      { block: 7, word: 1022, values: [1022, 1023] },
      { block: 8, word: 0, values: [0xffffffff] },
    ]);
    expect(log[J_WORDS]).toBe(used);
  });

  it('has whole groups, with what was put into them', () => {
    const staged = new StagedWords();
    const place = staged.stageGroup(5, 64);
    addon.copyPadded(addon.addressOf(staged.groups.buffer) + place * 4, 0, 0, 256);
    staged.groups[place + 63] = 9;
    staged.set(5, 65, 1);
    staged.set(5, 128, 2);
    const [{ word, values }, ...others] = records(writeLog(staged));
    expect([word, values.length, values[1], values[63], values[64]]).toEqual([64, 65, 1, 9, 2]);
    expect(others).toEqual([]);
  });

  it('has runs of words, with what was put into them', () => {
    const staged = new StagedWords();
    staged.set(5, 96, 1);
    const place = staged.stageRun(5, 97, 31);
    for (let word = 0; word < 31; word++) staged.groups[place + word] = 100 + word;
    staged.set(5, 100, 7);
    const values = Array.from({ length: 31 }, (_, word) => (word === 3 ? 7 : 100 + word));
    expect(records(writeLog(staged))).toEqual([{ block: 5, word: 96, values: [1, ...values] }]);
  });

  it('has every word once, as it was set last, and the check that a mount expects', () => {
    const random = new Random(1);
    const staged = new StagedWords();
    for (let round = 0; round < 200; round++) {
      staged.clear();
      const set = new Map<string, number>();
      for (let count = random.next(200); count >= 0; count--) {
        const [block, word] = [1 + random.next(4), random.next(BLOCK_WORDS)];
        const value = random.next(2 ** 32);
        staged.set(block, word, value);
        set.set(`${block}:${word}`, value);
      }
      log[J_SEQUENCE] = round;
      const used = writeLog(staged);
      const found = records(used).flatMap(({ block, word, values }) =>
        values.map((value, index) => [`${block}:${word + index}`, value] as const),
      );
      expect(found.length).toBe(set.size);
      expect(new Map(found)).toEqual(set);
      expect(log[J_CHECK_LOW]).toBe(checkWords(log, J_SEQUENCE, used, JOURNAL_CHECK_SEED_LOW) >>> 0);
      expect(log[J_CHECK_HIGH]).toBe(checkWords(log, J_SEQUENCE, used, JOURNAL_CHECK_SEED_HIGH) >>> 0);
    }
  });

  it('is refused where it does not fit, to the word', () => {
    const staged = new StagedWords();
    for (let word = 0; word < 100; word++) staged.set(1, word, word);
    log.fill(0xabababab);
    expect(writeLog(staged, J_RECORDS + 101)).toBe(0);
    expect(log[J_RECORDS + 101]).toBe(0xabababab);
    expect(writeLog(staged, J_RECORDS + 102)).toBe(J_RECORDS + 102);
  });
});

/** The steps of what is done to the media, stores left out. */
class Steps implements Recorder {
  readonly list: string[] = [];
  store(): void {}
  nonTemporal(offset: number, length: number): void {
    this.list.push(`past the caches ${offset} ${length}`);
  }
  writeBack(): void {
    if (this.list.at(-1) !== 'write back') this.list.push('write back');
  }
  fence(): void {
    this.list.push('fence');
  }
}

/** Media that are committed to in one call, and in steps. */
function commitTwice(staged: StagedWords, room = ROOM) {
  const length = 32 * BLOCK_SIZE;
  const steps = new Steps();
  const words = log.subarray(0, room);
  const [whole, inSteps] = [null, steps].map((recorder) => {
    const pmem = new Pmem(addon, addon.mmapAnonymous(length), length);
    pmem.u32.fill(0x11111111);
    pmem.recorder = recorder;
    const fits = pmem.commit(addon.addressOf(staged.groups.buffer), staged.count, words, logAddress, SLOT);
    return { pmem, fits };
  });
  expect(whole.pmem.u8).toEqual(inSteps.pmem.u8);
  expect(whole.fits).toBe(inSteps.fits);
  return { ...whole, steps: steps.list };
}

describe('a commit', () => {
  it('leaves the same on the media in one call as in steps, and the slot empty', () => {
    const staged = new StagedWords();
    const random = new Random(2);
    for (let count = 0; count < 300; count++)
      staged.set(20 + random.next(8), random.next(BLOCK_WORDS), random.next(2 ** 32));
    // Two words of the slot itself tell the order: what the log leaves there the records change, and the first line is empty in the end.
    staged.set(SLOT, 40, 0x40404040);
    staged.set(SLOT, 2, 0x02020202);
    const { pmem, fits, steps } = commitTwice(staged);
    expect(fits).toBe(true);
    expect([0, 2, 40].map((word) => pmem.load(SLOT, word))).toEqual([0, 0, 0x40404040]);
    const used = log[J_WORDS];
    const elsewhere = records(used).filter(({ block }) => block !== SLOT);
    expect(elsewhere.length).toBeGreaterThan(200);
    for (const { block, word, values } of elsewhere) expect(pmem.load(block, word)).toBe(values[0]);
    expect(steps).toEqual([
      `past the caches ${SLOT * BLOCK_SIZE} ${Math.ceil((used * 4) / 64) * 64}`,
      'fence',
      'write back',
      'fence',
      `past the caches ${SLOT * BLOCK_SIZE} 64`,
      'fence',
    ]);
  });

  it('of one word leaves the slot alone', () => {
    const staged = new StagedWords();
    staged.set(9, 5, 0x99999999);
    const { pmem, fits, steps } = commitTwice(staged);
    expect(fits).toBe(true);
    expect([pmem.load(9, 4), pmem.load(9, 5), pmem.load(9, 6)]).toEqual([0x11111111, 0x99999999, 0x11111111]);
    for (let word = 0; word < BLOCK_WORDS; word++) expect(pmem.load(SLOT, word)).toBe(0x11111111);
    expect(steps).toEqual(['write back', 'fence']);
  });

  it('that does not fit leaves the media alone', () => {
    const staged = new StagedWords();
    for (let word = 0; word < 100; word++) staged.set(9, word, word);
    const { pmem, fits, steps } = commitTwice(staged, J_RECORDS + 101);
    expect(fits).toBe(false);
    expect(pmem.u32.every((word) => word === 0x11111111)).toBe(true);
    expect(steps).toEqual([]);
  });

  it('makes durable what was stored before, and nothing is pending then', () => {
    const length = 32 * BLOCK_SIZE;
    const pmem = new Pmem(addon, addon.mmapAnonymous(length), length);
    const staged = new StagedWords();
    const recorder = new Steps();
    for (const observer of [null, recorder]) {
      pmem.recorder = observer;
      pmem.zero(9, 0, 64);
      staged.clear();
      staged.set(9, 5, 1);
      pmem.commit(addon.addressOf(staged.groups.buffer), staged.count, log, logAddress, SLOT);
      expect(pmem.pending).toBe(false);
    }
    expect(recorder.list).toEqual([`past the caches ${9 * BLOCK_SIZE} 64`, 'fence', 'write back', 'fence']);
  });
});
