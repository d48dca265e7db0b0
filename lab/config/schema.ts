// SPDX-License-Identifier: BSD-3-Clause

import { z } from 'zod';

/** A size as text, `64M`, `4G` or plain bytes; parsed to bytes. */
const size = z
  .string()
  .regex(/^[1-9][0-9]*[KMGT]?$/, 'a size such as 512M or 4G')
  .meta({ description: 'A size: digits with an optional K, M, G or T (powers of 1024)' });

const list = (description: string) => z.array(z.string().min(1)).meta({ description });

/**
 * JSON Schema's `format` of settings that name files: a relative one is taken from the directory of the file that sets it,
 * or from the working directory when a flag or the environment does.
 */
export const pathFormat = 'path';
/** A path, or a word or URL that stands for itself. */
export const sourceFormat = 'path-or-url';

const pathList = (description: string) =>
  z.array(z.string().min(1).meta({ format: pathFormat })).meta({ description });

/** Every setting: the one source for types, checks, documentation and the JSON Schema for editors. */
export const labConfigSchema = z.strictObject({
  runtime: z.enum(['auto', 'docker', 'host']).meta({ description: 'Where tools run' }),
  kernel: z.strictObject({
    source: z.string().min(1).meta({
      description: '`debian`, a directory, a tarball, or a git URL with #ref',
      format: sourceFormat,
    }),
    version: z
      .string()
      .regex(/^\d+\.\d+$/, 'a version such as 6.12')
      .meta({ description: "Version of Debian's linux-source package" }),
    flavour: z
      .enum(['release', 'debug'])
      .meta({ description: 'release, or debug with KASAN, lockdep, kmemleak, DEBUG_VM' }),
    patches: pathList('Patches applied after ours: mbox files or directories'),
    fragments: pathList('Kconfig fragments merged after ours'),
  }),
  image: z.strictObject({
    size: size,
    packages: list("Debian packages besides the image's own"),
  }),
  vm: z.strictObject({
    accelerator: z.enum(['auto', 'kvm', 'tcg']).meta({ description: 'auto tries KVM by booting' }),
    cpus: z.int().min(1).max(64).meta({ description: 'vCPUs, spread over the nodes' }),
    nodes: z.int().min(1).max(8).meta({ description: 'NUMA nodes' }),
    memory: size,
    pmemPerNode: z.int().min(1).max(8).meta({ description: 'NVDIMMs a node' }),
    pmemSize: size,
    sshPort: z.int().min(0).max(65535).meta({ description: 'SSH port on 127.0.0.1; 0 takes a free one' }),
    kernelArguments: list("Kernel command line arguments besides the lab's own"),
    bootTimeout: z.int().min(5).max(3600).meta({ description: 'Seconds until the guest must be ready' }),
  }),
  server: z.strictObject({
    filesystems: list('Types that zus registers'),
    channels: z.int().min(1).max(4).meta({ description: 'Channels a CPU' }),
    extentCache: z.boolean().meta({ description: 'Whether the kernel may keep extents and copy by itself' }),
    logLevel: z.enum(['error', 'warn', 'info', 'debug']),
  }),
  mount: z.strictObject({
    filesystem: z.string().min(1).meta({ description: 'Type that `up` mounts' }),
    test: z.string().startsWith('/').meta({ description: 'Mount point of the test file system' }),
    scratch: z.string().startsWith('/').meta({ description: 'Mount point of the scratch file system' }),
  }),
  xfstests: z.strictObject({
    dir: z.string().meta({ description: 'An xfstests tree, built or not', format: pathFormat }),
    ref: z.string().min(1).meta({ description: 'Upstream tag used when there is no tree' }),
    tests: list('Tests to run'),
    group: z.string().meta({ description: 'Group to run, e.g. quick' }),
    filesystems: pathList('YAML files of further file systems for --fs'),
    expunges: pathList('YAML files of tests that are not run, each with its reason'),
    testTimeout: z.int().min(1).meta({ description: 'Seconds one test may take' }),
  }),
  swarm: z.strictObject({
    cpus: z.int().min(1).max(64).meta({ description: 'CPUs that a task needs of its node' }),
    memory: size,
    labels: z
      .array(z.string().regex(/^[\w.-]+=[\w.-]+$/, 'a label such as disk=nvme'))
      .meta({ description: 'Labels that a node has to have for a task to be placed there' }),
    concurrency: z.int().min(0).max(1000).meta({ description: 'Tasks at a time; 0 for all of them' }),
    engines: list('Engines of the other nodes, which get the image: unix://… or ssh://user@host'),
    joinTimeout: z
      .int()
      .min(10)
      .max(7200)
      .meta({ description: 'Seconds for which a run without a task waits for one' }),
  }),
  cacheDir: z
    .string()
    .meta({ description: 'Where built artefacts lie; empty: the user cache directory', format: pathFormat }),
});

export type LabConfig = z.infer<typeof labConfigSchema>;

/** The part of a JSON Schema that describes one setting, or a section of them. */
export interface SettingSchema {
  readonly type?: 'string' | 'integer' | 'boolean' | 'array' | 'object';
  readonly description?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, SettingSchema>>;
  readonly items?: SettingSchema;
}

/** The schema as JSON Schema (draft 2020-12), for editors and for finding a setting by its path. */
export function labJsonSchema(): SettingSchema {
  return z.toJSONSchema(labConfigSchema) as SettingSchema;
}

/** The same, for a user's file: every setting may be left out. */
export function userFileJsonSchema(): SettingSchema {
  return withoutRequired(labJsonSchema());
}

function withoutRequired(schema: SettingSchema): SettingSchema {
  const { required: _, ...rest } = schema as SettingSchema & { required?: unknown };
  if (rest.properties === undefined) return rest;
  const properties = Object.entries(rest.properties).map(([key, value]) => [key, withoutRequired(value)]);
  return { ...rest, properties: Object.fromEntries(properties) };
}
