// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-over of operations to the threads of the server.
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
 * No operation waits for another inside the server, and the queue is first
 * come, first served, so that there is no need to keep a channel in reserve.
 */

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "zuf.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* How often a waiting task looks whether its ZT still exists. */
#define ZUF_LIVENESS_PERIOD	(2 * HZ)
/* What a killed task grants the server to come back with its pages. */
#define ZUF_KILL_GRACE		(5 * HZ)

/**
 * struct zuf_cpu - one CPU
 * @lock: for all of this, and for zuf_op and zuf_channel as far as they are on it
 * @queue: operations that no ZT has taken yet
 * @channels: NULL where there is none
 * @nr_live: channels that are not broken
 */
struct zuf_cpu {
	spinlock_t lock;	/* see above */
	struct list_head queue;
	struct zuf_channel *channels[ZUFS_MAX_ZT_CHANNELS];
	unsigned int nr_live;
};

/**
 * struct zuf_channel - a ZT and what it shares with the kernel
 * @window: where application pages are mapped
 * @cpu: CPU it belongs to
 * @cpu_nr: number of that CPU
 * @no: which channel of the CPU
 * @file: the file it lives with
 * @zt: the thread
 * @files: its table of files: whoever closes another's copy does not count
 * @buffer: command buffer
 * @max_command: size of @buffer
 * @wait: where the ZT sleeps
 * @idle: the ZT sleeps and was not yet woken for an operation
 * @broken: never again an operation
 * @zapping: a killed task is taking its pages out of the window
 * @op: the operation that the server has
 * @scratch: what the server sees in place of pages that were taken away
 * @stale: pages of the window where it does
 */
struct zuf_channel {
	struct zuf_window window;
	struct zuf_cpu *cpu;
	int cpu_nr;
	unsigned int no;
	struct file *file;
	struct task_struct *zt;
	fl_owner_t files;
	void *buffer;
	u32 max_command;
	wait_queue_head_t wait;
	bool idle;
	bool broken;
	bool zapping;
	struct zuf_op *op;
	struct page *scratch;
	unsigned int stale;
};

static DEFINE_PER_CPU(struct zuf_cpu, zuf_cpus);
static unsigned int zuf_nr_channels;	/* of CPU with the most, so far */
static u32 zuf_command_size = ZUF_MAX_COMMAND;

/* ---- queue ---- */

/* Returns with the lock held, or NULL. */
static struct zuf_cpu *lock_if_live(int cpu)
{
	struct zuf_cpu *zc = per_cpu_ptr(&zuf_cpus, cpu);

	if (!READ_ONCE(zc->nr_live))
		return NULL;
	spin_lock(&zc->lock);
	if (zc->nr_live)
		return zc;
	spin_unlock(&zc->lock);
	return NULL;
}

/* The CPU that serves this one: itself, else the nearest that can. */
static struct zuf_cpu *lock_serving_cpu(int cpu)
{
	struct zuf_cpu *zc = lock_if_live(cpu);
	int other;

	if (zc)
		return zc;
	for_each_cpu(other, cpumask_of_node(cpu_to_node(cpu))) {
		zc = lock_if_live(other);
		if (zc)
			return zc;
	}
	for_each_possible_cpu(other) {
		zc = lock_if_live(other);
		if (zc)
			return zc;
	}
	return NULL;
}

static void wake_one_zt(struct zuf_cpu *zc)
{
	struct zuf_channel *ch;
	unsigned int i;

	for (i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
		ch = zc->channels[i];
		if (ch && ch->idle && !ch->broken) {
			ch->idle = false;
			__wake_up_sync(&ch->wait, TASK_NORMAL);
			return;
		}
	}
}

static void finish_op(struct zuf_cpu *zc, struct zuf_op *op, int err)
{
	lockdep_assert_held(&zc->lock);
	op->err = err;
	op->channel = NULL;
	op->done = true;
	/* The task leaves only after it has had the lock. */
	__wake_up_sync(&op->wait, TASK_NORMAL);
}

