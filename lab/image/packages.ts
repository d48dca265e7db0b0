// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../errors.ts';

const packageName = z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/, "not a Debian package's name");
const listSchema = z.record(packageName, z.string().min(1));

/** Names of the packages that a list in YAML has, each with what it is there for. */
export async function packageNames(file: string): Promise<string[]> {
  const parsed = listSchema.safeParse(parse(await readFile(file, 'utf8')));
  if (!parsed.success) {
    throw new ConfigError(`${file}: ${z.prettifyError(parsed.error)}`, {
      hint: 'Every line is a package, a colon, and what it is there for.',
    });
  }
  return Object.keys(parsed.data);
}

/** Names of the image's packages, `vm-images/packages.yaml` and the settings' own, sorted, each once. */
export async function imagePackages(file: string, extra: readonly string[]): Promise<string[]> {
  const own = await packageNames(file);
  for (const name of extra) {
    if (packageName.safeParse(name).success) continue;
    throw new ConfigError(`image.packages: '${name}' is not a Debian package's name.`);
  }
  return [...new Set([...own, ...extra])].sort();
}
