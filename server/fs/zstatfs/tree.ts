// SPDX-License-Identifier: BSD-3-Clause

/**
 * What a zstatfs mount shows, and where it lies in its memory. The tree is fixed when it is mounted:
 *
 * ```
 * operations.json   totals of all operations since the server started
 * metrics.prom      the same for Prometheus, with histograms
 * ring              one record a second, for mmap (render.ts)
 * zt<cpu>.<channel>/operations.json   of one thread
 * ```
 *
 * Block 0 is empty, the inodes (`struct zus_inode`) follow, then the contents. A text has two copies of equal size:
 * one is shown while the other is written. Files have a fixed size, filled up with line ends, since a reader's kernel
 * learns of a size only when it looks the file up.
 */

import type { ServerFacts } from '../filesystem.ts';

export const BLOCK = 4096;
export const INODE = 128;
export const ROOT = 1;

export interface TreeNode {
  /** Number of the inode; that of the root is 1. */
  readonly ino: number;
  readonly parent: number;
  readonly name: string;
  readonly kind: 'directory' | 'text' | 'ring';
  /** Blocks of one copy; 0 for a directory. */
  readonly blocks: number;
  /** First block. */
  readonly first: number;
  /** ZT that it is about; null for all. */
  readonly zt: number | null;
}

export const RING_BLOCKS = 17;
const OPERATIONS_BLOCKS = 4;
const PROMETHEUS_BLOCKS = 32;

export function createTree(server: ServerFacts): TreeNode[] {
  const nodes: Omit<TreeNode, 'first'>[] = [];
  const add = (
    parent: number,
    name: string,
    kind: TreeNode['kind'],
    blocks: number,
    zt: number | null,
  ): number => {
    const ino = nodes.length + 1;
    nodes.push({ ino, parent, name, kind, blocks, zt });
    return ino;
  };
  const root = add(ROOT, '', 'directory', 0, null);
  add(root, 'operations.json', 'text', OPERATIONS_BLOCKS, null);
  add(root, 'metrics.prom', 'text', PROMETHEUS_BLOCKS, null);
  add(root, 'ring', 'ring', RING_BLOCKS, null);
  server.zts.forEach(({ cpu, channel }, zt) => {
    const directory = add(root, `zt${cpu}.${channel}`, 'directory', 0, zt);
    add(directory, 'operations.json', 'text', OPERATIONS_BLOCKS, zt);
  });

  let next = 1 + Math.ceil(((nodes.length + 1) * INODE) / BLOCK);
  return nodes.map((node) => {
    const first = next;
    next += node.kind === 'text' ? 2 * node.blocks : node.blocks;
    return { ...node, first };
  });
}

export function treeBlocks(tree: readonly TreeNode[]): number {
  return Math.max(...tree.map((node) => node.first + (node.kind === 'text' ? 2 : 1) * node.blocks));
}

export function inodeOffset(ino: number): number {
  return BLOCK + ino * INODE;
}
