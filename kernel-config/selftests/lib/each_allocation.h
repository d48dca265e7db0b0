/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failing allocations, one after the other.
 */
#ifndef SELFTESTS_EACH_ALLOCATION_H
#define SELFTESTS_EACH_ALLOCATION_H

#include "ktap.h"

/**
 * struct site - an operation that allocates
 * @what: its name
 * @prepare: before each try, without failures; or NULL
 * @run: 0, or -1 with errno set
 * @undo: after a try that succeeded, without failures; or NULL
 */
struct site {
	const char *what;
	int (*prepare)(void);
	int (*run)(void);
	int (*undo)(void);
};

int failures_possible(void);
int fail_each_allocation(const struct site *site);

#endif
