// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the server has to know whatever becomes of the task that has it to
 * tell: inodes and mappings that are gone, blocks that may move again.
 *
 * As a rule the task tells it itself and waits for the answer. It leaves that
 * to a kernel thread, one for each mount, which tells one thing after the
 * other, when it must not wait (reclaim: the server may be what waits for
 * memory), or when it is about to end and the server does not answer.
 */

#include <linux/hash.h>
#include <linux/sched/signal.h>
#include <linux/wait_bit.h>
#include "zuf.h"

/* What umount grants the server to hear the rest, if it was killed. */
#define ZUF_LAST_WORDS		(10 * HZ)

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

	notice = kzalloc(max(sizeof(*notice),
			     offsetof(struct zuf_notice, command) + size),
			 GFP_NOFS | __GFP_NOFAIL);
	notice->sbi = sbi;
	notice->hdr.operation = operation;
	notice->hdr.in_len = size;
	return notice;
}

/* False when it was taken back before the server heard of it. */
static bool send(struct zuf_notice *notice, bool patient)
{
	struct zuf_op op = {
		.hdr = &notice->hdr,
		.room = notice->hdr.in_len,
		.put = notice->put,
		.must_run = true,
		.patient = patient,
	};

	notice->put = NULL;
	zuf_dispatch(notice->sbi, &op);
	return !op.withdrawn;
}

static void finish(struct zuf_notice *notice)
{
	struct zuf_sb_info *sbi = notice->sbi;

	if (!hlist_unhashed(&notice->leaving)) {
		spin_lock(&sbi->leaving_lock);
		hlist_del(&notice->leaving);
		atomic_inc(&sbi->left);
		spin_unlock(&sbi->leaving_lock);
		wake_up_var(&sbi->left);
	}
	kfree(notice);
}

static void tell_now(struct work_struct *work)
{
	struct zuf_notice *notice = container_of(work, struct zuf_notice, work);
	struct zuf_sb_info *sbi = notice->sbi;

	send(notice, true);
	finish(notice);
	if (atomic_dec_and_test(&sbi->nr_notices))
		wake_up_var(&sbi->nr_notices);
}

/**
 * zuf_tell - tell the server something, if need be later
 * @notice: what; freed
 */
void zuf_tell(struct zuf_notice *notice)
{
	struct zuf_sb_info *sbi = notice->sbi;

	/* Not in reclaim, nor in threads of the server, which have NOFS set. */
	if (!(current->flags & (PF_MEMALLOC | PF_MEMALLOC_NOFS)) &&
	    !zuf_in_a_hurry(sbi) && send(notice, false)) {
		finish(notice);
		return;
	}
	atomic_inc(&sbi->nr_notices);
	INIT_WORK(&notice->work, tell_now);
	queue_work(sbi->notices, &notice->work);
}

static struct hlist_head *leaving_slot(struct zuf_sb_info *sbi, u64 zus_ii)
{
	return &sbi->leaving[hash_64(zus_ii, ZUF_LEAVING_BITS)];
}

/**
 * zuf_tell_leaving - tell the server that an inode has gone
 * @notice: with the command in evict; freed
 */
void zuf_tell_leaving(struct zuf_notice *notice)
{
	struct zuf_sb_info *sbi = notice->sbi;

	spin_lock(&sbi->leaving_lock);
	hlist_add_head(&notice->leaving,
		       leaving_slot(sbi, notice->evict.zus_ii));
	spin_unlock(&sbi->leaving_lock);
	zuf_tell(notice);
}

static bool is_leaving(struct zuf_sb_info *sbi, u64 zus_ii)
{
	struct zuf_notice *notice;
	bool found = false;

	spin_lock(&sbi->leaving_lock);
	hlist_for_each_entry(notice, leaving_slot(sbi, zus_ii), leaving)
		if (notice->evict.zus_ii == zus_ii)
			found = true;
	spin_unlock(&sbi->leaving_lock);
	return found;
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
	return wait_var_event_killable(&sbi->left, !is_leaving(sbi, zus_ii));
}

/**
 * zuf_wait_told - wait until the server knows all that it has to know
 * @sbi: the mount
 *
 * Return: false for a task that is about to end, when the server takes long.
 */
bool zuf_wait_told(struct zuf_sb_info *sbi)
{
	if (!zuf_dying() &&
	    !wait_var_event_killable(&sbi->nr_notices,
				     !atomic_read(&sbi->nr_notices)))
		return true;
	return wait_var_event_timeout(&sbi->nr_notices,
				      !atomic_read(&sbi->nr_notices),
				      ZUF_LAST_WORDS);
}
