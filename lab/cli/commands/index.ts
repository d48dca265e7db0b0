// SPDX-License-Identifier: BSD-3-Clause

import type { Command } from 'commander';
import * as config from './config.ts';
import * as doctor from './doctor.ts';
import * as image from './image.ts';
import * as kernel from './kernel.ts';

/** Every command: a file beside this one, and a line here. Order is that of `--help`. */
export const commands: readonly { register(program: Command): void }[] = [doctor, kernel, image, config];
