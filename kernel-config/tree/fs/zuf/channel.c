// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-over of operations to the threads of the server, the server's side:
 * channels, WAIT_OPT, and their end. See channel.h for the whole.
 */

#include <linux/cpuhotplug.h>
#include <linux/file.h>
#include <linux/moduleparam.h>
#include <linux/sched/clock.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/vmalloc.h>
#include "channel.h"
#include "trace.h"

/* How often somebody looks whether all ZTs still exist, and answer. */
#define ZUF_LIVENESS_PERIOD	(2 * HZ)

static unsigned int channels = ZUFS_MAX_ZT_CHANNELS;
module_param(channels, uint, 0644);
MODULE_PARM_DESC(channels, "threads of a server that may serve one CPU, at most 4");

/* For the list of zuf-roots, which hotplug goes through. */
static DEFINE_MUTEX(roots_mutex);
static LIST_HEAD(roots);

/* ---- end of a channel ---- */

static void set_busy(struct zuf_channel *ch, bool busy)
{
	if (ch->busy != busy)
		ch->cpu->nr_busy += busy ? 1 : -1;
	ch->busy = busy;
}

/* Its CPU is locked. True when that was the last one there. */
static bool set_broken(struct zuf_channel *ch)
{
	struct zuf_cpu *zc = ch->cpu;

	ch->idle = false;
	if (ch->broken)
		return false;
	ch->broken = true;
	wake_up_process(ch->zt);
	set_busy(ch, false);
	zc->nr_live--;
	/* One that was kept free need not be any more. */
	zuf_wake_one(zc);
	return !zc->nr_live;
}

/*
 * Nothing more for this channel. @unmap: the window may have pages that have
 * to be taken away before the task that waits for them goes on.
 */
static void break_channel(struct zuf_channel *ch, bool unmap)
{
	struct zuf_cpu *zc = ch->cpu;
	struct zuf_op *op;
	bool last;

	scoped_guard(spinlock, &zc->lock) {
		last = set_broken(ch);
		op = xchg(&ch->op, NULL);
	}

	if (op) {
		if (unmap && op->nr_pages)
			zuf_window_zap(&ch->window, ch->scratch);
		zuf_count_pages(ZUF_PAGES_WINDOW, -(long)op->nr_pages);
		scoped_guard(spinlock, &zc->lock)
			zuf_finish_op(zc, op, -EIO);
	}
	if (last)
		zuf_requeue_all(zc);
}

/* The VMA goes, and with it all that was mapped. */
static void window_gone(struct zuf_window *window)
{
	break_channel(container_of(window, struct zuf_channel, window), false);
}

/* What a channel has in hand it may still finish; after that it breaks. */
static void break_cpu(struct zuf_cpu *zc)
{
	struct zuf_channel *ch;
	bool last = false;

	scoped_guard(spinlock, &zc->lock) {
		for (unsigned int i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++) {
			ch = zc->channels[i];
			if (ch && !ch->broken)
				last = set_broken(ch);
		}
	}
	if (last)
		zuf_requeue_all(zc);
}

/**
 * zuf_channels_break_all - BREAK_ALL: send all ZTs home
 * @root: the zuf-root
 */
void zuf_channels_break_all(struct zuf_root *root)
{
	int cpu;

	for_each_possible_cpu(cpu)
		break_cpu(per_cpu_ptr(root->cpus, cpu));
}

/* The file of a channel whose thread has ended without closing it. */
static struct file *dead_channel(struct zuf_cpu *zc, unsigned int no)
{
	struct zuf_channel *ch;

	scoped_guard(spinlock, &zc->lock) {
		ch = zc->channels[no];
		if (ch && !(ch->broken && !ch->op) &&
		    (READ_ONCE(ch->zt->flags) & PF_EXITING))
			return get_file_active(&ch->file);
	}
	return NULL;
}

