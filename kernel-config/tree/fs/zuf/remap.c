// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clone, dedupe and copy inside one file system.
 */

#include <linux/fs.h>
#include <linux/splice.h>
#include <linux/wait_bit.h>
#include "zuf.h"

static int send_clone(struct inode *src, loff_t pos_in, struct inode *dst,
		      loff_t pos_out, u64 len, unsigned int operation)
{
	struct zufs_ioc_clone ioc = {
		.src_zus_ii = ZUF_I(src)->zus_ii,
		.dst_zus_ii = ZUF_I(dst)->zus_ii,
		.pos_in = pos_in,
		.pos_out = pos_out,
		.len = len,
		.len_up = round_up(len, ZUF_BLOCK_SIZE),
	};
	struct llist_node *put = zuf_take_put(src);
	int err;

	zuf_drop_gap(dst, pos_out);
	/* Not every server lets more than one ride along. */
	if (put)
		zuf_tell(llist_entry(put, struct zuf_notice, behind));
	zuf_extents_block(src, 0, LLONG_MAX, false);
	zuf_extents_block(dst, 0, LLONG_MAX, false);
	err = zuf_call(dst, operation, &ioc.hdr, sizeof(ioc), 0);
	zuf_extents_unblock(dst);
	zuf_extents_unblock(src);
	/* What was done before it failed has been done. */
	return zuf_inode_refresh(dst) ?: err;
}

/* What is mapped of the blocks that the server is about to replace. */
static void drop_pages(struct inode *inode, loff_t pos, loff_t len)
{
	guard(mutex)(&ZUF_SB(inode->i_sb)->sharing);
	truncate_pagecache_range(inode, round_down(pos, PAGE_SIZE),
				 round_up(pos + len, PAGE_SIZE) - 1);
}

static void unlock_both(struct inode *a, struct inode *b)
{
	filemap_invalidate_unlock_two(a->i_mapping, b->i_mapping);
	unlock_two_nondirectories(a, b);
}

/* Nobody may have I/O under way on mapped blocks of either file. */
static int lock_both(struct inode *a, struct inode *b)
{
	struct page *page;
	int err;

	for (;;) {
		lock_two_nondirectories(a, b);
		filemap_invalidate_lock_two(a->i_mapping, b->i_mapping);
		page = dax_layout_busy_page(a->i_mapping) ?:
		       dax_layout_busy_page(b->i_mapping);
		if (!page)
			return 0;
		unlock_both(a, b);
		err = wait_var_event_killable(&page->_refcount,
					      atomic_read(&page->_refcount) == 1);
		if (err)
			return err;
	}
}

static int prepare(struct file *in, loff_t pos_in, struct file *out,
		   loff_t pos_out, loff_t *len, unsigned int flags)
{
	if (ZUF_SB(file_inode(in)->i_sb)->t1->is_memory) {
		if (flags & REMAP_FILE_DEDUP)
			return -EOPNOTSUPP;
		return generic_remap_file_range_prep(in, pos_in, out, pos_out,
						     len, flags);
	}
	return dax_remap_file_range_prep(in, pos_in, out, pos_out, len, flags,
					 &zuf_compare_iomap_ops);
}

/* Both inodes are locked. Returns the bytes done. */
static loff_t do_remap(struct file *in, loff_t pos_in, struct file *out,
		       loff_t pos_out, loff_t len, unsigned int flags)
{
	struct inode *src = file_inode(in), *dst = file_inode(out);
	int err = prepare(in, pos_in, out, pos_out, &len, flags);

	if (err || !len)
		return err;
	/* What is mapped of the source became read-only as it was flushed. */
	drop_pages(dst, pos_out, len);
	unmap_mapping_range(src->i_mapping, pos_in, round_up(len, PAGE_SIZE), 0);
	err = send_clone(src, pos_in, dst, pos_out, len, ZUFS_OP_CLONE);
	return err ? err : len;
}

/**
 * zuf_remap_file_range - FICLONERANGE, FIDEDUPERANGE and their kind
 * @in: source
 * @pos_in: position there
 * @out: destination
 * @pos_out: position there
 * @len: bytes, 0 for all
 * @flags: REMAP_FILE_*
 *
 * Return: bytes done, or -errno.
 */
loff_t zuf_remap_file_range(struct file *in, loff_t pos_in, struct file *out,
			    loff_t pos_out, loff_t len, unsigned int flags)
{
	struct inode *src = file_inode(in), *dst = file_inode(out);
	loff_t ret;

	if (flags & ~(REMAP_FILE_DEDUP | REMAP_FILE_ADVISORY))
		return -EINVAL;
	ret = lock_both(src, dst);
	if (ret)
		return ret;
	ret = do_remap(in, pos_in, out, pos_out, len, flags);
	unlock_both(src, dst);
	return ret > 0 ? zuf_sync_changed(out, pos_out, ret) ?: ret : ret;
}

/* Bytes that one operation copies, so that others have their turn. */
#define ZUF_COPY_AT_ONCE	SZ_16M

/* Both inodes are locked. Returns the bytes done. */
static ssize_t do_copy(struct file *in, loff_t pos_in, struct file *out,
		       loff_t pos_out, size_t len)
{
	struct inode *src = file_inode(in), *dst = file_inode(out);
	size_t done = 0, part;
	int err;

	/* The size may have changed since VFS looked. */
	if (pos_in >= i_size_read(src))
		return 0;
	len = min_t(u64, len, i_size_read(src) - pos_in);
	err = file_modified(out);
	while (!err && done < len && !fatal_signal_pending(current)) {
		part = min_t(size_t, len - done, ZUF_COPY_AT_ONCE);
		drop_pages(dst, pos_out + done, part);
		err = send_clone(src, pos_in + done, dst, pos_out + done, part,
				 ZUFS_OP_COPY);
		if (!err)
			done += part;
	}
	return done ?: err;
}

/**
 * zuf_copy_file_range - copy_file_range(2)
 * @in: source
 * @pos_in: position there
 * @out: destination
 * @pos_out: position there
 * @len: bytes
 * @flags: 0
 *
 * Shares blocks where that can be, else the server copies.
 *
 * Return: bytes done, or -errno.
 */
ssize_t zuf_copy_file_range(struct file *in, loff_t pos_in, struct file *out,
			    loff_t pos_out, size_t len, unsigned int flags)
{
	struct inode *src = file_inode(in), *dst = file_inode(out);
	ssize_t ret;

	if (src->i_sb != dst->i_sb)
		return splice_copy_file_range(in, pos_in, out, pos_out, len);
	ret = zuf_remap_file_range(in, pos_in, out, pos_out, len,
				   REMAP_FILE_CAN_SHORTEN);
	if (ret > 0)
		return ret;
	ret = lock_both(src, dst);
	if (ret)
		return ret;
	ret = do_copy(in, pos_in, out, pos_out, len);
	unlock_both(src, dst);
	if (ret == -EOPNOTSUPP)
		return splice_copy_file_range(in, pos_in, out, pos_out, len);
	return ret > 0 ? zuf_sync_changed(out, pos_out, ret) ?: ret : ret;
}
