// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDefinition, type Struct, statfs64Struct } from './definition.ts';
import { generatedFiles, headerPath } from './generate.ts';

const definition = readDefinition();
const structs: readonly Struct[] = [...definition.structs, statfs64Struct];

describe('generated files', () => {
  for (const { path, text } of generatedFiles()) {
    it(`${path.split('/').at(-1)} is what npm run generate writes`, () => {
      expect(readFileSync(path, 'utf8')).toBe(text);
    });
  }
});

describe('the definition', () => {
  it('refuses a member whose size is not that of its type', () => {
    const text = readFileSync(new URL('zufs-abi.yaml', import.meta.url), 'utf8');
    const broken = text.replace(/(__u16 in_len", offset: 4, size:) 2/, '$1 4');
    expect(broken).not.toBe(text);
    expect(() => readDefinition(broken)).toThrow('zufs_ioc_hdr.in_len');
  });
});

describe('the C header', () => {
  const directory = mkdtempSync(join(tmpdir(), 'zufs-abi-'));
  const answers = new Map<string, number>();

  // One program prints, for every name of the definition, what the compiler made of the header.
  beforeAll(() => {
    const expressions = [
      ...definition.ioctls.map(({ name }) => name),
      ...Object.keys(definition.constants),
      ...Object.keys(definition.operations),
      ...Object.keys(definition.mountOperations),
      ...Object.keys(definition.iomTypes),
      ...Object.values(definition.flags).flatMap((flags) => Object.keys(flags)),
    ].map((name) => `\tprintf("${name} %llu\\n", (unsigned long long)${name});`);
    const members = structs.flatMap((struct) => [
      `\tprintf("${struct.name} %zu\\n", sizeof(struct ${struct.name}));`,
      ...struct.fields.flatMap((field) => {
        const key = `${struct.name}.${field.name}`;
        const path = field.group === null ? field.name : `${field.group}.${field.name}`;
        // A bit field has no offset and a flexible array no size: those are looked at through their bits, and skipped.
        if (field.bits !== null) {
          return [
            `\t{ union { struct ${struct.name} s; unsigned char b[sizeof(struct ${struct.name})]; } u = { 0 };`,
            `\t  u.s.${field.name} = ~0; int first = -1, count = 0;`,
            '\t  for (int i = 0; i < (int)sizeof(u.b); i++) if (u.b[i] == 0xff) { if (first < 0) first = i; count++; }',
            `\t  printf("${key} %d\\n${key}# %d\\n", first, count); }`,
          ];
        }
        const offset = `\tprintf("${key} %zu\\n", offsetof(struct ${struct.name}, ${path}));`;
        if (field.size === 0) return [offset];
        return [offset, `\tprintf("${key}# %zu\\n", sizeof(((struct ${struct.name} *)0)->${path}));`];
      }),
    ]);
    const source = [
      '#include <stdio.h>',
      '#include <stddef.h>',
      `#include "${headerPath}"`,
      'int main(void) {',
      ...expressions,
      ...members,
      '\treturn 0;',
      '}',
      '',
    ].join('\n');
    const file = join(directory, 'layout.c');
    writeFileSync(file, source);
    execFileSync('cc', ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-o', join(directory, 'layout'), file], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const output = execFileSync(join(directory, 'layout'), { encoding: 'utf8' });
    for (const line of output.trim().split('\n')) {
      const [name, value] = line.split(' ');
      answers.set(name, Number(value));
    }
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  it('has every ioctl number, constant and flag', () => {
    for (const { name, value } of definition.ioctls) expect(answers.get(name), name).toBe(value);
    const values = Object.entries({
      ...definition.constants,
      ...definition.operations,
      ...definition.mountOperations,
      ...definition.iomTypes,
      ...Object.assign({}, ...Object.values(definition.flags)),
    });
    expect(values.length).toBeGreaterThan(90);
    for (const [name, value] of values) expect(answers.get(name), name).toBe(value);
  });

  for (const struct of structs) {
    it(`lays out struct ${struct.name} as the definition says`, () => {
      expect(answers.get(struct.name), 'size').toBe(struct.size);
      for (const field of struct.fields) {
        const key = `${struct.name}.${field.name}`;
        expect(answers.get(key), `offset of ${key}`).toBe(field.offset);
        if (field.size !== 0) expect(answers.get(`${key}#`), `size of ${key}`).toBe(field.size);
      }
    });
  }

  it('compiles beside <sys/vfs.h>, which has a struct statfs64 of its own', () => {
    const file = join(directory, 'beside.c');
    writeFileSync(file, `#define _GNU_SOURCE\n#include <sys/vfs.h>\n#include "${headerPath}"\nint x;\n`);
    const compile = () => execFileSync('cc', ['-fsyntax-only', '-Wall', '-Wextra', '-Werror', file]);
    expect(compile).not.toThrow();
  });
});
