/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small ZUFS server, in the same program as the test that uses it: against
 * the generated header alone, enough of a file system to test the kernel
 * with, and a liar on request.
 */
#ifndef SELFTESTS_SERVER_H
#define SELFTESTS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/types.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <linux/zufs_api.h>

#define SERVER_FSNAME		"ctestfs"	/* on pmem */
#define SERVER_MEMNAME		"ctestmem"	/* on memory */
#define SECOND_MEMNAME		"ctestmem2"	/* of the server on SECOND_ROOT */
#define SERVER_MAGIC		0x43544653
#define ZUF_ROOT		"/sys/fs/zuf"
#define SECOND_ROOT		"/mnt/zuf2"
/* What it may announce. */
#define ALL_FEATURES		(ZUFS_FEATURE_EXTENT_CACHE | \
				 ZUFS_FEATURE_RIDERS | ZUFS_FEATURE_ALLOC_AHEAD)
/* control.lie_operation of an umount, which is no operation of a ZT. */
#define UMOUNT			0xfffe

/* How the server breaks the rules, one at a time. See lies.c. */
enum lie {
	HONEST,
	HANG,			/* does not come back */
	HANG_AFTER,		/* the same, once it has done it */
	HANG_UNTIL_INTR,	/* before it hears of a signal: EINTR */
	BAD_ERROR_POSITIVE,	/* hdr.err above 0 */
	BAD_ERROR_INTERNAL,	/* an errno that is the kernel's own */
	BAD_ERROR_RETRY,	/* EZUFS_RETRY where no ioctl is repeated */
	BAD_OUT_LEN,		/* more output than there is room for */
	BAD_WINDOW_LEN,		/* more data than the window had */
	BAD_DPP_POOL,		/* inode in a pool that is not there */
	BAD_DPP_RANGE,		/* inode behind the end of T1 */
	BAD_DPP_STRADDLE,	/* inode across two blocks */
	BAD_INO,		/* inode without a number */
	BAD_MODE,		/* inode of no type */
	BAD_SIZE,		/* inode larger than files can be */
	BAD_NLINK,		/* inode with too many links */
	BAD_BLOCKS,		/* inode with more blocks than there can be */
	BAD_SYMLINK_EMPTY,	/* symlink without a target */
	BAD_SYMLINK_LONG,	/* symlink longer than a path can be */
	BAD_SYMLINK_DPP,	/* symlink whose target is behind the end of T1 */
	BAD_LAST_POS_BEFORE,	/* went backwards */
	BAD_LAST_POS_BEHIND,	/* did more than asked */
	BAD_BLOCK_RANGE,	/* block behind the end of T1 */
	BAD_BLOCK_POOL,		/* block of another pool */
	BAD_BLOCK_TYPE,		/* block of another tier */
	BAD_BLOCK_COUNT,	/* more blocks than asked for */
	BAD_BLOCK_NONE,		/* no block at all */
	BAD_BLOCK_HOLE,		/* a hole where one was to be filled */
	BAD_BLOCK_HOLE_LATER,	/* the same, behind some that were */
	READ_ONLY_BLOCKS,	/* may not be overwritten, no lie */
	BAD_RET_FLAGS,		/* ret_flags that do not exist */
	BAD_DIRENT_RECORD,	/* record longer than what is left */
	BAD_DIRENT_EMPTY,	/* name of no length */
	BAD_DIRENT_SLASH,	/* name with a slash */
	BAD_DIRENT_NUL,		/* name with a NUL */
	BAD_DIRENT_TYPE,	/* type that does not exist */
	BAD_DIRENT_INO,		/* inode number 0 */
	BAD_SEEK_BEFORE,	/* data before where it was looked for */
	BAD_SEEK_BEHIND,	/* data behind the end of the file */
	BAD_XATTR_SIZE,		/* value larger than asked for */
	BAD_XATTR_OUT,		/* says a size that it does not send */
	BAD_XATTR_LIST,		/* list whose last name does not end */
	BAD_EXTENT_COUNT,	/* more extents than asked for */
	BAD_EXTENT_RANGE,	/* extent outside of the range */
	BAD_EXTENT_EMPTY,	/* extent of no length */
	BAD_IOCTL_FLAGS,	/* uflags that do not exist */
	BAD_IOCTL_SIZE,		/* wants an argument larger than commands are */
	BAD_ROOT_DPP,		/* mount: root behind the end of T1 */
	BAD_ROOT_TYPE,		/* mount: root is no directory */
	BAD_BLOCK_BITS,		/* mount: blocks of another size */
	BAD_CAPS,		/* mount: fs_caps that do not exist */
};

/**
 * struct control - what test and server share
 * @lie: how the server answers
 * @lie_operation: to which operation only, 0 for all
 * @lies_told: answers that were made wrong
 * @ready: the server can mount
 * @threads: ZTs that wait for operations
 * @served: operations so far
 * @served_of: the same by ZUFS_OP_*
 * @hung: operations that the server sits on
 * @granted: GET_MULTY that succeeded
 * @rode_of: those that came behind another operation, by ZUFS_OP_*
 * @most_ahead: blocks that are given ahead at once, 0 for as many as wanted
 * @features: ZUFS_FEATURE_* to announce, set before the server starts
 * @knows_fsx: it keeps the attributes of FS_IOC_FSSETXATTR
 * @knows_clone: it has files share blocks
 * @knows_quota: it is asked for quotas, set before the mount
 * @quota_asked: the last ZUFS_OP_QUOTA
 * @quota_answer: to all of them, from id on
 * @quota_error: the same, 0 or -errno
 * @node_of_device: nodes of the devices of the last mount
 */
struct control {
	volatile int lie;
	volatile int lie_operation;
	volatile uint64_t lies_told;
	volatile int ready;
	volatile int threads;
	volatile uint64_t served;
	volatile uint64_t served_of[ZUFS_OP_QUOTA + 1];
	volatile int hung;
	volatile uint64_t granted;
	volatile uint64_t rode_of[ZUFS_OP_QUOTA + 1];
	volatile unsigned int most_ahead;
	volatile uint32_t features;
	volatile int knows_fsx;
	volatile int knows_clone;
	volatile int knows_quota;
	struct zufs_ioc_quota quota_asked;
	struct zufs_ioc_quota quota_answer;
	volatile int quota_error;
	volatile int node_of_device[MD_DEV_MAX];
};

/**
 * struct zt - a thread of the server, see threads.c
 * @cpu: that it is bound to
 * @channel: number
 * @fd: file of the channel
 * @window: where application pages are mapped
 * @buffer: command buffer
 */
struct zt {
	int cpu;
	int channel;
	int fd;
	char *window;
	char *buffer;
};

/**
 * struct hooks - what a test adds to the server
 * @before: an operation has come
 * @after: the answer is in place and may be changed; true to leave without
 *	giving it. Who takes the window away sets it to MAP_FAILED
 */
struct hooks {
	void (*before)(struct zt *zt, struct zufs_ioc_hdr *hdr);
	bool (*after)(struct zt *zt, struct zufs_ioc_hdr *hdr);
};

extern struct control *control;
extern struct hooks server_hooks;
extern const char *server_root;

int server_mkfs(const char *const *devices, int count);
int server_mkfs_spoilt(const char *const *devices, int count,
		       void (*spoil)(struct md_dev_table *mdt, int index));
int server_run(int channels);
int server_run_second(void);
int zuf_open(void);
int zt_open(struct zt *zt);

#endif
