// SPDX-License-Identifier: BSD-3-Clause

import type { Core } from './core.ts';
import {
  isQuotaRecord,
  QUOTA_GRACE,
  QUOTA_GRACE_BYTES,
  QUOTA_LIMITS,
  QUOTA_NAME_BYTES,
  QUOTA_OWNER_BYTES,
  QUOTA_PART,
  ROOT_INODE,
  TWO_32,
  XATTR_QUOTA,
} from './format.ts';
import { slotWord } from './inodes.ts';
import { Q_HARD, QUOTA_TYPES, type QuotaTable } from './quota-table.ts';
import { H_QUOTA_DIRTY, H_QUOTA_GRACE, H_QUOTA_LOCK } from './shared.ts';
import { RECORD_HEADER, XattrStream } from './xattr-stream.ts';

/** Seven days. */
export const GRACE_DEFAULT = 7 * 24 * 60 * 60;
/** Hard and soft limits and timers, of two resources. */
const OWNER_NUMBERS = (QUOTA_OWNER_BYTES - 4) / 8;

/**
 * Limits, running timers and grace times on the media: attributes of the root that no application sees. All of them are written at
 * once, by the one transaction that changes attributes, and so are those of types that are not counted in this mount.
 */
export class QuotaStore {
  private readonly core: Core;
  private readonly table: QuotaTable;
  private readonly stream: XattrStream;

  constructor(core: Core, table: QuotaTable) {
    this.core = core;
    this.table = table;
    this.stream = new XattrStream(core);
  }

  /** Fill the table and the grace times of a new mount. Returns what could not be understood, or null. */
  load(): string | null {
    const { header } = this.core.shared;
    for (let word = 0; word < QUOTA_TYPES * 2; word++) header[H_QUOTA_GRACE + word] = GRACE_DEFAULT;
    const { stream } = this;
    if (stream.load(this.rootBlock(), slotWord(ROOT_INODE)) < 0)
      return 'the attributes of the root make no sense';
    let what: string | null = null;
    for (let at = 0; at < stream.length; ) {
      const next = stream.recordEnd(at);
      if (next < 0) return 'the attributes of the root make no sense';
      if (stream.bytes[at + 2] === XATTR_QUOTA && !this.loadRecord(at, next))
        what = 'some of them make no sense';
      at = next;
    }
    return what;
  }

  private loadRecord(at: number, next: number): boolean {
    const { bytes } = this.stream;
    const nameBytes = bytes[at + 3];
    const kind = bytes[at + RECORD_HEADER];
    const value = at + RECORD_HEADER + nameBytes;
    if (!isQuotaRecord(kind, nameBytes, next - value)) return false;
    if (kind === QUOTA_GRACE) {
      for (let word = 0; word < QUOTA_TYPES * 2; word++)
        this.core.shared.header[H_QUOTA_GRACE + word] = this.getU32(value + word * 4);
      return true;
    }
    for (let owner = value; owner < next; owner += QUOTA_OWNER_BYTES) {
      const slot = this.table.slotFor(kind - QUOTA_LIMITS, this.getU32(owner) | 0);
      if (slot < 0) return false;
      for (let number = 0; number < OWNER_NUMBERS; number++) {
        const word = owner + 4 + number * 8;
        this.table.put(slot, Q_HARD, number, this.getU32(word) + this.getU32(word + 4) * TWO_32);
      }
    }
    return true;
  }

  /** Write everything. Under H_QUOTA_LOCK. Returns 0, -ENOSPC or -EUCLEAN. */
  save(privileged: boolean): number {
    const { shared } = this.core;
    const ib = this.rootBlock();
    const iw = slotWord(ROOT_INODE);
    Atomics.store(shared.header, H_QUOTA_DIRTY, 0);
    shared.lockExclusive(ROOT_INODE);
    let error = this.stream.load(ib, iw);
    if (error === 0) error = this.dropRecords();
    if (error === 0) {
      this.addGrace();
      for (let type = 0; type < QUOTA_TYPES; type++) this.addOwners(type);
      error = this.stream.store(ROOT_INODE, ib, iw, privileged, false);
    }
    shared.unlockExclusive(ROOT_INODE);
    if (error < 0) Atomics.store(shared.header, H_QUOTA_DIRTY, 1);
    return error;
  }

