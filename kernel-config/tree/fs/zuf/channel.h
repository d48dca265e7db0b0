/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the application's side of dispatch (dispatch.c) and the server's
 * (channel.c) have in common.
 *
 * Each CPU has a queue of operations and up to ZUFS_MAX_ZT_CHANNELS channels.
 * An application's task puts its operation at the end of the queue of its own
 * CPU and sleeps there. The server's thread (ZT) takes the first one as it
 * comes back with the reply of the last, all in one WAIT_OPT: it copies the
 * reply, unmaps the pages, wakes the task, takes the next, maps its pages and
 * returns to the server. So window and command buffer of a channel are only
 * ever touched by their own ZT, and a busy CPU goes from one operation to the
 * next without a switch.
 *
 * Who owns an operation: its task while it is queued (it may take it back),
 * then the ZT. zuf_channel.op says that it is with the server; whoever sets
 * that back to NULL, under the lock of the CPU, has to finish it.
 *
 * An operation may have to wait, inside the server, for what another task has
 * to tell it: so the last free channel of three or more is kept for what the
 * server has to know (zuf_op.must_run), which has a queue of its own.
 */
#ifndef _FS_ZUF_CHANNEL_H
#define _FS_ZUF_CHANNEL_H

#include "zuf.h"

/**
 * struct zuf_cpu - one CPU
 * @lock: for all of this, and for zuf_op and zuf_channel as far as they are on it
 * @nr: number of the CPU
 * @queue: operations that no ZT has taken yet
 * @urgent: those that others may wait for
 * @channels: NULL where there is none
 * @nr_live: channels that are not broken
 * @nr_busy: of them with an operation
 */
struct zuf_cpu {
	spinlock_t lock;	/* see above */
	int nr;
	struct list_head queue;
	struct list_head urgent;
	struct zuf_channel *channels[ZUFS_MAX_ZT_CHANNELS];
	unsigned int nr_live;
	unsigned int nr_busy;
};

/**
 * struct zuf_channel - a ZT and what it shares with the kernel
 * @window: where application pages are mapped
 * @cpu: CPU it belongs to
 * @no: which channel of the CPU
 * @file: the file it lives with
 * @zt: the thread
 * @files: its table of files: whoever closes another's copy does not count
 * @buffer: command buffer
 * @max_command: size of @buffer
 * @idle: the ZT sleeps and was not yet woken for an operation
 * @busy: the ZT has an operation, from when it took it until it is back
 * @broken: never again an operation
 * @zapping: a killed task is taking its pages out of the window
 * @op: the operation that the server has
 * @scratch: what the server sees in place of pages that were taken away
 * @stale: pages of the window where it does
 */
struct zuf_channel {
	struct zuf_window window;
	struct zuf_cpu *cpu;
	unsigned int no;
	struct file *file;
	struct task_struct *zt;
	fl_owner_t files;
	void *buffer;
	u32 max_command;
	bool idle;
	bool busy;
	bool broken;
	bool zapping;
	struct zuf_op *op;
	struct page *scratch;
	unsigned int stale;
};

struct zuf_op *zuf_next_op(struct zuf_cpu *zc);
bool zuf_wake_one(struct zuf_cpu *zc);
void zuf_finish_op(struct zuf_cpu *zc, struct zuf_op *op, int err);
void zuf_pass_on(struct zuf_cpu *zc, struct zuf_op *op, int err);
void zuf_requeue_all(struct zuf_cpu *zc);

#endif /* _FS_ZUF_CHANNEL_H */
