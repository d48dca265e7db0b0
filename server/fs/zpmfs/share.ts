// SPDX-License-Identifier: BSD-3-Clause

import { zufs_ioc_clone } from '../../abi/layout.ts';
import type { Operation } from '../filesystem.ts';
import type { Core } from './core.ts';
import type { Data } from './data.ts';
import { EDQUOT, EFBIG, EINVAL, ENOSPC } from './errno.ts';
import {
  BLOCK_SIZE,
  I_BLOCKS,
  MAP_PRESENT,
  MAP_SHARED,
  MAP_UNWRITTEN,
  MAX_FILE_SIZE,
  TWO_32,
} from './format.ts';
import { CHANGES, InodeInHand } from './in-hand.ts';

/** Blocks that one transaction shares at most: entries of two files change for each. */
const BLOCKS_PER_STEP = 512;
const ZEROES = 1 << 16;

/** Reflink, and copies inside the file system. */
export class Share {
  private readonly core: Core;
  private readonly source: InodeInHand;
  private readonly target: InodeInHand;
  private readonly data: Data;
  /** By index of the step at hand: the block that its target has a reference to already; 0: none. */
  private readonly referred = new Uint32Array(BLOCKS_PER_STEP);
  /** How many blocks more its target has then. */
  private growth = 0;
  private readonly zeroes = new Uint8Array(ZEROES);
  private readonly zeroesAddress: number;

  constructor(core: Core, data: Data) {
    this.core = core;
    this.source = new InodeInHand(core);
    this.target = new InodeInHand(core);
    this.data = data;
    this.zeroesAddress = core.pmem.addon.addressOf(this.zeroes.buffer);
  }

  clone(op: Operation): number {
    return this.both(op, true);
  }

  copy(op: Operation): number {
    return this.both(op, false);
  }

  private both(op: Operation, clone: boolean): number {
    const core = this.core;
    let opened = this.source.openFile(op, zufs_ioc_clone.src_zus_ii, CHANGES);
    if (opened === 0) opened = this.target.openFile(op, zufs_ioc_clone.dst_zus_ii, CHANGES);
    if (opened < 0) return opened;
    const { index: source, ib: sb, iw: sw } = this.source;
    const { index: target, ib: tb, iw: tw } = this.target;
    const from = core.u64(op, zufs_ioc_clone.pos_in);
    const to = core.u64(op, zufs_ioc_clone.pos_out);
    core.shared.lockBoth(source, target);
    const size = core.size(sb, sw);
    let length = core.u64(op, zufs_ioc_clone.len);
    if (length === 0) length = Math.max(0, size - from);
    let error = 0;
    if (to + length > MAX_FILE_SIZE) error = -EFBIG;
    else if (from + length > size) error = -EINVAL;
    else if (source === target && from < to + length && to < from + length) error = -EINVAL;
    else if (length > 0) {
      error = clone
        ? this.cloneRange(sb, sw, tb, tw, from, to, length, size)
        : this.copyRange(sb, sw, tb, tw, from, to, length);
    }
    core.shared.unlockBoth(source, target);
    return error;
  }

  private cloneRange(
    sb: number,
    sw: number,
    tb: number,
    tw: number,
    from: number,
    to: number,
    length: number,
    sourceSize: number,
  ): number {
    if (from % BLOCK_SIZE !== 0 || to % BLOCK_SIZE !== 0) return -EINVAL;
    // A partial last block can only be shared where it is the last one of both files.
    const targetSize = this.core.size(tb, tw);
    if (length % BLOCK_SIZE !== 0 && (from + length !== sourceSize || to + length < targetSize))
      return -EINVAL;
    if (to > targetSize) {
      const error = this.zeroUpTo(tb, tw, targetSize, to);
      if (error < 0) return error;
    }
    const blocks = Math.ceil(length / BLOCK_SIZE);
    for (let done = 0; done < blocks; done += BLOCKS_PER_STEP) {
      done = this.skipHoles(sb, sw, tb, tw, from / BLOCK_SIZE, to / BLOCK_SIZE, done, blocks);
      if (done < 0) return done;
      const count = Math.min(BLOCKS_PER_STEP, blocks - done);
      const end = Math.min(to + length, to + (done + count) * BLOCK_SIZE);
      const error = this.cloneStep(
        sb,
        sw,
        tb,
        tw,
        from / BLOCK_SIZE + done,
        to / BLOCK_SIZE + done,
        count,
        end,
      );
      if (error < 0) return error;
    }
    return 0;
  }

  /**
   * Where the next step starts behind `done`, of `blocks` from the first ones on: what neither file has is no work. Before the last
   * block, since the last step makes the target as large as it is to be. Or -EUCLEAN.
   */
  private skipHoles(
    sb: number,
    sw: number,
    tb: number,
    tw: number,
    sourceFirst: number,
    targetFirst: number,
    done: number,
    blocks: number,
  ): number {
    const { mapping } = this.core;
    const source = mapping.nextMapped(sb, sw, sourceFirst + done, sourceFirst + blocks);
    if (source < 0 || source === sourceFirst + done) return source < 0 ? source : done;
    const target = mapping.nextMapped(tb, tw, targetFirst + done, targetFirst + blocks);
    return target < 0 ? target : Math.min(source - sourceFirst, target - targetFirst, blocks - 1);
  }

  /** What a file that is to grow from `size` has up to `until` becomes zeroes, by a transaction that changes nothing to see. */
  private zeroUpTo(ib: number, iw: number, size: number, until: number): number {
    if (!this.core.allocator.reserve(1, false)) return -ENOSPC;
    this.data.beginStep();
    const error = this.data.zeroBehind(ib, iw, size, until);
    if (error < 0) return this.data.abandonStep(error);
    this.data.commitStep(ib, iw, -1);
    return 0;
  }

