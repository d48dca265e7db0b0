// SPDX-License-Identifier: BSD-3-Clause

import { availableParallelism } from 'node:os';
import type { LabContext } from '../lab/context.ts';
import { ensureMounted, ensureVm, obtainArtefacts } from '../lab/lifecycle.ts';
import { withRunLock } from '../lab/run-lock.ts';
import type { BootArtefacts } from '../lab/vm/boot.ts';
import type { GuestVm } from '../lab/vm/guest.ts';
import { endLab, findLab } from '../lab/vm/running.ts';
import { distrustVm, siblingStateDir, type VmState } from '../lab/vm/state.ts';
import { type FileSystemProfile, fileSystemProfile, type RunDevices } from './filesystems.ts';
import {
  type LabVm,
  runXfstests,
  withTestsNamed,
  type XfstestsRequest,
  type XfstestsResult,
} from './xfstests.ts';

/** What the user may say; what is left out comes from the settings. */
export interface InLabRequest extends Omit<XfstestsRequest, 'vms'> {
  /** VMs beside each other; default 1. */
  readonly shards?: number;
  /** Take a lab that runs only if it has the kernel, image and machine of the settings; build what they lack. */
  readonly build?: boolean;
  /** Runs, one after the other, in the same VMs; default 1. */
  readonly repeat?: number;
}

/** A lab with a VM; before tests run, with zus and the mounts too where the file system under test needs them. */
export interface ReadyLab {
  readonly vm: GuestVm;
  readonly state: VmState;
  /** Seconds that it took to get from kernel and image to here. */
  readonly bootSeconds?: number;
}

/**
 * Run xfstests in the context's lab: the one given (its file systems mounted, its VM the caller's to close), else the one that
 * runs, else a new one. A VM that is lost on the way is started anew for the rest of the tests. The lab stays up afterwards,
 * unless it was brought up for this and there is no verdict (interrupted, or broken); after the loss of its VM to the last of the
 * tests as it is, to be looked at, and the next run starts it anew. Those of further shards, named after it (`default-2`), are ended. No other run may have any of them; of the one given the caller has the run lock. Gives a result for each
 * repeat.
 */
export async function runXfstestsInLab(
  context: LabContext,
  request: InLabRequest,
  given?: ReadyLab,
): Promise<[XfstestsResult, ...XfstestsResult[]]> {
  const { shards = 1 } = request;
  const contexts = Array.from({ length: shards }, (_, at) =>
    at === 0 ? context : shardContext(context, at + 1),
  );
  return await withRunLock(given === undefined ? contexts : contexts.slice(1), () =>
    runInLabs(contexts, request, given),
  );
}

/** In labs that no other run has. */
async function runInLabs(
  contexts: readonly LabContext[],
  request: InLabRequest,
  given: ReadyLab | undefined,
): Promise<[XfstestsResult, ...XfstestsResult[]]> {
  const [context] = contexts;
  const { shards: _, repeat = 1, build = false, ...rest } = request;
  const profile = fileSystemProfile(
    request.fileSystem ?? context.config.mount.filesystem,
    context.packageRoot,
    context.config.xfstests.filesystems,
  );
  const named =
    given === undefined ? await context.step('xfstests tree', (step) => withTestsNamed(step, rest)) : rest;
  await using labs = new Labs(profile, contexts, build);
  const round = async (number: number): Promise<XfstestsResult> => {
    const vms = await labs.ready(number === 1 ? given : undefined);
    const hint = number === 1 ? hintIfCrowded(vms, availableParallelism()) : undefined;
    if (hint !== undefined) context.progress.note(hint);
    const title = `xfstests on ${profile.name}${repeat === 1 ? '' : `, ${number} of ${repeat}`}`;
    return await context.step(title, (step) => runXfstests(step, { ...named, vms, alike: true }));
  };
  try {
    const results: [XfstestsResult, ...XfstestsResult[]] = [await round(1)];
    for (let number = 2; number <= repeat; number += 1) results.push(await round(number));
    return results;
  } catch (error) {
    labs.endOpened();
    throw error;
  }
}

/**
 * What to say of VMs on a machine of `host` CPUs: emulated CPUs that take turns on one of the host's wait for each other, in locks
 * and in interrupts. Undefined when there is room for all, or but one CPU in each.
 */
