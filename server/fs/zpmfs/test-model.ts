// SPDX-License-Identifier: BSD-3-Clause

/** For tests: random operations on a mounted file system and on plain objects in memory, which must agree. */

import { type FakeMount, KernelError } from '../../zt/fake-kernel.ts';
import { FALLOC, RENAME } from '../../zt/fake-mount.ts';

/** xorshift32: the same numbers for the same seed, everywhere. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  }

  next(limit: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return (x >>> 0) % limit;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.next(values.length)];
  }
}

interface FileNode {
  readonly kind: 'file';
  data: Uint8Array;
  readonly xattrs: Map<string, Uint8Array>;
  links: number;
}
interface DirectoryNode {
  readonly kind: 'directory';
  /** Others work in it too, with names that begin otherwise. */
  readonly shared?: boolean;
  readonly entries: Map<string, ModelNode>;
}
interface LinkNode {
  readonly kind: 'link';
  readonly target: string;
  links: number;
}
type ModelNode = FileNode | DirectoryNode | LinkNode;

/** Errors that both sides must give alike. */
class ModelError extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const FILE_MAX = 600_000;
/** Blocks that the kernel asks for ahead of the end of a file. */
const AHEAD = 32;
const PAGE = 4096;

export class ModelRun {
  private readonly random: Random;
  private readonly root: DirectoryNode;
  private readonly mount: () => FakeMount;
  /** The last operations, for the message when something differs. */
  readonly history: string[] = [];

  private readonly prefix: string;

  /**
   * `mount` gives the file system as it is mounted now. With `sharing`, others work in the root and in these directories
   * of it too, and names made here begin with the prefix.
   */
  constructor(
    seed: number,
    mount: () => FakeMount,
    sharing: { readonly prefix: string; readonly directories: readonly string[] } | null = null,
  ) {
    this.random = new Random(seed);
    this.mount = mount;
    this.prefix = sharing?.prefix ?? '';
    this.root = { kind: 'directory', entries: new Map(), shared: sharing !== null };
    for (const name of sharing?.directories ?? [])
      this.root.entries.set(name, { kind: 'directory', entries: new Map(), shared: true });
  }

  /** Do something; returns what came of it: 'OK', an error, or 'SKIP'. */
  step(): string {
    const { random } = this;
    const kind = random.next(25);
    const path = this.somePath(kind >= 10);
    const other = this.somePath(kind >= 22);
    if (this.isShared(path) || this.isShared(other)) return 'SKIP';
    switch (kind) {
      case 0:
      case 1:
        return this.both(
          `create ${path}`,
          () => this.modelCreate(path),
          () => void this.mount().create(path),
        );
      case 2:
        return this.both(
          `mkdir ${path}`,
          () => this.add(path, { kind: 'directory', entries: new Map() }),
          () => void this.mount().mkdir(path),
        );
      case 3: {
        const target = 'target/'.repeat(1 + random.next(300));
        return this.both(
          `symlink ${path} ${target.length}`,
          () => this.add(path, { kind: 'link', target, links: 1 }),
          () => void this.mount().symlink(target, path),
        );
      }
      case 4:
      case 5:
        return this.both(
          `unlink ${path}`,
          () => this.modelUnlink(path),
          () => this.mount().unlink(path),
        );
      case 6:
        return this.both(
          `rmdir ${path}`,
          () => this.modelRmdir(path),
          () => this.mount().rmdir(path),
        );
      case 7:
      case 8: {
        const flags = random.pick([0, 0, 0, RENAME.NOREPLACE, RENAME.EXCHANGE]);
        return this.both(
          `rename ${path} ${other} ${flags}`,
          () => this.modelRename(path, other, flags),
          () => this.mount().rename(path, other, flags),
        );
      }
      case 9:
        return this.both(
          `link ${path} ${other}`,
          () => this.modelLink(path, other),
          () => this.mount().link(path, other),
        );
      case 10:
        return this.xattr(path);
      default:
        return this.fileStep(path, other, kind);
    }
  }

