// SPDX-License-Identifier: BSD-3-Clause

/** Loads the addon and gives it the shape of `Addon`. */

import type { Addon } from './addon.ts';

/** The exports of addon.c: functions of the operation path take their arguments from `registers`. */
interface Exports {
  readonly registers: ArrayBuffer;
  readonly writeBackInstruction: string;
  ioctl(): void;
  copy(): void;
  copyPadded(): void;
  copyNonTemporal(): void;
  zeroNonTemporal(): void;
  writeLog(): void;
  storeRecords(): void;
  commit(): void;
  zero(): void;
  writeBack(): void;
  fence(): void;
  clockRealtimeCoarse(): void;
  monotonic(): void;
  equal(): void;
  firstNonZero(): void;
  yieldCpu(): void;
  open(path: string, flags: number, mode: number): number;
  close(fd: number): void;
  mmap(fd: number, offset: number, length: number, writable: boolean): number;
  mmapAnonymous(length: number): number;
  munmap(address: number, length: number): void;
  external(address: number, length: number): ArrayBuffer;
  addressOf(array: Uint8Array): number;
  msync(address: number, length: number): void;
  bindToCpu(cpu: number): void;
  currentCpu(): number;
  threadId(): number;
  setThreadName(name: string): void;
  setIoFlusher(): void;
  blockSignals(): void;
  sizeOf(fd: number): number;
  tryLock(fd: number): boolean;
  sendDatagram(path: string, text: string): void;
}

/** More ranges than the mounts of a busy server have. */
const EXTERNALS_KEPT = 256;

/**
 * Small methods that the optimizing compiler inlines into the handlers: there a double goes straight into the register
 * array and never becomes an object on the heap.
 */
class NativeAddon implements Addon {
  readonly #native: Exports;
  readonly #registers: Float64Array;
  readonly #externals = new Map<string, ArrayBuffer>();
  readonly writeBackInstruction: string;

  constructor(native: Exports) {
    // V8 keeps an object fast that is a prototype, and takes its functions for constants; `exports` was filled by name and is slow.
    this.#native = Object.create(native);
    this.#registers = new Float64Array(native.registers);
    this.writeBackInstruction = native.writeBackInstruction;
  }

  ioctl(fd: number, command: number, argument: number): number {
    const registers = this.#registers;
    registers[0] = fd;
    registers[1] = command;
    registers[2] = argument;
    this.#native.ioctl();
    // As an integer: a double would be an object on the heap wherever it is handed on.
    return registers[0] | 0;
  }

  copy(destination: number, source: number, length: number): void {
    const registers = this.#registers;
    registers[0] = destination;
    registers[1] = source;
    registers[2] = length;
    this.#native.copy();
  }

  copyPadded(destination: number, source: number, length: number, whole: number): void {
    const registers = this.#registers;
    registers[0] = destination;
    registers[1] = source;
    registers[2] = length;
    registers[3] = whole;
    this.#native.copyPadded();
  }

  copyNonTemporal(destination: number, source: number, length: number): void {
    const registers = this.#registers;
    registers[0] = destination;
    registers[1] = source;
    registers[2] = length;
    this.#native.copyNonTemporal();
  }

  zeroNonTemporal(destination: number, length: number): void {
    const registers = this.#registers;
    registers[0] = destination;
    registers[1] = length;
    this.#native.zeroNonTemporal();
  }

  writeLog(groups: number, count: number, log: number, room: number): number {
    const registers = this.#registers;
    registers[0] = groups;
    registers[1] = count;
    registers[2] = log;
    registers[3] = room;
    this.#native.writeLog();
    return registers[0] | 0;
  }

  storeRecords(base: number, records: number, words: number): void {
    const registers = this.#registers;
    registers[0] = base;
    registers[1] = records;
    registers[2] = words;
    this.#native.storeRecords();
  }

  commit(
    groups: number,
    count: number,
    log: number,
    room: number,
    base: number,
    slot: number,
    fenceFirst: boolean,
  ): number {
    const registers = this.#registers;
    registers[0] = groups;
    registers[1] = count;
    registers[2] = log;
    registers[3] = room;
    registers[4] = base;
    registers[5] = slot;
    registers[6] = fenceFirst ? 1 : 0;
    this.#native.commit();
    return registers[0] | 0;
  }

  zero(destination: number, length: number): void {
    const registers = this.#registers;
    registers[0] = destination;
    registers[1] = length;
    this.#native.zero();
  }

  writeBack(address: number, length: number): void {
    const registers = this.#registers;
    registers[0] = address;
    registers[1] = length;
    this.#native.writeBack();
  }

  fence(): void {
    this.#native.fence();
  }

  clockRealtimeCoarse(address: number): void {
    this.#registers[0] = address;
    this.#native.clockRealtimeCoarse();
  }

  monotonic(): number {
    this.#native.monotonic();
    return this.#registers[0];
  }

  equal(a: number, b: number, length: number): boolean {
    const registers = this.#registers;
    registers[0] = a;
    registers[1] = b;
    registers[2] = length;
    this.#native.equal();
    return registers[0] !== 0;
  }

  firstNonZero(address: number, length: number): number {
    const registers = this.#registers;
    registers[0] = address;
    registers[1] = length;
    this.#native.firstNonZero();
    return registers[0];
  }

  yieldCpu(): void {
    this.#native.yieldCpu();
  }

  open(path: string, flags: number, mode: number): number {
    return this.#native.open(path, flags, mode);
  }

  close(fd: number): void {
    this.#native.close(fd);
  }

  mmap(fd: number, offset: number, length: number, writable: boolean): number {
    return this.#native.mmap(fd, offset, length, writable);
  }

  mmapAnonymous(length: number): number {
    return this.#native.mmapAnonymous(length);
  }

  munmap(address: number, length: number): void {
    this.#native.munmap(address, length);
  }

  external(address: number, length: number): ArrayBuffer {
    const range = `${address}+${length}`;
    const kept = this.#externals.get(range);
    if (kept !== undefined) return kept;
    const buffer = this.#native.external(address, length);
    if (this.#externals.size >= EXTERNALS_KEPT) this.#externals.clear();
    this.#externals.set(range, buffer);
    return buffer;
  }

  addressOf(buffer: ArrayBuffer | SharedArrayBuffer): number {
    return this.#native.addressOf(new Uint8Array(buffer));
  }

  msync(address: number, length: number): void {
    this.#native.msync(address, length);
  }

  bindToCpu(cpu: number): void {
    this.#native.bindToCpu(cpu);
  }

  currentCpu(): number {
    return this.#native.currentCpu();
  }

  threadId(): number {
    return this.#native.threadId();
  }

  setThreadName(name: string): void {
    this.#native.setThreadName(name.slice(0, 15));
  }

  setIoFlusher(): void {
    this.#native.setIoFlusher();
  }

  blockSignals(): void {
    this.#native.blockSignals();
  }

  sizeOf(fd: number): number {
    return this.#native.sizeOf(fd);
  }

  tryLock(fd: number): boolean {
    return this.#native.tryLock(fd);
  }

  sendDatagram(path: string, text: string): void {
    this.#native.sendDatagram(path, text);
  }
}

/** `path` is the absolute path of the compiled addon. Each thread loads its own. */
export function loadAddon(path: string): Addon {
  const module = { exports: {} };
  process.dlopen(module, path);
  return new NativeAddon(module.exports as Exports);
}
