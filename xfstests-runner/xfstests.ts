// SPDX-License-Identifier: BSD-3-Clause

import { basename, join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { type GuestFacts, guestFacts } from '../lab/deploy/guest-facts.ts';
import { LabError } from '../lab/errors.ts';
import { takeRun } from '../lab/run-lock.ts';
import { makeRunDirectory } from '../lab/test-run/run-directory.ts';
import { RecordedTimes, seriesOf } from '../lab/test-run/times.ts';
import type { RunReport, TestOutcome } from '../lab/test-run/verdict.ts';
import { patience } from '../lab/vm/patience.ts';
import type { VmState } from '../lab/vm/state.ts';
import { type Bundle, makeBundle, ownTests } from './bundle.ts';
import { applicable, expungedOutcome, ownExpunges, readExpunges } from './expunges.ts';
import { type FileSystemProfile, fileSystemProfile, type RunDevices } from './filesystems.ts';
import { readJournal } from './journal.ts';
import { runTests } from './run.ts';
import { readTestList, type Selection, selectTests, shortestTests } from './selection.ts';
import type { ShardVm } from './shard.ts';
import { obtainTree } from './source.ts';
import { readTypicalTimes } from './typical-times.ts';

/** A VM of the lab, as far as a run has to know it. */
export interface LabVm extends ShardVm {
  readonly state: Pick<VmState, 'kernel' | 'flavour' | 'image' | 'accelerator' | 'cpus'>;
  /** Where it is known; else it is asked. */
  readonly guest?: GuestFacts;
}

/** xfstests as the settings name it: a built tree, and what of it goes to guests. */
export interface Suite {
  readonly tree: string;
  readonly bundle: Bundle;
}

export async function obtainSuite(context: LabContext): Promise<Suite> {
  const tree = await obtainTree(context);
  return { tree, bundle: await makeBundle(tree, context.packageRoot, context.cache, context) };
}

/** What to run besides what the settings say, and on which VMs. */
export interface XfstestsRequest {
  /** Of these but the first may be still to come. */
  readonly vms: readonly [LabVm, ...(LabVm | Promise<LabVm>)[]];
  /** The VMs are on one machine, and so as fast as each other. */
  readonly alike?: boolean;
  /** Name of a profile in `filesystems.ts`; default: what the lab mounts (`mount.filesystem`). */
  readonly fileSystem?: string;
  /**
   * Tests and group default to `xfstests.tests` and `xfstests.group`, together; where these are empty, to the default list.
   */
  readonly selection?: Partial<Selection>;
  /** Seconds one test may take; default: `xfstests.testTimeout`. */
  readonly testTimeout?: number;
  /** Seconds that tests made to run for a while are to take. */
  readonly soak?: number;
  /** Directory of a run to go on with, instead of a selection: its tests that have no verdict yet. */
  readonly resume?: string;
  /** Run expunged tests too, and report those that pass; a run that was begun so goes on so. */
  readonly runExpunged?: boolean;
  /** Where it was obtained before there was a VM. */
  readonly suite?: Suite;
  /** Is told where the run lies before its first test. */
  readonly onDirectory?: (directory: string) => Promise<void>;
}

export interface XfstestsResult {
  readonly report: RunReport;
  /** Where its reports and files are. */
  readonly directory: string;
}

/**
 * Run xfstests on VMs that are up, from finding a tree to the reports. Rejects with a `LabError` when there is nothing to run
 * or no tree to be had; everything that goes wrong later is in the report's verdict.
 */
export async function runXfstests(context: LabContext, request: XfstestsRequest): Promise<XfstestsResult> {
  const { config, packageRoot, signal } = context;
  const [{ vm, state, guest }] = request.vms;
  const profile = fileSystemProfile(
    request.fileSystem ?? config.mount.filesystem,
    packageRoot,
    config.xfstests.filesystems,
  );
  for (const labVm of request.vms) {
    if (!(labVm instanceof Promise)) requireDevices(labVm.devices);
  }
  const { tree, bundle } = request.suite ?? (await obtainSuite(context));
  const { kernel, server } = guest ?? (await guestFacts(vm, profile.needsServer, signal));
  const { accelerator, flavour } = state;
  const expungeFiles = [ownExpunges(packageRoot), ...config.xfstests.expunges];
  const expunges = applicable(await readExpunges(expungeFiles), {
    fs: profile.name,
    flavour,
    accelerator,
    kernel,
  });

  const { run, directory, tests, settled, problems, events, runExpunged } =
    request.resume === undefined
      ? await newRun(context, profile, tree, request)
      : await resumedRun(request.resume, profile, request);
  await request.onDirectory?.(directory);
  // One that has run has a verdict of its own.
  const decided = new Set(settled.map(({ name }) => name));
  const expunged = tests
    .flatMap((test) => (decided.has(test) ? [] : (expunges.get(test) ?? [])))
    .map(expungedOutcome);

  const report = await runTests(
    {
      vms: request.vms,
      ...(request.alike === undefined ? {} : { alike: request.alike }),
      bundle,
      tests,
      settled: runExpunged ? settled : [...settled, ...expunged],
      problems,
      events,
      runExpunged,
      fileSystem: profile,
      mounts: config.mount,
      testTimeout: request.testTimeout ?? config.xfstests.testTimeout * patience(flavour),
      ...(request.soak === undefined ? {} : { soak: request.soak }),
      expunged: new Set(expunges.keys()),
      directory,
      run,
      provenance: {
        kernel: state.kernel,
        flavour,
        image: state.image,
        server,
        xfstests: bundle.key,
        accelerator,
        cpus: state.cpus,
      },
      times: await recordedTimes(context),
    },
    context,
  );
  return { report, directory };
}

interface RunToDo {
  readonly run: string;
  readonly directory: string;
  readonly tests: readonly string[];
  readonly settled: readonly TestOutcome[];
  readonly problems: readonly string[];
  /** What went wrong and was made good in an earlier part. */
  readonly events: readonly string[];
  readonly runExpunged: boolean;
}

async function newRun(
  context: LabContext,
  profile: FileSystemProfile,
  tree: string,
  request: RequestedTests & Pick<XfstestsRequest, 'runExpunged'>,
): Promise<RunToDo> {
  const tests = await selectedTests(context, tree, request);
  const made = await makeRunDirectory(resultsRoot(context.packageRoot), profile.name, new Date());
  await takeRun(made.directory);
  return { ...made, tests, settled: [], problems: [], events: [], runExpunged: request.runExpunged === true };
}

type RequestedTests = Pick<XfstestsRequest, 'selection' | 'fileSystem'>;

async function selectedTests(
  context: LabContext,
  tree: string,
  { selection = {}, fileSystem = context.config.mount.filesystem }: RequestedTests,
): Promise<readonly string[]> {
  const complete = await completeSelection(context, selection);
  const tests = await selectTests(tree, complete, await ownTests(context.packageRoot));
  if (tests.length === 0) throw new LabError('The selection leaves no test to run.');
  if (complete.shortest === undefined) return tests;
  const times = await recordedTimes(context);
  const series = seriesOf(fileSystem, context.config.kernel.flavour);
  return shortestTests(tests, complete.shortest, (test) => times.of(series, test));
}

async function recordedTimes({ cacheRoot, packageRoot }: LabContext): Promise<RecordedTimes> {
  return await RecordedTimes.load(
    join(cacheRoot, 'xfstests-times.json'),
    await readTypicalTimes(packageRoot),
  );
}

/**
 * The request with its tests by name. Finds the tree, and refuses a selection that it does not have, before a kernel is built
 * and a VM booted for it; and repeats of the request run the same tests, whatever times are recorded meanwhile.
 */
export async function withTestsNamed<Request extends Pick<XfstestsRequest, 'resume'> & RequestedTests>(
  context: LabContext,
  request: Request,
): Promise<Request> {
  const tree = await obtainTree(context);
  if (request.resume !== undefined) return request;
  return { ...request, selection: { tests: await selectedTests(context, tree, request) } };
}

/** The same run, with the verdicts that it came to: a failure stays one. It goes on as it was begun, with no test less. */
async function resumedRun(
  directory: string,
  profile: FileSystemProfile,
  request: Pick<XfstestsRequest, 'runExpunged'>,
): Promise<RunToDo> {
  await takeRun(directory);
  const { plan, outcomes, problems, events } = await readJournal(directory);
  if (plan.fileSystem !== profile.name) {
    throw new LabError(`${basename(directory)} is a run on ${plan.fileSystem}, not on ${profile.name}.`, {
      hint: `Resume it with --fs ${plan.fileSystem}.`,
    });
  }
  const runExpunged = plan.runExpunged === true || request.runExpunged === true;
  return { run: plan.run, directory, tests: plan.tests, settled: outcomes, problems, events, runExpunged };
}

/** Every run of this checkout has a directory below this one. */
export function resultsRoot(packageRoot: string): string {
  return join(packageRoot, 'build', 'results');
}

async function completeSelection(
  { config, packageRoot }: LabContext,
  asked: Partial<Selection>,
): Promise<Selection> {
  const { tests, group, areas, exclude = [] } = asked;
  const { xfstests } = config;
  const base = { ...asked, exclude };
  if (areas !== undefined) return { ...base, tests: tests ?? [], group: group ?? 'quick' };
  if (tests !== undefined || group !== undefined) return { ...base, tests: tests ?? [], group: group ?? '' };
  if (xfstests.tests.length > 0 || xfstests.group !== '') {
    return { ...base, tests: xfstests.tests, group: xfstests.group };
  }
  return { ...base, tests: await readTestList(packageRoot, 'lab'), group: '' };
}

function requireDevices(devices: RunDevices): void {
  if (devices.test.length > 0 && devices.scratch.length > 0) return;
  throw new LabError('xfstests needs a device for the test file system and one for scratch.', {
    hint: 'Set vm.pmemPerNode to 2 or more, and start the lab again.',
  });
}