export function hintIfCrowded(
  vms: readonly { readonly state: Pick<VmState, 'accelerator' | 'cpus'> }[],
  host: number,
): string | undefined {
  const emulated = vms.reduce((sum, { state }) => sum + (state.accelerator === 'tcg' ? state.cpus : 0), 0);
  if (vms.length === 1 || emulated <= Math.max(host, vms.length)) return undefined;
  const each = Math.max(1, Math.floor(host / vms.length));
  return `${vms.length} VMs have ${emulated} emulated CPUs, this machine ${host}: tests end sooner with --set vm.cpus=${each}, and vm.nodes to match (docs/ci.md).`;
}

/** A lab beside the context's own. */
function shardContext(context: LabContext, number: number): LabContext {
  const name = `${context.name}-${number}`;
  return { ...context, name, stateDir: siblingStateDir(context, name) };
}

/** The labs of a run: their connections close with it, and all but the first, which were opened for shards, end. */
export class Labs implements AsyncDisposable {
  readonly #profile: FileSystemProfile;
  readonly #contexts: readonly LabContext[];
  readonly #build: boolean;
  readonly #opened: GuestVm[] = [];
  /** The context's own lab was not found up, but booted here. */
  #bootedFirst = false;
  #endsFirst = false;

  constructor(profile: FileSystemProfile, contexts: readonly LabContext[], build: boolean) {
    this.#build = build;
    this.#profile = profile;
    this.#contexts = contexts;
  }

  /** A lab that nobody had up before, and whose tests came to no verdict, ends too. */
  endOpened(): void {
    this.#endsFirst = this.#bootedFirst;
  }

  /** What runs, or is started now; `given` is the first. */
  async ready(given: ReadyLab | undefined): Promise<[LabVm, ...LabVm[]]> {
    // The first alone, since the others find the kernel and the image that it builds.
    const [context, ...more] = this.#contexts;
    const first = this.#labVm(context, given ?? (await this.#open(context)));
    return [
      first,
      ...(await Promise.all(more.map(async (shard) => this.#labVm(shard, await this.#open(shard))))),
    ];
  }

  #labVm(context: LabContext, { vm, state, bootSeconds }: ReadyLab): LabVm {
    return {
      vm,
      state,
      ...(bootSeconds === undefined ? {} : { bootSeconds }),
      devices: devicesOf(state),
      distrust: (reason) => distrustVm(context, reason),
      revive: async () => {
        await endLab(context, context.name, context.stateDir, { keepLogs: true });
        const { vm, state } = await this.#open(context);
        return { vm, devices: devicesOf(state) };
      },
    };
  }

  async #open(context: LabContext): Promise<ReadyLab> {
    const running = this.#build ? undefined : await runningLab(context);
    const artefacts = running ?? (await obtainArtefacts(context));
    const from = performance.now();
    const lab = 'vm' in artefacts ? artefacts : await this.#boot(context, artefacts);
    this.#opened.push(lab.vm);
    if (this.#profile.needsServer) await ensureMounted(context, { ...lab, booted: false });
    return { ...lab, bootSeconds: (performance.now() - from) / 1000 };
  }

  async #boot(context: LabContext, artefacts: BootArtefacts): Promise<ReadyLab> {
    const lab = await ensureVm(context, artefacts);
    // One that is booted in place of a VM that was lost belongs to whoever had that one up.
    if (this.#opened.length === 0) this.#bootedFirst = lab.booted;
    return lab;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const vm of this.#opened) await vm[Symbol.asyncDispose]();
    for (const lab of this.#contexts.slice(this.#endsFirst ? 0 : 1)) {
      await endLab(lab, lab.name, lab.stateDir, { keepLogs: true });
    }
  }
}

function devicesOf({ testDevices: test, scratchDevices: scratch }: VmState): RunDevices {
  return { test, scratch };
}

/** Undefined when there is none, one that died or was given up, or one of another flavour than the settings ask for. */
async function runningLab(context: LabContext): Promise<ReadyLab | undefined> {
  const lab = await findLab(context);
  if (lab === undefined) return undefined;
  const { flavour, distrusted } = lab.state;
  const fit = distrusted === undefined && flavour === context.config.kernel.flavour;
  if (fit && (await lab.vm.health()).state === 'running') return lab;
  await lab.vm[Symbol.asyncDispose]();
  return undefined;
}
