// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { LabConfig } from '../config/schema.ts';
import { LabError } from '../errors.ts';

/** What a fragment asks of an option. */
export interface AskedOption {
  /** `CONFIG_ZUFS_FS` */
  readonly name: string;
  /** `y`, `m`, a number or a quoted text; `n` for an option that must not be set. */
  readonly value: string;
  /** The fragment that said so last. */
  readonly fragment: string;
}

/** Fragments of this kind are for the debug flavour alone. */
const debugPrefix = 'debug-';

/** Our fragments for a flavour, then the user's: the later wins. */
export async function fragmentsFor(
  directory: string,
  kernel: Pick<LabConfig['kernel'], 'flavour' | 'fragments'>,
): Promise<string[]> {
  const ours = (await readdir(directory)).filter((name) => name.endsWith('.config')).sort();
  const plain = ours.filter((name) => !name.startsWith(debugPrefix));
  const debug = ours.filter((name) => name.startsWith(debugPrefix));
  const names = kernel.flavour === 'debug' ? [...plain, ...debug] : plain;
  return [...names.map((name) => join(directory, name)), ...kernel.fragments];
}

/** Every option that the fragments ask for, with what the last of them asks. */
export async function askedOptions(fragments: readonly string[]): Promise<AskedOption[]> {
  const asked = new Map<string, AskedOption>();
  for (const fragment of fragments) {
    const text = await readFile(fragment, 'utf8').catch((error: unknown) => {
      throw new LabError(`kernel.fragments: ${fragment} cannot be read.`, { cause: error });
    });
    for (const option of parseConfig(text)) asked.set(option.name, { ...option, fragment });
  }
  return [...asked.values()];
}

/** Options of a fragment or a .config. */
export function parseConfig(text: string): { readonly name: string; readonly value: string }[] {
  return text.split('\n').flatMap((line) => {
    const set = /^(CONFIG_\w+)=(.*?)\s*$/.exec(line);
    if (set !== null) return [{ name: set[1], value: set[2] }];
    const unset = /^# (CONFIG_\w+) is not set$/.exec(line);
    return unset === null ? [] : [{ name: unset[1], value: 'n' }];
  });
}

/** Reject unless `config` has everything that was asked for: Kconfig drops silently what lacks a dependency. */
export function verifyConfig(config: string, asked: readonly AskedOption[]): void {
  const got = new Map(parseConfig(config).map(({ name, value }) => [name, value]));
  const dropped = asked.filter(({ name, value }) => (got.get(name) ?? 'n') !== value);
  if (dropped.length === 0) return;
  const [first, ...others] = dropped;
  const list = others
    .map(({ name, value, fragment }) => `${name}=${value} (${basename(fragment)})`)
    .join(', ');
  throw new LabError(
    `${first.name}=${first.value}, asked for by ${first.fragment}, did not survive: the result has ${got.get(first.name) ?? 'n'}.` +
      (others.length === 0 ? '' : ` Likewise ${list}.`),
    { hint: 'It does not exist in this kernel, or a dependency of it is not set.' },
  );
}
