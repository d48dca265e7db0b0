// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import * as bench from './bench.ts';
import * as bisect from './bisect.ts';
import * as cache from './cache.ts';
import * as compare from './compare.ts';
import * as config from './config.ts';
import * as console from './console.ts';
import * as doctor from './doctor.ts';
import * as down from './down.ts';
import * as exec from './exec.ts';
import * as image from './image.ts';
import * as kernel from './kernel.ts';
import * as logs from './logs.ts';
import * as report from './report.ts';
import * as run from './run.ts';
import * as smoke from './smoke.ts';
import * as ssh from './ssh.ts';
import * as status from './status.ts';
import * as swarm from './swarm.ts';
import * as task from './task.ts';
import * as up from './up.ts';
import * as workloads from './workloads.ts';
import * as xfstests from './xfstests.ts';

/** Every command: a file beside this one, and a line here. Order is that of `--help`. */
export const commands: readonly { register(program: Command): void }[] = [
  doctor,
  run,
  kernel,
  image,
  up,
  down,
  status,
  ssh,
  exec,
  console,
  logs,
  smoke,
  xfstests,
  report,
  compare,
  bench,
  bisect,
  workloads,
  swarm,
  task,
  config,
  cache,
];
