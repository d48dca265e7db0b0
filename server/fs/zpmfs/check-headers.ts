// SPDX-License-Identifier: BSD-3-Clause

import { CONST } from '../../abi/layout.ts';
import { bytesOf, CheckState, FREE, type Patch, type WritableSource } from './check-state.ts';
import { type DeviceTable, decodeDeviceTable } from './device-table.ts';
import * as f from './format.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

const DEVICE_TABLES = { kind: 'device tables' } as const;

/** What lies at fixed places: superblock, device tables, journal. */
export class HeaderCheck extends CheckState {
  protected checkHeaders(): boolean {
    if (this.source.blocks < f.JOURNAL_FIRST_BLOCK) {
      this.bad('the device is too small to hold a file system');
      return false;
    }
    const table = decodeDeviceTable(bytesOf(this.source.read(f.DEVICE_TABLE_BLOCK)).slice(0, CONST.MDT_SIZE));
    if (typeof table === 'string') {
      this.bad(`device 0: ${table}`, [], DEVICE_TABLES);
      return false;
    }
    this.table = table;
    const words = this.source.read(f.SUPER_BLOCK).slice();
    const superblock = decodeSuperblock(words);
    if (typeof superblock === 'string') {
      const copy = this.source.read(f.SUPER_BACKUP_BLOCK).slice();
      const isCopyGood = typeof decodeSuperblock(copy) !== 'string';
      this.bad(superblock, isCopyGood ? patchesOf(f.SUPER_BLOCK, copy) : []);
      return false;
    }
    this.superblock = superblock;
    this.total = superblock.totalBlocks;
    if (this.total > this.source.blocks) {
      this.bad(`superblock speaks of ${this.total} blocks, the devices have ${this.source.blocks}`);
      return false;
    }
    if (Buffer.compare(table.uuid, superblock.uuid) !== 0)
      this.bad('device table and superblock differ in their UUID', [], DEVICE_TABLES);
    if (table.devices.length !== superblock.devices)
      this.bad('device table and superblock differ in the number of devices');
    // An even number: two are a word of what is saved.
    this.owners = new Uint16Array(this.total + (this.total & 1));
    this.exclusive = new Uint8Array(this.total);
    this.usedBlocks = 1;
    this.claimFixed(table, superblock);
    const state = words[f.SB_STATE];
    if (state !== f.STATE_CLEAN && state !== f.STATE_IN_USE)
      this.bad(`superblock has the unknown state ${state}`, [
        { block: f.SUPER_BLOCK, word: f.SB_STATE, value: f.STATE_IN_USE },
      ]);
    if (state === f.STATE_IN_USE) this.notes.push('was not unmounted');
    const isReadable = this.readJournal(superblock, state === f.STATE_CLEAN);
    // The label is changed by transactions: only behind them is it the same in both.
    this.checkCopy();
    return isReadable;
  }

  private checkCopy(): void {
    const words = this.source.read(f.SUPER_BLOCK).slice();
    const patches = patchesOf(f.SUPER_BACKUP_BLOCK, words);
    const copy = this.source.read(f.SUPER_BACKUP_BLOCK);
    if (patches.some(({ word, value }) => copy[word] !== value))
      this.bad('the copy of the superblock differs from it', patches);
  }

  /** The superblock, or its copy, whatever the rest is like. */
  protected readSuperblock(): Superblock | null {
    for (const block of [f.SUPER_BLOCK, f.SUPER_BACKUP_BLOCK]) {
      const superblock = decodeSuperblock(this.source.read(block).slice());
      if (typeof superblock !== 'string') return superblock;
    }
    return null;
  }

  /** What a clean unmount saved must be what the trees say; `owners` is complete. */
  protected checkSaved(): void {
    const superblock = this.source.read(f.SUPER_BLOCK).slice();
    let block = superblock[f.SB_SAVED_BLOCK];
    if (superblock[f.SB_STATE] !== f.STATE_CLEAN || block === 0) return;
    const forget = [{ block: f.SUPER_BLOCK, word: f.SB_SAVED_BLOCK, value: 0 }];
    const owners = new Uint8Array(this.owners.buffer);
    /** Bytes of `owners` that were compared; the rest of the words is about inodes. */
    let done = 0;
    const compare = (saved: Uint8Array): boolean => {
      const expected = owners.subarray(done, done + saved.length);
      const compared = saved.subarray(0, expected.length);
      if (Buffer.compare(compared, expected) !== 0) {
        const first = (done + compared.findIndex((byte, index) => byte !== expected[index])) >>> 1;
        this.bad(`saved state: block ${first} is not as the trees say`, forget);
        return false;
      }
      done += expected.length;
      return true;
    };
    const empty = new Uint8Array(f.SAVED_DATA_WORDS * 4);
    for (let place = 0; block !== 0; place++) {
      if (block >= this.total || this.owners[block] !== FREE) {
        this.bad(`saved state: block ${block} is not a free block`, forget);
        return;
      }
      const content = this.source.read(block).slice();
      const [low, high] = content.subarray(f.SAVED_CHECK, f.SAVED_CHECK + 2);
      const mounts = superblock[f.SB_MOUNTS];
      const seeds = [f.savedSeed(mounts, place, 0), f.savedSeed(mounts, place, 1)] as const;
      f.putChecks(content, f.SAVED_NEXT, f.BLOCK_WORDS, ...seeds, f.SAVED_CHECK);
      const isWhole = content[f.SAVED_CHECK] === low && content[f.SAVED_CHECK + 1] === high;
      const start = content[f.SAVED_PART] * empty.length;
      // A mount does not use it then.
      if (content[0] !== f.SAVED_MAGIC || !isWhole || start < Math.min(done, owners.length)) {
        this.bad('saved state: its check is wrong', forget);
        return;
      }
      while (done < Math.min(start, owners.length)) if (!compare(empty)) return;
      if (!compare(bytesOf(content).subarray(f.SAVED_DATA * 4))) return;
      block = content[f.SAVED_NEXT];
    }
    while (done < owners.length) if (!compare(empty)) return;
  }

