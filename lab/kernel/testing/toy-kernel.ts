// SPDX-License-Identifier: BSD-3-Clause

import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * A tree that has of a kernel all that the lab relies on and is built by the real make and compiler, in a second: version,
 * Kconfig, merge_config.sh, configuration and bzImage targets with objects elsewhere. It says that it carries zuf already,
 * so that our series, made for a real kernel, is left out; `carriesZuf: false` takes that back.
 */
export async function makeToyKernel(
  directory: string,
  options: { readonly carriesZuf?: boolean; readonly sleepSeconds?: number } = {},
): Promise<void> {
  const files: Record<string, string> = {
    Makefile: makefile,
    Kconfig: 'mainmenu "toy"\n',
    'scripts/kconfig/merge_config.sh': mergeScript,
    'toy.c': 'int toy(void)\n{\n\treturn 1;\n}\n',
    'other.c': 'int other(void)\n{\n\treturn 2;\n}\n',
    'sleep.txt': `${options.sleepSeconds ?? 0}\n`,
    ...(options.carriesZuf === false ? {} : { 'fs/zuf/Makefile': 'obj-y += zuf.o\n' }),
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
  await chmod(join(directory, 'scripts/kconfig/merge_config.sh'), 0o755);
}

/** Like the real one, olddefconfig drops what it does not know, without a word: here CONFIG_TOY_DROPPED. */
const makefile = `VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 7
O ?= .
tinyconfig:
\t@mkdir -p $(O) && : > $(O)/.config
olddefconfig:
\t@grep -v -e CONFIG_TOY_DROPPED $(O)/.config > $(O)/.config.new && mv $(O)/.config.new $(O)/.config
$(O)/%.o: %.c
\t@echo "  CC      $*.o"
\t@sleep $$(cat sleep.txt)
\t@$(CC) -c -o $@ $<
$(O)/vmlinux: $(O)/toy.o $(O)/other.o
\t@echo "  LD      vmlinux"
\t@ld -r -o $@ $^
bzImage: $(O)/vmlinux
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config
\t@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
\t@nm $(O)/vmlinux > $(O)/System.map
\t@echo 6.12.7-toy > $(O)/include/config/kernel.release
.PHONY: tinyconfig olddefconfig bzImage
`;

/** merge_config.sh -m -O DIRECTORY CONFIG FRAGMENT */
const mergeScript = `#!/bin/sh
set -e
cat "$5" >> "$4"
`;
