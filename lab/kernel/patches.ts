// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { LabError } from '../errors.ts';
import type { TaskContext } from '../runtime/runtime.ts';
import { git } from './git.ts';

/** One patch, as `git apply` takes it. */
export interface Patch {
  /** For messages: the file, and within a mailbox the mail's subject. */
  readonly name: string;
  readonly diff: string;
}

/** Patches of a file or, in the order of their names, of the `*.patch` files of a directory. Rejects when there is none. */
export async function readPatches(path: string, context: TaskContext): Promise<Patch[]> {
  const status = await stat(path).catch((error: unknown) => {
    throw new LabError(`kernel.patches: ${path} does not exist.`, { cause: error });
  });
  if (status.isFile()) return await readPatchFile(path, context);
  const files = (await readdir(path)).filter((name) => /\.(patch|diff|mbox)$/.test(name)).sort();
  if (files.length === 0) throw new LabError(`kernel.patches: the directory ${path} holds no *.patch files.`);
  const patches: Patch[] = [];
  for (const file of files) {
    // The letter that git format-patch --cover-letter puts first.
    if (/^0000-.*\.patch$/.test(file)) continue;
    patches.push(...(await readPatchFile(join(path, file), context)));
  }
  return patches;
}

/** A mailbox, `git format-patch`'s among them, holds one patch or more; anything else is one diff. */
async function readPatchFile(file: string, context: TaskContext): Promise<Patch[]> {
  const text = await readFile(file, 'utf8');
  const patches = text.startsWith('From ') ? await readMailbox(file, context) : [{ name: file, diff: text }];
  const withDiff = patches.filter((patch) => changedPaths(patch).length > 0);
  if (withDiff.length === 0) throw new LabError(`kernel.patches: ${file} holds no patch.`);
  return withDiff;
}

/** git itself takes mails apart, since it knows about encodings and quoting. */
async function readMailbox(file: string, context: TaskContext): Promise<Patch[]> {
  const work = await mkdtemp(join(tmpdir(), 'zufs-lab-mail-'));
  const run = (args: readonly string[], input?: string) =>
    git(args, { ...context, cwd: work, ...(input === undefined ? {} : { input }) });
  try {
    await run(['mailsplit', `-o${work}`, file]);
    const mails = (await readdir(work)).sort();
    const patches: Patch[] = [];
    for (const mail of mails) {
      const info = await run(['mailinfo', 'message', 'diff'], await readFile(join(work, mail), 'utf8'));
      const subject = /^Subject: (.*)$/m.exec(info)?.[1];
      const name = mails.length > 1 && subject !== undefined ? `${file} ("${subject}")` : file;
      patches.push({ name, diff: await readFile(join(work, 'diff'), 'utf8') });
    }
    return patches;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Paths that a diff reads or writes. Lines of a hunk that look like a header add paths that do not matter. */
export function changedPaths(patch: Patch): string[] {
  const paths = new Set<string>();
  for (const line of patch.diff.split('\n')) {
    const match =
      /^diff --git a\/(?<one>\S+) b\/(?<two>\S+)$/.exec(line) ??
      /^(?:---|\+\+\+) [ab]\/(?<one>[^\t]+)/.exec(line) ??
      /^(?:rename|copy) (?:from|to) (?<one>.+)$/.exec(line);
    for (const path of Object.values(match?.groups ?? {})) {
      if (path !== undefined && !path.split('/').includes('..')) paths.add(path);
    }
  }
  return [...paths];
}

/** So many lines of a rejected hunk are shown. */
const shownLines = 15;

/** Apply `patch` to the files in `directory`, strictly: every line of context has to match. */
export async function applyPatch(patch: Patch, directory: string, context: TaskContext): Promise<void> {
  const file = join(directory, '.patch-to-apply');
  await writeFile(file, patch.diff);
  try {
    // Inside of some repository git would leave out whatever it takes for another directory's.
    const env = { GIT_CEILING_DIRECTORIES: join(directory, '..') };
    await git(['apply', '--whitespace=nowarn', '--reject', file], { ...context, cwd: directory, env });
  } catch (error) {
    const output = error instanceof LabError && 'outputTail' in error ? String(error.outputTail) : undefined;
    if (output === undefined) throw error;
    const [rejected] = await rejects(directory);
    const missing = /^error: (.+): No such file or directory$/m.exec(output)?.[1];
    const reason = /^error: (.+)$/m.exec(output)?.[1];
    const where =
      rejected !== undefined
        ? `rejected in ${rejected.path}:\n${rejected.hunk}`
        : missing !== undefined
          ? `${missing} does not exist.`
          : `${reason ?? output}.`;
    throw new LabError(`The patch ${patch.name} does not apply: ${where}`, { cause: error });
  } finally {
    await rm(file, { force: true });
  }
}

/** What `git apply --reject` left: the first hunk of each file. */
async function rejects(directory: string): Promise<{ readonly path: string; readonly hunk: string }[]> {
  const files = (await readdir(directory, { recursive: true }))
    .filter((name) => name.endsWith('.rej'))
    .sort();
  return await Promise.all(
    files.map(async (name) => {
      const text = await readFile(join(directory, name), 'utf8');
      // After a line that names the file, hunks that each begin with @@.
      const all = text.trimEnd().split('\n');
      const begin = all.findIndex((line) => line.startsWith('@@'));
      const next = all.findIndex((line, index) => index > begin && line.startsWith('@@'));
      const lines = all.slice(Math.max(begin, 0), next === -1 ? undefined : next);
      const rest = lines.length > shownLines ? [`… ${lines.length - shownLines} more lines`] : [];
      return {
        path: name.slice(0, -'.rej'.length),
        hunk: [...lines.slice(0, shownLines), ...rest].join('\n'),
      };
    }),
  );
}

/** Name of a patch without its directory, for progress. */
export function shortName(patch: Patch): string {
  return basename(patch.name);
}
