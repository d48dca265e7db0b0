// SPDX-License-Identifier: BSD-3-Clause

import { InvalidArgumentError, Option } from 'commander';

const secondsOf: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600 };

/** Seconds of an option's value: 90s, 30m, 2h, or a plain number of seconds. */
export function duration(value: string): number {
  const match = /^(\d+)([smh]?)$/.exec(value);
  if (match === null) throw new InvalidArgumentError('A time such as 90s, 30m or 2h.');
  return Number(match[1]) * secondsOf[match[2]];
}

/** Words between commas; the option may be given several times. */
export function commaList(value: string, previous: readonly string[] = []): string[] {
  return [...previous, ...value.split(',').filter((word) => word !== '')];
}

/** A number of things, of which there is at least one. */
export function count(value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new InvalidArgumentError('A whole number, 1 or more.');
}

export type Engine = 'local' | 'swarm';

export function engineOption(): Option {
  return new Option('--engine <kind>', 'where the VMs are: on this machine, or in tasks of a Docker Swarm')
    .choices(['local', 'swarm'])
    .default('local');
}
