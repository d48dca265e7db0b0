// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mount thread: one thread of the server that is told of each mount,
 * umount and remount, one at a time.
 */

#include "zuf.h"

/* What a killed mount(8), and umount(8), grants the server to answer. */
#define ZUF_MOUNT_GRACE		(10 * HZ)
#define ZUF_UMOUNT_GRACE	(30 * HZ)

/**
 * struct zuf_mount_request - what is asked of the mount thread
 * @list: in zuf_mount_thread.requests; the thread has at most the first
 * @zim: the command, room for the options included
 * @taken: the thread has it
 * @done: and has answered
 * @err: what
 */
struct zuf_mount_request {
	struct list_head list;
	struct zufs_ioc_mount *zim;
	bool taken;
	bool done;
	int err;
};

void zuf_mount_init(struct zuf_mount_thread *mt)
{
	spin_lock_init(&mt->lock);
	INIT_LIST_HEAD(&mt->requests);
	init_waitqueue_head(&mt->thread_wait);
	init_waitqueue_head(&mt->request_wait);
}

static void finish_request(struct zuf_mount_thread *mt,
			   struct zuf_mount_request *req, int err)
{
	lockdep_assert_held(&mt->lock);
	list_del(&req->list);
	req->err = err;
	req->done = true;
	wake_up_all(&mt->request_wait);
}

static void finish_all(struct zuf_mount_thread *mt)
{
	struct zuf_mount_request *req, *next;

	list_for_each_entry_safe(req, next, &mt->requests, list)
		finish_request(mt, req, -EIO);
}

static struct zuf_mount_request *first_request(struct zuf_mount_thread *mt)
{
	return list_first_entry_or_null(&mt->requests,
					struct zuf_mount_request, list);
}

/* What the thread has, if anything. Without an answer it was not to be had. */
static void finish_taken(struct zuf_mount_thread *mt,
			 const struct zufs_ioc_mount *answer)
{
	struct zuf_mount_request *req;
	struct zufs_mount_info *zmi;

	scoped_guard(spinlock, &mt->lock) {
		req = first_request(mt);
		if (!req || !req->taken)
			return;
		if (!answer || answer->hdr.err > 0 || answer->hdr.err <= -512) {
			finish_request(mt, req, -EIO);
			return;
		}
		/* Fields that a server may set, the rest stays as it was. */
		zmi = &req->zim->zmi;
		zmi->zus_sbi = answer->zmi.zus_sbi;
		zmi->zus_ii = answer->zmi.zus_ii;
		zmi->_zi = answer->zmi._zi;
		zmi->fs_caps = answer->zmi.fs_caps;
		zmi->s_blocksize_bits = answer->zmi.s_blocksize_bits;
		finish_request(mt, req, answer->hdr.err);
	}
}

/* What the thread brings back, if it had something. */
static int take_answer(struct zuf_mount_thread *mt,
		       struct zufs_ioc_mount __user *arg)
{
	struct zufs_ioc_mount answer;

	if (copy_from_user(&answer, arg, sizeof(answer)))
		return -EFAULT;
	finish_taken(mt, &answer);
	return 0;
}

/**
 * zuf_mount_become_thread - a file registers types or waits for mounts
 * @zf: the file
 *
 * Return: 0, or -EBUSY when another file is the mount thread's.
 */
int zuf_mount_become_thread(struct zuf_file *zf)
{
	struct zuf_mount_thread *mt = &zf->root->mount;

	scoped_guard(spinlock, &mt->lock) {
		if (mt->file)
			return mt->file == zf->file ? 0 : -EBUSY;
		mt->file = zf->file;
		mt->breaking = false;
	}
	return 0;
}

/*
 * Copy the next command to @hdr, where zeroes are, as long as it is there: a
 * killed mount(8) may take it back. False when there is none.
 */
static bool next_command(struct zuf_mount_thread *mt, struct zufs_ioc_hdr *hdr)
{
	struct zuf_mount_request *req;

	spin_lock(&mt->lock);
	req = first_request(mt);
	if (mt->breaking) {
		zuf_break_command(hdr);
	} else if (req) {
		memcpy(hdr, req->zim, req->zim->hdr.in_len);
		req->taken = true;
	}
	spin_unlock(&mt->lock);
	return hdr->in_len;
}

