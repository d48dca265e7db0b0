// SPDX-License-Identifier: BSD-3-Clause

import { access, constants, readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import prettyBytes from 'pretty-bytes';
import type { SettingsContext } from '../context.ts';
import { freeBytes } from '../disk-space.ts';
import { LabError } from '../errors.ts';
import { installCommand, missingPackages, rootAccess } from '../runtime/apt.ts';
import { findEngine, noEngineError } from '../runtime/engine.ts';
import { packagesOf, toolSets } from '../runtime/tools.ts';
import { parseSize } from '../vm/topology.ts';

/** `ok`; `note`: works, but the user may want to know; `missing`: the lab will not work. */
export type CheckStatus = 'ok' | 'note' | 'missing';

export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found, in one line. */
  readonly detail: string;
  /** The command, or the setting, that mends it. */
  readonly mend?: string;
}

/** What a run takes from empty caches, and with kernel and image in them: then the guest's pmem above all. */
const neededDisk = { cold: 8 * 2 ** 30, warm: 4 * 2 ** 30 };
/** What the lab needs beside the guest's memory: QEMU, make, the caches of the file systems. */
const besidesGuest = 2 * 2 ** 30;

const binary = { binary: true } as const;

/** Everything that the lab needs of this machine, looked at without changing anything. */
export async function checkMachine(context: SettingsContext): Promise<Check[]> {
  const engine = await checkEngine(context);
  const usesDocker = engine.usable && context.config.runtime !== 'host';
  return [
    await checkProcessors(),
    await checkMemory(context),
    await checkDisk(context),
    await checkAccelerator(context),
    engine.check,
    await checkGit(),
    await checkApt(),
    ...(await checkTools(usesDocker)),
  ];
}

async function checkProcessors(): Promise<Check> {
  const cpus = availableParallelism();
  return { name: 'processors', status: cpus >= 2 ? 'ok' : 'note', detail: `${cpus}` };
}

async function checkMemory(context: SettingsContext): Promise<Check> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const available = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
  const needed = parseSize(context.config.vm.memory) + besidesGuest;
  const detail = `${prettyBytes(available, binary)} available, ${prettyBytes(needed, binary)} needed`;
  return available >= needed
    ? { name: 'memory', status: 'ok', detail }
    : {
        name: 'memory',
        status: 'missing',
        detail,
        mend: 'a smaller guest: vm.memory in your lab.local.yaml',
      };
}

async function checkDisk(context: SettingsContext): Promise<Check> {
  const free = await freeBytes(context.cacheRoot);
  const warm = (await holdsAny(context, 'kernel')) && (await holdsAny(context, 'image'));
  const needed = warm ? neededDisk.warm : neededDisk.cold;
  const when = warm ? '' : ' from empty caches';
  const detail = `${prettyBytes(free, binary)} free in ${context.cacheRoot}, ${prettyBytes(needed, binary)} needed${when}`;
  return free >= needed
    ? { name: 'disk', status: 'ok', detail }
    : { name: 'disk', status: 'missing', detail, mend: 'a larger disk: cacheDir in your lab.local.yaml' };
}

async function holdsAny(context: SettingsContext, kind: string): Promise<boolean> {
  const entries = await readdir(join(context.cacheRoot, kind)).catch(() => []);
  return entries.some((name) => !name.endsWith('.lock'));
}

async function checkAccelerator(context: SettingsContext): Promise<Check> {
  const name = 'accelerator';
  const wanted = context.config.vm.accelerator;
  if (wanted === 'tcg') return { name, status: 'ok', detail: 'TCG, as set' };
  const problem = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
  if (problem === undefined) {
    return {
      name,
      status: 'ok',
      detail: '/dev/kvm opens; `zufs-lab up` tries it by booting, and takes TCG if that fails',
    };
  }
  const mend = problem === 'EACCES' ? 'sudo adduser $USER kvm, then log in anew' : undefined;
  const why = problem === 'EACCES' ? '/dev/kvm is not for this user' : 'no /dev/kvm';
  return {
    name,
    status: wanted === 'kvm' ? 'missing' : 'note',
    detail: `${why}: TCG, which is slower`,
    ...(mend === undefined ? {} : { mend }),
  };
}

async function checkEngine(
  context: SettingsContext,
): Promise<{ readonly usable: boolean; readonly check: Check }> {
  const name = 'container engine';
  const { engine, tried } = await findEngine(process.env);
  if (engine !== undefined) {
    const used = context.config.runtime === 'host' ? ' (not used: runtime is host)' : '';
    return {
      usable: true,
      check: { name, status: 'ok', detail: `${engine.version} at ${engine.address}${used}` },
    };
  }
  if (context.config.runtime === 'docker') {
    const error = noEngineError(tried);
    return {
      usable: false,
      check: { name, status: 'missing', detail: error.message, mend: error.hint ?? '' },
    };
  }
  return {
    usable: false,
    check: { name, status: 'ok', detail: 'none answers: tools run on this machine itself' },
  };
}

async function checkGit(): Promise<Check> {
  const { stdout, exitCode } = await execa('git', ['--version'], { reject: false, stdin: 'ignore' });
  return exitCode === 0
    ? { name: 'git', status: 'ok', detail: stdout }
    : { name: 'git', status: 'missing', detail: 'not installed', mend: installCommand(['git']) };
}

/** apt has to know packages: by one that every part of the lab is built with. */
async function checkApt(): Promise<Check> {
  const name = 'apt';
  const { stdout, code } = await execa('apt-cache', ['policy', 'mmdebstrap'], {
    reject: false,
    stdin: 'ignore',
    env: { LC_ALL: 'C' },
  });
  if (code === 'ENOENT')
    return { name, status: 'note', detail: 'this is no Debian or Ubuntu: a container engine is needed' };
  const candidate = /Candidate: (?!\(none\))(\S+)/.exec(String(stdout))?.[1];
  return candidate !== undefined
    ? { name, status: 'ok', detail: `knows its packages (mmdebstrap ${candidate})` }
    : { name, status: 'missing', detail: 'has no package lists', mend: 'sudo apt-get update' };
}

/** One line a tool set. In containers only the engine matters, and what makes the image for it. */
async function checkTools(usesDocker: boolean): Promise<Check[]> {
  const mayInstall = (await rootAccess()) !== undefined;
  const checks: Check[] = [];
  for (const tools of usesDocker ? (['image-build'] as const) : toolSets) {
    const name = usesDocker ? 'tools for the builder image' : `tools for ${tools}`;
    let missing: string[];
    try {
      missing = await missingPackages(packagesOf(tools));
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      checks.push({
        name,
        status: usesDocker ? 'note' : 'missing',
        detail: error.message,
        mend: error.hint ?? '',
      });
      continue;
    }
    if (missing.length === 0) checks.push({ name, status: 'ok', detail: 'installed' });
    else {
      // With the right to, the lab installs them itself when it needs them.
      const otherwise = mayInstall
        ? ' (the lab installs them when it needs them)'
        : usesDocker
          ? " (Debian's image from a registry takes their place)"
          : '';
      const detail = `not installed: ${missing.join(', ')}${otherwise}`;
      checks.push({
        name,
        status: otherwise === '' ? 'missing' : 'note',
        detail,
        mend: installCommand(missing),
      });
    }
  }
  return checks;
}
