// SPDX-License-Identifier: BSD-3-Clause

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunReport, TestOutcome } from '../lab/test-run/verdict.ts';
import { type Phase, readPhases } from './phases.ts';

/** What `shell/timing.sh` takes the time of. */
const kinds = ['mkfs', 'fsck', 'mount', 'log'] as const;
type Kind = (typeof kinds)[number];

interface Calls {
  readonly count: number;
  readonly seconds: number;
}

export interface HandOuts {
  /** Calls of check: each has a start and an end, however often it was given more tests in between. */
  readonly calls: number;
  /** All that VMs did for it that was no test: guests prepared, check starting and ending, results fetched. */
  readonly seconds: number;
  readonly secondsATest: number;
  /** Of the tests that ran. */
  readonly medianTest: number;
}

/** Seconds of VMs: two that run beside each other for a minute are two minutes. */
export interface TimeUse {
  readonly run: string;
  /** From start to end, by the clock. */
  readonly wall: number;
  readonly shards: number;
  readonly boot: number;
  readonly prepare: number;
  readonly check: number;
  readonly fetch: number;
  /** Within check: making, checking and mounting file systems, and reading the kernel's log. */
  readonly calls: Readonly<Record<Kind, Calls>>;
  /** Within check: tests that ran, without those calls. */
  readonly bodies: Calls;
  /** Within check: tests that looked around and said that they do not apply. */
  readonly notrun: Calls;
  /** Within check: before its first test, and after its last verdict. */
  readonly start: number;
  readonly end: number;
  /** Within check: what lies between a verdict and the next test. */
  readonly between: number;
  /** Having tests run that were handed out; undefined for a run of an older lab, which did not keep it apart. */
  readonly handOuts: HandOuts | undefined;
  /** Programs that were started in check, and what starting one takes: a part of all of the above. */
  readonly processes: number;
  readonly secondsAProcess: number;
  /** Tests by what they took, the slowest first. */
  readonly slowest: readonly TestOutcome[];
}

/** The pids of a Linux with few CPUs start anew after this many. */
const pids = 32_768;

/** Where the time of a run went, from what it left in its directory. Undefined when it kept no times: an older lab's run. */
export async function whereTimeGoes(directory: string, report: RunReport): Promise<TimeUse | undefined> {
  const phases = await readPhases(directory);
  if (phases.length === 0) return undefined;
  const sum = (phase: Phase['phase']) =>
    phases.reduce((total, entry) => total + (entry.phase === phase ? entry.seconds : 0), 0);
  const { calls, processes } = await readCalls(directory);
  const ran = report.tests.filter(({ status }) => status !== 'notrun');
  const notrun = report.tests.filter(({ status }) => status === 'notrun');
  const seconds = (tests: readonly TestOutcome[]) => tests.reduce((total, test) => total + test.seconds, 0);
  const inCalls = kinds.reduce((total, kind) => total + calls[kind].seconds, 0);
  const execs = phases.filter(({ phase }) => phase === 'exec');
  const inCheck = sum('start') + sum('end');
  return {
    run: report.run,
    wall: report.seconds,
    shards: report.shards,
    boot: sum('boot'),
    prepare: sum('prepare'),
    check: sum('check'),
    fetch: sum('fetch') + sum('mount'),
    start: sum('start'),
    end: sum('end'),
    calls,
    bodies: { count: ran.length, seconds: Math.max(0, seconds(ran) - inCalls) },
    notrun: { count: notrun.length, seconds: seconds(notrun) },
    between: Math.max(0, sum('check') - inCheck - seconds(report.tests)),
    handOuts: handOuts(phases, report.tests),
    processes,
    secondsAProcess: execs.length === 0 ? 0 : sum('exec') / execs.length,
    slowest: [...report.tests].sort((a, b) => b.seconds - a.seconds).slice(0, 10),
  };
}

