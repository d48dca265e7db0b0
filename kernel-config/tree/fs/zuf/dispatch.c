// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-over of operations to the threads of the server, the application's
 * side: queue, wait, give up. See channel.h for the whole.
 */

#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched/clock.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>
#include "channel.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* What a killed task grants the server to come back with its pages. */
#define ZUF_KILL_GRACE		(5 * HZ)

/* ---- queue ---- */

static bool is_live(struct zuf_root *root, int cpu)
{
	return READ_ONCE(per_cpu_ptr(root->cpus, cpu)->nr_live);
}

/* The CPU that serves this one: itself, else the nearest that can. */
static struct zuf_cpu *serving_cpu(struct zuf_root *root, int cpu)
{
	int other;

	if (is_live(root, cpu))
		return per_cpu_ptr(root->cpus, cpu);
	for_each_cpu(other, cpumask_of_node(cpu_to_node(cpu)))
		if (is_live(root, other))
			return per_cpu_ptr(root->cpus, other);
	for_each_possible_cpu(other)
		if (is_live(root, other))
			return per_cpu_ptr(root->cpus, other);
	return NULL;
}

/* Returns whether there is a ZT that waited for something to do. */
static bool wake_one_zt(struct zuf_cpu *zc)
{
	struct zuf_channel *ch;
	unsigned int i;

	for (i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
		ch = zc->channels[i];
		if (ch && ch->idle && !ch->broken) {
			ch->idle = false;
			wake_up_process(ch->zt);
			return true;
		}
	}
	return false;
}

static bool try_enqueue(struct zuf_cpu *zc, struct zuf_op *op)
{
	bool live;

	spin_lock(&zc->lock);
	live = zc->nr_live;
	if (live) {
		WRITE_ONCE(op->cpu, zc);
		list_add_tail(&op->queue, &zc->queue);
		op->at_once = wake_one_zt(zc);
	}
	spin_unlock(&zc->lock);
	return live;
}

/* Queue on the CPU that serves @cpu. */
static int enqueue_op(struct zuf_root *root, struct zuf_op *op, int cpu)
{
	struct zuf_cpu *zc;

	do {
		zc = serving_cpu(root, cpu);
		if (!zc)
			return -EIO;
	} while (!try_enqueue(zc, op));
	return 0;
}

/**
 * zuf_finish_op - an operation has ended
 * @zc: its CPU, locked
 * @op: the operation; its task goes on, as soon as the lock is free
 * @err: how it ended
 */
void zuf_finish_op(struct zuf_cpu *zc, struct zuf_op *op, int err)
{
	lockdep_assert_held(&zc->lock);
	op->err = err;
	op->channel = NULL;
	WRITE_ONCE(op->done, true);
	wake_up_process(op->task);
}

/**
 * zuf_pass_on - an operation can not be served where it is
 * @root: the zuf-root
 * @zc: its CPU
 * @op: the operation, not queued
 * @err: it can not be served at all; 0 if by another ZT
 */
void zuf_pass_on(struct zuf_root *root, struct zuf_cpu *zc, struct zuf_op *op,
		 int err)
{
	WRITE_ONCE(op->channel, NULL);
	if (!err)
		err = enqueue_op(root, op, zc->nr);
	if (!err)
		return;
	spin_lock(&zc->lock);
	zuf_finish_op(zc, op, err);
	spin_unlock(&zc->lock);
}

/* The first in the queue of a CPU that has no ZT, marked as taken. */
static struct zuf_op *take_stranded(struct zuf_cpu *zc)
{
	struct zuf_op *op = NULL;

	spin_lock(&zc->lock);
	if (!zc->nr_live)
		op = list_first_entry_or_null(&zc->queue, struct zuf_op, queue);
	if (op)
		list_del_init(&op->queue);
	spin_unlock(&zc->lock);
	return op;
}

/**
 * zuf_requeue_all - a CPU has no ZT any more: others take over what is queued
 * @root: the zuf-root
 * @zc: the CPU
 */
void zuf_requeue_all(struct zuf_root *root, struct zuf_cpu *zc)
{
	struct zuf_op *op;

	while ((op = take_stranded(zc)))
		zuf_pass_on(root, zc, op, 0);
}

/* ---- giving up ---- */

static void set_interrupted(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);
	struct zufs_ioc_hdr *hdr;

	spin_lock(&zc->lock);
	op->interrupted = true;
	if (op->channel && op->channel->op == op) {
		hdr = op->channel->buffer;
		WRITE_ONCE(hdr->flags, hdr->flags | ZUFS_H_INTR);
	}
	spin_unlock(&zc->lock);
}

/* Take the operation back if no ZT has it. */
static bool withdraw_queued(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);
	bool mine;

	spin_lock(&zc->lock);
	mine = op->cpu == zc && !op->done && !list_empty(&op->queue);
	if (mine) {
		list_del_init(&op->queue);
		op->done = true;
		op->err = -EINTR;
	}
	spin_unlock(&zc->lock);
	return mine;
}

/*
 * The task was killed and the server does not answer: take its pages out of
 * the window and leave. Whatever the server makes of the operation is lost.
 */
