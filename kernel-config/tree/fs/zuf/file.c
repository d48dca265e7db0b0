// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files: what is neither reading, writing nor mapping.
 */

#include <linux/fs.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include "zuf.h"

/* ---- changes of the block map ---- */

static void wait_unlocked(struct inode *inode)
{
	filemap_invalidate_unlock(inode->i_mapping);
	schedule();
	filemap_invalidate_lock(inode->i_mapping);
}

/**
 * zuf_break_layouts - wait until nobody does I/O on mapped blocks of a file
 * @inode: the file, i_rwsem and invalidate_lock held for write; the latter is
 *	dropped while waiting
 * @state: to wait in
 *
 * Return: 0 or, depending on @state, -ERESTARTSYS.
 */
int zuf_break_layouts(struct inode *inode, unsigned int state)
{
	struct page *page;
	int err = 0;

	while (!err) {
		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			break;
		err = ___wait_var_event(&page->_refcount,
					atomic_read(&page->_refcount) == 1,
					state, 0, 0, wait_unlocked(inode));
	}
	return err;
}

/**
 * zuf_send_change - tell the server to change the block map of a file
 * @inode: the file, i_rwsem held for write, what is known of its blocks stopped
 * @mode: FALLOC_FL_* or ZUFS_FL_*
 * @from: first byte
 * @to: behind the last
 *
 * Return: 0 or -errno.
 */
int zuf_send_change(struct inode *inode, u64 mode, loff_t from, loff_t to)
{
	struct zufs_ioc_IO ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.filepos = from,
		.rw = mode,
		.last_pos = to,
	};
	struct zuf_op op = {
		.riders = zuf_take_put(inode),
		/* What is given back is nobody's wish: a task may be dying. */
		.must_run = mode == ZUFS_FL_DROP_AHEAD,
	};
	int err;

	zuf_op_init(&op, ZUFS_OP_FALLOCATE, &ioc.hdr, sizeof(ioc),
		    offsetof(struct zufs_ioc_IO, ret_flags));
	err = zuf_dispatch(ZUF_SB(inode->i_sb), &op);
	if (!err && !zuf_ret_flags_ok(ioc.ret_flags))
		err = zuf_bad_reply(ZUF_SB(inode->i_sb), "answer to fallocate");
	return err;
}

/* What applications have mapped of the range that changes. */
static void drop_range(struct inode *inode, u64 mode, loff_t from, loff_t to)
{
	loff_t end = round_up(to, PAGE_SIZE) - 1;

	guard(mutex)(&ZUF_SB(inode->i_sb)->sharing);
	/* Behind the end not even private copies stay. */
	if (mode & ZUFS_FL_TRUNCATE)
		unmap_mapping_range(inode->i_mapping, round_up(to, PAGE_SIZE),
				    0, 1);
	if (mode & (ZUFS_FL_TRUNCATE | FALLOC_FL_COLLAPSE_RANGE |
		    FALLOC_FL_INSERT_RANGE))
		end = LLONG_MAX;
	truncate_pagecache_range(inode, from, end);
}

/**
 * zuf_change_blocks - have the server change the block map of a file
 * @inode: the file, i_rwsem held for write
 * @mode: FALLOC_FL_*, or ZUFS_FL_TRUNCATE to make @from the size
 * @from: first byte
 * @to: behind the last
 *
 * Faults wait meanwhile, and find the new blocks afterwards.
 *
 * Return: 0 or -errno.
 */
int zuf_change_blocks(struct inode *inode, u64 mode, loff_t from, loff_t to)
{
	struct address_space *mapping = inode->i_mapping;
	/* Growing changes the block that had the end, too. */
	loff_t first = round_down(min(from, i_size_read(inode)), PAGE_SIZE);
	int err;

	zuf_drop_ahead(inode);
	guard(zuf_invalidate)(mapping);
	err = zuf_break_layouts(inode, TASK_INTERRUPTIBLE);
	if (err)
		return err;
	/* Stores through mappings go to the old blocks: stop them first. */
	unmap_mapping_range(mapping, first, 0, 0);
	err = filemap_write_and_wait_range(mapping, first, LLONG_MAX);
	if (err)
		return err;
	/* The server may give away what it takes out of this file. */
	if (mode & ~(u64)FALLOC_FL_KEEP_SIZE)
		drop_range(inode, mode, first, to);
	zuf_extents_block(inode, 0, LLONG_MAX, false);
	err = zuf_send_change(inode, mode, from, to);
	zuf_extents_unblock(inode);
	return zuf_inode_refresh(inode) ?: err;
}

#define ZUF_FALLOC_MODES	(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | \
				 FALLOC_FL_ZERO_RANGE | \
				 FALLOC_FL_COLLAPSE_RANGE | \
				 FALLOC_FL_INSERT_RANGE | \
				 FALLOC_FL_UNSHARE_RANGE)