  private fileStep(path: string, other: string, kind: number): string {
    const { random } = this;
    const node = this.find(path);
    if (node?.kind !== 'file') return 'SKIP';
    const at = random.next(FILE_MAX / 2);
    const length = 1 + random.next(random.pick([10, 5000, 100_000]));
    const block = Math.floor(at / PAGE) * PAGE;
    const blocks = (1 + random.next(20)) * PAGE;
    const call = (what: string, model: () => void, real: (fs: FakeMount) => void) =>
      this.both(`${what} ${path}`, model, () => real(this.mount()));
    switch (kind) {
      case 11:
      case 12:
      case 13:
      case 14: {
        const from = random.next(3) === 0 ? node.data.length : at;
        if (from + length > FILE_MAX) return 'SKIP';
        const bytes = this.bytes(length);
        return call(
          `write ${from}+${length}`,
          () => put(node, from, bytes),
          (fs) => void fs.write(path, from, bytes),
        );
      }
      case 15:
        return call(
          `truncate ${at}`,
          () => resize(node, at),
          (fs) => fs.truncate(path, at),
        );
      case 16:
        return call(
          `punch ${at}+${length}`,
          () => void node.data.fill(0, at, at + length),
          (fs) => fs.fallocate(path, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, at, length),
        );
      case 17: {
        const keep = random.next(2) === 0;
        return call(
          `zero ${at}+${length} ${keep}`,
          () => {
            if (!keep && at + length > node.data.length) resize(node, at + length);
            node.data.fill(0, at, at + length);
          },
          (fs) =>
            fs.fallocate(path, keep ? FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE : FALLOC.ZERO_RANGE, at, length),
        );
      }
      case 18: {
        const keep = random.next(2) === 0;
        return call(
          `allocate ${at}+${length} ${keep}`,
          () => {
            if (!keep && at + length > node.data.length) resize(node, at + length);
          },
          (fs) => fs.fallocate(path, keep ? FALLOC.KEEP_SIZE : 0, at, length),
        );
      }
      case 19: {
        if (block + blocks >= node.data.length) return 'SKIP';
        return call(
          `collapse ${block}+${blocks}`,
          () => {
            const data = new Uint8Array(node.data.length - blocks);
            data.set(node.data.subarray(0, block));
            data.set(node.data.subarray(block + blocks), block);
            node.data = data;
          },
          (fs) => fs.fallocate(path, FALLOC.COLLAPSE_RANGE, block, blocks),
        );
      }
      case 20: {
        if (block >= node.data.length || node.data.length + blocks > FILE_MAX) return 'SKIP';
        return call(
          `insert ${block}+${blocks}`,
          () => {
            const data = new Uint8Array(node.data.length + blocks);
            data.set(node.data.subarray(0, block));
            data.set(node.data.subarray(block), block + blocks);
            node.data = data;
          },
          (fs) => fs.fallocate(path, FALLOC.INSERT_RANGE, block, blocks),
        );
      }
      case 21: {
        if (node.data.length === 0) return 'SKIP';
        const from = at % node.data.length;
        const bytes = this.bytes(Math.min(length, node.data.length - from));
        return call(
          `mmap ${from}+${bytes.length}`,
          () => put(node, from, bytes),
          (fs) => fs.mmapWrite(path, from, bytes),
        );
      }
      case 24: {
        const size = node.data.length;
        const bytes = this.bytes(length);
        if (size + length > FILE_MAX) return 'SKIP';
        // Cut off: what lies ahead stays, and not all zeroes.
        const cut = random.next(2) === 0;
        return call(
          `append ahead ${size}+${length}${cut ? ', cut off' : ''}`,
          () => put(node, size, bytes),
          (fs) => appendAhead(fs, path, bytes, cut),
        );
      }
      default:
        return this.copyStep(path, other, node, block, blocks, kind === 22);
    }
  }

  private copyStep(
    path: string,
    other: string,
    node: FileNode,
    block: number,
    blocks: number,
    clone: boolean,
  ): string {
    const target = this.find(other);
    if (target?.kind !== 'file' || node.data.length === 0) return 'SKIP';
    const from = Math.floor(block / 2 / PAGE) * PAGE;
    if (from >= node.data.length) return 'SKIP';
    const skew = clone ? 0 : this.random.next(PAGE);
    const length = Math.min(blocks, node.data.length - from);
    const to = Math.floor(this.random.next(FILE_MAX / 2) / PAGE) * PAGE + skew;
    if (target === node && from < to + length && to < from + length) return 'SKIP';
    if (clone && length % PAGE !== 0 && to + length < target.data.length) return 'SKIP';
    const bytes = node.data.slice(from, from + length);
    return this.both(
      `${clone ? 'clone' : 'copy'} ${path} ${from}+${length} to ${other} ${to}`,
      () => put(target, to, bytes),
      () => {
        if (clone) this.mount().clone(path, from, other, to, length);
        else this.mount().copy(path, from, other, to, length);
      },
    );
  }

