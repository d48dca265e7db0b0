// SPDX-License-Identifier: BSD-3-Clause

import { formatIdentity, identify, isAlive, parseIdentity } from './process-identity.ts';
import type { Labels } from './runtime.ts';

export const labelOfLab = 'zufs-lab.lab';
export const labelOfRole = 'zufs-lab.role';
/** In an engine, which all labs of a machine share: the directory that keeps the state of the labs that a program belongs to. */
export const labelOfState = 'zufs-lab.state';
/** Identity of the zufs-lab that a program belongs to and must not outlive. */
export const labelOfOwner = 'zufs-lab.owner';

/** Of an image that the lab has made: `builder` or `task`. */
export const labelOfImage = 'zufs-lab.image';

/** Labels of a program that this process runs to its end. */
export function buildLabels(lab: string): Labels {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('This process is not in /proc.');
  return { [labelOfLab]: lab, [labelOfRole]: 'build', [labelOfOwner]: formatIdentity(self) };
}

/** True for a program whose zufs-lab is gone. */
export function isOrphan(labels: Labels): boolean {
  const owner = labels[labelOfOwner];
  if (owner === undefined) return false;
  const identity = parseIdentity(owner);
  return identity === undefined || !isAlive(identity);
}

export function hasLabels(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}
