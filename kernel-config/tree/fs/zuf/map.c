// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the blocks of a file are: GET_MULTY and PUT_MULTY, as iomap wants it.
 * Between the two the server neither moves nor frees them.
 */

#include <linux/dax.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "zuf.h"

#define IOM_TYPE_SHIFT		56
#define IOM_DPP_MASK		((1ULL << IOM_TYPE_SHIFT) - 1)

/* As many blocks as one huge page has, if the command buffer takes it. */
static unsigned int blocks_to_ask(loff_t pos, loff_t length)
{
	unsigned int room = (zuf_max_command() -
			     offsetof(struct zufs_ioc_IO, iom_e)) / sizeof(u64);
	u64 blocks = DIV_ROUND_UP(pos + length, ZUF_BLOCK_SIZE) -
		     (pos >> ZUF_BLOCK_SHIFT);

	return min_t(u64, blocks, min_t(u64, room, PTRS_PER_PMD));
}

static size_t io_size(unsigned int blocks)
{
	return max_t(size_t, sizeof(struct zufs_ioc_IO),
		     offsetof(struct zufs_ioc_IO, iom_e) + blocks * sizeof(u64));
}

static struct zufs_ioc_IO *send_get(struct inode *inode, loff_t pos,
				    unsigned int blocks, u64 rw)
{
	size_t out = offsetof(struct zufs_ioc_IO, ret_flags);
	size_t size = io_size(blocks);
	struct zuf_op op = { .room = size };
	struct zufs_ioc_IO *io;
	int err;

	io = kzalloc(size, GFP_NOFS);
	if (!io)
		return ERR_PTR(-ENOMEM);
	op.hdr = &io->hdr;
	io->hdr.operation = ZUFS_OP_GET_MULTY;
	io->hdr.in_len = size;
	io->hdr.out_start = out;
	io->hdr.out_len = size - out;
	io->hdr.out_max = size - out;
	io->hdr.len = blocks << ZUF_BLOCK_SHIFT;
	io->zus_ii = ZUF_I(inode)->zus_ii;
	io->filepos = round_down(pos, ZUF_BLOCK_SIZE);
	io->rw = rw;
	io->ziom.iom_max = blocks;
	err = zuf_dispatch(ZUF_SB(inode->i_sb), &op);
	if (!err)
		return io;
	kfree(io);
	return ERR_PTR(err);
}

static void send_put(struct inode *inode, struct zufs_ioc_IO *io)
{
	struct zufs_ioc_hdr hdr = {
		.operation = ZUFS_OP_PUT_MULTY,
		.in_len = io->hdr.in_len,
		.len = io->hdr.len,
	};
	struct zuf_op op = {
		.hdr = &io->hdr,
		.room = hdr.in_len,
		.must_run = true,
	};

	io->hdr = hdr;
	zuf_dispatch(ZUF_SB(inode->i_sb), &op);
	kfree(io);
}

static u64 iom_block(u64 iom)
{
	return (iom & IOM_DPP_MASK) >> 3;
}

/* 0 is a hole; else it must be a block of T1. */
static bool iom_ok(struct zuf_t1 *t1, u64 iom, bool write)
{
	if (!iom_block(iom))
		return !write && !(iom & ZUF_DPP_POOL_MASK);
	return iom >> IOM_TYPE_SHIFT == IOM_T1_READ &&
	       !(iom & ZUF_DPP_POOL_MASK) && zuf_t1_dev(t1, iom_block(iom));
}

/* How many blocks from the first on lie behind each other. */
static unsigned int contiguous(struct zuf_t1 *t1, const u64 *iom,
			       unsigned int count, bool write)
{
	u64 first = iom_block(iom[0]);
	struct zuf_t1_dev *dev = first ? zuf_t1_dev(t1, first) : NULL;
	unsigned int n;

	for (n = 1; n < count; n++) {
		if (!iom_ok(t1, iom[n], write))
			break;
		if (iom_block(iom[n]) != (dev ? first + n : 0))
			break;
		if (dev && first + n >= dev->first + dev->blocks)
			break;
	}
	return n;
}

