// SPDX-License-Identifier: BSD-3-Clause

import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { LabContext } from '../context.ts';
import { LabError } from '../errors.ts';
import { exists, filesBelow, kernelConfigDirectory } from './changes.ts';
import { git } from './git.ts';
import { applyPatch, changedPaths, readPatches } from './patches.ts';
import { arrangeSeries, coverBody, grownMakefile, readSeriesPlan, type SeriesStep } from './series.ts';
import { type KernelSource, obtainSource } from './source.ts';

/** An exported series. */
export interface Series {
  readonly directory: string;
  /** Version of the kernel that it applies to. */
  readonly base: string;
  /** The cover letter and the patches, in order. */
  readonly files: readonly string[];
}

/** Write our changes as `git format-patch` would: `git am` on a clean tree gives the very files that the build uses. */
export async function exportSeries(directory: string, context: LabContext): Promise<Series> {
  const target = resolve(directory);
  const present = await readdir(target).catch(() => []);
  if (present.length > 0)
    throw new LabError(`${target} is not empty.`, { hint: 'Name a new or an empty directory.' });
  return await context.step('Patch series', async (step) => {
    const source = await obtainSource(step);
    const ours = kernelConfigDirectory(step.packageRoot);
    const patchDirectory = await ours.patchesFor(source.version);
    if (patchDirectory === undefined) throw new LabError(`There are no patches for Linux ${source.version}.`);
    const plan = await readSeriesPlan();
    const patches = await readPatches(patchDirectory, step);
    const steps = arrangeSeries(plan, await filesBelow(ours.tree), patches);
    const repository = await mkdtemp(join(tmpdir(), 'zufs-lab-series-'));
    try {
      const series = new SeriesRepository(repository, step);
      const cover = { subject: plan.cover.subject, body: await coverBody(plan) };
      await series.begin(source, patches.flatMap(changedPaths), cover);
      for (const one of steps) await series.commit(one, ours.tree, plan.grows);
      await mkdir(target, { recursive: true });
      await series.format(target);
    } finally {
      await rm(repository, { recursive: true, force: true });
    }
    const files = (await readdir(target)).sort().map((name) => join(target, name));
    return { directory: target, base: source.version, files };
  });
}

const branch = 'series';

/** A repository with only those files of the kernel that the series touches: all that format-patch needs. */
class SeriesRepository {
  readonly #directory: string;
  readonly #context: LabContext;

  constructor(directory: string, context: LabContext) {
    this.#directory = directory;
    this.#context = context;
  }

  async begin(
    source: KernelSource,
    paths: readonly string[],
    cover: { readonly subject: string; readonly body: string },
  ): Promise<void> {
    await this.#git(['init', '--quiet', `--initial-branch=${branch}`]);
    for (const path of new Set(paths)) {
      const original = join(source.directory, path);
      if (!(await exists(original))) continue;
      await mkdir(dirname(join(this.#directory, path)), { recursive: true });
      await cp(original, join(this.#directory, path));
    }
    await this.#record(`Linux ${source.version}`, ['--allow-empty']);
    await this.#git(['tag', 'base']);
    await this.#git(['config', `branch.${branch}.description`, `${cover.subject}\n\n${cover.body}`]);
  }

  async commit(step: SeriesStep, tree: string, grows: readonly string[]): Promise<void> {
    if ('patch' in step) {
      this.#context.progress.update(step.patch.name);
      // The mail's own author and message, where it is a mail; `git am` understands both kinds.
      const text = await readFile(step.patch.name, 'utf8').catch(() => '');
      if (text.startsWith('From ')) {
        await this.#git(['am', '--quiet', '--committer-date-is-author-date', step.patch.name]);
        return;
      }
      await applyPatch(step.patch, this.#directory, this.#context);
      const [first] = step.patch.name.split('/').slice(-1);
      await this.#record(
        first
          .replace(/^\d+-/, '')
          .replace(/\.(patch|diff)$/, '')
          .replaceAll('-', ' '),
      );
      return;
    }
    for (const file of step.files) {
      await mkdir(dirname(join(this.#directory, file)), { recursive: true });
      await cp(join(tree, file), join(this.#directory, file));
    }
    for (const makefile of grows) await this.#grow(makefile, tree);
    await this.#record(`${step.subject}\n\n${step.body}`);
  }

  /** A Makefile that is there already names what is there of the objects. */
  async #grow(makefile: string, tree: string): Promise<void> {
    const path = join(this.#directory, makefile);
    if (!(await exists(path))) return;
    const present = new Set(await readdir(dirname(path)));
    const whole = await readFile(join(tree, makefile), 'utf8');
    await writeFile(
      path,
      grownMakefile(whole, (source) => present.has(source)),
    );
  }

  async format(target: string): Promise<void> {
    await this.#git([
      'format-patch',
      '--quiet',
      '--cover-letter',
      '--cover-from-description=subject',
      '--base=base',
      `--output-directory=${target}`,
      'base..HEAD',
    ]);
  }

  async #record(message: string, options: readonly string[] = []): Promise<void> {
    // Files of ours may have names that the user's git ignores everywhere.
    await this.#git(['add', '--all', '--force', '.']);
    await this.#git(['commit', '--quiet', '--signoff', '--no-gpg-sign', ...options, '-m', message]);
  }

  async #git(args: readonly string[]): Promise<void> {
    await git([...(await this.#identity()), '-C', this.#directory, ...args], {
      signal: this.#context.signal,
      progress: this.#context.progress,
      cwd: this.#directory,
    });
  }

  /** The user's name where git knows it; without one it would refuse to commit. */
  async #identity(): Promise<readonly string[]> {
    const context = { signal: this.#context.signal, progress: this.#context.progress, cwd: this.#directory };
    const known = await git(['config', 'user.email'], context).catch(() => '');
    return known.trim() === '' ? ['-c', 'user.name=ZUFS lab', '-c', 'user.email=zufs-lab@localhost'] : [];
  }
}
