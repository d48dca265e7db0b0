// SPDX-License-Identifier: BSD-3-Clause

import { appendFile, mkdir } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { LabContext } from '../lab/context.ts';
import {
  checkFileSystem,
  type FileSystemPlan,
  mountFileSystem,
  plannedFileSystems,
  unmountFileSystem,
} from '../lab/deploy/filesystem.ts';
import { deployedServer, deployServer } from '../lab/deploy/server.ts';
import { InterruptedError, LabError } from '../lab/errors.ts';
import { ensureMounted, ensureVm } from '../lab/lifecycle.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { endLab, requireLab } from '../lab/vm/running.ts';
import type { VmState } from '../lab/vm/state.ts';
import { ConsoleAlarms } from '../xfstests-runner/console-alarms.ts';
import { testLine } from '../xfstests-runner/report/summary.ts';
import { writeReports } from '../xfstests-runner/report/write.ts';
import { makeRunDirectory } from '../xfstests-runner/run.ts';
import { NoTreeError, obtainTree } from '../xfstests-runner/source.ts';
import { countOutcomes, judge, type RunReport, type TestOutcome } from '../xfstests-runner/verdict.ts';
import { type Length, limitOf, secondsOf, type Workload, workloadsDirectory } from './definition.ts';
import { kernelRepository } from './repository.ts';

/** In the guest: programs and what they need, outside of the mount. */
const shared = '/var/lib/zufs-workloads';

export interface WorkloadsRequest {
  readonly workloads: readonly Workload[];
  readonly length: Length;
  /** Every run has a directory below it. */
  readonly resultsRoot: string;
}

/**
 * Run workloads one after the other on the file system of `mount.filesystem`, in the context's lab, which is booted for it. The
 * verdict is in the report; interrupted, the report of what ran is written, then it rejects with `InterruptedError`.
 */
export async function runWorkloads(
  context: LabContext,
  artefacts: BootArtefacts,
  request: WorkloadsRequest,
): Promise<{ readonly report: RunReport; readonly directory: string }> {
  const fileSystem = context.config.mount.filesystem;
  const started = new Date();
  const { run, directory } = await makeRunDirectory(request.resultsRoot, fileSystem, started);
  await using lab = new WorkloadLab(context, artefacts);
  const outcomes: TestOutcome[] = [];
  const problems: string[] = [];
  for (const workload of request.workloads) {
    if (context.signal.aborted) break;
    try {
      const outcome = await context.step(workload.name, (step) =>
        new WorkloadRun(step, lab, workload, request.length, directory).outcome(),
      );
      outcomes.push(outcome);
      context.progress.note(testLine(outcome));
    } catch (error) {
      if (context.signal.aborted) break;
      if (!(error instanceof LabError)) throw error;
      problems.push(`${workload.name}: ${error.message}`);
      lab.distrust();
    }
  }
  const names = request.workloads.map(({ name }) => name);
  const missing = names.filter((name) => !outcomes.some((outcome) => outcome.name === name));
  if (context.signal.aborted) problems.push('Interrupted.');
  const report: RunReport = {
    run,
    suite: 'workloads',
    verdict: judge(outcomes, missing, problems),
    counts: countOutcomes(outcomes),
    tests: outcomes,
    missing,
    problems,
    events: lab.events,
    fileSystem,
    seconds: Math.round((Date.now() - started.getTime()) / 100) / 10,
    started: started.toISOString(),
    shards: 1,
    provenance: lab.provenance(),
  };
  await writeReports(directory, report);
  if (context.signal.aborted) throw new InterruptedError();
  return { report, directory };
}

interface MountedLab {
  readonly vm: GuestVm;
  readonly state: VmState;
  readonly plan: FileSystemPlan;
}

/** The VM of the workloads, booted when one needs it, and anew after one lost it. */
class WorkloadLab implements AsyncDisposable {
  readonly events: string[] = [];
  readonly #context: LabContext;
  readonly #artefacts: BootArtefacts;
  #lab: MountedLab | undefined;
  #trusted = true;
  #state: VmState | undefined;
  #server = '';

  constructor(context: LabContext, artefacts: BootArtefacts) {
    this.#context = context;
    this.#artefacts = artefacts;
  }

