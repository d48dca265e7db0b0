// SPDX-License-Identifier: BSD-3-Clause

/** For the crash tests: all that an application can see, to be compared. */

import type { FakeMount } from '../../zt/fake-kernel.ts';

const GET_LABEL = 0x81009431;
const NOTHING = new Uint8Array(0);

interface TreeNode {
  /** All but the contents. */
  readonly about: string;
  readonly data: Uint8Array;
}
export type Tree = Map<string, TreeNode>;

/** Everything an application can see. */
export function readTree(fs: FakeMount): Tree {
  const tree: Tree = new Map();
  const label = Buffer.from(fs.ioctl('/', GET_LABEL, new Uint8Array(256))).toString('hex');
  const visit = (path: string): void => {
    const inode = fs.inode(path === '' ? '/' : path);
    const stat = inode.stat();
    let about = `${stat.mode} ${stat.nlink} ${stat.uid} ${stat.flags}`;
    if (path === '') about += ` label ${label}`;
    let data: Uint8Array = NOTHING;
    const type = stat.mode & 0o170000;
    if (type === 0o020000 || type === 0o060000) about += ` ${stat.rdev}`;
    if (type === 0o100000) {
      about += ` ${stat.size}`;
      data = fs.readFile(inode);
    }
    if (type === 0o120000) about += ` ${fs.readlink(inode)}`;
    for (const name of fs.listxattr(inode).sort()) {
      about += ` ${name}=${Buffer.from(fs.getxattr(inode, name)).toString('hex')}`;
    }
    tree.set(path, { about, data });
    if (type === 0o040000) for (const name of fs.list(inode)) visit(`${path}/${name}`);
  };
  visit('');
  return tree;
}

export function sameShape(a: Tree, b: Tree): boolean {
  if (a.size !== b.size) return false;
  for (const [path, node] of a) if (b.get(path)?.about !== node.about) return false;
  return true;
}

/** Contents may be partly written: every byte is that of before or that of after. */
export function dataFits(got: Tree, before: Tree, after: Tree): string | null {
  for (const [path, { data }] of got) {
    const old = before.get(path)?.data ?? NOTHING;
    const now = after.get(path)?.data ?? NOTHING;
    if (Buffer.compare(data, now) === 0 || Buffer.compare(data, old) === 0) continue;
    for (let at = 0; at < data.length; at++) {
      if (data[at] !== (old[at] ?? 0) && data[at] !== (now[at] ?? 0)) {
        return `${path}: byte ${at} is ${data[at]}, was ${old[at]} and should become ${now[at]}`;
      }
    }
  }
  return null;
}

export function explain(got: Tree, before: Tree, after: Tree): string {
  const lines: string[] = [];
  for (const path of new Set([...got.keys(), ...before.keys(), ...after.keys()])) {
    const about = [before, got, after].map((tree) => tree.get(path)?.about ?? 'nothing');
    if (about[0] === about[1] && about[1] === about[2]) continue;
    lines.push(`${path}: was ${about[0]}; is ${about[1]}; should become ${about[2]}`);
  }
  return lines.join('\n');
}