function handOuts(phases: readonly Phase[], tests: readonly TestOutcome[]): HandOuts | undefined {
  const calls = phases.filter(({ phase }) => phase === 'start').length;
  if (calls === 0 || tests.length === 0) return undefined;
  const around: readonly Phase['phase'][] = ['prepare', 'start', 'end', 'fetch', 'mount'];
  const seconds = phases.reduce(
    (total, entry) => total + (around.includes(entry.phase) ? entry.seconds : 0),
    0,
  );
  const ran = tests.filter(({ status }) => status !== 'notrun').map((test) => test.seconds);
  const medianTest = ran.sort((a, b) => a - b)[Math.floor(ran.length / 2)] ?? 0;
  return { calls, seconds, secondsATest: seconds / tests.length, medianTest };
}

/** The lines of `time.log` of every attempt: kind, microseconds, last pid, test. */
async function readCalls(
  directory: string,
): Promise<{ readonly calls: Record<Kind, Calls>; readonly processes: number }> {
  const calls = Object.fromEntries(kinds.map((kind) => [kind, { count: 0, seconds: 0 }])) as Record<
    Kind,
    Calls
  >;
  let processes = 0;
  const files = (await readdir(directory)).filter((name) => /^time-[\w.]+\.log$/.test(name));
  for (const file of files) {
    let before: number | undefined;
    for (const line of (await readFile(join(directory, file), 'utf8')).split('\n')) {
      const [word, micros, pid] = line.split(' ');
      const kind = kinds.find((candidate) => candidate === word);
      if (kind === undefined || !(Number(micros) >= 0)) continue;
      const { count, seconds } = calls[kind];
      calls[kind] = { count: count + 1, seconds: seconds + Number(micros) / 1e6 };
      if (before !== undefined) processes += (Number(pid) - before + pids) % pids;
      before = Number(pid);
    }
  }
  return { calls, processes };
}

/** The list for a terminal. */
export function timeUseText(use: TimeUse): string {
  const vms = use.shards === 1 ? 'one VM' : `${use.shards} VMs beside each other`;
  const total = use.boot + use.prepare + use.check + use.fetch;
  const row = (what: string, seconds: number, remark = '') =>
    `${what.padEnd(44)} ${seconds.toFixed(1).padStart(8)} s ${share(seconds, total)}${remark === '' ? '' : `  ${remark}`}`;
  const calls = (what: string, { count, seconds }: Calls) =>
    row(`  ${what}`, seconds, count === 0 ? '' : `${count} × ${(seconds / count).toFixed(2)} s`);
  return [
    `${use.run}: ${use.wall.toFixed(0)} s by the clock in ${vms}; ${total.toFixed(0)} s of VMs, of which`,
    row('VMs coming up', use.boot),
    row('guests getting tests and file systems', use.prepare),
    row('check', use.check),
    calls('tests themselves', use.bodies),
    calls('checking file systems (fsck, mount around it)', use.calls.fsck),
    calls('making file systems (mkfs)', use.calls.mkfs),
    calls('mounting and unmounting', use.calls.mount),
    calls("reading the kernel's log", use.calls.log),
    calls('tests that do not apply', use.notrun),
    row('  between tests', use.between),
    row('  before its first test', use.start),
    row('  after its last', use.end),
    row('results coming to the host, the mount again', use.fetch),
    ...(use.handOuts === undefined ? [] : [handOutText(use.handOuts)]),
    `In all of check ${use.processes} processes were started; at ${(use.secondsAProcess * 1000).toFixed(1)} ms for the start of a small one that is ${(use.processes * use.secondsAProcess).toFixed(0)} s.`,
    'Slowest tests:',
    ...use.slowest.map(({ name, seconds, status }) => row(`  ${name}`, seconds, status)),
  ].join('\n');
}

function handOutText({ calls, seconds, secondsATest, medianTest }: HandOuts): string {
  const called = calls === 1 ? 'one call of check' : `${calls} calls of check`;
  return `Handing out: ${called}, ${seconds.toFixed(1)} s around their tests: ${secondsATest.toFixed(2)} s a test, ${share(secondsATest, medianTest).trim()} of the median test (${medianTest.toFixed(1)} s).`;
}

function share(seconds: number, total: number): string {
  return `${((100 * seconds) / Math.max(total, 0.001)).toFixed(0).padStart(3)} %`;
}
