// SPDX-License-Identifier: BSD-3-Clause

import { basename, join } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import { deployedServer } from '../lab/deploy/server.ts';
import { LabError } from '../lab/errors.ts';
import { patience } from '../lab/vm/patience.ts';
import type { VmState } from '../lab/vm/state.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { makeBundle, ownTests } from './bundle.ts';
import { applicable, expungedOutcome, ownExpunges, readExpunges } from './expunges.ts';
import { type FileSystemProfile, fileSystemProfile, type RunDevices } from './filesystems.ts';
import { execChecked } from './guest.ts';
import { readJournal } from './journal.ts';
import { makeRunDirectory, runTests } from './run.ts';
import { readTestList, type Selection, selectTests, shortestTests } from './selection.ts';
import type { ShardVm } from './shard.ts';
import { obtainTree } from './source.ts';
import { RecordedTimes, readTypicalTimes, seriesOf } from './times.ts';
import type { RunReport, TestOutcome } from './verdict.ts';

/** A VM of the lab, as far as a run has to know it. */
export interface LabVm extends ShardVm {
  readonly state: Pick<VmState, 'kernel' | 'flavour' | 'image' | 'accelerator' | 'cpus'>;
  /** Where it is known; else it is asked. */
  readonly guest?: GuestFacts;
}

/** What runs in a guest. */
export interface GuestFacts {
  /** As `uname -r` has it. */
  readonly kernel: string;
  /** Key of the server that is deployed; empty when there is none. */
  readonly server: string;
}

export async function guestFacts(
  vm: Vm,
  profile: FileSystemProfile,
  signal: AbortSignal,
): Promise<GuestFacts> {
  const { stdout } = await execChecked(vm, ['uname', '-r'], { signal });
  return {
    kernel: stdout.trim(),
    server: profile.needsServer ? await deployedServer(vm, signal) : '',
  };
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
  /** Run expunged tests too, and report those that pass. */
  readonly runExpunged?: boolean;
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
  const { config, packageRoot, cache, signal } = context;
  const [{ vm, state, guest }] = request.vms;
  const profile = fileSystemProfile(
    request.fileSystem ?? config.mount.filesystem,
    packageRoot,
    config.xfstests.filesystems,
  );
  for (const labVm of request.vms) {
    if (!(labVm instanceof Promise)) requireDevices(labVm.devices);
  }
  const tree = await obtainTree(context);
  const bundle = await makeBundle(tree, packageRoot, cache, context);
  const { kernel, server } = guest ?? (await guestFacts(vm, profile, signal));
  const { accelerator, flavour } = state;
  const expungeFiles = [ownExpunges(packageRoot), ...config.xfstests.expunges];
  const expunges = applicable(await readExpunges(expungeFiles), {
    fs: profile.name,
    flavour,
    accelerator,
    kernel,
  });

  const { run, directory, tests, settled } =
    request.resume === undefined
      ? await newRun(context, profile, tree, request)
      : await resumedRun(request.resume, profile);
  await request.onDirectory?.(directory);
  const expunged = tests.flatMap((test) => expunges.get(test) ?? []).map(expungedOutcome);

  const report = await runTests(
    {
      vms: request.vms,
      ...(request.alike === undefined ? {} : { alike: request.alike }),
      bundle,
      tests,
      settled: request.runExpunged === true ? settled : [...settled, ...expunged],
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
}

async function newRun(
  context: LabContext,
  profile: FileSystemProfile,
  tree: string,
  request: RequestedTests,
): Promise<RunToDo> {
  const tests = await selectedTests(context, tree, request);
  const made = await makeRunDirectory(resultsRoot(context.packageRoot), profile.name, new Date());
  return { ...made, tests, settled: [] };
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

/** The same run, with the verdicts that it came to: a failure stays one. */
async function resumedRun(directory: string, profile: FileSystemProfile): Promise<RunToDo> {
  const { plan, outcomes } = await readJournal(directory);
  if (plan.fileSystem !== profile.name) {
    throw new LabError(`${basename(directory)} is a run on ${plan.fileSystem}, not on ${profile.name}.`, {
      hint: `Resume it with --fs ${plan.fileSystem}.`,
    });
  }
  return { run: plan.run, directory, tests: plan.tests, settled: outcomes };
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
