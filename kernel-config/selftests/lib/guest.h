/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine says of itself: /proc, /sys, the log.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "ktap.h"

#define ZUF_DEBUG	"/sys/kernel/debug/zuf"

int write_text(const char *path, const char *text);
ssize_t read_text(const char *path, char *text, size_t size);

/* Lines of the kernel's log that contain the text. */
int log_lines(const char *text);

/* Sum over the CPUs of a line of /proc/interrupts, by its label: "TLB", "RES". */
uint64_t interrupts(const char *label);

/* Pages in windows and pinned: none once nothing runs. */
int nothing_held(void);

/* Tasks in uninterruptible sleep that stay there. */
int nobody_stuck(void);

/* kmemleak has nothing to say; a skip where the kernel has none. */
int nothing_leaked(void);

/* Calls to the server for a ZUFS_OP_*, each of its own. */
long long asked(int operation);

int cpu_online(int cpu, int online);

#endif