static void withdraw_running(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);
	struct zuf_channel *ch;
	struct file *file = NULL;

	spin_lock(&zc->lock);
	ch = op->channel;
	if (op->cpu == zc && ch && ch->op == op)
		file = get_file_active(&ch->file);
	if (file) {
		ch->op = NULL;
		ch->zapping = true;
		ch->stale = op->nr_pages;
		op->channel = NULL;
	}
	spin_unlock(&zc->lock);
	if (!file)
		return;

	if (op->nr_pages)
		zuf_window_zap(&ch->window, ch->scratch);
	zuf_count_pages(ZUF_PAGES_WINDOW, -(long)op->nr_pages);
	spin_lock(&zc->lock);
	ch->zapping = false;
	wake_up_process(ch->zt);
	spin_unlock(&zc->lock);
	fput(file);
	op->done = true;
	op->err = -EINTR;
}

/*
 * Sleep until the operation is done. A signal is told to the server, which
 * may cut the operation short. A kill ends the wait: at once as long as no ZT
 * has taken the operation (unless the server has to know of it), else when the
 * server does not answer for a while.
 */
static void wait_for_op(struct zuf_op *op)
{
	unsigned int state = op->must_run ? TASK_KILLABLE : TASK_INTERRUPTIBLE;

	for (;;) {
		set_current_state(state);
		if (READ_ONCE(op->done))
			break;
		if (state == TASK_UNINTERRUPTIBLE) {
			if (!schedule_timeout(ZUF_KILL_GRACE))
				withdraw_running(op);
		} else if (!signal_pending_state(state, current)) {
			schedule();
		} else if (!fatal_signal_pending(current)) {
			__set_current_state(TASK_RUNNING);
			set_interrupted(op);
			state = TASK_KILLABLE;
		} else {
			__set_current_state(TASK_RUNNING);
			set_interrupted(op);
			if (!op->must_run)
				withdraw_queued(op);
			state = TASK_UNINTERRUPTIBLE;
		}
	}
	__set_current_state(TASK_RUNNING);
	/* Whoever finished it has left it alone once the lock is free. */
	spin_lock(&op->cpu->lock);
	spin_unlock(&op->cpu->lock);
}

/* What goes on after a shutdown: letting go, and what is not of the files. */
static bool after_shut_down(const struct zuf_op *op)
{
	switch (op->hdr->operation) {
	case ZUFS_OP_EVICT_INODE:
	case ZUFS_OP_PUT_MULTY:
	case ZUFS_OP_MMAP_CLOSE:
	case ZUFS_OP_STATFS:
	case ZUFS_OP_SHOW_OPTIONS:
		return true;
	}
	return false;
}

static int check_op(struct zuf_sb_info *sbi, struct zuf_op *op)
{
	if (zuf_is_dead(sbi) && (READ_ONCE(sbi->dead) || !after_shut_down(op)))
		return -EIO;
	if (WARN_ON_ONCE(op->hdr->in_len > zuf_max_command(sbi->root) ||
			 op->nr_pages > ZUF_WINDOW_PAGES))
		return -EIO;
	if (!op->must_run && fatal_signal_pending(current))
		return -EINTR;
	/* It would wait for itself. All ZTs have that flag, and few others. */
	if ((current->flags & PF_MEMALLOC_NOFS) &&
	    zuf_current_is_zt(sbi->root))
		return -EDEADLK;
	return 0;
}

/* What should have gone along with the operation and did not. */
static void end_put(struct zuf_sb_info *sbi, struct zuf_op *op)
{
	if (op->put_sent)
		kfree(op->put);
	else
		zuf_send_put(sbi, op->put);
}

/**
 * zuf_dispatch - have the server do an operation
 * @sbi: the mount
 * @op: the operation
 *
 * Sleeps on the current CPU until the server has replied, or is known not to.
 * @op->hdr and the bytes from hdr.out_start are then the reply.
 *
 * Return: the error of the server, 0 for none; -EIO when there is no server
 * (any more), -EINTR when the task was killed.
 */
int zuf_dispatch(struct zuf_sb_info *sbi, struct zuf_op *op)
{
	int err = check_op(sbi, op);

	if (err)
		goto out;
	op->sbi = sbi;
	op->task = current;
	INIT_LIST_HEAD(&op->queue);
	op->at[ZUF_AT_QUEUED] = local_clock();

	migrate_disable();
	trace_zuf_dispatch(op->hdr);
	err = enqueue_op(sbi->root, op, smp_processor_id());
	if (!err) {
		wait_for_op(op);
		err = op->err;
	}
	zuf_account(op, err);
	migrate_enable();
out:
	if (op->put)
		end_put(sbi, op);
	return err;
}

/**
 * zuf_call - send a command of fixed size that carries no pages
 * @sbi: the mount
 * @operation: ZUFS_OP_*
 * @hdr: start of the command
 * @size: of the command
 * @out: first byte that the server may change, 0 for none
 *
 * Return: 0, the error of the server, or that of the transport.
 */
int zuf_call(struct zuf_sb_info *sbi, unsigned int operation,
	     struct zufs_ioc_hdr *hdr, size_t size, size_t out)
{
	struct zuf_op op = {};

	zuf_op_init(&op, operation, hdr, size, out);
	return zuf_dispatch(sbi, &op);
}

/**
 * zuf_call_must - like zuf_call(), for what the server has to know
 * @sbi: the mount
 * @operation: ZUFS_OP_*
 * @hdr: start of the command
 * @size: of the command
 *
 * Return: 0, the error of the server, or that of the transport.
 */
int zuf_call_must(struct zuf_sb_info *sbi, unsigned int operation,
		  struct zufs_ioc_hdr *hdr, size_t size)
{
	struct zuf_op op = { .must_run = true };

	zuf_op_init(&op, operation, hdr, size, 0);
	return zuf_dispatch(sbi, &op);
}