static void check_liveness(struct work_struct *work)
{
	struct zuf_root *root = container_of(work, struct zuf_root,
					     liveness.work);
	struct zuf_cpu *zc;
	struct file *file;
	bool any = false;
	int cpu;

	for_each_possible_cpu(cpu) {
		zc = per_cpu_ptr(root->cpus, cpu);
		for (unsigned int no = 0; no < ZUFS_MAX_ZT_CHANNELS; no++) {
			if (!READ_ONCE(zc->channels[no]))
				continue;
			any = true;
			file = dead_channel(zc, no);
			if (file) {
				break_channel(zc->channels[no], true);
				fput(file);
			}
		}
	}
	if (any)
		queue_delayed_work(system_unbound_wq, &root->liveness,
				   ZUF_LIVENESS_PERIOD);
}

/* ---- WAIT_OPT ---- */

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

	/* 0, -errno that may be shown to applications, or EZUFS_RETRY. */
	if ((err > 0 || err <= -512) &&
	    (err != -EZUFS_RETRY || hdr->operation != ZUFS_OP_IOCTL))
		return zuf_bad_reply(op->sbi, "error code");
	if (len > hdr->len)
		return zuf_bad_reply(op->sbi, "length in window");
	if (hdr->out_max) {
		if (out_len > hdr->out_max ||
		    hdr->out_start + out_len > op->room ||
		    hdr->out_start + out_len > ch->max_command)
			return zuf_bad_reply(op->sbi, "length of output");
		memcpy((void *)hdr + hdr->out_start,
		       ch->buffer + hdr->out_start, out_len);
		hdr->out_len = out_len;
	}
	hdr->len = len;
	hdr->err = err;
	return err;
}

static void take_pages_out(struct zuf_channel *ch, struct zuf_op *op)
{
	zuf_window_unmap(&ch->window, op->nr_pages);
	zuf_count_pages(ZUF_PAGES_WINDOW, -(long)op->nr_pages);
}

/* The ZT is back: take what it had, with the reply. NULL for nothing. */
static struct zuf_op *take_back(struct zuf_channel *ch)
{
	struct zuf_op *op;

	scoped_guard(spinlock, &ch->cpu->lock)
		op = xchg(&ch->op, NULL);
	if (!op)
		return NULL;

	op->at[ZUF_AT_REPLIED] = local_clock();
	take_pages_out(ch, op);
	op->err = copy_reply(ch, op);
	trace_zuf_reply(ch->cpu->nr, ch->no, op);
	return op;
}

/*
 * Let the task of @back go on, and look for the next. True when the ZT has to
 * go back: with *op, or with *err.
 */
static bool look_for_op(struct zuf_channel *ch, struct zuf_op *back,
			struct zuf_op **op, int *err)
{
	struct zuf_cpu *zc = ch->cpu;
	bool stop;

	*op = NULL;
	*err = 0;
	spin_lock(&zc->lock);
	if (back)
		zuf_finish_op(zc, back, back->err);
	set_busy(ch, ch->zapping && !ch->broken);
	if (!ch->broken && !ch->zapping)
		*op = zuf_next_op(zc);
	if (*op) {
		list_del_init(&(*op)->queue);
		(*op)->channel = ch;
		set_busy(ch, true);
	}
	stop = *op || ch->broken;
	if (!stop && signal_pending(current)) {
		*err = -EINTR;
		stop = true;
	}
	ch->idle = !stop && !ch->zapping;
	spin_unlock(&zc->lock);
	return stop;
}

/* Next operation, or NULL with *err set: 0 for a break, -EINTR. */
static struct zuf_op *take_op(struct zuf_channel *ch, struct zuf_op *back,
			      int *err)
{
	struct zuf_op *op;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		if (look_for_op(ch, back, &op, err))
			break;
		back = NULL;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	zuf_window_unmap(&ch->window, ch->stale);
	ch->stale = 0;
	return op;
}

/* Riders follow the command, one behind the other, if there is room. */
static void add_riders(struct zuf_channel *ch, struct zuf_op *op)
{
	struct zufs_ioc_hdr *before = ch->buffer;
	size_t at = op->hdr->in_len;
	struct zuf_notice *rider;

	llist_for_each_entry(rider, op->riders, behind) {
		if (!IS_ALIGNED(at, 8) ||
		    at + rider->hdr.in_len > ch->max_command)
			return;
		memcpy(ch->buffer + at, rider->command, rider->hdr.in_len);
		before->flags |= ZUFS_H_HAS_PIGY_PUT;
		before = ch->buffer + at;
		at += rider->hdr.in_len;
		op->nr_sent++;
	}
}