static bool mapped_elsewhere(struct inode *inode, struct zuf_t1 *t1,
			     struct zuf_t1_dev *dev, u64 block)
{
	struct address_space *mapping;

	if (t1->is_memory)
		return false;
	mapping = READ_ONCE(pfn_to_page(zuf_t1_pfn(t1, dev, block))->mapping);
	return mapping && mapping != inode->i_mapping;
}

static void fill_iomap(struct inode *inode, struct zuf_t1 *t1,
		       const struct zufs_ioc_IO *io, struct iomap *iomap,
		       bool write)
{
	unsigned int count = contiguous(t1, io->iom_e, io->ziom.iom_n, write);
	u64 block = iom_block(io->iom_e[0]);
	struct zuf_t1_dev *dev;

	iomap->offset = io->filepos;
	iomap->length = (u64)count << ZUF_BLOCK_SHIFT;
	iomap->flags = 0;
	if (!block) {
		iomap->type = IOMAP_HOLE;
		iomap->addr = IOMAP_NULL_ADDR;
		dev = &t1->devs[0];
	} else {
		dev = zuf_t1_dev(t1, block);
		iomap->type = IOMAP_MAPPED;
		iomap->addr = dev->dax_start +
			      ((block - dev->first) << ZUF_BLOCK_SHIFT);
	}
	iomap->bdev = dev->bdev;
	iomap->dax_dev = dev->dax_dev;
	/* Mapped through another file as well: fs/dax has to count users. */
	if (!write && block && mapped_elsewhere(inode, t1, dev, block))
		iomap->flags |= IOMAP_F_SHARED;
	/* A fresh block: its metadata is persistent after a sync only. */
	if (write && (io->ret_flags & ZUFS_RET_NEW))
		iomap->flags |= IOMAP_F_NEW | IOMAP_F_DIRTY;
}

static int begin(struct inode *inode, loff_t pos, loff_t length,
		 struct iomap *iomap, u64 rw)
{
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	bool write = rw & ZUFS_RW_WRITE;
	unsigned int blocks = blocks_to_ask(pos, length);
	struct zufs_ioc_IO *io;

	io = send_get(inode, pos, blocks, rw);
	if (IS_ERR(io))
		return PTR_ERR(io);
	if (!io->ziom.iom_n || io->ziom.iom_n > blocks ||
	    !iom_ok(sbi->t1, io->iom_e[0], write)) {
		zuf_bad_reply(sbi, "blocks of a file");
		send_put(inode, io);
		return -EIO;
	}
	fill_iomap(inode, sbi->t1, io, iomap, write);
	iomap->private = io;
	return 0;
}

static int zuf_read_begin(struct inode *inode, loff_t pos, loff_t length,
			  unsigned int flags, struct iomap *iomap,
			  struct iomap *srcmap)
{
	return begin(inode, pos, length, iomap, ZUFS_RW_MMAP);
}

static int zuf_write_begin(struct inode *inode, loff_t pos, loff_t length,
			   unsigned int flags, struct iomap *iomap,
			   struct iomap *srcmap)
{
	return begin(inode, pos, length, iomap, ZUFS_RW_MMAP | ZUFS_RW_WRITE);
}

static int zuf_iomap_end(struct inode *inode, loff_t pos, loff_t length,
			 ssize_t written, unsigned int flags,
			 struct iomap *iomap)
{
	send_put(inode, iomap->private);
	return 0;
}

/* Faults on mappings that are only read: holes stay holes. */
const struct iomap_ops zuf_read_iomap_ops = {
	.iomap_begin	= zuf_read_begin,
	.iomap_end	= zuf_iomap_end,
};

/* Write faults: what is not there is allocated, what is shared is copied. */
const struct iomap_ops zuf_write_iomap_ops = {
	.iomap_begin	= zuf_write_begin,
	.iomap_end	= zuf_iomap_end,
};
