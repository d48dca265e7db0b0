/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file that is appended to, where blocks may lie ahead of its end.
 */
#ifndef SELFTESTS_GROWN_H
#define SELFTESTS_GROWN_H

#include <stdint.h>
#include <sys/types.h>
#include "ktap.h"
#include "server.h"

/* What the kernel needs to get blocks ahead; and files from which size on. */
#define AHEAD		(ZUFS_FEATURE_EXTENT_CACHE | ZUFS_FEATURE_ALLOC_AHEAD)
#define AHEAD_FROM	(64 * 1024)
#define GROWN_MAX	(4 << 20)

/**
 * struct grown - the file
 * @path: of it
 * @fd: open for appending
 * @size: that it should have
 */
struct grown {
	const char *path;
	int fd;
	off_t size;
};

/* What each byte of such a file is, by its position. */
extern char grown_data[GROWN_MAX];

/* All of these: PASS or FAIL. */
int grown_start(struct grown *g, const char *path, off_t size);
int grown_append(struct grown *g, size_t piece, int pieces);
int grown_until_ahead(struct grown *g);
int grown_is_right(struct grown *g);
int grown_reopen(struct grown *g);	/* close, forget, open again */

/* Closed, it has what it needs and nothing more, and all of it is right. */
int grown_right_once_closed(struct grown *g);
int grown_zero(const struct grown *g, off_t from, off_t to);

/* A suite whose tests begin with AHEAD_FROM bytes, and AHEAD in force. */
int grown_main(int argc, char **argv, struct grown *g,
	       const struct test *tests);
/* The same file again, of a server that announces something else. */
int grown_start_again(struct grown *g, unsigned int features);

/* Blocks beyond those that its size needs. */
long grown_spare(const struct grown *g);
int path_spare(const char *path, long *spare);

/* Operations that the server has done. */
uint64_t calls(int operation);

#endif
