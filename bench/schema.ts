// SPDX-License-Identifier: BSD-3-Clause

/** What file systems, workloads and matrices are described by: types, checks, and where the descriptions lie. */

import { z } from 'zod';

const name = z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and dashes');
const size = z.string().regex(/^[1-9][0-9]*[kKMG]?$/, 'a size such as 4k or 64M');
const word = z.string().regex(/^\S+$/, 'one word');

export const serverSettingsSchema = z.strictObject({
  extentCache: z.boolean().default(true),
  channels: z.int().min(1).max(4).default(1),
  localCpu: z.boolean().default(true),
});

export type ServerSettings = z.infer<typeof serverSettingsSchema>;

export const fileSystemSchema = z.strictObject({
  name,
  about: z.string().min(1),
  kind: z.enum(['kernel', 'served', 'fuse']),
  type: word,
  devices: z.enum(['near', 'far', 'all', 'none']),
  options: word.optional(),
  settings: serverSettingsSchema.prefault({}),
  program: z.array(word).min(1).optional(),
  pinned: z.boolean().default(false),
  direct: z.boolean().default(false),
  buffered: z.boolean().default(false),
  threads: z.int().min(1).optional(),
  without: z.array(name).default([]),
});

export type BenchFileSystem = z.infer<typeof fileSystemSchema>;

export const fioSchema = z.strictObject({
  pattern: z.enum(['randread', 'randwrite', 'read', 'write']),
  block: size,
  size,
  io: z.enum(['psync', 'mmap']),
});

export const namesSchema = z.strictObject({
  operation: z.enum([
    'create',
    'unlink',
    'rename',
    'stat',
    'open',
    'readdir',
    'append',
    'append-fsync',
    'noop',
  ]),
  batch: z.int().min(1),
  shared: z.boolean().default(false),
});

const common = {
  name,
  about: z.string().min(1),
  /** Name of the server's operation, without ZUFS_OP_. */
  served: z
    .string()
    .regex(/^[A-Z_]+$/)
    .optional(),
  needs: z.literal('zus').optional(),
  threads: z.int().min(1).optional(),
};

export const workloadSchema = z.discriminatedUnion('engine', [
  z.strictObject({ ...common, engine: z.literal('fio'), fio: fioSchema }),
  z.strictObject({ ...common, engine: z.literal('names'), names: namesSchema }),
]);

export type Workload = z.infer<typeof workloadSchema>;

/** What a ratio is made of: the median of `of` over the best median of `over`. */
export const ratioSchema = z.strictObject({
  about: z.string().min(1),
  workload: name,
  of: name,
  over: z.array(name).min(1),
  /** Another workload to take the divisor from. */
  overWorkload: name.optional(),
  /** The divisor is always that of so many threads, and only more of them are looked at. */
  overThreads: z.int().min(1).optional(),
  /** Of threads alone, and of more than one; what is left out is shown without a judgement. */
  atLeast: z.strictObject({ one: z.number().optional(), more: z.number().optional() }).default({}),
});

export type Ratio = z.infer<typeof ratioSchema>;

export const machineSchema = z.strictObject({
  cpus: z.int().min(1).max(64).optional(),
  nodes: z.int().min(1).max(8).optional(),
  memory: z.string().optional(),
  pmemSize: z.string().optional(),
});

export const partSchema = z.strictObject({
  /** Sets its results apart from those of another part with the same names; goes before the name of the file system. */
  label: name.optional(),
  machine: machineSchema.default({}),
  filesystems: z.array(name).min(1),
  workloads: z.array(name).min(1),
  threads: z.array(z.int().min(1).max(256)).min(1),
});

export const matrixSchema = z.strictObject({
  about: z.string().min(1),
  /** How often each point is measured: once a round. */
  rounds: z.int().min(1).max(100),
  /** Seconds before and during a measurement. */
  warmUp: z.number().min(0),
  seconds: z.number().positive(),
  parts: z.array(partSchema).min(1),
  ratios: z.array(ratioSchema).default([]),
  /** Of the user's own, beside those of the lab; one of the same name replaces it. */
  filesystems: z.array(fileSystemSchema).default([]),
  workloads: z.array(workloadSchema).default([]),
});

export type Matrix = z.infer<typeof matrixSchema>;
export type MatrixPart = z.infer<typeof partSchema>;
