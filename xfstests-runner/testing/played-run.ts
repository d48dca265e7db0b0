// SPDX-License-Identifier: BSD-3-Clause

/** A run in guests that are played. */

import { basename, join } from 'node:path';
import { packageRoot } from '../../lab/paths.ts';
import { makeRunDirectory } from '../../lab/test-run/run-directory.ts';
import { noProvenance } from '../../lab/test-run/testing/provenance.ts';
import { RecordedTimes } from '../../lab/test-run/times.ts';
import type { RunReport, TestOutcome } from '../../lab/test-run/verdict.ts';
import { type FakeContext, fakeContext } from '../../lab/testing/fake-context.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import type { Vm } from '../../lab/vm/vm.ts';
import type { WatchdogTiming } from '../attempt.ts';
import { fileSystemProfile } from '../filesystems.ts';
import { readJournal } from '../journal.ts';
import { runTests } from '../run.ts';
import { FakeGuest, type PlayedCheck } from './fake-guest.ts';

/** Looks often; but what it waits for may take long on a busy machine. */
const timing: WatchdogTiming = { tick: 5, health: 10, collect: 60_000, idle: 60_000, fetch: 60_000 };
export const three = ['generic/001', 'generic/002', 'generic/003'];
export const alike = { others: 1, tests: {} };
export const forever = new Promise<never>(() => undefined);

export const passAll: PlayedCheck = async (guest, tests) => {
  for (const name of tests) guest.pass(name);
  guest.finish();
  return 0;
};

export interface PlayOptions {
  /** For results and recorded times; default: a directory of the test. */
  readonly root?: string;
  readonly tests?: readonly string[];
  readonly revive?: () => Promise<Vm>;
  readonly limit?: number;
  readonly timing?: Partial<WatchdogTiming>;
  /** Guests of further shards. */
  readonly others?: readonly Vm[];
  readonly settled?: readonly TestOutcome[];
  /** Directory of a run to go on with. */
  readonly resume?: string;
  readonly expunged?: ReadonlySet<string>;
  readonly runExpunged?: boolean;
  readonly flavour?: string;
  /** What a test is expected to take; default 1. */
  readonly expectedSeconds?: number;
  /** `check` can be given more while it runs. */
  readonly refills?: boolean;
}

export interface Ran {
  readonly report: RunReport;
  readonly directory: string;
  readonly context: FakeContext;
  readonly guest: FakeGuest;
}

/** A run whose first guest is played by `check`. */
export async function play(check: PlayedCheck, options: PlayOptions = {}): Promise<Ran> {
  const root = options.root ?? (await scratchDirectory());
  const context = fakeContext(root);
  const guest = await FakeGuest.create(check);
  const { report, directory } = await runOn(guest, context, { ...options, root });
  return { report, directory, context, guest };
}

export async function runOn(
  vm: Vm,
  context: FakeContext,
  options: PlayOptions & { readonly root: string },
): Promise<{ report: RunReport; directory: string }> {
  const { root, resume } = options;
  const { run, directory } =
    resume === undefined
      ? await makeRunDirectory(join(root, 'results'), 'zpmfs', new Date())
      : { run: basename(resume), directory: resume };
  const begun = resume === undefined ? undefined : await readJournal(resume);
  const devices = { test: ['/dev/pmem0'], scratch: ['/dev/pmem1'] };
  const { revive } = options;
  const report = await runTests(
    {
      vms: [
        {
          vm,
          devices,
          ...(revive === undefined ? {} : { revive: async () => ({ vm: await revive(), devices }) }),
        },
        ...(options.others ?? []).map((other) => ({
          vm: other,
          devices,
        })),
      ],
      ...(options.settled === undefined ? {} : { settled: options.settled }),
      ...(begun === undefined
        ? {}
        : { settled: begun.outcomes, problems: begun.problems, events: begun.events }),
      ...(options.expunged === undefined ? {} : { expunged: options.expunged }),
      ...(options.runExpunged === undefined ? {} : { runExpunged: options.runExpunged }),
      bundle: { key: 'abc', file: join(root, 'bundle.tar.gz'), refills: options.refills ?? false },
      tests: options.tests ?? three,
      fileSystem: fileSystemProfile('zpmfs', packageRoot),
      mounts: { test: '/mnt/test', scratch: '/mnt/scratch' },
      testTimeout: options.limit ?? 60,
      directory,
      run,
      provenance: { ...noProvenance, flavour: options.flavour ?? 'release' },
      times: await RecordedTimes.load(join(root, 'times.json'), {
        ...alike,
        others: options.expectedSeconds ?? alike.others,
      }),
      timing: { ...timing, ...options.timing },
    },
    context,
  );
  return { report, directory };
}

export function statuses(report: RunReport): Record<string, string> {
  return Object.fromEntries(report.tests.map((outcome) => [outcome.name, outcome.status]));
}
