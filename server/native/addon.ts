// SPDX-License-Identifier: BSD-3-Clause

/**
 * What the N-API addon (`addon.c`) offers. Addresses are process virtual addresses as plain numbers (user space ends
 * below 2^47), lengths are bytes. Functions on the operation path allocate nothing.
 *
 * System calls that fail throw an `Error` with `errno` (positive number), `code` ('ENOENT') and `syscall`, except
 * where a return value is said to be `-errno`.
 */
export interface Addon {
  // --- operation path: no allocation ---
  /** ioctl(2) with a pointer argument; returns 0 or more, or -errno. Blocks the calling thread. */
  ioctl(fd: number, command: number, argument: number): number;
  /** memcpy between any two ranges that do not overlap. */
  copy(destination: number, source: number, length: number): void;
  /** memcpy of `length` bytes, and zeroes up to `whole`. */
  copyPadded(destination: number, source: number, length: number, whole: number): void;
  /** Copy to persistent memory past the caches (movnt); ordered by the next `fence`. Any alignment. */
  copyNonTemporal(destination: number, source: number, length: number): void;
  /** Zero persistent memory past the caches; ordered by the next `fence`. Any alignment. */
  zeroNonTemporal(destination: number, length: number): void;
  /**
   * Write a transaction's log from the `count` groups of staged words at `groups` (StagedWords): records, length and check; magic and
   * sequence are there already. `log` is the address of `room` words. Returns the log's length in words, 0 when there is no room.
   */
  writeLog(groups: number, count: number, log: number, room: number): number;
  /**
   * Store records of 32-bit words to persistent memory at `base` and write them back. A record: block of 4096 bytes,
   * (first word << 16 | count), the words; `records` is the address of `words` words of them.
   */
  storeRecords(base: number, records: number, words: number): void;
  /**
   * A transaction in one call: a fence, if `fenceFirst`; its log, as `writeLog` writes it, made durable at `slot`; its records stored at
   * `base` and made durable; the slot emptied. A single word needs no slot. Returns what `writeLog` does.
   */
  commit(
    groups: number,
    count: number,
    log: number,
    room: number,
    base: number,
    slot: number,
    fenceFirst: boolean,
  ): number;
  /** Zero ordinary memory (a window, a buffer). */
  zero(destination: number, length: number): void;
  /** Write back every cache line of the range (clwb, clflushopt or clflush, what the CPU has). */
  writeBack(address: number, length: number): void;
  /** sfence: everything written back or stored past the caches before is durable after. */
  fence(): void;
  /** Store CLOCK_REALTIME_COARSE as a u64 of nanoseconds at `address`: what the kernel's current_time() gives. */
  clockRealtimeCoarse(address: number): void;
  /** memcmp() === 0 */
  equal(a: number, b: number, length: number): boolean;
  /** Offset of the first byte that is not 0; `length` if there is none. */
  firstNonZero(address: number, length: number): number;
  /** CLOCK_MONOTONIC in nanoseconds. */
  monotonic(): number;
  /** sched_yield(2): for a lock whose holder may be waiting for this very CPU. */
  yieldCpu(): void;

  // --- set-up path ---
  open(path: string, flags: number, mode: number): number;
  close(fd: number): void;
  /** mmap(2) with MAP_SHARED, PROT_READ and, if `writable`, PROT_WRITE; returns the address. */
  mmap(fd: number, offset: number, length: number, writable: boolean): number;
  /** Anonymous memory (MAP_SHARED | MAP_ANONYMOUS), page aligned, zeroed. */
  mmapAnonymous(length: number): number;
  munmap(address: number, length: number): void;
  /**
   * An ArrayBuffer over memory that somebody else owns; several workers may each have one over the same range. A worker gets the
   * same one again (the last 256 are kept), also when the range was unmapped and mapped again: to V8 each one is so much new memory, and a mount's
   * gigabytes would have it look for garbage at every mount.
   */
  external(address: number, length: number): ArrayBuffer;
  /** Address of an ArrayBuffer's or SharedArrayBuffer's first byte. */
  addressOf(buffer: ArrayBuffer | SharedArrayBuffer): number;
  /** msync(2) MS_SYNC, for images in plain files. */
  msync(address: number, length: number): void;
  /** Bind the calling thread to one CPU (sched_setaffinity). */
  bindToCpu(cpu: number): void;
  /** CPU the calling thread runs on. */
  currentCpu(): number;
  /** prctl(PR_SET_NAME) of the calling thread. */
  setThreadName(name: string): void;
  /** Kernel's id of the calling thread. */
  threadId(): number;
  /** prctl(PR_SET_IO_FLUSHER, 1) of the calling thread. */
  setIoFlusher(): void;
  /** Leave signals to other threads: the calling one then never gets EINTR but when it is killed. */
  blockSignals(): void;
  /** Size in bytes of a block device (BLKGETSIZE64) or regular file. */
  sizeOf(fd: number): number;
  /** flock(2) with LOCK_EX; false when somebody else has the lock. It goes with the open file. */
  tryLock(fd: number): boolean;
  /** Send a datagram to a Unix socket; a path that starts with @ is an abstract name. */
  sendDatagram(path: string, text: string): void;
  /** What `writeBack` uses on this CPU: clwb, clflushopt or clflush. */
  readonly writeBackInstruction: string;
}
