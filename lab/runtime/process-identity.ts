// SPDX-License-Identifier: BSD-3-Clause

import { readFileSync } from 'node:fs';

/**
 * One process, never another one that was given the same pid later: its start time (field 22 of /proc/PID/stat, clock ticks
 * since boot) and the boot it counts from.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
}

/** Identity of the process that has `pid` now; undefined when there is none, or it has ended and only waits to be reaped. */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  if (fields === undefined || fields.state === 'Z' || fields.state === 'X') return undefined;
  return { pid, startTime: fields.startTime, bootId: bootId() };
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== undefined && now.startTime === identity.startTime && now.bootId === identity.bootId;
}

/** `pid:startTime:bootId`, for a label. */
export function formatIdentity(identity: ProcessIdentity): string {
  return `${identity.pid}:${identity.startTime}:${identity.bootId}`;
}

export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^(\d+):(\d+):([0-9a-f-]+)$/.exec(text);
  return match === null ? undefined : { pid: Number(match[1]), startTime: match[2], bootId: match[3] };
}

export interface StatFields {
  readonly state: string;
  readonly parent: number;
  readonly processGroup: number;
  readonly startTime: string;
}

/** See proc_pid_stat(5). The command, field 2, is in brackets and may itself hold brackets and spaces. */
export function statFields(pid: number): StatFields | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: rest[0],
    parent: Number(rest[1]),
    processGroup: Number(rest[2]),
    startTime: rest[19],
  };
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return boot;
}
