// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mount thread: one thread of the server that is told of each mount,
 * umount and remount, one at a time.
 */

#include <linux/slab.h>
#include <linux/uaccess.h>
#include "zuf.h"

/**
 * struct mount_request - what is asked of the mount thread
 * @zim: the command, room for the options included
 * @size: its size
 * @taken: the thread has it
 * @done: and has answered
 * @err: what
 */
struct mount_request {
	struct zufs_ioc_mount *zim;
	size_t size;
	bool taken;
	bool done;
	int err;
};

static DEFINE_MUTEX(request_mutex);	/* one request at a time */
static DEFINE_SPINLOCK(thread_lock);	/* for all that follows */
static DECLARE_WAIT_QUEUE_HEAD(thread_wait);
static DECLARE_WAIT_QUEUE_HEAD(request_wait);
static struct file *thread_file;
static struct mount_request *request;
static bool thread_break;

static void finish_request(int err)
{
	lockdep_assert_held(&thread_lock);
	if (!request)
		return;
	request->err = err;
	request->done = true;
	request = NULL;
	wake_up_all(&request_wait);
}

/* What the thread brings back, if it had something. */
static int take_answer(struct zufs_ioc_mount __user *arg)
{
	struct zufs_ioc_mount answer;

	if (copy_from_user(&answer, arg, sizeof(answer)))
		return -EFAULT;

	guard(spinlock)(&thread_lock);
	if (!request || !request->taken)
		return 0;
	if (answer.hdr.err > 0 || answer.hdr.err <= -512) {
		finish_request(-EIO);
		return 0;
	}
	/* Fields that a server may set, the rest stays as it was. */
	request->zim->zmi.zus_sbi = answer.zmi.zus_sbi;
	request->zim->zmi.zus_ii = answer.zmi.zus_ii;
	request->zim->zmi._zi = answer.zmi._zi;
	request->zim->zmi.fs_caps = answer.zmi.fs_caps;
	request->zim->zmi.s_blocksize_bits = answer.zmi.s_blocksize_bits;
	finish_request(answer.hdr.err);
	return 0;
}

static int become_thread(struct file *file)
{
	guard(spinlock)(&thread_lock);
	if (thread_file && thread_file != file)
		return -EBUSY;
	if (!thread_file)
		thread_break = false;
	thread_file = file;
	return 0;
}

static bool something_to_do(void)
{
	return READ_ONCE(thread_break) || READ_ONCE(request);
}

/**
 * zuf_mount_wait - MOUNT: take the last answer, sleep for the next request
 * @file: the mount thread's
 * @arg: of the ioctl, one page
 *
 * Return: 0, -EBUSY when another file is the mount thread's, -EINTR, -EFAULT.
 */
int zuf_mount_wait(struct file *file, struct zufs_ioc_mount __user *arg)
{
	struct zufs_ioc_hdr hdr = { .operation = ZUFS_OP_BREAK,
				    .in_len = sizeof(hdr) };
	struct mount_request *req;
	int err;

	err = become_thread(file);
	if (!err)
		err = take_answer(arg);
	if (err)
		return err;

	if (wait_event_interruptible(thread_wait, something_to_do()))
		return -EINTR;

	spin_lock(&thread_lock);
	req = thread_break ? NULL : request;
	if (req)
		req->taken = true;
	spin_unlock(&thread_lock);

	if (!req)
		return copy_to_user(arg, &hdr, sizeof(hdr)) ? -EFAULT : 0;
	/* It stays until this thread, or its end, has finished it. */
	if (!copy_to_user(arg, req->zim, req->size))
		return 0;

	guard(spinlock)(&thread_lock);
	finish_request(-EIO);
	return -EFAULT;
}

/**
 * zuf_mount_call - have the mount thread do something
 * @sbi: the mount
 * @operation: ZUFS_M_*
 * @zim: the command; the answer is written to it
 * @size: its size, options included
 *
 * Return: the error of the server, 0 for none; -EIO when there is no server.
 */
int zuf_mount_call(struct zuf_sb_info *sbi, unsigned int operation,
		   struct zufs_ioc_mount *zim, size_t size)
{
	struct mount_request req = { .zim = zim, .size = size };

	zim->hdr.operation = operation;
	zim->hdr.in_len = size;

	guard(mutex)(&request_mutex);
	spin_lock(&thread_lock);
	if (!thread_file || thread_break || READ_ONCE(sbi->dead)) {
		spin_unlock(&thread_lock);
		return -EIO;
	}
	request = &req;
	wake_up(&thread_wait);
	spin_unlock(&thread_lock);

	wait_event(request_wait, READ_ONCE(req.done));
	/* Whoever finished it has left it alone once the lock is free. */
	spin_lock(&thread_lock);
	spin_unlock(&thread_lock);
	return req.err;
}

/**
 * zuf_mount_break - BREAK_ALL for the mount thread
 */
void zuf_mount_break(void)
{
	guard(spinlock)(&thread_lock);
	thread_break = true;
	finish_request(-EIO);
	wake_up_all(&thread_wait);
}

/**
 * zuf_mount_thread_gone - a file closes; if it was the mount thread's, the
 * server is no more
 * @file: the file
 */
void zuf_mount_thread_gone(struct file *file)
{
	if (READ_ONCE(thread_file) && thread_file != file)
		return;
	zuf_unregister_types();
	zuf_server_died();

	guard(spinlock)(&thread_lock);
	thread_file = NULL;
	finish_request(-EIO);
}