  /** Up, and with the file system mounted. */
  async get(context: LabContext): Promise<MountedLab> {
    if (this.#lab !== undefined && this.#trusted) return this.#lab;
    if (!this.#trusted) await this.#lose();
    const lab = await ensureVm(context, this.#artefacts);
    await ensureMounted(context, lab);
    return await this.#use(lab.vm, lab.state);
  }

  /** Kill the VM, as a loss of power would, and boot another over the same memory: ready for what is there to be mounted. */
  async crash(context: LabContext): Promise<MountedLab> {
    const { background } = await requireLab(context);
    await background.stop(0);
    await this.#close();
    const { vm, state } = await ensureVm(context, this.#artefacts, { keepPmem: true });
    const lab = await this.#use(vm, state);
    if (context.config.server.filesystems.includes(lab.plan.type)) await deployServer(context, vm);
    return lab;
  }

  /** The next workload gets another VM; until then this one stays to be looked at. */
  distrust(): void {
    this.#trusted = false;
  }

  async #lose(): Promise<void> {
    this.#trusted = true;
    await this.#close();
    const { name, stateDir } = this.#context;
    await endLab(this.#context, name, stateDir, { keepLogs: true });
  }

  async #close(): Promise<void> {
    await this.#lab?.vm[Symbol.asyncDispose]();
    this.#lab = undefined;
  }

  provenance(): RunReport['provenance'] {
    const state = this.#state;
    return {
      kernel: this.#artefacts.kernel.key,
      flavour: this.#artefacts.kernel.flavour,
      image: this.#artefacts.image.key,
      server: this.#server,
      xfstests: '',
      accelerator: state?.accelerator ?? '',
      cpus: state?.cpus ?? 0,
    };
  }

  async #use(vm: GuestVm, state: VmState): Promise<MountedLab> {
    const [plan] = plannedFileSystems(this.#context, state);
    this.#lab = { vm, state, plan };
    this.#state = state;
    this.#server ||= await deployedServer(vm, this.#context.signal);
    return this.#lab;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** What a program ended with: nothing, or why it did not pass. */
type Ended = { readonly status: 'failed' | 'hung' | 'crashed'; readonly reason: string } | undefined;

class WorkloadRun {
  readonly #context: LabContext;
  readonly #lab: WorkloadLab;
  readonly #workload: Workload;
  readonly #length: Length;
  readonly #output: string;
  readonly #deadline: AbortSignal;
  readonly #from = performance.now();
  #files: ReadonlyMap<string, string> = new Map();
  #alarms: ConsoleAlarms | undefined;
  #complaint: Ended;
  #directory = '';
  #acknowledged = '0';

  constructor(context: LabContext, lab: WorkloadLab, workload: Workload, length: Length, directory: string) {
    this.#context = context;
    this.#lab = lab;
    this.#workload = workload;
    this.#length = length;
    this.#output = join(directory, `${workload.name}.out`);
    this.#deadline = AbortSignal.timeout(limitOf(workload, length) * 1000);
  }

  async outcome(): Promise<TestOutcome> {
    const needed = await this.#needed();
    if (typeof needed === 'string') return this.#ended({ status: 'notrun', reason: needed });
    this.#files = needed;
    const lab = await this.#lab.get(this.#context);
    await this.#provide(lab);
    this.#directory = posix.join(lab.plan.target, this.#workload.name);
    this.#alarms = await ConsoleAlarms.from(lab.vm.consoleLog);
    await this.#exec(lab, ['rm', '-rf', this.#directory]);
    const bad = this.#workload.crash ? await this.#crash(lab) : await this.#toTheEnd(lab);
    await this.#listen();
    const verdict = this.#complaint ?? bad ?? (await this.#clean(await this.#lab.get(this.#context)));
    // What it leaves behind when it does not pass is nothing to go on with.
    if (verdict !== undefined) this.#lab.distrust();
    return this.#ended(verdict ?? { status: 'passed', reason: '' });
  }

  /** What the guest's kernel has said since the last time. */
  async #listen(): Promise<void> {
    for (const { kind, line } of (await this.#alarms?.look()) ?? []) {
      if (kind === 'stall')
        this.#lab.events.push(`During ${this.#workload.name} the guest's kernel said: ${line}`);
      else this.#complaint ??= { status: kind, reason: line };
    }
  }

  #ended({ status, reason }: Pick<TestOutcome, 'status' | 'reason'>): TestOutcome {
    const seconds = Math.round(performance.now() - this.#from) / 1000;
    return { name: this.#workload.name, status, seconds, reason };
  }

  /** What the guest has to have, on the host and there. Gives in words what cannot be had. */
  async #needed(): Promise<ReadonlyMap<string, string> | string> {
    const { needs } = this.#workload;
    const files = new Map([
      [`${shared}/programs`, join(workloadsDirectory(this.#context.packageRoot), 'programs')],
    ]);
    if (needs.includes('kernel-repository'))
      files.set(`${shared}/kernel.git`, await kernelRepository(this.#context));
    if (needs.includes('fsx')) {
      try {
        files.set(`${shared}/fsx`, join(await obtainTree(this.#context), 'ltp', 'fsx'));
      } catch (error) {
        if (error instanceof NoTreeError) return error.message;
        throw error;
      }
    }
    return files;
  }

  /** Every boot begins with the root disk of the image, so that a VM has nothing of the one before. */
  async #provide({ vm }: MountedLab): Promise<void> {
    for (const [to, from] of this.#files) {
      // Programs are small, and may have changed under a lab that was kept.
      const large = to !== `${shared}/programs`;
      if (large && (await vm.exec(['test', '-e', to], { signal: this.#context.signal })).exitCode === 0)
        continue;
      this.#context.progress.update(`copying ${posix.basename(to)} to the guest`);
      await vm.upload(from, to, this.#context);
    }
  }

  async #toTheEnd(lab: MountedLab): Promise<Ended> {
    const { signal } = this.#context;
    return (
      (await this.#phase(lab, 'run')) ??
      (await this.#asVerdict(async () => {
        await unmountFileSystem(lab.vm, lab.plan.target, signal);
        await mountFileSystem(lab.vm, lab.plan, signal);
      })) ??
      (await this.#phase(lab, 'verify'))
    );
  }

  /** Let it run, kill the VM in the middle, and look at what is left. */
  async #crash(lab: MountedLab): Promise<Ended> {
    const seconds = secondsOf(this.#workload, this.#length);
    const kill = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const bad = await this.#phase(lab, 'start', kill.signal, () => {
      timer ??= setTimeout(() => kill.abort(), seconds * 1000);
    });
    clearTimeout(timer);
    if (!kill.signal.aborted) return bad ?? { status: 'failed', reason: 'it ended before the VM was killed' };
    this.#context.progress.update(`killed after ${this.#acknowledged} were acknowledged, booting anew`);
    await this.#listen();
    const after = await this.#lab.crash(this.#context);
    // A new boot has a new console.
    this.#alarms = await ConsoleAlarms.whole(after.vm.consoleLog);
    await this.#provide(after);
    return (
      (await this.#asVerdict(() => mountFileSystem(after.vm, after.plan, this.#context.signal))) ??
      (await this.#phase(after, 'check'))
    );
  }

  /** Call the program; `stop` ends waiting for it, and is no fault. */
  async #phase(
    { vm }: MountedLab,
    phase: string,
    stop: AbortSignal = new AbortController().signal,
    onRunning: () => void = () => undefined,
  ): Promise<Ended> {
    const { signal, progress } = this.#context;
    const { program } = this.#workload;
    const file = `${shared}/programs/${program}`;
    const lines: string[] = [];
    let rest = '';
    progress.update(phase);
    const take = (chunk: string): void => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        const acknowledged = /^acknowledged (\d+)$/.exec(line)?.[1];
        if (acknowledged !== undefined) this.#acknowledged = acknowledged;
        else lines.push(line);
        if (line === 'running') onRunning();
        progress.update(line);
      }
    };
    try {
      const { exitCode } = await vm.exec([program.endsWith('.js') ? 'node' : 'bash', file, phase], {
        signal: AbortSignal.any([signal, stop, this.#deadline]),
        env: {
          DIRECTORY: this.#directory,
          TIME: String(secondsOf(this.#workload, this.#length)),
          SHORT: this.#length.short ? '1' : '0',
          SHARED: shared,
          ACKNOWLEDGED: this.#acknowledged,
        },
        onStdout: take,
        onStderr: take,
      });
      if (exitCode === 0) return undefined;
      const said = [...lines, rest].filter((line) => line.trim() !== '').slice(-5);
      return { status: 'failed', reason: `${phase} ended with ${exitCode}: ${said.reverse().join(' | ')}` };
    } catch (error) {
      signal.throwIfAborted();
      if (stop.aborted) return undefined;
      if (this.#deadline.aborted)
        return {
          status: 'hung',
          reason: `${phase} did not end within ${limitOf(this.#workload, this.#length)} s`,
        };
      const health = await vm.health();
      if (health.state === 'running') throw error;
      return {
        status: 'crashed',
        reason: error instanceof Error ? error.message.split('\n')[0] : String(error),
      };
    } finally {
      await mkdir(posix.dirname(this.#output), { recursive: true });
      await appendFile(this.#output, `== ${phase}\n${lines.join('\n')}\n${rest}\n`);
    }
  }

  /** Nothing of it stays, and fsck finds the file system clean. */
  async #clean(lab: MountedLab): Promise<Ended> {
    const { signal, progress } = this.#context;
    progress.update('checking the file system');
    return await this.#asVerdict(async () => {
      await unmountFileSystem(lab.vm, lab.plan.target, signal);
      await checkFileSystem(lab.vm, lab.plan, signal);
      await mountFileSystem(lab.vm, lab.plan, signal);
      await this.#exec(lab, ['rm', '-rf', this.#directory]);
    });
  }

  /** A file system that does not mount, unmount or pass its check after a workload is that workload's verdict, not a broken lab. */
  async #asVerdict(body: () => Promise<void>): Promise<Ended> {
    try {
      await body();
      return undefined;
    } catch (error) {
      this.#context.signal.throwIfAborted();
      return { status: 'failed', reason: error instanceof Error ? error.message : String(error) };
    }
  }

  async #exec({ vm }: MountedLab, command: readonly string[]): Promise<void> {
    await vm.exec(command, { signal: this.#context.signal });
  }
}
