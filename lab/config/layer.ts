// SPDX-License-Identifier: BSD-3-Clause

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { isCollection, isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { ConfigError } from '../errors.ts';
import { nearest } from './nearest.ts';
import { pathFormat, type SettingSchema, sourceFormat } from './schema.ts';

/** Settings from one place, some or all. */
export interface Layer {
  readonly values: Readonly<Record<string, unknown>>;
  /** Directory that relative paths start from. */
  readonly base: string;
  /** Where it sets the value at `path` (`file:line:column`, a variable, a flag); undefined when it does not. */
  locate(path: readonly string[]): string | undefined;
}

/** A YAML file. */
export function fileLayer(file: string, text: string): Layer {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error !== undefined) {
    // The library's message goes on with an excerpt of the file; its first line says it.
    const reason = error.message.split(/ at line |\n/)[0];
    throw new ConfigError(`${at(error.pos[0])}: ${reason}.`, { cause: error });
  }
  const contents: unknown = document.toJS() ?? {};
  if (typeof contents !== 'object' || Array.isArray(contents)) {
    throw new ConfigError(`${file}:1:1: the file must hold settings (key: value).`);
  }
  return {
    values: contents as Record<string, unknown>,
    base: dirname(file),
    locate: (path) => {
      if (path.length === 0) return `${file}:1:1`;
      const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
      const offset = offsetIn(parent as Node | null | undefined, path[path.length - 1]);
      return offset === undefined ? undefined : at(offset);
    },
  };
}

/** Offset of the key, or of the list entry, that holds `key` in `parent`. */
function offsetIn(parent: Node | null | undefined, key: string): number | undefined {
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
  }
  if (isCollection(parent)) return (parent.get(Number(key), true) as Node | undefined)?.range?.[0];
  return undefined;
}

/** Variables that begin so but are no settings: they steer the lab's own tests. */
const reservedPrefix = 'ZUFS_LAB_TEST_';
const prefix = 'ZUFS_LAB_';

/** `ZUFS_LAB_VM_PMEM_SIZE=2G` is `vm.pmemSize: 2G`. */
export function environmentLayer(
  environment: Readonly<Record<string, string | undefined>>,
  schema: SettingSchema,
): Layer {
  const byVariable = new Map(settingPaths(schema).map((path) => [variableName(path), path]));
  const found: Assignment[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(prefix) || variable.startsWith(reservedPrefix) || text === undefined) continue;
    const path = byVariable.get(variable);
    if (path === undefined) {
      const guess = nearest(variable, [...byVariable.keys()]);
      throw new ConfigError(
        `The environment variable ${variable} is no setting${guess === undefined ? '.' : `; did you mean ${guess}?`}`,
      );
    }
    found.push({ path, text, place: `environment variable ${variable}` });
  }
  return resolvePaths(assignmentLayer(found, schema), schema);
}

/** `--set vm.memory=6G`. */
export function flagLayer(flags: readonly string[], schema: SettingSchema): Layer {
  const known = settingPaths(schema).map((path) => path.join('.'));
  const found = flags.map((flag): Assignment => {
    const equals = flag.indexOf('=');
    const key = flag.slice(0, equals);
    if (!known.includes(key)) {
      const guess = nearest(key, known);
      throw new ConfigError(
        `--set ${flag}: ${key} is no setting${guess === undefined ? '.' : `; did you mean ${guess}?`}`,
      );
    }
    return { path: key.split('.'), text: flag.slice(equals + 1), place: `--set ${flag}` };
  });
  return resolvePaths(assignmentLayer(found, schema), schema);
}

interface Assignment {
  readonly path: readonly string[];
  readonly text: string;
  readonly place: string;
}

function assignmentLayer(assignments: readonly Assignment[], schema: SettingSchema): Layer {
  const values: Record<string, unknown> = {};
  for (const { path, text } of assignments) {
    const setting = path.reduce<SettingSchema | undefined>((at, key) => at?.properties?.[key], schema);
    let section = values;
    for (const key of path.slice(0, -1)) {
      section[key] ??= {};
      section = section[key] as Record<string, unknown>;
    }
    section[path[path.length - 1]] = typedValue(text, setting);
  }
  return {
    values,
    base: process.cwd(),
    locate: (path) =>
      assignments.findLast((one) => one.path.every((key, index) => key === path[index]))?.place,
  };
}

/** Text of a flag or variable as the type that the setting has; what does not fit is left as text for the schema to refuse. */
function typedValue(text: string, setting: SettingSchema | undefined): unknown {
  if (setting?.type === 'integer') return /^-?\d+$/.test(text) ? Number(text) : text;
  if (setting?.type === 'boolean') return { true: true, false: false }[text] ?? text;
  if (setting?.type === 'array') return text === '' ? [] : text.split(',').map((part) => part.trim());
  return text;
}

/** Every setting that has a value of its own. */
export function settingPaths(schema: SettingSchema, path: readonly string[] = []): string[][] {
  if (schema.properties === undefined) return [[...path]];
  return Object.entries(schema.properties).flatMap(([key, value]) => settingPaths(value, [...path, key]));
}

/** `vm.pmemSize` → `ZUFS_LAB_VM_PMEM_SIZE`. */
export function variableName(path: readonly string[]): string {
  return prefix + path.map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('_');
}

/** The same layer with its relative paths made absolute. */
export function resolvePaths(layer: Layer, schema: SettingSchema): Layer {
  const visit = (value: unknown, at: SettingSchema | undefined): unknown => {
    if (typeof value === 'string') return absolute(value, at?.format, layer.base);
    if (Array.isArray(value)) return value.map((entry) => visit(entry, at?.items));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => [key, visit(entry, at?.properties?.[key])]),
    );
  };
  return { ...layer, values: visit(layer.values, schema) as Layer['values'] };
}

/** `kernel.source` as a command line that runs in `base` has it, as the settings keep it. */
export function absoluteSource(text: string, base: string): string {
  return absolute(text, sourceFormat, base);
}

function absolute(text: string, format: string | undefined, base: string): string {
  if (text === '' || (format !== pathFormat && format !== sourceFormat)) return text;
  if (text === '~' || text.startsWith('~/')) return join(homedir(), text.slice(1));
  if (format === pathFormat || /^\.{0,2}\//.test(text)) return resolve(base, text);
  // A bare word may be a directory beside the file (`linux`), as well as a word or URL of its own.
  return text !== 'debian' && existsSync(resolve(base, text)) ? resolve(base, text) : text;
}
