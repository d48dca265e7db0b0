// SPDX-License-Identifier: BSD-3-Clause

import { cp, mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { exists } from '../../lab/kernel/changes.ts';
import { exportSeries } from '../../lab/kernel/export.ts';
import { git } from '../../lab/kernel/git.ts';
import { obtainSource } from '../../lab/kernel/source.ts';
import { quietContext } from '../../lab/runtime/testing/context.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import { type CompileTree, hostContext, inCompileTree } from './compile.ts';

/** A repository with those files of the kernel that the series changes, to apply it to. */
class SeriesTree {
  readonly directory: string;
  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(source: string, patches: readonly string[]): Promise<SeriesTree> {
    const tree = new SeriesTree(await scratchDirectory());
    await tree.git('init', '--quiet');
    for (const patch of patches) {
      for (const path of await tree.pathsOf(patch)) {
        if (!(await exists(join(source, path)))) continue;
        await mkdir(dirname(join(tree.directory, path)), { recursive: true });
        await cp(join(source, path), join(tree.directory, path));
      }
    }
    await tree.git('add', '--all', '--force', '.');
    await tree.git('commit', '--quiet', '--no-gpg-sign', '-m', 'clean');
    await tree.git('tag', 'clean');
    return tree;
  }

  async git(...args: string[]): Promise<string> {
    const user = ['-c', 'user.name=T', '-c', 'user.email=t@example.org'];
    return await git([...user, '-C', this.directory, ...args], { ...quietContext(), cwd: this.directory });
  }

  async pathsOf(patch: string): Promise<string[]> {
    const text = await this.git('apply', '--numstat', patch);
    return text.split('\n').flatMap((line) => line.split('\t')[2] ?? []);
  }

  /** What differs from the kernel as it was. */
  async changed(): Promise<string[]> {
    return (await this.git('diff', '--name-only', 'clean')).split('\n').filter((line) => line !== '');
  }
}

/**
 * Compile what is there after one more patch. The last patch, which hooks fs/zuf into the build, is put on top as soon as there
 * is something to hook in.
 */
async function compileStep(
  tree: CompileTree,
  series: SeriesTree,
  hook: string | undefined,
): Promise<string[]> {
  const hasZuf = await exists(join(series.directory, 'fs/zuf/Kconfig'));
  if (hasZuf && hook !== undefined) await series.git('apply', '--index', hook);
  const changed = await series.changed();
  await tree.sync({ directory: series.directory, paths: changed });
  await series.git('reset', '--quiet', '--hard');
  const others = changed.filter((path) => path.endsWith('.c') && !path.startsWith('fs/zuf/'));
  const objects: string[] = [];
  await tree.make.run(['olddefconfig']);
  await tree.make.run(['prepare']);
  for (const path of others) if (await isBuilt(tree, path)) objects.push(path.replace(/c$/, 'o'));
  const targets = [...objects, ...(hasZuf ? ['fs/zuf/'] : [])];
  if (targets.length > 0) await tree.make.run(targets);
  return changed;
}

/** A new file is compiled where a Makefile names it, for an option that is on. */
async function isBuilt(tree: CompileTree, path: string): Promise<boolean> {
  const makefile = await readFile(join(tree.make.tree, dirname(path), 'Makefile'), 'utf8');
  const object = basename(path).replace(/c$/, 'o');
  const line = makefile.split('\n').find((one) => one.split(/\s+/).includes(object));
  const [, option] = /^obj-\$\((CONFIG_\w+)\)/.exec(line ?? '') ?? [];
  if (option === undefined) return line !== undefined;
  return (await readFile(join(tree.objects, '.config'), 'utf8')).includes(`${option}=`);
}

test('each patch of the series compiles, with all before it', async () => {
  const context = await hostContext();
  const source = await obtainSource(context);
  const exported = await exportSeries(join(await scratchDirectory(), 'series'), context);
  const patches = exported.files.filter((file) => !basename(file).startsWith('0000-'));
  const hook = patches.at(-1);
  const series = await SeriesTree.create(source.directory, patches);
  const seen: string[] = [];
  await inCompileTree('series', async (tree) => {
    for (const patch of patches) {
      await series.git('am', '--quiet', patch);
      seen.push(...(await compileStep(tree, series, patch === hook ? undefined : hook)));
      process.stdout.write(`${basename(patch)} compiles\n`);
    }
  });
  expect(patches.length).toBeGreaterThan(6);
  expect(new Set(seen)).toContain('fs/zuf/mmap.c');
});
