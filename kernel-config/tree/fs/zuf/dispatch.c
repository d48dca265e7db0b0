// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-over of operations to the threads of the server, the application's
 * side: queue, wait, give up. See channel.h for the whole.
 */

#include <linux/file.h>
#include <linux/sched/clock.h>
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

/**
 * zuf_next_op - what a free channel would get
 * @zc: its CPU, locked
 *
 * Return: the operation, still queued; NULL when there is nothing, or nothing
 * that the last free channel is for.
 */
struct zuf_op *zuf_next_op(struct zuf_cpu *zc)
{
	struct zuf_op *op;

	op = list_first_entry_or_null(&zc->urgent, struct zuf_op, queue);
	if (op || (zc->nr_live > 2 && zc->nr_busy + 1 >= zc->nr_live))
		return op;
	return list_first_entry_or_null(&zc->queue, struct zuf_op, queue);
}

/**
 * zuf_wake_one - wake a ZT that waits for something to do, if there is
 * @zc: its CPU, locked
 *
 * Return: whether there is such a ZT.
 */
bool zuf_wake_one(struct zuf_cpu *zc)
{
	struct zuf_channel *ch;

	if (!zuf_next_op(zc))
		return false;
	for (unsigned int i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
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
	scoped_guard(spinlock, &zc->lock) {
		if (!zc->nr_live)
			return false;
		WRITE_ONCE(op->cpu, zc);
		/* Pairs with list_empty_careful() in withdraw_queued(). */
		smp_wmb();
		list_add_tail(&op->queue,
			      op->must_run ? &zc->urgent : &zc->queue);
		op->at_once = zuf_wake_one(zc);
	}
	return true;
}

/* Queue on the CPU that serves @cpu. */
static int enqueue_op(struct zuf_op *op, int cpu)
{
	struct zuf_cpu *zc;

	do {
		zc = serving_cpu(op->sbi->root, cpu);
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
	/* An idle CPU would have to be interrupted, and has none of its data. */
	if (task_cpu(op->task) == smp_processor_id())
		wake_up_process_on_current_cpu(op->task);
	else
		wake_up_process(op->task);
}

/**
 * zuf_pass_on - an operation can not be served where it is
 * @zc: its CPU
 * @op: the operation, not queued
 * @err: it can not be served at all; 0 if by another ZT
 */
void zuf_pass_on(struct zuf_cpu *zc, struct zuf_op *op, int err)
{
	WRITE_ONCE(op->channel, NULL);
	if (!err)
		err = enqueue_op(op, zc->nr);
	if (!err)
		return;
	scoped_guard(spinlock, &zc->lock)
		zuf_finish_op(zc, op, err);
}

/**
 * zuf_requeue_all - a CPU has no ZT any more: others take over what is queued
 * @zc: the CPU
 */
void zuf_requeue_all(struct zuf_cpu *zc)
{
	struct zuf_op *op;

	do {
		scoped_guard(spinlock, &zc->lock) {
			op = zc->nr_live ? NULL : zuf_next_op(zc);
			if (op)
				list_del_init(&op->queue);
		}
		if (op)
			zuf_pass_on(zc, op, 0);
	} while (op);
}

/* ---- giving up ---- */

/**
 * zuf_dying - is the current task about to end
 *
 * A kill is no signal any more to a task that exits: it waits as
 * uninterruptibly as if it had none.
 */
bool zuf_dying(void)
{
	return fatal_signal_pending(current) || (current->flags & PF_EXITING);
}

/**
 * zuf_in_a_hurry - must not the current task wait for the server
 * @sbi: the mount
 *
 * It is about to end, and the server was slow to answer others like it.
 */
bool zuf_in_a_hurry(const struct zuf_sb_info *sbi)
{
	return zuf_dying() &&
	       (atomic_read(&sbi->nr_notices) ||
		time_before(jiffies, READ_ONCE(sbi->gave_up) + ZUF_SULK));
}

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

/*
 * Take the operation back if no ZT has it. Another CPU may be putting it on a
 * queue of its own: what is seen to be on a queue is on that of op->cpu.
 */
static bool withdraw_queued(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);

	scoped_guard(spinlock, &zc->lock) {
		if (op->done || list_empty_careful(&op->queue) ||
		    READ_ONCE(op->cpu) != zc)
			return false;
		list_del_init(&op->queue);
		op->withdrawn = true;
		op->done = true;
		op->err = -EINTR;
	}
	return true;
}

/*
 * The task was killed and the server does not answer: take its pages out of
 * the window and leave. Whatever the server makes of the operation is lost. A
 * thread that was stopped before it looked shall not begin with it when nobody
 * holds the locks any more.
 */
static void withdraw_running(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);
	struct zuf_channel *ch;
	struct file *file = NULL;

	scoped_guard(spinlock, &zc->lock) {
		ch = op->channel;
		if (op->cpu == zc && ch && ch->op == op)
			file = get_file_active(&ch->file);
		if (!file)
			return;
		if (!op->must_run)
			WRITE_ONCE(((struct zufs_ioc_hdr *)ch->buffer)->operation, ZUFS_OP_NOOP);
		ch->op = NULL;
		ch->zapping = true;
		ch->stale = op->nr_pages;
		op->channel = NULL;
	}

	if (op->nr_pages)
		zuf_window_zap(&ch->window, ch->scratch);
	zuf_count_pages(ZUF_PAGES_WINDOW, -(long)op->nr_pages);
	scoped_guard(spinlock, &zc->lock) {
		ch->zapping = false;
		wake_up_process(ch->zt);
	}
	fput(file);
	op->done = true;
	op->err = -EINTR;
}