/* Queue on the CPU that serves @cpu. */
static int enqueue_op(struct zuf_op *op, int cpu)
{
	struct zuf_cpu *zc = lock_serving_cpu(cpu);

	if (!zc)
		return -EIO;
	WRITE_ONCE(op->cpu, zc);
	list_add_tail(&op->queue, &zc->queue);
	wake_one_zt(zc);
	spin_unlock(&zc->lock);
	return 0;
}

/* The CPU has no ZT any more: others take over what is queued. */
static void requeue_all(struct zuf_cpu *zc, int cpu)
{
	struct zuf_op *op;
	struct zuf_cpu *other;

	for (;;) {
		spin_lock(&zc->lock);
		op = list_first_entry_or_null(&zc->queue, struct zuf_op, queue);
		if (!op || zc->nr_live)
			break;
		/* Marked as taken, so that its task keeps its hands off. */
		list_del_init(&op->queue);
		spin_unlock(&zc->lock);

		other = lock_serving_cpu(cpu);
		if (other) {
			WRITE_ONCE(op->cpu, other);
			list_add_tail(&op->queue, &other->queue);
			wake_one_zt(other);
			spin_unlock(&other->lock);
		} else {
			spin_lock(&zc->lock);
			finish_op(zc, op, -EIO);
			spin_unlock(&zc->lock);
		}
	}
	spin_unlock(&zc->lock);
}

/* ---- end of a channel ---- */

/*
 * Nothing more for this channel. @unmap: the window may have pages that have
 * to be taken away before the task that waits for them goes on.
 */
static void break_channel(struct zuf_channel *ch, bool unmap)
{
	struct zuf_cpu *zc = ch->cpu;
	struct zuf_op *op;
	bool last = false;

	spin_lock(&zc->lock);
	if (!ch->broken) {
		ch->broken = true;
		last = !--zc->nr_live;
	}
	op = ch->op;
	ch->op = NULL;
	ch->idle = false;
	wake_up(&ch->wait);
	spin_unlock(&zc->lock);

	if (op) {
		if (unmap && op->nr_pages)
			zuf_window_zap(&ch->window, ch->scratch);
		spin_lock(&zc->lock);
		finish_op(zc, op, -EIO);
		spin_unlock(&zc->lock);
	}
	if (last)
		requeue_all(zc, ch->cpu_nr);
}

/* The VMA goes, and with it all that was mapped. */
static void window_gone(struct zuf_window *window)
{
	break_channel(container_of(window, struct zuf_channel, window), false);
}

/* Threads can end without closing their file. */
static void break_dead_channels(struct zuf_cpu *zc)
{
	struct zuf_channel *ch;
	struct file *file;
	unsigned int i;

	for (i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
		file = NULL;
		spin_lock(&zc->lock);
		ch = zc->channels[i];
		if (ch && !ch->broken && (READ_ONCE(ch->zt->flags) & PF_EXITING))
			file = get_file_active(&ch->file);
		spin_unlock(&zc->lock);
		if (file) {
			break_channel(ch, true);
			fput(file);
		}
	}
}

/* ---- the application's side ---- */

static void set_interrupted(struct zuf_op *op)
{
	struct zuf_cpu *zc = READ_ONCE(op->cpu);
	struct zufs_ioc_hdr *hdr;

	spin_lock(&zc->lock);
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
	bool mine = false;

	spin_lock(&zc->lock);
	if (op->cpu == zc && !op->done && !list_empty(&op->queue)) {
		list_del_init(&op->queue);
		op->done = true;
		op->err = -EINTR;
		mine = true;
	}
	spin_unlock(&zc->lock);
	return mine;
}

/*
 * The task was killed and the server does not answer: take its pages out of
 * the window and leave. Whatever the server makes of the operation is lost.
 */
static bool withdraw_running(struct zuf_op *op)
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
		return false;

	if (op->nr_pages)
		zuf_window_zap(&ch->window, ch->scratch);
	spin_lock(&zc->lock);
	ch->zapping = false;
	wake_up(&ch->wait);
	spin_unlock(&zc->lock);
	fput(file);
	op->done = true;
	op->err = -EINTR;
	return true;
}

