// SPDX-License-Identifier: BSD-3-Clause

import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';

/** Root of this package. */
export const packageRoot = dirname(import.meta.dirname);

type Environment = Readonly<Record<string, string | undefined>>;

/** An XDG variable counts only when absolute (XDG Base Directory Specification). */
function xdg(value: string | undefined, fallback: readonly string[]): string {
  return value !== undefined && isAbsolute(value) ? value : join(homedir(), ...fallback);
}

/** Where artefacts lie unless the settings say otherwise. */
export function defaultCacheRoot(environment: Environment): string {
  return join(xdg(environment.XDG_CACHE_HOME, ['.cache']), 'zufs-lab');
}

/** Where the labs keep what runs: one directory a lab. */
export function stateRoot(environment: Environment): string {
  return join(xdg(environment.XDG_STATE_HOME, ['.local', 'state']), 'zufs-lab');
}
