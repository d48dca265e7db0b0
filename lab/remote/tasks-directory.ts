// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { identify } from '../runtime/process-identity.ts';

let count = 0;

/**
 * A directory for what a run with tasks has on this machine: the socket file that it listens on, and the consoles of its VMs. It is the
 * run's own, since a lab may have several at a time; it stays until another run of the lab finds that its process is gone, since somebody
 * may want to read the consoles. Its name says which process that is, in few characters: the path of a socket has 107.
 */
export async function makeTasksDirectory(stateDir: string): Promise<string> {
  const root = join(stateDir, 'tasks');
  await mkdir(root, { recursive: true });
  for (const name of await readdir(root)) {
    if (!isOfLiving(name)) await rm(join(root, name), { recursive: true, force: true });
  }
  const self = identify(process.pid);
  if (self === undefined) throw new Error('This process is not in /proc.');
  count += 1;
  const directory = join(root, [self.pid, Number(self.startTime), count].map(toName).join('.'));
  // A process of an earlier boot may have had the same number at the same time.
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory);
  return directory;
}

const base = 36;

function toName(number: number): string {
  return number.toString(base);
}

function isOfLiving(name: string): boolean {
  const [pid, startTime] = name.split('.').map((part) => Number.parseInt(part, base));
  return identify(pid)?.startTime === `${startTime}`;
}