/* Give the operation to the server, which runs as soon as we return. */
static int start_op(struct zuf_channel *ch, struct zuf_op *op)
{
	struct zufs_ioc_hdr *shared = ch->buffer;
	struct zuf_cpu *zc = ch->cpu;
	int err = 0;

	op->at[ZUF_AT_TAKEN] = local_clock();
	zuf_count_pages(ZUF_PAGES_WINDOW, op->nr_pages);
	if (op->hdr->in_len > ch->max_command)
		err = -EIO;
	else if (op->nr_pages)
		err = zuf_window_map(&ch->window, op->pages, op->nr_pages,
				     op->writable);
	if (!err) {
		memcpy(ch->buffer, op->hdr, op->hdr->in_len);
		add_riders(ch, op);
		trace_zuf_start(zc->nr, ch->no, op);
	}

	scoped_guard(spinlock, &zc->lock) {
		if (!err && !ch->broken) {
			if (op->interrupted)
				shared->flags |= ZUFS_H_INTR;
			op->at[ZUF_AT_GIVEN] = local_clock();
			ch->op = op;
			return 0;
		}
	}

	take_pages_out(ch, op);
	op->nr_sent = 0;
	/* Pushed off its CPU, or without a window: others can do it. */
	if (err == -EXDEV || err == -ENXIO)
		break_channel(ch, false);
	zuf_pass_on(zc, op, READ_ONCE(ch->broken) ? 0 : -EIO);
	return -EIO;
}

/**
 * zuf_channel_wait - WAIT_OPT
 * @ch: the channel
 *
 * Return: 0 with the next operation in the command buffer (ZUFS_OP_BREAK:
 * none will come any more), -EINTR for a signal, -EPERM to whoever is not the
 * ZT, -ENXIO before both mappings are made. A thread that is not bound to its
 * CPU any more is sent home.
 */
int zuf_channel_wait(struct zuf_channel *ch)
{
	struct zuf_op *op, *back;
	int err;

	if (current != ch->zt)
		return -EPERM;
	/* Without a window it never had an operation. */
	if (!zuf_window_ready(&ch->window) && !READ_ONCE(ch->broken))
		return -ENXIO;
	back = take_back(ch);
	if (current->nr_cpus_allowed != 1 ||
	    !cpumask_test_cpu(ch->cpu->nr, current->cpus_ptr))
		break_channel(ch, true);
	do {
		op = take_op(ch, back, &err);
		back = NULL;
		if (!op) {
			if (!err)
				zuf_break_command(ch->buffer);
			return err;
		}
	} while (start_op(ch, op));
	return 0;
}

/* ---- begin of a channel ---- */

static int add_channel(struct zuf_channel *ch)
{
	struct zuf_cpu *zc = ch->cpu;

	scoped_guard(spinlock, &zc->lock) {
		if (zc->channels[ch->no])
			return -EBUSY;
		zc->channels[ch->no] = ch;
		zc->nr_live++;
	}
	return 0;
}

static void free_channel(struct zuf_channel *ch)
{
	if (ch->scratch)
		__free_page(ch->scratch);
	vfree(ch->buffer);
	kfree(ch);
}