  /**
   * Take references to the blocks that the target is to get. Returns how many have to be copied instead, because they have too many
   * references already, or -EUCLEAN. To only count them here and refer to them later would not do: others refer to them meanwhile.
   */
  private refer(
    sb: number,
    sw: number,
    tb: number,
    tw: number,
    sourceFirst: number,
    targetFirst: number,
    count: number,
  ): number {
    const { mapping, allocator } = this.core;
    let copies = 0;
    this.growth = 0;
    for (let index = 0; index < count; index++) {
      this.referred[index] = 0;
      let error = mapping.lookup(sb, sw, sourceFirst + index);
      const block = (mapping.flags & MAP_UNWRITTEN) === 0 ? mapping.block : 0;
      if (error === 0) error = mapping.lookup(tb, tw, targetFirst + index);
      if (error < 0) return this.giveUp(index, error);
      const old = mapping.block;
      if (old === block) continue;
      if (old !== 0) this.growth--;
      if (block === 0) continue;
      this.growth++;
      if (allocator.share(block)) this.referred[index] = block;
      else copies++;
    }
    return copies;
  }

  /** Drop the references that `refer` took for the first `count`. Returns `error`. */
  private giveUp(count: number, error: number): number {
    for (let index = 0; index < count; index++)
      if (this.referred[index] !== 0) this.core.allocator.drop(this.referred[index]);
    return error;
  }

  /** One transaction: share `count` blocks, and grow the target to `end`. */
  private cloneStep(
    sb: number,
    sw: number,
    tb: number,
    tw: number,
    sourceFirst: number,
    targetFirst: number,
    count: number,
    end: number,
  ): number {
    const { mapping, allocator, journal, pmem, quota } = this.core;
    const size = this.core.size(tb, tw);
    const copies = this.refer(sb, sw, tb, tw, sourceFirst, targetFirst, count);
    if (copies < 0) return copies;
    const { growth } = this;
    if (quota !== null && growth > 0 && quota.takeBlocks(tb, tw, growth) < 0)
      return this.giveUp(count, -EDQUOT);
    if (!allocator.reserve(copies + mapping.nodesFor(targetFirst, targetFirst + count - 1), false)) {
      if (growth > 0) quota?.giveBlocks(tb, tw, growth);
      return this.giveUp(count, -ENOSPC);
    }
    this.data.beginStep();
    let error = 0;
    for (let index = 0; index < count && error === 0; index++) {
      error = mapping.lookup(sb, sw, sourceFirst + index);
      if (error < 0) break;
      const isData = mapping.block !== 0 && (mapping.flags & MAP_UNWRITTEN) === 0;
      const block = isData ? mapping.block : 0;
      const flags = mapping.flags;
      error = mapping.lookup(tb, tw, targetFirst + index);
      if (error < 0) break;
      const old = mapping.block;
      if (old === block) continue;
      if (block === 0) {
        error = mapping.set(tb, tw, targetFirst + index, 0, 0);
      } else if (this.referred[index] !== 0) {
        if ((flags & MAP_SHARED) === 0)
          error = mapping.set(sb, sw, sourceFirst + index, block, flags | MAP_SHARED);
        if (error === 0) error = mapping.set(tb, tw, targetFirst + index, block, MAP_PRESENT | MAP_SHARED);
      } else {
        const copy = allocator.takeRun(1, 0, targetFirst + index, false);
        if (copy < 0) {
          error = copy;
          break;
        }
        pmem.copyBetween(copy, 0, block, 0, BLOCK_SIZE);
        error = mapping.set(tb, tw, targetFirst + index, copy, MAP_PRESENT);
      }
      if (old !== 0) mapping.drop(old);
    }
    if (error < 0) {
      if (growth > 0) quota?.giveBlocks(tb, tw, growth);
      return this.giveUp(count, this.data.abandonStep(error));
    }
    if (growth !== 0) journal.add64(tb, tw + I_BLOCKS, growth);
    this.data.commitStep(tb, tw, end > size ? end : -1);
    if (growth < 0) quota?.giveBlocks(tb, tw, -growth);
    return 0;
  }

  private copyRange(
    sb: number,
    sw: number,
    tb: number,
    tw: number,
    from: number,
    to: number,
    length: number,
  ): number {
    const { mapping, pmem } = this.core;
    let done = 0;
    while (done < length) {
      const position = from + done;
      const inBlock = position % BLOCK_SIZE;
      const fileBlock = Math.floor(position / BLOCK_SIZE);
      const error = mapping.lookup(sb, sw, fileBlock);
      if (error < 0) return error;
      let piece: number;
      let source: number;
      if (mapping.block === 0 || (mapping.flags & MAP_UNWRITTEN) !== 0) {
        const span = mapping.block === 0 ? Math.min(mapping.holeSpan, TWO_32 - fileBlock) : 1;
        piece = Math.min(span * BLOCK_SIZE - inBlock, ZEROES, length - done);
        source = this.zeroesAddress;
      } else {
        const start = mapping.block;
        let run = 1;
        while (run * BLOCK_SIZE - inBlock < Math.min(length - done, ZEROES)) {
          const next = mapping.lookup(sb, sw, fileBlock + run);
          if (next < 0) return next;
          if (mapping.block !== start + run || (mapping.flags & MAP_UNWRITTEN) !== 0) break;
          run++;
        }
        piece = Math.min(run * BLOCK_SIZE - inBlock, length - done);
        source = pmem.address + start * BLOCK_SIZE + inBlock;
      }
      this.data.setSource(source, to + done);
      const written = this.data.writeRange(tb, tw, to + done, piece);
      if (written < 0) return written;
      done += written;
    }
    return 0;
  }
}