  private xattr(path: string): string {
    const node = this.find(path);
    if (node?.kind !== 'file') return 'SKIP';
    const name = `user.${this.random.pick(['a', 'b', 'a-longer-name'])}`;
    if (this.random.next(3) === 0) {
      return this.both(
        `removexattr ${path} ${name}`,
        () => {
          if (!node.xattrs.delete(name)) throw new ModelError('ENODATA');
        },
        () => this.mount().removexattr(path, name),
      );
    }
    const value = this.bytes(1 + this.random.next(this.random.pick([20, 200, 9000])));
    return this.both(
      `setxattr ${path} ${name} ${value.length}`,
      () => void node.xattrs.set(name, value),
      () => this.mount().setxattr(path, name, value),
    );
  }

  /** A directory that all work in stays. */
  private isShared(path: string): boolean {
    const node = this.find(path);
    return node?.kind === 'directory' && node.shared === true;
  }

  private both(what: string, model: () => void, real: () => void): string {
    this.history.push(what);
    const expected = outcome(model);
    if (expected === 'SKIP') return 'SKIP';
    const got = outcome(real);
    if (got !== expected) this.fail(`${what}: the file system says ${got}, the model ${expected}`);
    return got;
  }

  private fail(what: string): never {
    throw new Error(
      `${what}\nafter ${this.history.length} operations, the last of them:\n${this.history.slice(-30).join('\n')}`,
    );
  }

  /** Compare everything. */
  compare(): void {
    this.compareDirectory('', this.root);
  }

  private compareDirectory(path: string, node: DirectoryNode): void {
    const fs = this.mount();
    const shared = node.shared === true;
    const all = fs.list(path === '' ? '/' : path);
    const names = shared ? all.filter((name) => node.entries.has(name) || name.startsWith(this.prefix)) : all;
    const expected = [...node.entries.keys()].sort();
    if (names.join('|') !== expected.join('|'))
      this.fail(`${path}/: names ${names.join(' ')}, expected ${expected.join(' ')}`);
    let directories = 0;
    for (const [name, child] of node.entries) {
      const childPath = `${path}/${name}`;
      const stat = fs.stat(childPath);
      if (child.kind === 'directory') {
        directories++;
        this.compareDirectory(childPath, child);
        continue;
      }
      if (stat.nlink !== child.links) this.fail(`${childPath}: ${stat.nlink} links, expected ${child.links}`);
      if (child.kind === 'link') {
        if (fs.readlink(childPath) !== child.target) this.fail(`${childPath}: another target`);
        continue;
      }
      const data = fs.readFile(childPath);
      if (Buffer.compare(data, child.data) !== 0) {
        const at = data.findIndex((byte, index) => byte !== child.data[index]);
        this.fail(`${childPath}: ${data.length} bytes, expected ${child.data.length}; they differ at ${at}`);
      }
      const xattrs = fs.listxattr(childPath).sort();
      if (xattrs.join() !== [...child.xattrs.keys()].sort().join())
        this.fail(`${childPath}: attributes ${xattrs.join()}`);
      for (const [key, value] of child.xattrs) {
        if (Buffer.compare(fs.getxattr(childPath, key), value) !== 0)
          this.fail(`${childPath}: value of ${key}`);
      }
    }
    const links = fs.stat(path === '' ? '/' : path).nlink;
    if (!shared && links !== 2 + directories)
      this.fail(`${path}/: ${links} links, expected ${2 + directories}`);
  }

  // --- the model ---

  /** Mostly one that is there; else a new name in a directory that is there. */
  private somePath(wantsFile = false): string {
    const paths: string[] = [];
    const directories = [''];
    const walk = (path: string, node: DirectoryNode): void => {
      for (const [name, child] of node.entries) {
        const childPath = `${path}/${name}`;
        if (!wantsFile || child.kind === 'file') paths.push(childPath);
        if (child.kind !== 'directory') continue;
        directories.push(childPath);
        walk(childPath, child);
      }
    };
    walk('', this.root);
    if (paths.length > 0 && (wantsFile || this.random.next(paths.length > 40 ? 4 : 2) > 0))
      return this.random.pick(paths);
    const name = this.random.pick(['a', 'b', 'c', 'd', 'e', 'f', 'long-'.repeat(40)]);
    return `${this.random.pick(directories)}/${this.prefix}${name}${this.random.next(6)}`;
  }

  private bytes(length: number): Uint8Array {
    const start = this.random.next(256);
    return Uint8Array.from({ length }, (_, index) => (start + index * 7 + (index >>> 8)) & 0xff);
  }

  private find(path: string): ModelNode | undefined {
    let node: ModelNode = this.root;
    for (const name of path.split('/').slice(1)) {
      if (node.kind !== 'directory') return undefined;
      const child = node.entries.get(name);
      if (child === undefined) return undefined;
      node = child;
    }
    return node;
  }