static bool op_done(struct zuf_op *op)
{
	return READ_ONCE(op->done);
}

static void sleep_for_op(struct zuf_op *op, unsigned int state, long timeout)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&op->wait, &wait, state);
	if (!op_done(op))
		schedule_timeout(timeout);
	finish_wait(&op->wait, &wait);
}

/*
 * Sleep until the operation is done. A signal is told to the server, which
 * may cut the operation short. A kill ends the wait, unless the server has to
 * know of the operation.
 */
static void wait_for_op(struct zuf_op *op)
{
	unsigned int state = op->must_run ? TASK_UNINTERRUPTIBLE :
					    TASK_INTERRUPTIBLE;
	unsigned long killed = 0;

	while (!op_done(op)) {
		sleep_for_op(op, state, ZUF_LIVENESS_PERIOD);
		if (op_done(op))
			break;
		if (state == TASK_INTERRUPTIBLE && signal_pending(current)) {
			set_interrupted(op);
			state = TASK_KILLABLE;
		}
		if (state == TASK_KILLABLE && fatal_signal_pending(current)) {
			killed = jiffies;
			state = TASK_UNINTERRUPTIBLE;
		}
		if (killed && withdraw_queued(op))
			break;
		if (killed && time_after(jiffies, killed + ZUF_KILL_GRACE) &&
		    withdraw_running(op))
			break;
		break_dead_channels(READ_ONCE(op->cpu));
	}
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
	u64 start, ns;
	int err;

	if (READ_ONCE(sbi->dead) ||
	    (READ_ONCE(sbi->shut_down) && !after_shut_down(op)))
		return -EIO;
	if (WARN_ON_ONCE(op->hdr->in_len > zuf_command_size ||
			 op->nr_pages > ZUF_WINDOW_PAGES))
		return -EIO;
	if (!op->must_run && fatal_signal_pending(current))
		return -EINTR;

	op->sbi = sbi;
	op->done = false;
	op->err = 0;
	op->channel = NULL;
	start = ktime_get_ns();
	INIT_LIST_HEAD(&op->queue);
	init_waitqueue_head(&op->wait);

	migrate_disable();
	trace_zuf_dispatch(op->hdr);
	err = enqueue_op(op, smp_processor_id());
	if (!err) {
		wait_for_op(op);
		err = op->err;
	}
	ns = ktime_get_ns() - start;
	zuf_account(op->hdr->operation, err, ns);
	trace_zuf_done(op->hdr, err, ns);
	migrate_enable();
	return err;
}

static int call(struct zuf_sb_info *sbi, unsigned int operation,
		struct zufs_ioc_hdr *hdr, size_t size, size_t out, bool must)
{
	struct zuf_op op = { .hdr = hdr, .room = size, .must_run = must };

	hdr->operation = operation;
	hdr->in_len = size;
	if (out) {
		hdr->out_start = out;
		hdr->out_len = size - out;
		hdr->out_max = size - out;
	}
	return zuf_dispatch(sbi, &op);
}

int zuf_call(struct zuf_sb_info *sbi, unsigned int operation,
	     struct zufs_ioc_hdr *hdr, size_t size, size_t out)
{
	return call(sbi, operation, hdr, size, out, false);
}

/**
 * zuf_call_must - like zuf_call(), for what the server has to know
 * @sbi: the mount
 * @operation: ZUFS_OP_*
 * @hdr: start of the command
 * @size: of the command
 * @out: first byte that the server may change, 0 for none
 *
 * Return: 0, the error of the server, or that of the transport.
 */
int zuf_call_must(struct zuf_sb_info *sbi, unsigned int operation,
		  struct zufs_ioc_hdr *hdr, size_t size, size_t out)
{
	return call(sbi, operation, hdr, size, out, true);
}

/* ---- the server's side ---- */

/* 0, -errno that may be shown to applications, or EZUFS_RETRY. */
static bool reply_err_ok(s32 err)
{
	return !err || (err < 0 && err > -512) || err == -EZUFS_RETRY;
}

/*
 * Copy the reply out of the shared buffer. What is checked was read before,
 * once: the server may write to the buffer at any time.
 */
