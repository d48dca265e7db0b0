// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';

/** What this machine runs, by os-release(5). */
export interface OsRelease {
  /** `debian`, `ubuntu`, …; '' where nothing says. */
  readonly id: string;
  /** Itself and what it descends from. */
  readonly family: readonly string[];
  /** Release name that apt's sources go by: `bookworm`. */
  readonly codename: string | undefined;
}

export async function osRelease(): Promise<OsRelease> {
  return parseOsRelease(await readFile('/etc/os-release', 'utf8').catch(() => ''));
}

export function parseOsRelease(text: string): OsRelease {
  const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  const id = value('ID');
  const family = [id, ...value('ID_LIKE').split(' ')].filter((name) => name !== '');
  return { id, family, codename: value('VERSION_CODENAME') || undefined };
}
