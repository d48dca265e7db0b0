// SPDX-License-Identifier: BSD-3-Clause

/**
 * Compiles the addon, whose C files lie here. The result is named after what went into it, so that a second call only looks, and several
 * processes that build at once do not see each other's half-written files.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const directoryOfSources = fileURLToPath(new URL('.', import.meta.url));
const defaultDirectory = fileURLToPath(new URL('../../build/native/', import.meta.url));

const flags = [
  '-std=gnu11',
  '-O2',
  '-g',
  '-shared',
  '-fPIC',
  '-fvisibility=hidden',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-DNAPI_VERSION=9',
];

export class BuildError extends Error {
  override readonly name = 'BuildError';
}

/** Absolute path of the addon built for this source, after building it if it is not there. */
export function buildAddon(directory: string = defaultDirectory): string {
  const files = readdirSync(directoryOfSources).filter((name) => /\.[ch]$/.test(name));
  const hash = createHash('sha256').update(flags.join('\0'));
  for (const name of files.sort()) hash.update(name).update(readFileSync(join(directoryOfSources, name)));
  const key = hash.digest('hex').slice(0, 16);
  const path = join(directory, `addon-${key}.node`);
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const headers = createRequire(import.meta.url).resolve('node-api-headers/package.json');
  const sources = files.filter((name) => name.endsWith('.c')).map((name) => join(directoryOfSources, name));
  try {
    execFileSync('cc', [...flags, '-I', join(dirname(headers), 'include'), '-o', unfinished, ...sources], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw new BuildError(`cannot compile the addon: ${diagnosis(error)}`, { cause: error });
  }
  renameSync(unfinished, path);
  return path;
}

function diagnosis(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ('code' in error && error.code === 'ENOENT') return 'no C compiler; install gcc';
  return 'stderr' in error && error.stderr !== '' ? String(error.stderr) : error.message;
}

if (import.meta.main) process.stdout.write(`${buildAddon()}\n`);
