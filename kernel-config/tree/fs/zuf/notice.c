// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the server has to know whatever becomes of the task that has it to
 * tell: inodes and mappings that are gone, blocks that may move again.
 *
 * As a rule the task tells it itself and waits for the answer. It leaves that
 * to a kernel thread, one for each mount, which tells one thing after the
 * other, when it must not wait (reclaim: the server may be what waits for
 * memory), or when it is about to end and the server does not answer.
 *
 * What is soon done, and nobody waits for, needs no call of its own: an inode
 * that has to be freed is parked, and rides behind the next command of its mount
 * on its CPU. The server does riders first, so that what they free is there for
 * that command. If none comes, the kernel thread tells the server.
 */

#include <linux/hash.h>
#include <linux/wait_bit.h>
#include "zuf.h"

/* What umount grants the server to hear the rest, if it was killed. */
#define ZUF_LAST_WORDS		(10 * HZ)
/* How long something may be parked, and how much on one CPU. */
#define ZUF_PARKED_TIME		max(HZ / 100, 1)
#define ZUF_PARKED_MAX		16

/**
 * struct zuf_parked - what is parked on one CPU
 * @list: of struct zuf_notice, by @behind
 * @count: how many have come since there was none
 * @since: when the first of them came, in jiffies
 */
struct zuf_parked {
	struct llist_head list;
	unsigned int count;
	unsigned long since;
};

/**
 * zuf_new_notice - something that the server has to be told
 * @sbi: the mount
 * @operation: ZUFS_OP_*
 * @size: of the command
 *
 * Return: it, for zuf_tell(), its command zeroed behind the header. Never NULL.
 */
struct zuf_notice *zuf_new_notice(struct zuf_sb_info *sbi,
				  unsigned int operation, size_t size)
{
	struct zuf_notice *notice;

	notice = kzalloc(offsetof(struct zuf_notice, command) + size,
			 GFP_NOFS | __GFP_NOFAIL);
	notice->sbi = sbi;
	notice->hdr.operation = operation;
	notice->hdr.in_len = size;
	return notice;
}

/* False when it was taken back before the server heard of it. */
static bool send(struct zuf_notice *notice)
{
	struct zuf_op op = {
		.hdr = &notice->hdr,
		.room = notice->hdr.in_len,
		.riders = notice->behind.next,
		.must_run = true,
		.patient = current->flags & PF_KTHREAD,
	};

	notice->behind.next = NULL;
	zuf_dispatch(notice->sbi, &op);
	return !op.withdrawn;
}

/**
 * zuf_told - the server knows, or will never
 * @notice: what; freed
 */
void zuf_told(struct zuf_notice *notice)
{
	struct zuf_sb_info *sbi = notice->sbi;

	if (!hlist_unhashed(&notice->leaving)) {
		scoped_guard(spinlock, &sbi->leaving_lock) {
			hlist_del(&notice->leaving);
			atomic_inc(&sbi->left);
		}
		wake_up_var(&sbi->left);
	}
	kfree(notice);
}

static void tell_now(struct work_struct *work)
{
	struct zuf_notice *notice = container_of(work, struct zuf_notice, work);
	struct zuf_sb_info *sbi = notice->sbi;

	send(notice);
	zuf_told(notice);
	if (atomic_dec_and_test(&sbi->nr_notices))
		wake_up_var(&sbi->left);
}

/**
 * zuf_tell_later - have the kernel thread tell the server something
 * @notice: what, and what rides behind it; freed
 */
void zuf_tell_later(struct zuf_notice *notice)
{
	atomic_inc(&notice->sbi->nr_notices);
	INIT_WORK(&notice->work, tell_now);
	queue_work(notice->sbi->notices, &notice->work);
}

/**
 * zuf_tell - tell the server something, if need be later
 * @notice: what, and what rides behind it; freed
 */
void zuf_tell(struct zuf_notice *notice)
{
	/* Not in reclaim, nor in threads of the server, which have NOFS set. */
	if (!(current->flags & (PF_MEMALLOC | PF_MEMALLOC_NOFS)) &&
	    !zuf_in_a_hurry(notice->sbi) && send(notice))
		zuf_told(notice);
	else
		zuf_tell_later(notice);
}

/* ---- parked ---- */

static struct llist_node *unpark(struct zuf_parked *there)
{
	return llist_empty(&there->list) ? NULL : llist_del_all(&there->list);
}

/* Never sleeps. False when there are enough: those go along. */
static bool park(struct zuf_notice *notice)
{
	struct zuf_sb_info *sbi = notice->sbi;
	struct zuf_parked *here = get_cpu_ptr(sbi->parked);
	bool room = llist_empty(&here->list) || here->count < ZUF_PARKED_MAX;

	if (room) {
		here->count++;
		if (llist_add(&notice->behind, &here->list)) {
			here->count = 1;
			WRITE_ONCE(here->since, jiffies);
		}
		queue_delayed_work(sbi->notices, &sbi->unpark, ZUF_PARKED_TIME);
	} else {
		notice->behind.next = unpark(here);
	}
	put_cpu_ptr(sbi->parked);
	return room;
}

/**
 * zuf_add_parked - what is parked on the current CPU rides behind an operation
 * @op: the operation, with a rider at the most
 */
