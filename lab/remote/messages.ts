// SPDX-License-Identifier: BSD-3-Clause

import { z } from 'zod';

/** Path in the guest of a file that goes there or comes from there, as `encodeURIComponent` writes it. */
export const pathHeader = 'zufs-path';
/** Its permissions, in octal. */
export const modeHeader = 'zufs-mode';

/** Whether what is uploaded is the content of a directory, packed. */
export const treeHeader = 'zufs-tree';

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

/** A VM in place of the one that is there. */
export const reviveRequestSchema = z.object({
  /** Over the memory that the last one left, as after a loss of power: nothing is mounted. Else everything is new. */
  keepPmem: z.boolean(),
  /** Of these settings (`vm` of the lab's); left out: of those that the task was started with, or with `keepPmem` those of the last. */
  machine: z.object({ cpus: z.int(), nodes: z.int(), memory: z.string(), pmemSize: z.string() }).optional(),
});

export type ReviveRequest = Readonly<z.infer<typeof reviveRequestSchema>>;

/** What a VM was made of, as in a lab's state, and what its guest has. */
export const bootedSchema = z.object({
  machine: z.object({
    kernel: z.string(),
    flavour: z.enum(['release', 'debug']),
    image: z.string(),
    accelerator: z.enum(['kvm', 'tcg']),
    cpus: z.int(),
  }),
  devices: z.object({ test: z.array(z.string()), scratch: z.array(z.string()) }),
  /** What it runs on: model and number of the machine's CPUs, and the version of QEMU. */
  host: z.object({ cpu: z.string(), cpus: z.int(), qemu: z.string() }),
});

export type Booted = Readonly<z.infer<typeof bootedSchema>>;

/** `VmHealth` as it comes from the task. */
const healthSchema = z.discriminatedUnion('state', [
  z.object({ state: z.literal('running') }),
  z.object({ state: z.literal('panicked'), consoleTail: z.string() }),
  z.object({ state: z.literal('qemu-ended'), code: z.number().nullable(), consoleTail: z.string() }),
  z.object({ state: z.literal('unreachable'), consoleTail: z.string() }),
]);

/** Whether each vCPU has a CPU of the machine to itself, in words. */
export const vcpusAnswerSchema = z.object({ vcpus: z.string() });

/** With the bytes of the console there were by then. */
export const healthAnswerSchema = z.object({ health: healthSchema, consoleBytes: z.int() });