/* What holds for all file systems. */
static int check_fallocate(struct inode *inode, int mode, loff_t offset,
			   loff_t len)
{
	loff_t size = i_size_read(inode);

	if (mode & ~ZUF_FALLOC_MODES)
		return -EOPNOTSUPP;
	if ((mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) &&
	    (!IS_ALIGNED(offset | len, ZUF_BLOCK_SIZE) || offset >= size))
		return -EINVAL;
	if ((mode & FALLOC_FL_COLLAPSE_RANGE) && offset + len >= size)
		return -EINVAL;
	if ((mode & FALLOC_FL_INSERT_RANGE) &&
	    len > inode->i_sb->s_maxbytes - size)
		return -EFBIG;
	if (!(mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE |
		      FALLOC_FL_INSERT_RANGE)) && offset + len > size)
		return inode_newsize_ok(inode, offset + len);
	return 0;
}

static long zuf_fallocate(struct file *file, int mode, loff_t offset,
			  loff_t len)
{
	struct inode *inode = file_inode(file);
	long err;

	if (!S_ISREG(inode->i_mode))
		return -EOPNOTSUPP;
	inode_lock(inode);
	err = check_fallocate(inode, mode, offset, len) ?:
	      file_modified(file) ?:
	      zuf_change_blocks(inode, mode, offset, offset + len);
	inode_unlock(inode);
	return err ?: zuf_sync_changed(file, offset, len);
}

/* ---- making it persistent ---- */

/**
 * zuf_fsync - fsync(2) of files and directories
 * @file: the file
 * @start: first byte
 * @end: last byte
 * @datasync: metadata only as far as needed to read the data
 *
 * Return: 0 or -errno.
 */
int zuf_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct inode *inode = file_inode(file);
	int err = file_write_and_wait_range(file, start, end);

	if (err)
		return err;
	/* What this CPU copied past its caches. */
	pmem_wmb();
	err = zuf_sync(inode, start, end, datasync ? ZUFS_SF_DATASYNC : 0);
	return file_check_and_advance_wb_err(file) ?: err;
}

/**
 * zuf_sync_changed - make a change persistent if the file was opened for that
 * @file: the file
 * @offset: first byte
 * @len: bytes
 *
 * Return: 0 or -errno.
 */
int zuf_sync_changed(struct file *file, loff_t offset, loff_t len)
{
	if (!(file->f_flags & O_DSYNC) && !IS_SYNC(file_inode(file)))
		return 0;
	return vfs_fsync_range(file, offset, offset + len - 1, 0);
}

static int zuf_writepages(struct address_space *mapping,
			  struct writeback_control *wbc)
{
	struct zuf_t1 *t1 = ZUF_SB(mapping->host->i_sb)->t1;

	if (t1->is_memory)
		return 0;
	return dax_writeback_mapping_range(mapping, t1->devs[0].dax_dev, wbc);
}

const struct address_space_operations zuf_aops = {
	.writepages	= zuf_writepages,
	.dirty_folio	= noop_dirty_folio,
};

/* That something will be needed is told to the server. */
static int zuf_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	struct inode *inode = file_inode(file);
	loff_t size = i_size_read(inode);
	struct zufs_ioc_IO ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.filepos = offset,
		.rw = file->f_mode & FMODE_RANDOM ? ZUFS_RW_RAND : 0,
		.ra.start = offset >> PAGE_SHIFT,
		.ra.prev_pos = file->f_pos,
		.ra.ra_pages = ZUFS_READAHEAD_PAGES,
	};
	int err = generic_fadvise(file, offset, len, advice);

	if (err || advice != POSIX_FADV_WILLNEED || offset >= size)
		return err;
	len = len ? min(len, size - offset) : size - offset;
	ioc.hdr.len = min_t(loff_t, len, SZ_1G);
	/* A hint: that the server can not take it is no error. */
	zuf_call(inode, ZUFS_OP_PRE_READ, &ioc.hdr, sizeof(ioc), 0);
	return 0;
}

static int zuf_file_open(struct inode *inode, struct file *file)
{
	file->f_mode |= FMODE_CAN_ODIRECT;
	if (ZUF_SB(inode->i_sb)->features & ZUFS_FEATURE_EXTENT_CACHE)
		file->f_mode |= FMODE_NOWAIT;
	return generic_file_open(inode, file);
}

const struct file_operations zuf_file_operations = {
	.open		= zuf_file_open,
	.llseek		= zuf_llseek,
	.read_iter	= zuf_read_iter,
	.write_iter	= zuf_write_iter,
	.splice_read	= copy_splice_read,
	.splice_write	= iter_file_splice_write,
	.mmap		= zuf_file_mmap,
	.release	= zuf_file_release,
	.get_unmapped_area = thp_get_unmapped_area,
	.fsync		= zuf_fsync,
	.fallocate	= zuf_fallocate,
	.unlocked_ioctl	= zuf_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.remap_file_range = zuf_remap_file_range,
	.copy_file_range = zuf_copy_file_range,
	.fadvise	= zuf_fadvise,
	.fop_flags	= FOP_MMAP_SYNC | FOP_BUFFER_RASYNC | FOP_BUFFER_WASYNC,
};

const struct inode_operations zuf_file_inode_operations = {
	ZUF_INODE_OPERATIONS,
	ZUF_ACL_AND_FLAGS,
	.fiemap		= zuf_fiemap,
};