static int copy_reply(struct zuf_channel *ch, struct zuf_op *op)
{
	struct zufs_ioc_hdr *hdr = op->hdr;
	const struct zufs_ioc_hdr *shared = ch->buffer;
	s32 err = READ_ONCE(shared->err);
	u16 out_len = READ_ONCE(shared->out_len);
	u32 len = READ_ONCE(shared->len);

	if (!reply_err_ok(err)) {
		zuf_bad_reply(op->sbi, "error code");
		return -EIO;
	}
	if (len > hdr->len) {
		zuf_bad_reply(op->sbi, "length in window");
		return -EIO;
	}
	if (hdr->out_max) {
		if (out_len > hdr->out_max ||
		    hdr->out_start + out_len > op->room ||
		    hdr->out_start + out_len > ch->max_command) {
			zuf_bad_reply(op->sbi, "length of output");
			return -EIO;
		}
		memcpy((void *)hdr + hdr->out_start,
		       ch->buffer + hdr->out_start, out_len);
		hdr->out_len = out_len;
	}
	hdr->len = len;
	hdr->err = err;
	return err;
}

/* The ZT is back: finish what it had. */
static void finish_current(struct zuf_channel *ch)
{
	struct zuf_cpu *zc = ch->cpu;
	struct zuf_op *op;
	int err;

	spin_lock(&zc->lock);
	op = ch->op;
	ch->op = NULL;
	spin_unlock(&zc->lock);
	if (!op)
		return;

	zuf_window_unmap(&ch->window, op->nr_pages);
	err = copy_reply(ch, op);

	spin_lock(&zc->lock);
	finish_op(zc, op, err);
	spin_unlock(&zc->lock);
}

static void tell_break(struct zuf_channel *ch)
{
	struct zufs_ioc_hdr *hdr = ch->buffer;

	memset(hdr, 0, sizeof(*hdr));
	hdr->operation = ZUFS_OP_BREAK;
	hdr->in_len = sizeof(*hdr);
}

/* Next operation, or NULL with *err set: 0 for a break, -EINTR. */
static struct zuf_op *take_op(struct zuf_channel *ch, int *err)
{
	struct zuf_cpu *zc = ch->cpu;
	struct zuf_op *op = NULL;
	DEFINE_WAIT(wait);

