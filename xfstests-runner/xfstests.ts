// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { LabError } from '../lab/errors.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { makeBundle, ownTests } from './bundle.ts';
import { fileSystemProfile, type RunDevices } from './filesystems.ts';
import { makeRunDirectory, runTests } from './run.ts';
import { defaultList, type Selection, selectTests } from './selection.ts';
import { obtainTree } from './source.ts';
import { RecordedTimes } from './times.ts';
import type { RunReport } from './verdict.ts';

/** What to run besides what the settings say, and on which VM. */
export interface XfstestsRequest {
  readonly vm: Vm;
  readonly devices: RunDevices;
  /** See `RunOptions.revive`. */
  revive?(): Promise<Vm>;
  /** Name of a profile in `filesystems.ts`; default: what the lab mounts (`mount.filesystem`). */
  readonly fileSystem?: string;
  /**
   * Tests and group default to `xfstests.tests` and `xfstests.group`, together; where these are empty, to the default list.
   */
  readonly selection?: Partial<Selection>;
  /** Seconds one test may take; default: `xfstests.testTimeout`. */
  readonly testTimeout?: number;
}

export interface XfstestsResult {
  readonly report: RunReport;
  /** Where its reports and files are. */
  readonly directory: string;
}

/**
 * Run xfstests on a VM that is up, from finding a tree to the reports. Rejects with a `LabError` when there is nothing to run
 * or no tree to be had; everything that goes wrong later is in the report's verdict.
 */
export async function runXfstests(context: LabContext, request: XfstestsRequest): Promise<XfstestsResult> {
  const { config, packageRoot, cacheRoot } = context;
  const profile = fileSystemProfile(request.fileSystem ?? config.mount.filesystem);
  requireDevices(request.devices);
  const tree = await obtainTree(context);
  const selection = await completeSelection(context, request.selection ?? {});
  const tests = await selectTests(tree, selection, await ownTests(packageRoot));
  if (tests.length === 0) throw new LabError('The selection leaves no test to run.');
  const bundle = await makeBundle(tree, packageRoot, context.cache, context);
  const { run, directory } = await makeRunDirectory(resultsRoot(packageRoot), profile.name, new Date());
  const report = await runTests(
    {
      vm: request.vm,
      ...(request.revive === undefined ? {} : { revive: request.revive }),
      bundle,
      tests,
      fileSystem: profile,
      devices: request.devices,
      mounts: config.mount,
      testTimeout: request.testTimeout ?? config.xfstests.testTimeout,
      directory,
      run,
      times: await RecordedTimes.load(join(cacheRoot, 'xfstests-times.json')),
    },
    context,
  );
  return { report, directory };
}

/** Every run of this checkout has a directory below this one. */
export function resultsRoot(packageRoot: string): string {
  return join(packageRoot, 'build', 'results');
}

async function completeSelection(
  { config, packageRoot }: LabContext,
  { tests, group, exclude = [] }: Partial<Selection>,
): Promise<Selection> {
  if (tests !== undefined || group !== undefined) return { tests: tests ?? [], group: group ?? '', exclude };
  const { xfstests } = config;
  if (xfstests.tests.length > 0 || xfstests.group !== '') {
    return { tests: xfstests.tests, group: xfstests.group, exclude };
  }
  return { tests: await defaultList(packageRoot), group: '', exclude };
}

function requireDevices(devices: RunDevices): void {
  if (devices.test.length > 0 && devices.scratch.length > 0) return;
  throw new LabError('xfstests needs a device for the test file system and one for scratch.', {
    hint: 'Set vm.pmemPerNode to 2 or more, and start the lab again.',
  });
}
