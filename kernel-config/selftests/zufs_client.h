/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small ZUFS server, in the same program as the test that uses it.
 */
#ifndef ZUFS_CLIENT_H
#define ZUFS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/types.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <linux/zufs_api.h>

#define CLIENT_FSNAME		"ctestfs"
#define CLIENT_MEMNAME		"ctestmem"
#define CLIENT_MAGIC		0x43544653

/* How the server breaks the rules, one at a time. */
enum misbehaviour {
	BEHAVE,
	BAD_ERROR_POSITIVE,	/* hdr.err above 0 */
	BAD_ERROR_INTERNAL,	/* an errno that is the kernel's own */
	BAD_OUT_LEN,		/* more output than there is room for */
	BAD_WINDOW_LEN,		/* more data than the window had */
	BAD_LAST_POS_BEFORE,	/* went backwards */
	BAD_LAST_POS_BEHIND,	/* did more than asked */
	BAD_DPP_POOL,		/* inode in a pool that is not there */
	BAD_DPP_RANGE,		/* inode behind the end of T1 */
	BAD_DPP_STRADDLE,	/* inode across two blocks */
	BAD_MODE,		/* inode of no type */
	BAD_SIZE,		/* inode larger than files can be */
	BAD_NLINK,		/* inode with too many links */
	BAD_BLOCK_RANGE,	/* block behind the end of T1 */
	BAD_BLOCK_TYPE,		/* block of another tier */
	BAD_BLOCK_COUNT,	/* more blocks than asked for */
	BAD_BLOCK_NONE,		/* no block at all */
	BAD_BLOCK_HOLE,		/* a hole where one was to be filled */
	BAD_DIRENT_LEN,		/* name longer than the record */
	BAD_DIRENT_SLASH,	/* name with a slash */
	BAD_DIRENT_TYPE,	/* type that does not exist */
	NR_MISBEHAVIOUR,
	HANG,			/* does not come back */
};

/**
 * struct control - what test and server share
 * @misbehave: how the server answers
 * @misbehave_operation: to which operation only, 0 for all
 * @ready: the server can mount
 * @served: operations so far
 * @hung: operations that the server sits on
 */
struct control {
	volatile int misbehave;
	volatile int misbehave_operation;
	volatile int ready;
	volatile uint64_t served;
	volatile int hung;
};

extern struct control *control;

int client_mkfs(const char *const *devices, int count);
int client_serve(int channels);

#endif
