// SPDX-License-Identifier: BSD-3-Clause

/** One command of the fake kernel: built field by field, run through the real dispatch code, checked, read back. */

import { getSystemErrorName } from 'node:util';
import { OP, zufs_ioc_hdr } from '../abi/layout.ts';
import { setU64, u64 } from './mount-table.ts';

/** Errors that Node has no name for. */
const moreNames = new Map([
  [116, 'ESTALE'],
  [117, 'EUCLEAN'],
  [122, 'EDQUOT'],
]);

/** An operation that the server answered with an error, or that the kernel's own rules refuse. */
export class KernelError extends Error {
  readonly errno: number;
  /** 'ENOENT' and so on. */
  readonly code: string;
  constructor(errno: number, what: string) {
    const code = moreNames.get(errno) ?? (errno < 500 ? getSystemErrorName(-errno) : `E${errno}`);
    super(`${code}: ${what}`);
    this.name = 'KernelError';
    this.errno = errno;
    this.code = code;
  }
}

/** The server broke the rules of the interface: the real kernel would answer EIO and say so in its log. */
export class BadReplyError extends Error {
  override readonly name = 'BadReplyError';
}

const operationNames = new Map(
  Object.entries(OP).map(([name, code]) => [code as number, name.replace('ZUFS_OP_', '')]),
);

export function operationName(operation: number): string {
  return operationNames.get(operation) ?? `operation ${operation}`;
}

const encoder = new TextEncoder();

/** Names are any bytes; a string stands for its UTF-8. */
export type Name = string | Uint8Array;

export function nameBytes(name: Name): Uint8Array {
  return typeof name === 'string' ? encoder.encode(name) : name;
}

export interface CommandOptions {
  readonly operation: number;
  /** `in_len`: bytes of the command. */
  readonly size: number;
  /** Bytes that the kernel reads back. */
  readonly out?: readonly [start: number, length: number];
  /** How far the server may raise `out_len`; not at all unless it is said. */
  readonly outMax?: number;
  /** Data in the window. */
  readonly data?: { readonly offset: number; readonly length: number };
}

export class Command {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly operation: number;
  /** First byte that comes back: the kernel's word, whatever the server makes of the field. */
  readonly outStart: number;
  readonly #outMax: number;
  /** What the command has in the window; null when it has nothing there. */
  readonly data: { readonly offset: number; readonly length: number } | null;

  /** `buffer` is the whole command buffer. */
  constructor(buffer: Uint8Array, options: CommandOptions) {
    this.operation = options.operation;
    this.data = options.data ?? null;
    const [outStart, outLength] = options.out ?? [0, 0];
    const outMax = options.outMax ?? outLength;
    this.outStart = outStart;
    this.#outMax = outMax;
    this.bytes = buffer.subarray(0, Math.max(options.size, outStart + outMax));
    this.bytes.fill(0);
    this.view = new DataView(buffer.buffer, buffer.byteOffset, this.bytes.length);
    this.view.setUint16(zufs_ioc_hdr.in_len, options.size, true);
    this.view.setUint16(zufs_ioc_hdr.out_max, outMax, true);
    this.view.setUint16(zufs_ioc_hdr.out_start, outStart, true);
    this.view.setUint16(zufs_ioc_hdr.out_len, outLength, true);
    this.view.setUint16(zufs_ioc_hdr.operation, options.operation, true);
    this.view.setUint32(zufs_ioc_hdr.offset, options.data?.offset ?? 0, true);
    this.view.setUint32(zufs_ioc_hdr.len, options.data?.length ?? 0, true);
  }

  u32(offset: number, value: number): this {
    this.view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number, value: number): this {
    setU64(this.view, offset, value);
    return this;
  }

  big(offset: number, value: bigint): this {
    this.view.setBigInt64(offset, value, true);
    return this;
  }

  /** A `struct zufs_str` at `offset`. */
  name(offset: number, name: Name): this {
    const bytes = nameBytes(name);
    if (bytes.length > 255) throw new KernelError(36, 'name too long');
    this.bytes[offset] = bytes.length;
    this.bytes.set(bytes, offset + 1);
    return this;
  }

  getU32(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  getU64(offset: number): number {
    return u64(this.view, offset);
  }

  /** hdr.err as it came back: 0 or -errno. */
  get error(): number {
    return this.view.getInt32(zufs_ioc_hdr.err, true);
  }

  get outLength(): number {
    return this.view.getUint16(zufs_ioc_hdr.out_len, true);
  }

  get dataLength(): number {
    return this.view.getUint32(zufs_ioc_hdr.len, true);
  }

  checkReply(): void {
    const error = this.error;
    if (error > 0 || error < -4095) this.bad(`hdr.err ${error}`);
    if (this.outLength > this.#outMax)
      this.bad(`${this.outLength} bytes come back where ${this.#outMax} fit`);
  }

  bad(what: string): never {
    throw new BadReplyError(`${operationName(this.operation)}: ${what}`);
  }
}
