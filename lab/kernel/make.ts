// SPDX-License-Identifier: BSD-3-Clause

import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Mount, RunOptions, RunResult, Runtime, TaskContext } from '../runtime/runtime.ts';

/** make in one kernel tree, with objects elsewhere. */
export interface KernelMake {
  readonly tree: string;
  readonly objects: string;
  /** Run make for these targets. */
  run(targets: readonly string[], task?: TaskContext): Promise<RunResult>;
  /** Run another program that belongs to the build. */
  program(command: readonly string[], task?: TaskContext): Promise<RunResult>;
}

export interface KernelMakeOptions extends TaskContext {
  /** Holds both directories, and is what a container sees. */
  readonly work: string;
  readonly tree: string;
  readonly objects: string;
  readonly ccache: string;
  readonly logFile: string;
  readonly runtime: Runtime;
}

/** ccache keeps compressed objects of a handful of kernels in this. */
const ccacheSize = '1G';

export function kernelMake(options: KernelMakeOptions): KernelMake {
  const { work, tree, objects, ccache, logFile, runtime } = options;
  const mounts: Mount[] = [{ path: ccache, writable: true }];
  const program = async (command: readonly string[], task: TaskContext = options): Promise<RunResult> => {
    await mkdir(ccache, { recursive: true });
    await mkdir(objects, { recursive: true });
    const run: RunOptions = {
      signal: task.signal,
      progress: task.progress,
      cwd: work,
      mounts,
      logFile,
      tools: 'kernel-build',
      env: {
        CCACHE_DIR: ccache,
        CCACHE_MAXSIZE: ccacheSize,
        // Objects of one work tree serve another: paths below it count as relative.
        CCACHE_BASEDIR: work,
        CCACHE_NOHASHDIR: '1',
        // Equal inputs give equal kernels.
        KBUILD_BUILD_TIMESTAMP: 'Thu Jan  1 00:00:00 UTC 1970',
        KBUILD_BUILD_USER: 'zufs',
        KBUILD_BUILD_HOST: 'lab',
      },
    };
    return await runtime.run(command, run);
  };
  return {
    tree,
    objects,
    program,
    run: (targets, task) =>
      program(
        ['make', '-C', tree, `O=${objects}`, `-j${availableParallelism()}`, 'CC=ccache gcc', ...targets],
        task,
      ),
  };
}
