// SPDX-License-Identifier: BSD-3-Clause

/** Contents of files on a mount of the fake kernel: read, write, mmap, fallocate, clone, and questions about them. */

import {
  FLAG,
  IOM,
  OP,
  zufs_ioc_clone,
  zufs_ioc_fiemap,
  zufs_ioc_hdr,
  zufs_ioc_IO,
  zufs_ioc_mmap_close,
  zufs_ioc_seek,
  zus_inode,
} from '../abi/layout.ts';
import { WINDOW_SIZE } from './dispatch.ts';
import { type Command, KernelError } from './fake-command.ts';
import type { FakeInode } from './fake-inode.ts';
import { MountNames } from './fake-names.ts';
import { errno, type Target, text } from './fake-session.ts';

export const FALLOC = {
  KEEP_SIZE: 1,
  PUNCH_HOLE: 2,
  COLLAPSE_RANGE: 8,
  ZERO_RANGE: 16,
  INSERT_RANGE: 32,
  UNSHARE_RANGE: 64,
};

export interface Extent {
  readonly logical: number;
  readonly physical: number;
  readonly length: number;
  readonly flags: number;
}

export class MountFiles extends MountNames {
  /** Take the inode open, so that it lives on without a name. */
  open(target: Target): FakeInode {
    const inode = this.inode(target);
    inode.opens++;
    return inode;
  }

  close(inode: FakeInode): void {
    inode.opens--;
    this.freeIfUnused(inode);
  }

  /** pwrite(2). Returns the bytes written; with no room for any it throws ENOSPC. */
  write(target: Target, position: number, data: Uint8Array | string, flags = 0): number {
    this.writable();
    const inode = this.inode(target);
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    const room = WINDOW_SIZE - 4096;
    for (let done = 0; done < bytes.length; ) {
      const piece = bytes.subarray(done, done + room);
      const count = this.#writePiece(inode, position + done, piece, flags);
      done += count;
      if (count < piece.length) return done;
    }
    return bytes.length;
  }

