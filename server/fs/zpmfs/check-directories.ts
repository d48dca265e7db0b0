// SPDX-License-Identifier: BSD-3-Clause

import { InodeCheck } from './check-inodes.ts';
import { type Patch, type Seen, u64 } from './check-state.ts';
import { hashName } from './directory.ts';
import * as f from './format.ts';
import type { Superblock } from './superblock.ts';

/** Names: the trees of directories, and that every inode is where its links say. */
export class DirectoryCheck extends InodeCheck {
  protected walkDirectory(index: number): void {
    const words = this.inodeWords(index);
    const seen = this.inodes.get(index) as Seen;
    const name = `directory ${index}`;
    const names = new Set<string>();
    const rebuild = { kind: 'directory', index } as const;
    let blocks = 0;
    const visitLeaf = (leaf: number, first: number, span: number): void => {
      const content = this.source.read(leaf).slice();
      if (content[f.DL_MAGIC] !== f.DIR_LEAF_MAGIC || content[f.DL_OWNER] !== index) {
        this.bad(`${name}: block ${leaf} is not a leaf of it`, [], rebuild);
        return;
      }
      const ties = new Set<number>();
      for (let at = f.DL_RECORDS; at < f.BLOCK_WORDS; ) {
        const shape = content[at + f.DR_SHAPE];
        const length = shape & 0xffff;
        if (length < f.DR_MIN_WORDS || at + length > f.BLOCK_WORDS) {
          this.bad(`${name}: leaf ${leaf} has a record of impossible length`, [], rebuild);
          return;
        }
        if (content[at + f.DR_INO] !== 0)
          this.checkRecord(seen, name, leaf, content, at, first, span, names, ties);
        at += length;
      }
    };
    const visit = (block: number, tag: number, level: number, first: number, span: number): void => {
      if (!this.claim(block, name, [], rebuild)) return;
      blocks++;
      const kind = tag & f.DIR_KIND_MASK;
      if (kind === f.DIR_LEAF) {
        visitLeaf(block, first, span);
        return;
      }
      if (kind !== f.DIR_NODE || level === f.DIR_MAX_LEVELS) {
        this.bad(`${name}: block ${block} is neither leaf nor node`, [], rebuild);
        return;
      }
      const content = this.source.read(block).slice();
      const slotSpan = span / f.DIR_ENTRIES;
      for (let slot = 0; slot < f.DIR_ENTRIES; ) {
        const child = content[slot * 2];
        const childTag = content[slot * 2 + 1];
        const depth = (childTag & f.DIR_KIND_MASK) === f.DIR_LEAF ? childTag & f.DIR_DEPTH_MASK : f.DIR_SHIFT;
        const slots = depth > f.DIR_SHIFT ? 0 : f.DIR_ENTRIES >>> depth;
        if (slots === 0 || slot % slots !== 0) {
          this.bad(`${name}: node ${block} has a bad entry`, [], rebuild);
          return;
        }
        for (let other = slot; other < slot + slots; other++) {
          if (content[other * 2] !== child || content[other * 2 + 1] !== childTag) {
            this.bad(`${name}: node ${block} has entries that contradict each other`, [], rebuild);
            return;
          }
        }
        visit(child, childTag, level + 1, first + slot * slotSpan, slots * slotSpan);
        slot += slots;
      }
    };
    const root = words[f.I_DIR_ROOT];
    const rootTag = words[f.I_DIR_ROOT + 1];
    if (root !== 0 || rootTag !== 0) visit(root, rootTag, 0, 0, f.TWO_32);
    const own = blocks;
    blocks += words[f.X_XATTR_BLOCKS];
    if (u64(words, f.I_BLOCKS) !== blocks)
      this.bad(
        `${name}: says it has ${u64(words, f.I_BLOCKS)} blocks, has ${blocks}`,
        this.inodeFix(index, f.I_BLOCKS, blocks, true),
      );
    if (u64(words, f.I_SIZE) !== own * f.BLOCK_SIZE)
      this.bad(
        `${name}: size ${u64(words, f.I_SIZE)} with ${own} blocks`,
        this.inodeFix(index, f.I_SIZE, own * f.BLOCK_SIZE, true),
      );
    if (seen.entries !== seen.entriesStated) {
      this.bad(
        `${name}: says it has ${seen.entriesStated} names, has ${seen.entries}`,
        this.inodeFix(index, f.X_ENTRIES, seen.entries),
      );
    }
  }

