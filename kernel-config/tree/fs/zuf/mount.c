// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mount thread: one thread of the server that is told of each mount,
 * umount and remount, one at a time.
 */

#include <linux/sched/signal.h>
#include "zuf.h"

/* What a killed mount(8), and umount(8), grants the server to answer. */
#define ZUF_MOUNT_GRACE		(10 * HZ)
#define ZUF_UMOUNT_GRACE	(30 * HZ)

/**
 * struct zuf_mount_request - what is asked of the mount thread
 * @list: in zuf_mount_thread.requests; the thread has at most the first
 * @zim: the command, room for the options included
 * @size: its size
 * @taken: the thread has it
 * @done: and has answered
 * @err: what
 */
struct zuf_mount_request {
	struct list_head list;
	struct zufs_ioc_mount *zim;
	size_t size;
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

	spin_lock(&mt->lock);
	req = first_request(mt);
	if (!req || !req->taken)
		goto out;
	if (!answer || answer->hdr.err > 0 || answer->hdr.err <= -512) {
		finish_request(mt, req, -EIO);
		goto out;
	}
	/* Fields that a server may set, the rest stays as it was. */
	zmi = &req->zim->zmi;
	zmi->zus_sbi = answer->zmi.zus_sbi;
	zmi->zus_ii = answer->zmi.zus_ii;
	zmi->_zi = answer->zmi._zi;
	zmi->fs_caps = answer->zmi.fs_caps;
	zmi->s_blocksize_bits = answer->zmi.s_blocksize_bits;
	finish_request(mt, req, answer->hdr.err);
out:
	spin_unlock(&mt->lock);
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
 * @root: the zuf-root
 * @file: the file
 *
 * Return: 0, or -EBUSY when another file is the mount thread's.
 */
int zuf_mount_become_thread(struct zuf_root *root, struct file *file)
{
	struct zuf_mount_thread *mt = &root->mount;

	scoped_guard(spinlock, &mt->lock) {
		if (mt->file)
			return mt->file == file ? 0 : -EBUSY;
		mt->file = file;
		mt->breaking = false;
	}
	return 0;
}

/*
 * Copy the next command, as long as it is there: a killed mount(8) may take it
 * back. False when there is none.
 */
static bool next_command(struct zuf_mount_thread *mt, void *page, size_t *size)
{
	struct zuf_mount_request *req;
	struct zufs_ioc_hdr *hdr = page;

	spin_lock(&mt->lock);
	req = first_request(mt);
	if (mt->breaking) {
		*size = sizeof(*hdr);
		memset(hdr, 0, *size);
		hdr->operation = ZUFS_OP_BREAK;
		hdr->in_len = *size;
	} else if (req) {
		*size = req->size;
		memcpy(page, req->zim, *size);
		req->taken = true;
	}
	spin_unlock(&mt->lock);
	return *size;
}

static int give_command(struct zuf_mount_thread *mt,
			struct zufs_ioc_mount __user *arg, void *page)
{
	size_t size = 0;

	if (wait_event_interruptible(mt->thread_wait,
				     next_command(mt, page, &size)))
		return -EINTR;
	if (!copy_to_user(arg, page, size))
		return 0;
	finish_taken(mt, NULL);
	return -EFAULT;
}

/**
 * zuf_mount_wait - MOUNT: take the last answer, sleep for the next request
 * @root: the zuf-root
 * @file: the mount thread's
 * @arg: of the ioctl, one page
 *
 * Return: 0, -EBUSY when another file is the mount thread's, -EINTR, -EFAULT,
 * -ENOMEM.
 */
int zuf_mount_wait(struct zuf_root *root, struct file *file,
		   struct zufs_ioc_mount __user *arg)
{
	void *page __free(kfree) = NULL;
	struct zuf_mount_thread *mt = &root->mount;
	int err;

	err = zuf_mount_become_thread(root, file);
	if (!err)
		err = take_answer(mt, arg);
	if (err)
		return err;
	page = kmalloc(PAGE_SIZE, GFP_KERNEL);
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
 * @operation: ZUFS_M_*
 * @zim: the command; the answer is written to it
 * @size: its size, options included
 *
 * Return: the error of the server, 0 for none; -EIO when there is no server;
 * -EINTR when the task was killed.
 */
int zuf_mount_call(struct zuf_sb_info *sbi, unsigned int operation,
		   struct zufs_ioc_mount *zim, size_t size)
{
	struct zuf_mount_thread *mt = &sbi->root->mount;
	struct zuf_mount_request req = { .zim = zim, .size = size };
	int err;

	zim->hdr.operation = operation;
	zim->hdr.in_len = size;

	err = post_request(mt, sbi, &req);
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
 * @root: the zuf-root
 * @file: the file
 */
void zuf_mount_thread_gone(struct zuf_root *root, struct file *file)
{
	struct zuf_mount_thread *mt = &root->mount;

	if (READ_ONCE(mt->file) != file)
		return;
	zuf_unregister_types(root);
	zuf_server_died(root);

	spin_lock(&mt->lock);
	mt->file = NULL;
	finish_all(mt);
	spin_unlock(&mt->lock);
}
