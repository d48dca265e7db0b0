/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A load of random file operations, in the manner of fsstress: several tasks
 * in one directory, which they share.
 */
#ifndef SELFTESTS_LOAD_H
#define SELFTESTS_LOAD_H

#include <stdint.h>
#include <sys/types.h>
#include "ktap.h"

#define LOAD_TASKS_MAX	16
/*
 * Seconds that killed tasks may take. A server that does not answer costs each
 * of them a few for an operation, and more for what it has open.
 */
#define LOAD_STOP_LIMIT	60

/**
 * struct load - tasks under way
 * @dir: where; below the mount
 * @tasks: how many
 * @operations: that each does before it ends by itself, 0: without end
 * @errors_end: an EIO ends the task
 * @strict: whatever can not happen with an honest server is an error
 * @pids: of the tasks
 * @cuts: what they tell each other of files they cut
 */
struct load {
	const char *dir;
	int tasks;
	uint64_t operations;
	bool errors_end;
	bool strict;
	pid_t pids[LOAD_TASKS_MAX];
	struct cuts *cuts;
};

/* Exit codes of the tasks. */
#define LOAD_DONE	0
#define LOAD_WRONG	1	/* an error or data that can not be */
#define LOAD_SERVER_GONE 2	/* EIO, and that was to be the end */

int load_start(struct load *load);
int load_wait(struct load *load, double limit, int codes[LOAD_TASKS_MAX]);
int load_stop(struct load *load);
int load_run(struct load *load, double limit);

#endif