	for (;;) {
		prepare_to_wait(&ch->wait, &wait,
				TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		spin_lock(&zc->lock);
		*err = 0;
		ch->idle = false;
		if (ch->broken)
			break;
		if (!ch->zapping)
			op = list_first_entry_or_null(&zc->queue, struct zuf_op,
						      queue);
		if (op)
			break;
		*err = -EINTR;
		if (signal_pending(current))
			break;
		ch->idle = !ch->zapping;
		spin_unlock(&zc->lock);
		schedule();
	}
	if (op) {
		list_del_init(&op->queue);
		op->channel = ch;
	}
	spin_unlock(&zc->lock);
	finish_wait(&ch->wait, &wait);
	zuf_window_unmap(&ch->window, ch->stale);
	ch->stale = 0;
	return op;
}

/* Give the operation to the server, which runs as soon as we return. */
static int start_op(struct zuf_channel *ch, struct zuf_op *op)
{
	struct zuf_cpu *zc = ch->cpu;
	int err = 0;

	if (op->hdr->in_len > ch->max_command)
		err = -EIO;
	else if (op->nr_pages)
		err = zuf_window_map(&ch->window, op->pages, op->nr_pages,
				     op->writable);
	if (!err)
		memcpy(ch->buffer, op->hdr, op->hdr->in_len);

	spin_lock(&zc->lock);
	if (!err && !ch->broken) {
		ch->op = op;
		spin_unlock(&zc->lock);
		return 0;
	}
	spin_unlock(&zc->lock);

	zuf_window_unmap(&ch->window, op->nr_pages);
	spin_lock(&zc->lock);
	finish_op(zc, op, -EIO);
	spin_unlock(&zc->lock);
	return -EIO;
}

static bool on_own_cpu(struct zuf_channel *ch)
{
	return current->nr_cpus_allowed == 1 &&
	       cpumask_test_cpu(ch->cpu_nr, current->cpus_ptr);
}

/**
 * zuf_channel_wait - WAIT_OPT
 * @ch: the channel
 *
 * Return: 0 with the next operation in the command buffer (ZUFS_OP_BREAK:
 * none will come any more), -EINTR for a signal, -EPERM to whoever is not the
 * ZT, -ENXIO before both mappings are made, -EINVAL when the thread is not
 * bound to its CPU any more.
 */
int zuf_channel_wait(struct zuf_channel *ch)
{
	struct zuf_op *op;
	int err;

	if (current != ch->zt)
		return -EPERM;
	finish_current(ch);
	if (!READ_ONCE(ch->broken)) {
		if (!zuf_window_ready(&ch->window))
			return -ENXIO;
		if (!on_own_cpu(ch))
			break_channel(ch, true);
	}
	do {
		op = take_op(ch, &err);
		if (!op) {
			if (!err)
				tell_break(ch);
			return err;
		}
	} while (start_op(ch, op));
	return 0;
}

static int add_channel(struct zuf_channel *ch)
{
	struct zuf_cpu *zc = ch->cpu;
	int err = -EBUSY;

	spin_lock(&zc->lock);
	if (!zc->channels[ch->no]) {
		zc->channels[ch->no] = ch;
		zc->nr_live++;
		err = 0;
	}
	spin_unlock(&zc->lock);
	return err;
}

static void free_channel(struct zuf_channel *ch)
{
	if (ch->scratch)
		__free_page(ch->scratch);
	vfree(ch->buffer);
	kfree(ch);
}

/**
 * zuf_channel_init_thread - INIT_THREAD: make a file the channel of a ZT
 * @zf: the file
 * @arg: of the ioctl
 *
 * Return: 0, -EINVAL when the thread is not bound to one CPU or an argument is
 * out of range, -EBUSY when the CPU has that channel, -ENOMEM, -EFAULT.
 */
int zuf_channel_init_thread(struct zuf_file *zf,
			    struct zufs_ioc_init __user *arg)
{
	struct zufs_ioc_init init;
	struct zuf_channel *ch;
	int err;

	if (copy_from_user(&init, arg, sizeof(init)))
		return -EFAULT;
	if (init.channel_no >= ZUFS_MAX_ZT_CHANNELS ||
	    init.max_command < PAGE_SIZE || init.max_command > ZUF_MAX_COMMAND ||
	    !PAGE_ALIGNED(init.max_command) || current->nr_cpus_allowed != 1)
		return -EINVAL;

	ch = kzalloc(sizeof(*ch), GFP_KERNEL);
	if (!ch)
		return -ENOMEM;
	ch->buffer = vmalloc_user(init.max_command);
	ch->scratch = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!ch->buffer || !ch->scratch) {
		free_channel(ch);
		return -ENOMEM;
	}
	ch->max_command = init.max_command;
	ch->no = init.channel_no;
	ch->cpu_nr = cpumask_first(current->cpus_ptr);
	ch->cpu = per_cpu_ptr(&zuf_cpus, ch->cpu_nr);
	ch->file = zf->file;
	ch->files = current->files;
	init_waitqueue_head(&ch->wait);
	zuf_window_init(&ch->window, zf->file, ch->cpu_nr, window_gone);

	err = zuf_set_role(zf, ZUF_ROLE_THREAD);
	if (!err)
		err = add_channel(ch);
	if (err) {
		free_channel(ch);
		return err;
	}
	ch->zt = get_task_struct(current);
	/* Pairs with file_channel(). */
	smp_store_release(&zf->channel, ch);

	/* Reclaim from here must not come back to where it came from. */
	memalloc_nofs_save();
	if (ch->no >= READ_ONCE(zuf_nr_channels))
		WRITE_ONCE(zuf_nr_channels, ch->no + 1);
	if (ch->max_command < READ_ONCE(zuf_command_size))
		WRITE_ONCE(zuf_command_size, ch->max_command);
	return 0;
}

