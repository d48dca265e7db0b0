// SPDX-License-Identifier: BSD-3-Clause

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { git } from '../lab/kernel/git.ts';
import { obtainSource } from '../lab/kernel/source.ts';

/** Raised when what goes into the repository changes in a way that the lists below do not show. */
const recipe = '1';

/** Parts of a kernel tree of which a tinyconfig build for x86 compiles nothing. What Kconfig and make read there stays. */
const leftOut = [
  'Documentation/**/*.{rst,txt,yaml,svg,json}',
  'arch/[!x]*/**/*.{c,h,S,dts,dtsi,rst}',
  'arch/xtensa/**/*.{c,h,S,dts,dtsi}',
  'drivers/{accel,clk,crypto,gpu,hwmon,iio,infiniband,input,media,mfd,mtd,net,pinctrl,platform,regulator}/**/*.{c,h,S}',
  'drivers/{scsi,soc,spi,staging,usb}/**/*.{c,h,S}',
  'sound/**/*.{c,h}',
  'tools/{perf,testing}/**/*.{c,h,S,json,sh,py}',
].flatMap(braces);

/** git's patterns have no braces. */
function braces(pattern: string): string[] {
  const match = /^(.*?)\{([^}]*)\}(.*)$/.exec(pattern);
  if (match === null) return [pattern];
  const [, before, alternatives, after] = match;
  return alternatives.split(',').flatMap((word) => braces(`${before}${word}${after}`));
}

/**
 * A bare git repository with one commit: the tree of `kernel.source`, without the drivers that the build of the workload has no
 * use for. Made once for a source, in the cache.
 */
export async function kernelRepository(context: LabContext): Promise<string> {
  const source = await obtainSource(context);
  const inputs = [recipe, source.identity, source.version, ...leftOut];
  const artefact = await context.cache.obtain('kernel-repository', inputs, context, async (directory) => {
    context.progress.update('a git repository of the kernel tree');
    const repository = join(directory, 'kernel.git');
    const index = join(directory, 'index');
    const identity = Object.fromEntries(
      ['AUTHOR', 'COMMITTER'].flatMap((who) => [
        [`GIT_${who}_NAME`, 'zufs-lab'],
        [`GIT_${who}_EMAIL`, 'zufs-lab@localhost'],
        [`GIT_${who}_DATE`, '2026-01-01T00:00:00Z'],
      ]),
    );
    const run = (...args: string[]) =>
      git(['-c', 'core.compression=1', ...args], {
        ...context,
        cwd: source.directory,
        env: { ...identity, GIT_DIR: repository, GIT_WORK_TREE: source.directory, GIT_INDEX_FILE: index },
      });
    await git(['init', '--quiet', '--bare', '--initial-branch=main', repository], {
      ...context,
      cwd: directory,
    });
    await run('config', 'core.bare', 'true');
    // The tree's own .gitignore is about what a build makes, of which there is nothing here.
    await run('add', '--force', '--', '.', ...leftOut.map((pattern) => `:(exclude,glob)${pattern}`));
    const tree = (await run('write-tree')).trim();
    const commit = (await run('commit-tree', tree, '-m', `Linux ${source.version}`)).trim();
    await run('update-ref', 'refs/heads/main', commit);
    await run('repack', '-q', '-a', '-d', '--window=0', '--depth=0');
    await rm(index);
  });
  return join(artefact.directory, 'kernel.git');
}
