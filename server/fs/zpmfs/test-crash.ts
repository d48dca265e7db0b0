// SPDX-License-Identifier: BSD-3-Clause

/**
 * For tests: what pmem may hold after a power failure.
 *
 * Every store, write-back and fence of the file system is recorded, and what the kernel stores in inodes. At every fence,
 * images are built of what may have reached the media by then: each cache line that was stored to and not yet made
 * durable is there in any of the versions it had. Such an image must mount, fsck must find nothing, and its
 * tree must be that before or that after the operation.
 */

import { type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import type { FileSystem } from '../filesystem.ts';
import { checkFileSystem, memorySource } from './check.ts';
import { BLOCK_SIZE } from './format.ts';
import { makeFileSystem } from './make.ts';
import { Pmem } from './pmem.ts';
import { Media, type MediaEvent, recorderFor } from './test-media.ts';
import { Random } from './test-model.ts';
import { dataFits, explain, readTree, sameShape, type Tree } from './test-tree.ts';
import { addon, Volume } from './test-volume.ts';
import { deleteAll } from './test-workloads.ts';
import { Zpmfs, zpmfs } from './zpmfs.ts';

export interface CrashOptions {
  readonly bytes?: number;
  readonly seed?: number;
  readonly cpus?: number;
  /** Images with a random choice of pending lines at each fence. */
  readonly samples?: number;
  /** Also the images with none and with all of what is pending; yes by default. */
  readonly extremes?: boolean;
  /** One image in so many is also crashed during its own recovery. */
  readonly recoveryEvery?: number;
  /** One image in so many has everything in it deleted. */
  readonly deleteEvery?: number;
  /** Crash only the steps of these names; all by default. */
  readonly only?: readonly string[];
  /** Mount options. */
  readonly mount?: string;
  /** What else there is to say of a file system: after a crash it must be what it was before, or after, the step. */
  readonly facts?: (fs: FakeMount) => string;
  /** A mistake to make: what an operation did to the media, changed. */
  readonly mutate?: (events: readonly MediaEvent[], operation: string) => readonly MediaEvent[];
  /** A mistake to make: operations of these names do not use the journal. */
  readonly bypass?: ReadonlySet<string>;
}

/** An image that did not hold what it must. */
export class CrashError extends Error {
  override readonly name = 'CrashError';
}

/** A file system whose every step can be crashed. */
export class CrashRun {
  fs: FakeMount;
  /** Images that were looked at. */
  images = 0;
  fences = 0;
  /** Images whose recovery was crashed too, and those in which everything was deleted. */
  recoveries = 0;
  deleted = 0;
  private readonly volume: Volume;
  private readonly probe: Volume;
  private readonly events: MediaEvent[] = [];
  private media: Media;
  private readonly random: Random;
  private readonly options: CrashOptions;
  private readonly threads: Zpmfs[] = [];
  private tree: Tree;
  private facts: readonly string[] = [];
  /** What mkfs, or `keep`, left. */
  private image: Uint8Array;

  constructor(options: CrashOptions = {}) {
    const bytes = options.bytes ?? 2 << 20;
    this.options = options;
    this.random = new Random(options.seed ?? 1);
    const recording: FileSystem = {
      ...zpmfs,
      attach: (request) => {
        const thread = new Zpmfs(request);
        thread.core.pmem.recorder = recorderFor(this.events, this.volume.bytes, request.zt + 1);
        this.threads.push(thread);
        return thread;
      },
    };
    this.volume = new Volume(addon.mmapAnonymous(bytes), bytes, options.cpus ?? 1, recording);
    this.probe = new Volume(addon.mmapAnonymous(bytes), bytes, 1);
    makeFileSystem([{ blocks: bytes / BLOCK_SIZE, node: 0 }], { hashSeed: 1 }, (block, content) => {
      this.volume.bytes.set(content, block * BLOCK_SIZE);
    });
    this.image = this.volume.bytes.slice();
    this.fs = this.volume.kernel.mount(this.mountOptions);
    this.media = new Media(this.volume.bytes, this.random);
    this.tree = readTree(this.fs);
    this.volume.kernel.onOperation = (when, operation) => {
      if (when === 'after' || this.looking) return;
      this.recordKernelStores();
      const skip = this.options.bypass?.has(operation) ?? false;
      for (const thread of this.threads) thread.core.pmem.bypassLog = skip;
    };
  }

  /** What there is now is what `reset` goes back to. */
  keep(): void {
    this.fs.unmount();
    this.image = this.volume.bytes.slice();
    this.mountAgain();
  }

  reset(): void {
    this.looking = true;
    this.fs.unmount();
    // Nothing was lost of what the allocator counts either.
    const { problems } = checkFileSystem(memorySource(this.volume.bytes));
    if (problems.length > 0)
      throw new CrashError(`unmounted, fsck finds:\n${problems.slice(0, 5).join('\n')}`);
    this.volume.bytes.set(this.image);
    this.mountAgain();
  }

  private mountAgain(): void {
    this.looking = true;
    this.threads.length = 0;
    this.fs = this.volume.kernel.mount(this.mountOptions);
    this.tree = readTree(this.fs);
    this.looking = false;
    this.events.length = 0;
    this.log.length = 0;
    this.seen = null;
    this.media = new Media(this.volume.bytes, this.random);
  }

  private get mountOptions(): { readonly options: string } {
    return { options: this.options.mount ?? '' };
  }

  get kernel(): Volume['kernel'] {
    return this.volume.kernel;
  }

  /** The kernel and applications store to pmem as well: whatever differs from what was recorded is theirs. */
  private recordKernelStores(): void {
    const seen = this.seen ?? this.volume.bytes.slice();
    for (const event of this.events.splice(0)) {
      this.log.push(event);
      if (event.bytes.length > 0) seen.set(event.bytes, event.offset);
    }
    const now = new Uint32Array(this.volume.bytes.buffer);
    const then = new Uint32Array(seen.buffer);
    for (let word = 0; word < now.length; word++) {
      if (now[word] === then[word]) continue;
      then[word] = now[word];
      const bytes = this.volume.bytes.slice(word * 4, word * 4 + 4);
      this.log.push({ kind: 'store', zt: 0, offset: word * 4, length: 4, bytes });
    }
    this.seen = seen;
  }

  /** Only reading: nothing to record. */
  private looking = false;
  private seen: Uint8Array | null = null;
  private readonly log: MediaEvent[] = [];

  /** Do one thing, then crash it everywhere. Errors of the action itself are part of it. */
  step(name: string, action: (fs: FakeMount) => void): void {
    this.recordKernelStores();
    for (const event of this.log.splice(0)) this.media.apply(event);
    const factsBefore = this.factsOf(this.fs);
    try {
      action(this.fs);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
    this.recordKernelStores();
    const recorded = this.log.splice(0);
    const before = this.tree;
    const after = this.lookAround();
    this.tree = after;
    const factsAfter = this.factsOf(this.fs);
    this.facts = [factsBefore, factsAfter];
    const events = this.options.mutate?.(recorded, name) ?? recorded;
    if (this.options.only?.includes(name) === false) {
      for (const event of events) this.media.apply(event);
      return;
    }
    for (const event of events) {
      if (event.kind === 'fence') {
        this.fences++;
        if (this.options.extremes ?? true) {
          this.check(name, 'none', before, after);
          this.check(name, 'all', before, after);
        }
        for (let sample = 0; sample < (this.options.samples ?? 2); sample++)
          this.check(name, 'some', before, after);
      }
      this.media.apply(event);
    }
    // Durable when it returns, whatever else is on its way.
    this.facts = [factsAfter];
    this.check(name, 'none', after, after);
    this.check(name, 'some', after, after);
  }

  /** Do something without crashing it. */
  quietly(action: (fs: FakeMount) => void): void {
    action(this.fs);
    this.recordKernelStores();
    for (const event of this.log.splice(0)) this.media.apply(event);
    this.tree = this.lookAround();
  }

  private factsOf(fs: FakeMount): string {
    this.looking = true;
    const facts = this.options.facts?.(fs) ?? '';
    this.looking = false;
    return facts;
  }

  private lookAround(): Tree {
    this.looking = true;
    const tree = readTree(this.fs);
    this.looking = false;
    return tree;
  }

  private check(name: string, how: 'none' | 'all' | 'some', before: Tree, after: Tree): void {
    this.media.crash(this.probe.bytes, how);
    this.images++;
    const every = this.options.recoveryEvery ?? 16;
    const recovery = this.images % every === 0 ? this.crashInRecovery(name, before, after) : null;
    if (recovery !== null) this.probe.bytes.set(recovery);
    this.look(`${name}, crash with ${how} of the pending lines`, before, after);
  }

  /** Mount, check, compare. */
  private look(what: string, before: Tree, after: Tree): void {
    const { probe } = this;
    let got: Tree;
    let facts = '';
    try {
      const fs = probe.kernel.mount(this.mountOptions);
      got = readTree(fs);
      facts = this.options.facts?.(fs) ?? '';
      fs.unmount();
    } catch (error) {
      if (error instanceof KernelError)
        throw new CrashError(`${what}: ${error.message}\n${probe.log.slice(-3).join('\n')}`);
      throw error;
    }
    const problems = checkFileSystem(memorySource(probe.bytes)).problems;
    if (problems.length > 0) throw new CrashError(`${what}: fsck finds:\n${problems.slice(0, 5).join('\n')}`);
    if (!sameShape(got, before) && !sameShape(got, after)) {
      throw new CrashError(`${what}: neither before nor after:\n${explain(got, before, after)}`);
    }
    if (!this.facts.includes(facts))
      throw new CrashError(`${what}: ${facts}, where it was\n${this.facts.join('\nand then\n')}`);
    const data = dataFits(got, before, after);
    if (data !== null) throw new CrashError(`${what}: ${data}`);
    if (this.images % (this.options.deleteEvery ?? 8) === 0) this.deleteEverything(what);
  }

  /** Whatever is there can be removed, and leaves nothing behind. */
  private deleteEverything(what: string): void {
    const { probe } = this;
    try {
      const fs = probe.kernel.mount();
      deleteAll(fs);
      fs.unmount();
    } catch (error) {
      if (error instanceof KernelError) throw new CrashError(`${what}, then deleting all: ${error.message}`);
      throw error;
    }
    const { problems, counts } = checkFileSystem(memorySource(probe.bytes));
    if (problems.length > 0)
      throw new CrashError(`${what}, then deleting all: fsck finds:\n${problems.slice(0, 5).join('\n')}`);
    if (counts.directories !== 1 || counts.files + counts.others !== 0)
      throw new CrashError(`${what}, then deleting all: something is left`);
    this.deleted++;
  }

  /** Crash the mount that recovers the probe's image at each of its fences; that must do no harm either. */
  private crashInRecovery(name: string, before: Tree, after: Tree): Uint8Array {
    const { probe } = this;
    this.recoveries++;
    const image = probe.bytes.slice();
    const events: MediaEvent[] = [];
    const recorder = recorderFor(events, probe.bytes, 0);
    Pmem.onCreate = (pmem) => {
      pmem.recorder = recorder;
    };
    try {
      probe.kernel.mount().unmount();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    } finally {
      Pmem.onCreate = null;
    }
    const media = new Media(image, this.random);
    for (const event of events) {
      if (event.kind === 'fence') {
        media.crash(probe.bytes, 'some');
        this.images++;
        this.look(`${name}, crash in its recovery`, before, after);
      }
      media.apply(event);
    }
    return image;
  }
}
