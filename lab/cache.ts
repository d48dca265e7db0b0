// SPDX-License-Identifier: BSD-3-Clause

import type { TaskContext } from './runtime/runtime.ts';

/** A built artefact: a directory that is complete and no longer changes. */
export interface Artefact {
  /** Hash of everything it was built from. */
  readonly key: string;
  readonly directory: string;
  /** True when it was there already. */
  readonly hit: boolean;
}

/**
 * Artefacts by content: `<cache>/<kind>/<key>/`. An artefact is built in a directory of its own and moved to its place in
 * one rename, so an interrupted build leaves nothing that looks whole; a lock keeps two builds of one key apart.
 */
export interface ArtefactCache {
  /** Root of the cache on the host. */
  readonly root: string;
  /**
   * The artefact of `kind` for `inputs` (strings, hashed in order; `hashFiles` for trees). `build` fills the directory it is
   * given; if it rejects, or `signal` aborts, the directory is removed.
   */
  obtain(
    kind: string,
    inputs: readonly string[],
    context: TaskContext,
    build: (directory: string) => Promise<void>,
  ): Promise<Artefact>;
  /** One hash over files and directory trees: relative paths, modes and contents. */
  hashFiles(paths: readonly string[]): Promise<string>;
}
