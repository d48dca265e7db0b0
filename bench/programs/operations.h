/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_OPERATIONS_H
#define BENCH_OPERATIONS_H

#include <limits.h>

/* What one thread works with. */
struct work {
	/* Where its files are: a directory of its own, or one that it shares with the others. */
	char directory[PATH_MAX];
	/* Goes into the names of its files. */
	unsigned int thread;
	/* Operations of a batch. */
	unsigned int batch;
	/* Turned over with each batch: what is renamed goes there and back. */
	int turn;
	/* Of an operation that works on one file. */
	int fd;
};

/*
 * A batch: `before` and `after` are not timed, `one` is called `batch` times and timed each time. Each returns 0, or -1
 * with errno. `begin` and `end` come once, `begin` before the first batch.
 */
struct operation {
	const char *name;
	/* How often the operation was done when `one` was called once. */
	unsigned int times;
	int (*begin)(struct work *work);
	int (*before)(struct work *work);
	int (*one)(struct work *work, unsigned int number);
	int (*after)(struct work *work);
	int (*end)(struct work *work);
};

/* Null when there is none of that name. */
const struct operation *operation_find(const char *name);
void operation_names(void (*each)(const char *name));

#endif