static void give_up(struct zuf_op *op)
{
	WRITE_ONCE(op->sbi->gave_up, jiffies);
	if (!withdraw_queued(op))
		withdraw_running(op);
}

/* Returns in which state to go on waiting. */
static unsigned int on_signal(struct zuf_op *op)
{
	/* Work that others have for the task is none of the server's business. */
	if (task_sigpending(current))
		set_interrupted(op);
	if (!fatal_signal_pending(current))
		return TASK_KILLABLE;
	if (!op->must_run)
		withdraw_queued(op);
	return TASK_UNINTERRUPTIBLE;
}

static unsigned int initial_state(const struct zuf_op *op)
{
	if (op->patient)
		return TASK_IDLE;
	if (zuf_dying())
		return TASK_UNINTERRUPTIBLE;
	return op->must_run ? TASK_KILLABLE : TASK_INTERRUPTIBLE;
}

/*
 * Sleep until the operation is done. A signal is told to the server, which
 * may cut the operation short. A kill ends the wait: at once as long as no ZT
 * has taken the operation (unless the server has to know of it), else when the
 * server does not answer for a while. Whoever is patient waits until the mount
 * is given up.
 */
static void wait_for_op(struct zuf_op *op)
{
	unsigned int state = initial_state(op);

	for (;;) {
		set_current_state(state);
		if (READ_ONCE(op->done))
			break;
		if (state == TASK_UNINTERRUPTIBLE) {
			if (!schedule_timeout(ZUF_KILL_GRACE))
				give_up(op);
		} else if (state == TASK_IDLE) {
			if (!schedule_timeout(HZ) && READ_ONCE(op->sbi->dead))
				give_up(op);
		} else if (!signal_pending_state(state, current)) {
			schedule();
		} else {
			__set_current_state(TASK_RUNNING);
			state = on_signal(op);
		}
	}
	__set_current_state(TASK_RUNNING);
	/* Whoever finished it has left it alone once the lock is free. */
	spin_lock(&op->cpu->lock);
	spin_unlock(&op->cpu->lock);
}

/*
 * What goes on after a shutdown: letting go, of what has no name as well, which
 * nobody would look for after a clean unmount; and what is not of the files.
 */
static bool after_shut_down(const struct zuf_op *op)
{
	return BIT(op->hdr->operation) &
	       (BIT(ZUFS_OP_FREE_INODE) | BIT(ZUFS_OP_EVICT_INODE) |
		BIT(ZUFS_OP_PUT_MULTY) | BIT(ZUFS_OP_MMAP_CLOSE) |
		BIT(ZUFS_OP_STATFS) | BIT(ZUFS_OP_SHOW_OPTIONS));
}

static int check_op(struct zuf_sb_info *sbi, struct zuf_op *op)
{
	if (zuf_is_dead(sbi) && (READ_ONCE(sbi->dead) || !after_shut_down(op)))
		return -EIO;
	if (WARN_ON_ONCE(op->hdr->in_len > zuf_max_command(sbi->root) ||
			 op->nr_pages > ZUF_WINDOW_PAGES))
		return -EIO;
	if (!op->must_run &&
	    (fatal_signal_pending(current) || zuf_in_a_hurry(sbi)))
		return -EINTR;
	/* It would wait for itself. All ZTs have that flag, and few others. */
	if ((current->flags & PF_MEMALLOC_NOFS) &&
	    zuf_current_is_zt(sbi->root))
		return -EDEADLK;
	return 0;
}

/* Who should have gone along and did not has to go alone, and not now. */
static void let_riders_off(struct zuf_op *op)
{
	struct zuf_notice *rider, *next;
	unsigned int nr = 0;

	llist_for_each_entry_safe(rider, next, op->riders, behind) {
		rider->behind.next = NULL;
		if (nr++ < op->nr_sent)
			zuf_told(rider);
		else
			zuf_tell_later(rider);
	}
}

/**
 * zuf_dispatch - have the server do an operation
 * @sbi: the mount
 * @op: the operation
 *
 * Sleeps until the server has replied, or is known not to, and goes on where
 * the server's thread was, if that is where it slept.
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

	/* A lookup would think that what it found may have left since. */
	if (!op->must_run && op->hdr->operation != ZUFS_OP_LOOKUP &&
	    IS_ALIGNED(op->hdr->in_len, 8))
		zuf_add_parked(op);
	trace_zuf_dispatch(op->hdr);
	/* Moved from here on, it waits for this CPU's server all the same. */
	err = enqueue_op(op, raw_smp_processor_id());
	if (!err) {
		wait_for_op(op);
		err = op->err;
	}
	zuf_account(op, err);
out:
	let_riders_off(op);
	return err;
}
