// SPDX-License-Identifier: BSD-3-Clause

import { execa } from 'execa';
import { type OsRelease, osRelease } from '../os-release.ts';

/** The release that the guest gets: this machine's own, since its mirrors are known to carry it. */
export async function guestRelease(): Promise<string> {
  return releaseFor(await osRelease());
}

export function releaseFor({ id, codename }: OsRelease): string {
  // Derivatives have releases of their own, and the unstable branch of Debian has no code name.
  return (['debian', 'ubuntu'].includes(id) ? codename : undefined) ?? 'stable';
}

const format = '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)';

/** What Debian and Ubuntu divide their archives into: what else carries the same release's name is somebody else's. */
const components = [
  'main',
  'contrib',
  'non-free',
  'non-free-firmware',
  'restricted',
  'universe',
  'multiverse',
];

/**
 * Where apt, as this machine has it set up, gets a release from, as lines of a sources.list. Empty when it has nothing for
 * it (or is not there); mmdebstrap then goes by its own default. Asked on the machine itself, also when tools run in
 * containers: those have no set-up of their own.
 */
export async function aptSources(release: string, signal: AbortSignal): Promise<string[]> {
  return sourcesFrom(
    await ask(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages'], signal),
    release,
  );
}

export function sourcesFrom(indexTargets: string, release: string): string[] {
  const suites = [release, `${release}-updates`, `${release}-security`];
  const found = new Map<string, Set<string>>();
  for (const line of indexTargets.split('\n')) {
    const [uri, suite, component, origin] = line.split('|');
    if (!suites.includes(suite) || !components.includes(component) || !/^https?:/.test(uri)) continue;
    // Known from the archive's Release file; before the first `apt-get update` apt shows the placeholder itself.
    if (!['Debian', 'Ubuntu', '', '$(ORIGIN)'].includes(origin)) continue;
    const key = `deb ${uri} ${suite}`;
    found.set(key, (found.get(key) ?? new Set()).add(component));
  }
  return [...found].map(([source, names]) => `${source} ${[...names].join(' ')}`);
}

/** apt's proxy settings on this machine, as lines of an apt.conf, for the apt that mmdebstrap runs. */
export async function aptProxySettings(signal: AbortSignal): Promise<string[]> {
  const dump = await ask(['apt-config', 'dump', '--format', '%F "%v";%n'], signal);
  return dump.split('\n').filter((line) => /^Acquire::https?::[^ ]*proxy[^ ]* "[^"]+";$/i.test(line));
}

/** Output of a program of apt's; '' on a machine without it. */
async function ask(command: readonly string[], signal: AbortSignal): Promise<string> {
  const { exitCode, stdout } = await execa(command[0], command.slice(1), {
    cancelSignal: signal,
    reject: false,
    env: { LC_ALL: 'C' },
  });
  signal.throwIfAborted();
  return exitCode === 0 ? stdout : '';
}