void zuf_add_parked(struct zuf_op *op)
{
	struct llist_node *parked = unpark(raw_cpu_ptr(op->sbi->parked));

	if (op->riders)
		op->riders->next = parked;
	else
		op->riders = parked;
}

/* What has waited for that long. False when there is nothing else. */
static bool tell_parked(struct zuf_sb_info *sbi, unsigned long time)
{
	struct zuf_parked *there;
	struct llist_node *first;
	bool left = false;
	int cpu;

	for_each_possible_cpu(cpu) {
		there = per_cpu_ptr(sbi->parked, cpu);
		if (time_before(jiffies, READ_ONCE(there->since) + time)) {
			left |= !llist_empty(&there->list);
			continue;
		}
		first = unpark(there);
		/* The others ride behind it. */
		if (first)
			zuf_tell(llist_entry(first, struct zuf_notice, behind));
	}
	return left;
}

static void tell_old(struct work_struct *work)
{
	struct zuf_sb_info *sbi = container_of(to_delayed_work(work),
					       struct zuf_sb_info, unpark);

	if (tell_parked(sbi, ZUF_PARKED_TIME))
		queue_delayed_work(sbi->notices, &sbi->unpark, ZUF_PARKED_TIME);
}

/* ---- inodes that leave ---- */

static struct hlist_head *leaving_slot(struct zuf_sb_info *sbi, u64 zus_ii)
{
	return &sbi->leaving[hash_64(zus_ii, ZUF_LEAVING_BITS)];
}

/**
 * zuf_tell_leaving - tell the server that an inode has gone
 * @notice: with the command in evict; freed
 * @may_park: nobody waits for it
 */
void zuf_tell_leaving(struct zuf_notice *notice, bool may_park)
{
	struct zuf_sb_info *sbi = notice->sbi;

	may_park = may_park && (sbi->features & ZUFS_FEATURE_RIDERS) &&
		   (sbi->sb->s_flags & SB_ACTIVE) && !notice->behind.next;
	scoped_guard(spinlock, &sbi->leaving_lock) {
		hlist_add_head(&notice->leaving,
			       leaving_slot(sbi, notice->evict.zus_ii));
		notice->ticket = may_park ? ++sbi->tickets : ULONG_MAX;
	}
	if (!may_park || !park(notice))
		zuf_tell(notice);
}

/* The inode with that cookie, or any with a ticket up to that one. */
static bool is_leaving(struct zuf_sb_info *sbi, struct hlist_head *slot,
		       u64 zus_ii, unsigned long ticket)
{
	struct zuf_notice *notice;

	scoped_guard(spinlock, &sbi->leaving_lock)
		hlist_for_each_entry(notice, slot, leaving)
			if (notice->evict.zus_ii == zus_ii ||
			    notice->ticket <= ticket)
				return true;
	return false;
}

/* All up to that ticket, and @all that waits for the kernel thread? */
static bool is_told(struct zuf_sb_info *sbi, unsigned long ticket, bool all)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(sbi->leaving); i++)
		if (is_leaving(sbi, &sbi->leaving[i], 0, ticket))
			return false;
	return !all || !atomic_read(&sbi->nr_notices);
}

/**
 * zuf_wait_left - wait until the server knows that an inode has gone
 * @sbi: the mount
 * @zus_ii: cookie that the inode had
 *
 * Return: 0, or -ERESTARTSYS for a killed task.
 */
int zuf_wait_left(struct zuf_sb_info *sbi, u64 zus_ii)
{
	struct hlist_head *slot = leaving_slot(sbi, zus_ii);

	if (is_leaving(sbi, slot, zus_ii, 0))
		tell_parked(sbi, 0);
	return wait_var_event_killable(&sbi->left,
				       !is_leaving(sbi, slot, zus_ii, 0));
}

/**
 * zuf_wait_told - wait until the server knows what was parked
 * @sbi: the mount
 * @all: and all else that it has to know
 *
 * Return: false for a task that is about to end, when the server takes long.
 */
bool zuf_wait_told(struct zuf_sb_info *sbi, bool all)
{
	unsigned long ticket = READ_ONCE(sbi->tickets);

	tell_parked(sbi, 0);
	if (!zuf_dying() &&
	    !wait_var_event_killable(&sbi->left, is_told(sbi, ticket, all)))
		return true;
	return all && wait_var_event_timeout(&sbi->left,
					     is_told(sbi, ticket, all),
					     ZUF_LAST_WORDS);
}

/**
 * zuf_notices_init - prepare for what a server has to know
 * @sbi: the mount
 *
 * Return: 0 or -ENOMEM.
 */
int zuf_notices_init(struct zuf_sb_info *sbi)
{
	spin_lock_init(&sbi->leaving_lock);
	INIT_DELAYED_WORK(&sbi->unpark, tell_old);
	sbi->parked = alloc_percpu(struct zuf_parked);
	sbi->notices = alloc_ordered_workqueue("zuf/%s", WQ_MEM_RECLAIM,
					       sbi->sb->s_id);
	return sbi->parked && sbi->notices ? 0 : -ENOMEM;
}

/**
 * zuf_notices_exit - nothing more will be told
 * @sbi: the mount
 */
void zuf_notices_exit(struct zuf_sb_info *sbi)
{
	if (sbi->notices)
		destroy_workqueue(sbi->notices);
	free_percpu(sbi->parked);
}