static int give_command(struct zuf_mount_thread *mt,
			struct zufs_ioc_mount __user *arg,
			struct zufs_ioc_hdr *hdr)
{
	if (wait_event_interruptible(mt->thread_wait, next_command(mt, hdr)))
		return -EINTR;
	if (!copy_to_user(arg, hdr, hdr->in_len))
		return 0;
	finish_taken(mt, NULL);
	return -EFAULT;
}

/**
 * zuf_mount_wait - MOUNT: take the last answer, sleep for the next request
 * @zf: the mount thread's
 * @arg: of the ioctl, one page
 *
 * Return: 0, -EBUSY when another file is the mount thread's, -EINTR, -EFAULT,
 * -ENOMEM.
 */
int zuf_mount_wait(struct zuf_file *zf, struct zufs_ioc_mount __user *arg)
{
	void *page __free(kfree) = NULL;
	struct zuf_mount_thread *mt = &zf->root->mount;
	int err = zuf_mount_become_thread(zf) ?: take_answer(mt, arg);

	if (err)
		return err;
	page = kzalloc(PAGE_SIZE, GFP_KERNEL);
	return page ? give_command(mt, arg, page) : -ENOMEM;
}

static int post_request(struct zuf_mount_thread *mt, struct zuf_sb_info *sbi,
			struct zuf_mount_request *req)
{
	scoped_guard(spinlock, &mt->lock) {
		if (!mt->file || mt->breaking || READ_ONCE(sbi->dead))
			return -EIO;
		list_add_tail(&req->list, &mt->requests);
		wake_up(&mt->thread_wait);
	}
	return 0;
}

/* The one who asked was killed. @force: also if the thread has the request. */
static bool withdraw_request(struct zuf_mount_thread *mt,
			     struct zuf_mount_request *req, bool force)
{
	scoped_guard(spinlock, &mt->lock)
		if (!req->done && (force || !req->taken))
			finish_request(mt, req, -EINTR);
	return READ_ONCE(req->done);
}

/*
 * A killed task gives up. What the server works at gets some time, and so does
 * an umount, which it should hear of: with it goes the memory that the server
 * may have in hand.
 */
static void wait_for_request(struct zuf_mount_thread *mt,
			     struct zuf_mount_request *req)
{
	bool umount = req->zim->hdr.operation == ZUFS_M_UMOUNT;

	if ((zuf_dying() ||
	     wait_event_killable(mt->request_wait, READ_ONCE(req->done))) &&
	    (umount || !withdraw_request(mt, req, false)) &&
	    !wait_event_timeout(mt->request_wait, READ_ONCE(req->done),
				umount ? ZUF_UMOUNT_GRACE : ZUF_MOUNT_GRACE))
		withdraw_request(mt, req, true);
	/* Whoever finished it has left it alone once the lock is free. */
	spin_lock(&mt->lock);
	spin_unlock(&mt->lock);
}

/**
 * zuf_mount_call - have the mount thread do something
 * @sbi: the mount
 * @zim: the command, header and all; the answer is written to it
 *
 * Return: the error of the server, 0 for none; -EIO when there is no server;
 * -EINTR when the task was killed.
 */
int zuf_mount_call(struct zuf_sb_info *sbi, struct zufs_ioc_mount *zim)
{
	struct zuf_mount_thread *mt = &sbi->root->mount;
	struct zuf_mount_request req = { .zim = zim };
	int err = post_request(mt, sbi, &req);

	if (err)
		return err;
	wait_for_request(mt, &req);
	return req.err;
}

/**
 * zuf_mount_break - BREAK_ALL for the mount thread
 * @root: the zuf-root
 */
void zuf_mount_break(struct zuf_root *root)
{
	struct zuf_mount_thread *mt = &root->mount;

	spin_lock(&mt->lock);
	mt->breaking = true;
	finish_all(mt);
	wake_up_all(&mt->thread_wait);
	spin_unlock(&mt->lock);
}

/**
 * zuf_mount_thread_gone - a file closes; if it was the mount thread's, the
 * server is no more
 * @zf: the file
 */
void zuf_mount_thread_gone(struct zuf_file *zf)
{
	struct zuf_mount_thread *mt = &zf->root->mount;

	if (READ_ONCE(mt->file) != zf->file)
		return;
	zuf_unregister_types(zf->root);
	zuf_server_died(zf->root);

	spin_lock(&mt->lock);
	mt->file = NULL;
	finish_all(mt);
	spin_unlock(&mt->lock);
}