  #writePiece(inode: FakeInode, position: number, piece: Uint8Array, flags: number): number {
    const offset = this.kernel.pageOffset;
    const time = this.now();
    inode.raw.setBigInt64(zus_inode.i_mtime, time, true);
    inode.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.ioCommand(OP.ZUFS_OP_WRITE, inode, position, FLAG.ZUFS_RW_WRITE | flags, {
      offset,
      length: piece.length,
    });
    this.kernel.window.set(piece, offset);
    this.call(command, 'write');
    return this.#progress(command, position, piece.length);
  }

  /** pread(2). */
  read(target: Target, position: number, length: number): Uint8Array {
    const inode = this.inode(target);
    const end = Math.min(position + length, inode.size);
    const result = new Uint8Array(Math.max(0, end - position));
    for (let done = 0; done < result.length; ) {
      const offset = this.kernel.pageOffset;
      const piece = Math.min(result.length - done, WINDOW_SIZE - 4096);
      this.kernel.window.fill(0xdb, offset, offset + piece);
      const command = this.ioCommand(OP.ZUFS_OP_READ, inode, position + done, 0, { offset, length: piece });
      this.call(command, 'read');
      const count = this.#progress(command, position + done, piece);
      result.set(this.kernel.window.subarray(offset, offset + count), done);
      done += count;
      if (count < piece) return result.subarray(0, done);
    }
    return result;
  }

  #progress(command: Command, position: number, length: number): number {
    const count = command.getU64(zufs_ioc_IO.last_pos) - position;
    if (count < 0 || count > length)
      command.bad(`last_pos ${position + count} for ${length} bytes at ${position}`);
    if (count === 0) throw new KernelError(errno.ENOSPC, 'no byte done');
    return count;
  }

  writeFile(path: string, data: Uint8Array | string): FakeInode {
    const inode = this.exists(path) ? this.inode(path) : this.create(path);
    if (inode.size > 0) this.truncate(inode, 0);
    this.write(inode, 0, data);
    return inode;
  }

  readFile(target: Target): Uint8Array {
    return this.read(target, 0, this.inode(target).size);
  }

  readText(target: Target): string {
    return text(this.readFile(target));
  }

  truncate(target: Target, size: number): void {
    this.#fallocateCall(this.inode(target), FLAG.ZUFS_FL_TRUNCATE, size, size);
  }

  /** fallocate(2); `mode` of FALLOC. */
  fallocate(target: Target, mode: number, offset: number, length: number): void {
    this.#fallocateCall(this.inode(target), mode, offset, offset + length);
  }

  #fallocateCall(inode: FakeInode, mode: number, position: number, end: number): void {
    this.writable();
    const time = this.now();
    inode.raw.setBigInt64(zus_inode.i_mtime, time, true);
    inode.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.ioCommand(OP.ZUFS_OP_FALLOCATE, inode, position, mode).u64(
      zufs_ioc_IO.last_pos,
      end,
    );
    this.call(command, 'fallocate');
  }

  /** lseek(2) with SEEK_DATA ('data') or SEEK_HOLE ('hole'). */
  seek(target: Target, offset: number, whence: 'data' | 'hole'): number {
    const inode = this.inode(target);
    const { zus_ii, offset_in, whence: at, offset_out, SIZE } = zufs_ioc_seek;
    const command = this.newCommand(OP.ZUFS_OP_LLSEEK, SIZE, [offset_out, 8]).u64(zus_ii, inode.cookie);
    this.call(command.u64(offset_in, offset).u32(at, whence === 'data' ? 3 : 4), 'lseek');
    return command.getU64(offset_out);
  }

  /**
   * What a page fault or a cached extent asks: blocks of [position, position + length), null for a hole. They stay
   * put until `putBlocks` with what came back.
   */
  getBlocks(
    target: Target,
    position: number,
    length: number,
    flags = 0,
  ): { blocks: (number | null)[]; writable: boolean[]; reply: Uint8Array; isNew: boolean } {
    const inode = this.inode(target);
    const { iom_e, ziom_iom_max, ziom_iom_n, ret_flags } = zufs_ioc_IO;
    const count = length / 4096;
    const size = Math.max(zufs_ioc_IO.SIZE, iom_e + count * 8);
    const command = this.ioCommand(OP.ZUFS_OP_GET_MULTY, inode, position, flags, undefined, size);
    command.u32(ziom_iom_max, Math.max(13, count)).u32(zufs_ioc_hdr.len, length);
    this.call(command, 'get_multy');
    const got = command.getU32(ziom_iom_n);
    if (got < 1 || got > count) command.bad(`${got} entries for ${count} blocks`);
    const blocks = Array.from({ length: got }, (_, index) => this.#blockOf(command, iom_e + index * 8));
    const isNew = (command.getU32(ret_flags) & FLAG.ZUFS_RET_NEW) !== 0;
    // What the kernel may store to by itself.
    const writable = blocks.map(
      (block, index) => block !== null && command.getU32(iom_e + index * 8 + 4) >>> 24 === IOM.IOM_T1_WRITE,
    );
    return { blocks, writable, reply: command.bytes.slice(0, size), isNew };
  }

  #blockOf(command: Command, at: number): number | null {
    const [low, high] = [command.getU32(at), command.getU32(at + 4)];
    const block = (low >>> 3) + (high & 0xffffff) * 2 ** 29;
    if (block === 0) return null;
    const type = high >>> 24;
    if (type !== IOM.IOM_T1_READ && type !== IOM.IOM_T1_WRITE) command.bad(`entry type ${type}`);
    if ((low & 7) !== 0) command.bad(`pool ${low & 7}`);
    if (block >= this.kernel.memory.length / 4096) command.bad(`block ${block} beyond the devices`);
    return block;
  }

  putBlocks(reply: Uint8Array): void {
    const command = this.kernel.command({ operation: OP.ZUFS_OP_PUT_MULTY, size: reply.length });
    command.bytes.set(reply.subarray(zufs_ioc_hdr.SIZE), zufs_ioc_hdr.SIZE);
    command.u32(zufs_ioc_hdr.len, new DataView(reply.buffer).getUint32(zufs_ioc_hdr.len, true));
    this.call(command, 'put_multy');
  }

  /** A store through a shared mapping: one fault a page, then the bytes go straight to memory. */
  mmapWrite(target: Target, position: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const inPage = (position + done) % 4096;
      const piece = data.subarray(done, done + 4096 - inPage);
      const { blocks, reply } = this.getBlocks(
        target,
        position + done - inPage,
        4096,
        FLAG.ZUFS_RW_WRITE | FLAG.ZUFS_RW_MMAP,
      );
      if (blocks[0] === null) throw new KernelError(5, 'a hole where a block was to be allocated');
      this.kernel.memory.set(piece, blocks[0] * 4096 + inPage);
      this.putBlocks(reply);
      done += piece.length;
    }
  }

  /**
   * What the kernel does for who appends little by little: ask for blocks ahead of the end, store to the last block and to those
   * itself, and set the size. Throws ENOSPC when the server gives fewer than `data` needs. The rest stays until `dropAhead`;
   * `junk` is stored there, as by a writer who is cut off before the size says so.
   */
  appendAhead(target: Target, data: Uint8Array, ahead: number, junk = 0): void {
    const inode = this.inode(target);
    const size = inode.size;
    const inLast = (4096 - (size % 4096)) % 4096;
    const first = (size + inLast) / 4096;
    const { blocks, writable, reply } = this.getBlocks(
      target,
      first * 4096,
      ahead * 4096,
      FLAG.ZUFS_RW_WRITE | FLAG.ZUFS_RW_AHEAD,
    );
    if (!writable.every(Boolean)) throw new KernelError(errno.EIO, 'blocks ahead that are not to be written');
    const rest = data.subarray(inLast);
    if (rest.length > blocks.length * 4096) {
      this.putBlocks(reply);
      throw new KernelError(errno.ENOSPC, 'too few blocks ahead');
    }
    if (inLast > 0) this.mmapWrite(target, size, data.subarray(0, inLast));
    for (const [index, block] of blocks.entries()) {
      const at = (block ?? 0) * 4096;
      const piece = rest.subarray(index * 4096, (index + 1) * 4096);
      if (junk !== 0) this.kernel.memory.fill(junk, at, at + 4096);
      this.kernel.memory.set(piece, at);
    }
    inode.raw.setBigUint64(zus_inode.i_size, BigInt(size + data.length), true);
    this.putBlocks(reply);
  }

  /** Give back what lies behind the end, before the block with number `end`. */
  dropAhead(target: Target, end: number): void {
    const inode = this.inode(target);
    const command = this.ioCommand(OP.ZUFS_OP_FALLOCATE, inode, inode.size, FLAG.ZUFS_FL_DROP_AHEAD);
    this.call(command.u64(zufs_ioc_IO.last_pos, end * 4096), 'drop ahead');
  }

  mmapClose(target: Target): void {
    const inode = this.inode(target);
    const { zus_ii, rw, SIZE } = zufs_ioc_mmap_close;
    const command = this.newCommand(OP.ZUFS_OP_MMAP_CLOSE, SIZE, [0, 0]).u64(zus_ii, inode.cookie);
    this.call(command.u64(rw, FLAG.ZUFS_RW_WRITE), 'munmap');
  }

  fiemap(target: Target, start = 0, length = 2 ** 52, max = 64, flags = 0): Extent[] {
    const inode = this.inode(target);
    const { zus_ii, start: from, length: bytes, extents_max, extents_mapped, SIZE } = zufs_ioc_fiemap;
    const data = { offset: 0, length: max * 56 };
    const command = this.newCommand(OP.ZUFS_OP_FIEMAP, SIZE, [extents_mapped, 4], data);
    command.u64(zus_ii, inode.cookie).u64(from, start).u64(bytes, length);
    command.u32(zufs_ioc_fiemap.flags, flags).u32(extents_max, max);
    this.call(command, 'fiemap');
    const count = command.getU32(extents_mapped);
    if (count > max) command.bad(`${count} extents where ${max} fit`);
    const view = new DataView(this.kernel.window.buffer, this.kernel.window.byteOffset, data.length);
    return Array.from({ length: count }, (_, index) => ({
      logical: Number(view.getBigUint64(index * 56, true)),
      physical: Number(view.getBigUint64(index * 56 + 8, true)),
      length: Number(view.getBigUint64(index * 56 + 16, true)),
      flags: view.getUint32(index * 56 + 40, true),
    }));
  }

  /** FICLONERANGE. */
  clone(source: Target, from: number, destination: Target, to: number, length: number): void {
    this.#cloneCall(OP.ZUFS_OP_CLONE, source, from, destination, to, length);
  }

  /** copy_file_range(2). */
  copy(source: Target, from: number, destination: Target, to: number, length: number): void {
    this.#cloneCall(OP.ZUFS_OP_COPY, source, from, destination, to, length);
  }

  #cloneCall(
    code: number,
    source: Target,
    from: number,
    destination: Target,
    to: number,
    length: number,
  ): void {
    this.writable();
    const { src_zus_ii, dst_zus_ii, pos_in, pos_out, len, len_up, SIZE } = zufs_ioc_clone;
    const origin = this.inode(source);
    const target = this.inode(destination);
    const time = this.now();
    target.raw.setBigInt64(zus_inode.i_mtime, time, true);
    target.raw.setBigInt64(zus_inode.i_ctime, time, true);
    const command = this.newCommand(code, SIZE, [0, 0])
      .u64(src_zus_ii, origin.cookie)
      .u64(dst_zus_ii, target.cookie)
      .u64(pos_in, from)
      .u64(pos_out, to)
      .u64(len, length)
      .u64(len_up, Math.ceil(length / 4096) * 4096);
    this.call(command, code === OP.ZUFS_OP_CLONE ? 'clone' : 'copy_file_range');
  }
}
