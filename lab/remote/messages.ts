// SPDX-License-Identifier: BSD-3-Clause

import { z } from 'zod';

/** Path in the guest of a file that goes there or comes from there, as `encodeURIComponent` writes it. */
export const pathHeader = 'zufs-path';
/** Its permissions, in octal. */
export const modeHeader = 'zufs-mode';

/** A program to run in the guest. */
export const execRequestSchema = z.object({
  command: z.array(z.string()),
  cwd: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
  input: z.string().optional(),
});

/** What comes back while it runs, one JSON line each; the last is the exit code or why there is none. */
export const execFrameSchema = z.union([
  z.object({ stdout: z.string() }),
  z.object({ stderr: z.string() }),
  z.object({ exitCode: z.number() }),
  z.object({ failed: z.string() }),
]);

export type ExecFrame = z.infer<typeof execFrameSchema>;

/** `VmHealth` as it comes from the task. */
export const healthSchema = z.discriminatedUnion('state', [
  z.object({ state: z.literal('running') }),
  z.object({ state: z.literal('panicked'), consoleTail: z.string() }),
  z.object({ state: z.literal('qemu-ended'), code: z.number().nullable(), consoleTail: z.string() }),
  z.object({ state: z.literal('unreachable'), consoleTail: z.string() }),
]);