  protected claimFixed(table: DeviceTable, superblock: Superblock): void {
    for (let block = 1; block < f.JOURNAL_FIRST_BLOCK; block++) this.claim(block, 'superblock');
    let start = 0;
    table.devices.forEach((device, index) => {
      if (index > 0 && start < this.total) {
        this.claim(start, `table of device ${index}`);
        const other = decodeDeviceTable(bytesOf(this.source.read(start)).slice(0, CONST.MDT_SIZE));
        if (typeof other === 'string') this.bad(`device ${index}: ${other}`, [], DEVICE_TABLES);
        else if (other.index !== index || Buffer.compare(other.uuid, table.uuid) !== 0) {
          this.bad(`device ${index}: its table is that of another device`, [], DEVICE_TABLES);
        }
      }
      start += device.blocks;
    });
    for (let block = 0; block < superblock.journalSlots * f.JOURNAL_SLOT_BLOCKS; block++) {
      this.claim(superblock.journalFirst + block, 'journal');
    }
  }

  /** See the file system as it is after recovery. */
  protected readJournal(superblock: Superblock, isClean: boolean): boolean {
    const log = new Uint32Array(f.JOURNAL_SLOT_WORDS);
    let pending = 0;
    for (let slot = 0; slot < superblock.journalSlots; slot++) {
      const first = superblock.journalFirst + slot * f.JOURNAL_SLOT_BLOCKS;
      if (this.source.read(first)[f.J_MAGIC] !== f.JOURNAL_MAGIC) continue;
      for (let block = 0; block < f.JOURNAL_SLOT_BLOCKS; block++) {
        log.set(this.source.read(first + block), block * f.BLOCK_WORDS);
      }
      const words = log[f.J_WORDS];
      if (words <= f.J_RECORDS || words > f.JOURNAL_SLOT_WORDS) continue;
      if (f.checkWords(log, f.J_SEQUENCE, words, f.JOURNAL_CHECK_SEED_LOW) >>> 0 !== log[f.J_CHECK_LOW])
        continue;
      if (f.checkWords(log, f.J_SEQUENCE, words, f.JOURNAL_CHECK_SEED_HIGH) >>> 0 !== log[f.J_CHECK_HIGH])
        continue;
      pending++;
      for (let at = f.J_RECORDS; at < words; ) {
        const block = log[at];
        const word = log[at + 1] >>> 16;
        const count = log[at + 1] & 0xffff;
        if (
          block === 0 ||
          block >= this.total ||
          count === 0 ||
          word + count > f.BLOCK_WORDS ||
          at + 2 + count > words
        ) {
          const empty = [{ block: first, word: f.J_MAGIC, value: 0 }];
          this.bad(`journal slot ${slot} has a record that leads nowhere`, empty);
          return false;
        }
        for (let index = 0; index < count; index++)
          this.source.patch(block, word + index, log[at + 2 + index]);
        at += 2 + count;
      }
    }
    if (pending > 0) {
      this.notes.push(`${pending} transactions in the journal are to be replayed by the next mount`);
      if (isClean) this.bad('the file system says it is clean, but its journal is not empty');
    }
    return true;
  }

  /**
   * Apply the transactions in the journal, and empty it once what they change is durable: cut short, it starts over. Durable on
   * return.
   */
  replayInto(target: WritableSource): void {
    if (!this.checkHeaders()) return;
    const { source } = this;
    if (source.isPatched) {
      // Saved by an unmount that knew nothing of them.
      if (source.read(f.SUPER_BLOCK)[f.SB_STATE] === f.STATE_CLEAN)
        source.patch(f.SUPER_BLOCK, f.SB_SAVED_BLOCK, 0);
      for (const [block, words] of source.patches()) target.write(block, words);
      target.flush();
    }
    const { journalFirst, journalSlots } = this.superblock as Superblock;
    let isEmpty = true;
    for (let slot = 0; slot < journalSlots; slot++) {
      const first = journalFirst + slot * f.JOURNAL_SLOT_BLOCKS;
      const words = target.read(first).slice();
      if (words[f.J_MAGIC] === 0) continue;
      words[f.J_MAGIC] = 0;
      target.write(first, words);
      isEmpty = false;
    }
    if (!isEmpty) target.flush();
  }
}

/** What makes the static part of a superblock, and its label, those of `words`. */
function patchesOf(block: number, words: Uint32Array): Patch[] {
  const range = (from: number, count: number): Patch[] =>
    Array.from({ length: count }, (_, at) => ({ block, word: from + at, value: words[from + at] }));
  return [...range(0, f.SB_CHECKSUM + 1), ...range(f.SB_LABEL, f.LABEL_WORDS)];
}