  private parent(path: string): [DirectoryNode, string] {
    const names = path.split('/').slice(1);
    const name = names.pop() ?? '';
    let node: ModelNode = this.root;
    for (const part of names) {
      if (node.kind !== 'directory') throw new ModelError('ENOTDIR');
      const child = node.entries.get(part);
      if (child === undefined) throw new ModelError('ENOENT');
      node = child;
    }
    if (node.kind !== 'directory') throw new ModelError('ENOTDIR');
    return [node, name];
  }

  private add(path: string, node: ModelNode): void {
    const [parent, name] = this.parent(path);
    if (parent.entries.has(name)) throw new ModelError('EEXIST');
    parent.entries.set(name, node);
  }

  private modelCreate(path: string): void {
    this.add(path, { kind: 'file', data: new Uint8Array(0), xattrs: new Map(), links: 1 });
  }

  private existing(path: string): [DirectoryNode, string, ModelNode] {
    const [parent, name] = this.parent(path);
    const node = parent.entries.get(name);
    if (node === undefined) throw new ModelError('ENOENT');
    return [parent, name, node];
  }

  private modelUnlink(path: string): void {
    const [parent, name, node] = this.existing(path);
    if (node.kind === 'directory') throw new ModelError('EISDIR');
    node.links--;
    parent.entries.delete(name);
  }

  private modelRmdir(path: string): void {
    const [parent, name, node] = this.existing(path);
    if (node.kind !== 'directory') throw new ModelError('ENOTDIR');
    if (node.entries.size > 0) throw new ModelError('ENOTEMPTY');
    parent.entries.delete(name);
  }

  private modelLink(path: string, other: string): void {
    const node = this.find(path);
    if (node === undefined) {
      this.existing(path);
      throw new ModelError('ENOENT');
    }
    const [parent, name] = this.parent(other);
    if (parent.entries.has(name)) throw new ModelError('EEXIST');
    if (node.kind === 'directory') throw new ModelError('EINVAL');
    node.links++;
    parent.entries.set(name, node);
  }

  private modelRename(path: string, other: string, flags: number): void {
    // What the VFS refuses before it asks the file system.
    if (`${other}/`.startsWith(`${path}/`) && other !== path) throw new ModelError('SKIP');
    if (`${path}/`.startsWith(`${other}/`) && other !== path) throw new ModelError('SKIP');
    const [parent] = this.parent(path);
    const [newParent, newName] = this.parent(other);
    const name = path.slice(path.lastIndexOf('/') + 1);
    const node = parent.entries.get(name);
    if (node === undefined) throw new ModelError('ENOENT');
    const target = newParent.entries.get(newName);
    if (target === node) return;
    if (target !== undefined && flags === RENAME.NOREPLACE) throw new ModelError('EEXIST');
    if (flags === RENAME.EXCHANGE) {
      if (target === undefined) throw new ModelError('ENOENT');
      parent.entries.set(name, target);
      newParent.entries.set(newName, node);
      return;
    }
    if (target !== undefined) {
      if ((target.kind === 'directory') !== (node.kind === 'directory')) {
        throw new ModelError(target.kind === 'directory' ? 'EISDIR' : 'ENOTDIR');
      }
      if (target.kind === 'directory' && target.entries.size > 0) throw new ModelError('ENOTEMPTY');
      if (target.kind !== 'directory') target.links--;
    }
    parent.entries.delete(name);
    newParent.entries.set(newName, node);
  }
}

function outcome(action: () => void): string {
  try {
    action();
    return 'OK';
  } catch (error) {
    if (error instanceof ModelError || error instanceof KernelError) return error.code;
    throw error;
  }
}

function resize(node: FileNode, size: number): void {
  const data = new Uint8Array(size);
  data.set(node.data.subarray(0, size));
  node.data = data;
}

function put(node: FileNode, at: number, bytes: Uint8Array): void {
  if (at + bytes.length > node.data.length) resize(node, at + bytes.length);
  node.data.set(bytes, at);
}

/** Append as the kernel does by itself; where there are no blocks to be had ahead, as the server does. */
function appendAhead(fs: FakeMount, path: string, bytes: Uint8Array, cut: boolean): void {
  const { size } = fs.inode(path);
  const end = Math.ceil(size / PAGE) + AHEAD;
  try {
    fs.appendAhead(path, bytes, AHEAD, cut ? 0xdb : 0);
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== 'ENOSPC') throw error;
    fs.write(path, size, bytes);
  }
  if (!cut) fs.dropAhead(path, end);
}
