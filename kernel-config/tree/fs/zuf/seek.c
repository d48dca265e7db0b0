// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a file has data: SEEK_DATA, SEEK_HOLE, FIEMAP.
 */

#include <linux/fiemap.h>
#include "zuf.h"

static loff_t seek_data_hole(struct inode *inode, loff_t offset, int whence)
{
	struct zufs_ioc_seek ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.offset_in = offset,
		.whence = whence,
	};
	loff_t size = i_size_read(inode);
	int err;

	if (offset < 0 || offset >= size)
		return -ENXIO;
	err = zuf_call(inode, ZUFS_OP_LLSEEK, &ioc.hdr, sizeof(ioc),
		       offsetof(struct zufs_ioc_seek, offset_out));
	if (err)
		return err;
	if (ioc.offset_out < offset || ioc.offset_out > size)
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "position of data or hole");
	return ioc.offset_out;
}

/**
 * zuf_llseek - lseek(2)
 * @file: the file
 * @offset: where to
 * @whence: SEEK_*
 *
 * Return: the new position, or -errno.
 */
loff_t zuf_llseek(struct file *file, loff_t offset, int whence)
{
	struct inode *inode = file_inode(file);

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek(file, offset, whence);

	inode_lock_shared(inode);
	offset = seek_data_hole(inode, offset, whence);
	inode_unlock_shared(inode);
	if (offset < 0)
		return offset;
	return vfs_setpos(file, offset, inode->i_sb->s_maxbytes);
}

#define FIEMAP_PAGES	4
#define FIEMAP_EXTENTS	(FIEMAP_PAGES * PAGE_SIZE / sizeof(struct fiemap_extent))

/* Ask for what lies in [*start, end) and move *start behind what came. */
static int fiemap_some(struct inode *inode, struct fiemap_extent_info *info,
		       struct page **pages, struct fiemap_extent *extents,
		       u64 *start, u64 end)
{
	struct zufs_ioc_fiemap ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.start = *start,
		.length = end - *start,
		.flags = info->fi_flags,
		.extents_max = FIEMAP_EXTENTS,
	};
	struct zuf_op op = {
		.pages = pages,
		.nr_pages = FIEMAP_PAGES,
		.writable = true,
	};
	u32 i;
	int err;

	zuf_op_init(&op, ZUFS_OP_FIEMAP, &ioc.hdr, sizeof(ioc),
		    offsetof(struct zufs_ioc_fiemap, extents_mapped));
	ioc.hdr.len = FIEMAP_EXTENTS * sizeof(struct fiemap_extent);
	err = zuf_dispatch(ZUF_SB(inode->i_sb), &op);
	if (err)
		return err;
	if (ioc.extents_mapped > FIEMAP_EXTENTS)
		goto bad;
	for (i = 0; i < ioc.extents_mapped; i++) {
		struct fiemap_extent *e = &extents[i];

		if (!e->fe_length || e->fe_logical >= end ||
		    e->fe_length > U64_MAX - e->fe_logical ||
		    e->fe_logical + e->fe_length <= *start)
			goto bad;
		*start = e->fe_logical + e->fe_length;
		err = fiemap_fill_next_extent(info, e->fe_logical,
					      e->fe_physical, e->fe_length,
					      e->fe_flags);
		if (err || (e->fe_flags & FIEMAP_EXTENT_LAST))
			return err ? err : 1;
	}
	return i < FIEMAP_EXTENTS;
bad:
	return zuf_bad_reply(ZUF_SB(inode->i_sb), "extents");
}

/**
 * zuf_fiemap - FS_IOC_FIEMAP
 * @inode: the file
 * @info: what to fill
 * @start: first byte
 * @len: bytes
 *
 * Return: 0 or -errno.
 */
int zuf_fiemap(struct inode *inode, struct fiemap_extent_info *info, u64 start,
	       u64 len)
{
	struct page *pages[FIEMAP_PAGES];
	unsigned int order = order_base_2(FIEMAP_PAGES);
	struct fiemap_extent *extents;
	int err = fiemap_prep(inode, info, start, &len, FIEMAP_FLAG_XATTR);
	u64 end;

	if (err)
		return err;
	end = start + len;
	extents = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
	if (!extents)
		return -ENOMEM;
	for (unsigned int i = 0; i < FIEMAP_PAGES; i++)
		pages[i] = virt_to_page((void *)extents + i * PAGE_SIZE);

	inode_lock(inode);
	zuf_drop_ahead(inode);
	do {
		err = fiemap_some(inode, info, pages, extents, &start, end);
	} while (!err && start < end && !fatal_signal_pending(current));
	inode_unlock(inode);
	free_pages((unsigned long)extents, order);
	return err < 0 ? err : 0;
}