static struct zuf_channel *alloc_channel(struct zuf_file *zf,
					 const struct zufs_ioc_init *init)
{
	struct zuf_channel *ch = kzalloc(sizeof(*ch), GFP_KERNEL);
	int cpu = cpumask_first(current->cpus_ptr);

	if (!ch)
		return NULL;
	ch->buffer = vmalloc_user(init->max_command);
	ch->scratch = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!ch->buffer || !ch->scratch) {
		free_channel(ch);
		return NULL;
	}
	ch->max_command = init->max_command;
	ch->no = init->channel_no;
	ch->cpu = per_cpu_ptr(zf->root->cpus, cpu);
	ch->file = zf->file;
	ch->files = current->files;
	ch->zt = current;
	zuf_window_init(&ch->window, zf->file, cpu, window_gone);
	return ch;
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
	struct zuf_root *root = zf->root;
	struct zufs_ioc_init init;
	struct zuf_channel *ch;
	int err;

	if (copy_from_user(&init, arg, sizeof(init)))
		return -EFAULT;
	if (init.channel_no >= min_t(u32, READ_ONCE(channels),
				     ZUFS_MAX_ZT_CHANNELS) ||
	    init.max_command < PAGE_SIZE || init.max_command > ZUF_MAX_COMMAND ||
	    !PAGE_ALIGNED(init.max_command) || current->nr_cpus_allowed != 1)
		return -EINVAL;

	ch = alloc_channel(zf, &init);
	if (!ch)
		return -ENOMEM;
	err = zuf_set_role(zf, ZUF_ROLE_THREAD) ?: add_channel(ch);
	if (err) {
		free_channel(ch);
		return err;
	}
	get_task_struct(ch->zt);
	/* Pairs with file_channel(). */
	smp_store_release(&zf->channel, ch);

	/* Reclaim from here must not come back to where it came from. */
	memalloc_nofs_save();
	if (ch->no >= READ_ONCE(root->nr_channels))
		WRITE_ONCE(root->nr_channels, ch->no + 1);
	if (ch->max_command < READ_ONCE(root->command_size))
		WRITE_ONCE(root->command_size, ch->max_command);
	queue_delayed_work(system_unbound_wq, &root->liveness,
			   ZUF_LIVENESS_PERIOD);
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

	/* Of a process that the file was handed down to, no CPU is kept. */
	if (current->mm != ch->zt->mm)
		return -EPERM;
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
	scoped_guard(spinlock, &ch->cpu->lock)
		ch->cpu->channels[ch->no] = NULL;
	put_task_struct(ch->zt);
	free_channel(ch);
}

/**
 * zuf_current_is_zt - is this a thread that serves operations of a zuf-root
 * @root: the zuf-root
 *
 * Such a one must not wait for an operation itself.
 */
bool zuf_current_is_zt(struct zuf_root *root)
{
	struct zuf_cpu *zc = per_cpu_ptr(root->cpus,
					 cpumask_first(current->cpus_ptr));

	scoped_guard(spinlock, &zc->lock)
		for (unsigned int i = 0; i < ZUFS_MAX_ZT_CHANNELS; i++)
			if (zc->channels[i] && zc->channels[i]->zt == current)
				return true;
	return false;
}

/* ---- CPUs that come and go ---- */

/**
 * zuf_channels_open - make the queues of a zuf-root
 * @root: the zuf-root
 *
 * Return: 0 or -ENOMEM.
 */
int zuf_channels_open(struct zuf_root *root)
{
	struct zuf_cpu *zc;
	int cpu;

	root->cpus = alloc_percpu(struct zuf_cpu);
	if (!root->cpus)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		zc = per_cpu_ptr(root->cpus, cpu);
		spin_lock_init(&zc->lock);
		INIT_LIST_HEAD(&zc->queue);
		INIT_LIST_HEAD(&zc->urgent);
		zc->nr = cpu;
	}
	root->command_size = ZUF_MAX_COMMAND;
	INIT_DELAYED_WORK(&root->liveness, check_liveness);
	scoped_guard(mutex, &roots_mutex)
		list_add(&root->list, &roots);
	return 0;
}

/**
 * zuf_channels_close - its last file is gone: no ZT will come any more
 * @root: the zuf-root
 */
void zuf_channels_close(struct zuf_root *root)
{
	scoped_guard(mutex, &roots_mutex)
		list_del(&root->list);
	cancel_delayed_work_sync(&root->liveness);
}

static int cpu_down_prepare(unsigned int cpu)
{
	struct zuf_root *root;

	guard(mutex)(&roots_mutex);
	list_for_each_entry(root, &roots, list)
		break_cpu(per_cpu_ptr(root->cpus, cpu));
	return 0;
}

static int zuf_hotplug_state;

int __init zuf_channels_start(void)
{
	zuf_hotplug_state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN,
						      "fs/zuf:online", NULL,
						      cpu_down_prepare);
	return min(zuf_hotplug_state, 0);
}

void zuf_channels_stop(void)
{
	cpuhp_remove_state_nocalls(zuf_hotplug_state);
}