/**
 * zuf_channel_mmap - mmap of a ZT's file: window or command buffer
 * @ch: the channel
 * @vma: of the size, at the offset that the interface says
 *
 * Return: 0 or -errno.
 */
int zuf_channel_mmap(struct zuf_channel *ch, struct vm_area_struct *vma)
{
	unsigned long size = vma->vm_end - vma->vm_start;

	if (vma->vm_pgoff == 0 && size == ZUF_WINDOW_SIZE)
		return zuf_window_setup(&ch->window, vma);
	if (vma->vm_pgoff == ZUF_WINDOW_PAGES && size == ch->max_command) {
		vm_flags_set(vma, VM_DONTCOPY | VM_DONTDUMP);
		return remap_vmalloc_range(vma, ch->buffer, 0);
	}
	return -EINVAL;
}

/**
 * zuf_channel_flush - the file is being closed
 * @ch: the channel
 * @id: whose table of files it goes from
 */
void zuf_channel_flush(struct zuf_channel *ch, fl_owner_t id)
{
	if (id == ch->files)
		break_channel(ch, true);
}

/**
 * zuf_channel_release - the last of the file, its mappings included, is gone
 * @ch: the channel, freed
 */
void zuf_channel_release(struct zuf_channel *ch)
{
	break_channel(ch, false);
	spin_lock(&ch->cpu->lock);
	ch->cpu->channels[ch->no] = NULL;
	spin_unlock(&ch->cpu->lock);
	put_task_struct(ch->zt);
	free_channel(ch);
}

static void break_cpu(int cpu)
{
	struct zuf_cpu *zc = per_cpu_ptr(&zuf_cpus, cpu);
	struct zuf_channel *ch;
	unsigned int i;
	bool last = false;

	spin_lock(&zc->lock);
	for (i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
		ch = zc->channels[i];
		if (!ch || ch->broken)
			continue;
		/* What it has in hand it may still finish. */
		ch->broken = true;
		ch->idle = false;
		last = !--zc->nr_live;
		wake_up(&ch->wait);
	}
	spin_unlock(&zc->lock);
	if (last)
		requeue_all(zc, cpu);
}

/**
 * zuf_channels_break_all - BREAK_ALL: send all ZTs home
 */
void zuf_channels_break_all(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		break_cpu(cpu);
}

/**
 * zuf_current_is_zt - is this a thread that serves operations
 *
 * Such a one must not wait for an operation itself.
 */
bool zuf_current_is_zt(void)
{
	struct zuf_cpu *zc = raw_cpu_ptr(&zuf_cpus);
	bool found = false;
	unsigned int i;

	if (!READ_ONCE(zc->nr_live) || current->nr_cpus_allowed != 1)
		return false;
	spin_lock(&zc->lock);
	for (i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++)
		if (zc->channels[i] && zc->channels[i]->zt == current)
			found = true;
	spin_unlock(&zc->lock);
	return found;
}

/**
 * zuf_max_command - the largest command that every channel can take
 */
unsigned int zuf_max_command(void)
{
	return READ_ONCE(zuf_command_size);
}

/**
 * zuf_channels_per_cpu - how many channels the CPU with the most has
 */
unsigned int zuf_channels_per_cpu(void)
{
	return max(1U, READ_ONCE(zuf_nr_channels));
}

static int cpu_down_prepare(unsigned int cpu)
{
	break_cpu(cpu);
	return 0;
}

static enum cpuhp_state zuf_hotplug_state;

int __init zuf_channels_start(void)
{
	struct zuf_cpu *zc;
	int cpu, state;

	for_each_possible_cpu(cpu) {
		zc = per_cpu_ptr(&zuf_cpus, cpu);
		spin_lock_init(&zc->lock);
		INIT_LIST_HEAD(&zc->queue);
	}
	state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "fs/zuf:online",
					  NULL, cpu_down_prepare);
	if (state < 0)
		return state;
	zuf_hotplug_state = state;
	return 0;
}

void zuf_channels_stop(void)
{
	cpuhp_remove_state_nocalls(zuf_hotplug_state);
}
