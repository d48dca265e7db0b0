/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking at the window of a thread from inside of the server: a probe runs
 * there each time that a read comes, whose pages are in the window then.
 */
#ifndef SELFTESTS_PROBE_H
#define SELFTESTS_PROBE_H

#include <stddef.h>
#include "server.h"

#define PAGE		4096UL
#define WINDOW_PAGES	ZUS_API_MAP_MAX_PAGES

/**
 * struct findings - what probes find out, shared between server and test
 * @value: as the probe means it
 * @done: probes that have run
 */
struct findings {
	volatile int value[8];
	volatile int done;
};

extern struct findings *found;

int probe_set_up(void);		/* set-up of a suite */

/* Mount with a server that runs this probe, and make a file of 64 pages. */
int serve_with(void (*probe)(struct zt *zt, struct zufs_ioc_hdr *hdr));
/* Read so many pages of it. */
int read_pages(unsigned int pages);

/* Number of the signal that a load or a store there brings, 0 for none. */
int look(volatile char *at);
int store(volatile char *at, char value);

int bind_self(int cpu);

/* Flags of the VM_LOCAL_CPU mapping of the server, -1 when it has none. */
int vm_flags(char *flags, size_t size);

#endif