  protected checkRecord(
    directory: Seen,
    name: string,
    leaf: number,
    content: Uint32Array,
    at: number,
    first: number,
    span: number,
    names: Set<string>,
    ties: Set<number>,
  ): void {
    const shape = content[at + f.DR_SHAPE];
    const nameLength = (shape >>> 16) & 0xff;
    const bytes = Buffer.from(content.buffer, content.byteOffset + (at + f.DR_NAME) * 4, nameLength);
    if (nameLength === 0 || f.DR_NAME + ((nameLength + 3) >>> 2) > (shape & 0xffff)) {
      this.bad(`${name}: leaf ${leaf} has a name that does not fit its record`, [
        { block: leaf, word: at + f.DR_INO, value: 0 },
      ]);
      return;
    }
    const drop = (): Patch[] => [{ block: leaf, word: at + f.DR_INO, value: 0 }];
    // Words are found when there is something to say: names are many.
    const say = (what: string, fixes = drop()): void =>
      this.bad(`${name}, name ${JSON.stringify(bytes.toString())}: ${what}`, fixes);
    const key = bytes.toString('latin1');
    directory.entries++;
    if (names.has(key)) say('is there twice');
    names.add(key);
    if (bytes.includes(0x2f) || bytes.includes(0) || key === '.' || key === '..') say('is not allowed');
    const hash = content[at + f.DR_HASH];
    const seed = (this.superblock as Superblock).hashSeed;
    if (hash !== hashName(bytes, 0, nameLength, seed) >>> 0) say('has the wrong hash');
    if (hash < first || hash >= first + span) say('is in the wrong leaf');
    const tie = hash * 65536 + content[at + f.DR_TIE];
    if (ties.has(tie)) say('shares its position with another name');
    ties.add(tie);
    const target = this.inodes.get(content[at + f.DR_INO]);
    if (target?.index === (this.superblock as Superblock).rootInode) {
      say('a name of the root directory');
      return;
    }
    if (target === undefined) {
      say(`points to inode ${content[at + f.DR_INO]}, which is free`);
      return;
    }
    if (shape >>> 24 !== target.mode >>> 12) {
      const value = ((shape & 0xffffff) | ((target.mode >>> 12) << 24)) >>> 0;
      say('is of another type than its inode', [{ block: leaf, word: at + f.DR_SHAPE, value }]);
    }
    target.names++;
    if ((target.mode & f.S_IFMT) === f.S_IFDIR) {
      directory.subdirectories++;
      if (target.foundIn !== 0) say('the directory has another name already');
      target.foundIn = directory.index;
      target.nameDrop = drop();
    }
  }

  protected checkLinks(): void {
    const rootIndex = (this.superblock as Superblock).rootInode;
    const root = this.inodes.get(rootIndex);
    if (root === undefined || (root.mode & f.S_IFMT) !== f.S_IFDIR) {
      this.bad('there is no root directory', [], { kind: 'root' });
      return;
    }
    let orphans = 0;
    for (const seen of this.inodes.values()) {
      const isDirectory = (seen.mode & f.S_IFMT) === f.S_IFDIR;
      const name = `inode ${seen.index}`;
      const isOrphan = seen.nlink === 0 && seen.names === 0 && seen.index !== rootIndex && seen.entries === 0;
      if (isOrphan) {
        orphans++;
        continue;
      }
      if (isDirectory) {
        const expected = 2 + seen.subdirectories;
        if (seen.nlink !== expected)
          this.bad(
            `${name}: has ${seen.nlink} links, should have ${expected}`,
            this.inodeFix(seen.index, f.I_NLINK, expected),
          );
        if (seen.index === rootIndex) {
          if (seen.parent !== rootIndex)
            this.bad(
              'the root directory has a parent',
              this.inodeFix(rootIndex, f.I_PARENT, rootIndex, true),
            );
        } else if (seen.names === 0) {
          this.bad(`${name}: a directory without a name`, [], { kind: 'lost', index: seen.index });
        } else if (seen.parent !== seen.foundIn) {
          this.bad(
            `${name}: says it is in directory ${seen.parent}, is in ${seen.foundIn}`,
            this.inodeFix(seen.index, f.I_PARENT, seen.foundIn, true),
          );
        } else if (!this.reachesRoot(seen, rootIndex)) {
          // Taken out of the ring at one place, it becomes one without a name.
          const fixes = this.headOfRing(seen) === seen.index ? seen.nameDrop : [];
          this.bad(`${name}: a directory inside itself`, fixes);
        }
      } else if (seen.nlink !== seen.names) {
        const fixes = seen.names > 0 ? this.inodeFix(seen.index, f.I_NLINK, seen.names) : [];
        const remedy = seen.names > 0 ? null : ({ kind: 'lost', index: seen.index } as const);
        this.bad(`${name}: has ${seen.nlink} links, should have ${seen.names}`, fixes, remedy);
      }
    }
    if (orphans > 0) this.notes.push(`${orphans} inodes without a name are to be removed by the next mount`);
  }

  /** The lowest of the directories that are inside each other, above a directory that does not reach the root. */
  private headOfRing(seen: Seen): number {
    const path = this.wayUp(seen);
    const end = path[path.length - 1];
    const ring = path.slice(path.indexOf(this.inodes.get(end)?.foundIn ?? end));
    return Math.min(...ring);
  }

  /** A directory, the one that it is in, and so on until nothing new comes. */
  private wayUp(seen: Seen): number[] {
    const path = new Set<number>();
    for (let at: Seen | undefined = seen; at !== undefined && !path.has(at.index); ) {
      path.add(at.index);
      at = this.inodes.get(at.foundIn);
    }
    return [...path];
  }

  private reachesRoot(seen: Seen, root: number): boolean {
    return this.wayUp(seen).includes(root);
  }
}
