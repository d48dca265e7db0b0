// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError } from '../errors.ts';
import { environmentLayer, fileLayer, flagLayer, type Layer, resolvePaths } from './layer.ts';
import { nearest } from './nearest.ts';
import { type LabConfig, labConfigSchema, labJsonSchema, type SettingSchema } from './schema.ts';

export interface ConfigSources {
  /** Directory with lab.yaml, which holds the defaults. */
  readonly packageRoot: string;
  /** `--config`; without it `lab.local.yaml` beside lab.yaml, where that exists. */
  readonly userFile?: string | undefined;
  /** Variables named `ZUFS_LAB_…` are settings. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `--set key=value`, in order. */
  readonly set: readonly string[];
}

/** The settings: lab.yaml, the user's file, the environment, flags; the later wins. Rejects with `ConfigError`. */
export async function loadConfig(sources: ConfigSources): Promise<LabConfig> {
  const schema = labJsonSchema();
  const layers: Layer[] = [await readLayer(join(sources.packageRoot, 'lab.yaml'), schema)];
  if (sources.userFile !== undefined) layers.push(await readLayer(resolve(sources.userFile), schema));
  else layers.push(...(await readOptionalLayer(join(sources.packageRoot, 'lab.local.yaml'), schema)));
  layers.push(environmentLayer(sources.environment, schema), flagLayer(sources.set, schema));
  return mergeLayers(layers, schema);
}

function mergeLayers(layers: readonly Layer[], schema: SettingSchema): LabConfig {
  const merged = layers.map((layer) => layer.values).reduce(merge, {});
  const result = labConfigSchema.safeParse(merged, { reportInput: true });
  if (result.success) return result.data;

  const [issue] = result.error.issues;
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') throw unknownKey([...path, issue.keys[0]], layers, schema);
  throw new ConfigError(
    `${place(path, layers)}: ${path.join('.')} is ${describe(issue.input)}; allowed is ${allowed(schema, path, issue.message)}.`,
    { cause: result.error },
  );
}

function unknownKey(path: readonly string[], layers: readonly Layer[], schema: SettingSchema): ConfigError {
  const siblings = Object.keys(schemaAt(schema, path.slice(0, -1))?.properties ?? {});
  const guess = nearest(path[path.length - 1], siblings);
  return new ConfigError(
    `${place(path, layers)}: ${path.join('.')} is no setting${guess === undefined ? '.' : `; did you mean ${guess}?`}`,
    { hint: guess === undefined ? `Allowed here: ${siblings.join(', ')}.` : undefined },
  );
}

/** Where the value at `path` was set last. */
function place(path: readonly string[], layers: readonly Layer[]): string {
  for (const layer of layers.toReversed()) {
    // A section that is missing as a whole is the fault of the layer that has its parent.
    const position = layer.locate(path);
    if (position !== undefined) return position;
  }
  return layers[0].locate([]) ?? 'lab.yaml';
}

export function schemaAt(schema: SettingSchema, path: readonly string[]): SettingSchema | undefined {
  return path.reduce<SettingSchema | undefined>(
    (at, key) => (at?.items !== undefined && /^\d+$/.test(key) ? at.items : at?.properties?.[key]),
    schema,
  );
}

function allowed(schema: SettingSchema, path: readonly string[], message: string): string {
  const at = schemaAt(schema, path);
  if (at?.enum !== undefined) return at.enum.map((value) => `\`${value}\``).join(', ');
  const what = {
    string: 'text',
    integer: 'a whole number',
    boolean: 'true or false',
    array: 'a list',
    object: `a section with ${Object.keys(at?.properties ?? {}).join(', ')}`,
  }[at?.type ?? 'string'];
  // zod says what it found once more, which the sentence has already, or the bound that was passed.
  const detail = /^Invalid string|^Invalid input/.test(message)
    ? ''
    : message.replace(/^(Too \w+): expected \w+ to be /, '');
  const meaning = at?.description === undefined ? '' : ` (${at.description})`;
  return `${what}${detail === '' ? '' : ` ${detail}`}${meaning}`;
}

function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  return typeof value === 'string' ? `the text "${value}"` : `the ${typeof value} ${String(value)}`;
}

type Values = Readonly<Record<string, unknown>>;

function isSection(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Sections merge, everything else is replaced. An empty section (`vm:` and nothing below) changes nothing. */
function merge(base: Values, over: Values): Values {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    if (isSection(below) && value === null) continue;
    result[key] = isSection(below) && isSection(value) ? merge(below, value) : value;
  }
  return result;
}

async function readLayer(file: string, schema: SettingSchema): Promise<Layer> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a directory' : String(code);
    throw new ConfigError(`${file} cannot be read: ${why}.`, { cause: error });
  }
  return resolvePaths(fileLayer(file, text), schema);
}

async function readOptionalLayer(file: string, schema: SettingSchema): Promise<Layer[]> {
  try {
    return [await readLayer(file, schema)];
  } catch (error) {
    const cause =
      error instanceof ConfigError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === 'ENOENT') return [];
    throw error;
  }
}