  /** Write timers that started or ended since limits were written last. Returns 0 or -errno. */
  saveTimers(): number {
    const { shared } = this.core;
    if (Atomics.load(shared.header, H_QUOTA_DIRTY) === 0) return 0;
    shared.lockWord(H_QUOTA_LOCK);
    const error = Atomics.load(shared.header, H_QUOTA_DIRTY) === 0 ? 0 : this.save(true);
    shared.unlockWord(H_QUOTA_LOCK);
    return error;
  }

  private rootBlock(): number {
    return this.core.inodes.slotBlock(ROOT_INODE);
  }

  private dropRecords(): number {
    const { stream } = this;
    for (let at = 0; at < stream.length; ) {
      const next = stream.recordEnd(at);
      if (next < 0) return next;
      if (stream.bytes[at + 2] === XATTR_QUOTA) stream.cut(at, next);
      else at = next;
    }
    return 0;
  }

  private addGrace(): void {
    const { header } = this.core.shared;
    let isDefault = true;
    for (let word = 0; word < QUOTA_TYPES * 2; word++)
      if (header[H_QUOTA_GRACE + word] !== GRACE_DEFAULT) isDefault = false;
    if (isDefault) return;
    const record = this.addRecord(QUOTA_GRACE, 0);
    for (let word = 0; word < QUOTA_TYPES * 2; word++) this.addU32(header[H_QUOTA_GRACE + word]);
    this.endRecord(record, QUOTA_GRACE_BYTES);
  }

  private addOwners(type: number): void {
    const { table } = this;
    let record = -1;
    let owners = 0;
    let part = 0;
    for (let number = 0; number < table.owners; number++) {
      const slot = table.ownerAt(type, number);
      if (slot < 0 || !table.isKept(slot)) continue;
      if (record < 0) record = this.addRecord(QUOTA_LIMITS + type, part++);
      this.addOwner(slot);
      if (++owners < QUOTA_PART) continue;
      this.endRecord(record, owners * QUOTA_OWNER_BYTES);
      record = -1;
      owners = 0;
    }
    if (record >= 0) this.endRecord(record, owners * QUOTA_OWNER_BYTES);
  }

  private addOwner(slot: number): void {
    const { table } = this;
    this.addU32(table.idOf(slot));
    table.lock(slot);
    for (let number = 0; number < OWNER_NUMBERS; number++) {
      const value = table.get(slot, Q_HARD, number);
      this.addU32(value >>> 0);
      this.addU32(Math.floor(value / TWO_32));
    }
    table.unlock(slot);
  }

  /** Start a record behind the stream; its value follows. Returns where it is. */
  private addRecord(kind: number, part: number): number {
    const { stream } = this;
    const at = stream.length;
    stream.bytes[at + 2] = XATTR_QUOTA;
    stream.bytes[at + 3] = QUOTA_NAME_BYTES;
    stream.bytes[at + RECORD_HEADER] = kind;
    stream.bytes[at + RECORD_HEADER + 1] = part;
    stream.bytes[at + RECORD_HEADER + 2] = part >>> 8;
    stream.length = at + RECORD_HEADER + QUOTA_NAME_BYTES;
    return at;
  }

  private endRecord(at: number, valueBytes: number): void {
    this.stream.bytes[at] = valueBytes;
    this.stream.bytes[at + 1] = valueBytes >>> 8;
  }

  private addU32(value: number): void {
    const { stream } = this;
    for (let byte = 0; byte < 4; byte++) stream.bytes[stream.length++] = value >>> (byte * 8);
  }

  private getU32(at: number): number {
    const { bytes } = this.stream;
    return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
  }
}
