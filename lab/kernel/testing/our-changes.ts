// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A package root whose kernel-config suits the toy kernel: new files, a mail, a plain diff, a hook to the build. */
export async function makeToyChanges(packageRoot: string): Promise<void> {
  const files: Record<string, string> = {
    'fragments/base.config': 'CONFIG_TOY=y\n',
    'tree/fs/zuf/Makefile': 'obj-y += main.o\n',
    'tree/fs/zuf/main.c': 'int zuf;\n',
    'tree/include/uapi/linux/zufs_api.h': '#define ZUFS 1\n',
    'patches/6.12/0001-mm-toy.patch': mail,
    'patches/6.12/0002-toy-returns-three.patch': plain,
    'patches/6.12/0003-hook.patch': hook,
  };
  for (const [name, text] of Object.entries(files)) {
    const file = join(packageRoot, 'kernel-config', name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}

const mail = `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: A Developer <a@example.org>
Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: [PATCH] mm: toy: return two

Why it is done.

Signed-off-by: A Developer <a@example.org>
---
 other.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/other.c b/other.c
--- a/other.c
+++ b/other.c
@@ -1,4 +1,4 @@
 int other(void)
 {
-\treturn 2;
+\treturn 22;
 }
-- 
2.39.5

`;

const plain = `--- a/toy.c
+++ b/toy.c
@@ -1,4 +1,4 @@
 int toy(void)
 {
-\treturn 1;
+\treturn 3;
 }
`;

const hook = `--- /dev/null
+++ b/fs/Kconfig
@@ -0,0 +1 @@
+source "fs/zuf/Kconfig"
`;
