// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the blocks of a file are: GET_MULTY and PUT_MULTY, and what iomap
 * makes of it. Between the two the server neither moves nor frees the blocks.
 */

#include <linux/iomap.h>
#include <linux/sched/mm.h>
#include "zuf.h"

#define IOM_TYPE_SHIFT		56
#define IOM_DPP_MASK		((1ULL << IOM_TYPE_SHIFT) - 1)

static size_t io_size(unsigned int blocks)
{
	return max_t(size_t, sizeof(struct zufs_ioc_IO),
		     offsetof(struct zufs_ioc_IO, iom_e) + blocks * sizeof(u64));
}

static u64 iom_block(u64 iom)
{
	return (iom & IOM_DPP_MASK) >> 3;
}

/* 0 is a hole; else it must be a block of T1. */
static bool iom_ok(struct zuf_t1 *t1, u64 iom, bool write)
{
	u64 type = iom >> IOM_TYPE_SHIFT;

	if (iom & ZUF_DPP_POOL_MASK)
		return false;
	if (!iom_block(iom))
		return !write;
	return (type == IOM_T1_READ || type == IOM_T1_WRITE) &&
	       zuf_t1_dev(t1, iom_block(iom));
}

static bool reply_ok(struct zuf_t1 *t1, const struct zufs_ioc_IO *io,
		     unsigned int blocks)
{
	if (!io->ziom.iom_n || io->ziom.iom_n > blocks ||
	    !zuf_ret_flags_ok(io->ret_flags))
		return false;
	for (unsigned int i = 0; i < io->ziom.iom_n; i++)
		if (!iom_ok(t1, io->iom_e[i], io->rw & ZUFS_RW_WRITE))
			return false;
	return true;
}

/* Make the command that ends a GET_MULTY of its reply. */
static void make_put(struct zufs_ioc_IO *io)
{
	io->hdr = (struct zufs_ioc_hdr) {
		.operation = ZUFS_OP_PUT_MULTY,
		.in_len = io->hdr.in_len,
		.len = io->hdr.len,
	};
}

/**
 * zuf_get_blocks - ask where blocks of a file are
 * @inode: the file
 * @pos: where to start, rounded down to a block
 * @blocks: how many, at most; as many as the command buffer takes
 * @rw: ZUFS_RW_*; with WRITE the server allocates what is not there
 *
 * Return: the reply, checked, to be given to zuf_put_blocks(), or an ERR_PTR.
 */
struct zufs_ioc_IO *zuf_get_blocks(struct inode *inode, loff_t pos,
				   unsigned int blocks, u64 rw)
{
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	/* Room behind it for what may ride there. */
	unsigned int room = (zuf_max_command(sbi->root) / 2 - io_size(0)) /
			    sizeof(u64);
	struct zuf_notice *put;
	struct zufs_ioc_IO *io;
	int err;

	blocks = min3(blocks, room, (unsigned int)PTRS_PER_PMD);
	put = kzalloc(offsetof(struct zuf_notice, io) + io_size(blocks),
		      GFP_NOFS);
	if (!put)
		return ERR_PTR(-ENOMEM);
	put->sbi = sbi;
	io = &put->io;
	io->hdr.len = blocks << ZUF_BLOCK_SHIFT;
	io->zus_ii = ZUF_I(inode)->zus_ii;
	io->filepos = round_down(pos, ZUF_BLOCK_SIZE);
	io->rw = rw;
	io->ziom.iom_max = blocks;
	err = zuf_call(inode, ZUFS_OP_GET_MULTY, &io->hdr, io_size(blocks),
		       offsetof(struct zufs_ioc_IO, ret_flags));
	if (err) {
		kfree(put);
		return ERR_PTR(err);
	}
	if (reply_ok(sbi->t1, io, blocks))
		return io;
	make_put(io);
	zuf_tell(put);
	return ERR_PTR(zuf_bad_reply(sbi, "blocks of a file"));
}

/**
 * zuf_take_put - the PUT_MULTY that waits to ride behind an operation
 * @inode: of which file
 *
 * To be given to zuf_op.riders of the next operation on that file.
 *
 * Return: it, or NULL.
 */
struct llist_node *zuf_take_put(struct inode *inode)
{
	struct zuf_inode_info *zii = ZUF_I(inode);

	return READ_ONCE(zii->put) ? xchg(&zii->put, NULL) : NULL;
}

/**
 * zuf_call - send a command of fixed size that carries no pages
 * @inode: of the file, or any of the mount
 * @operation: ZUFS_OP_*
 * @hdr: start of the command
 * @size: of the command
 * @out: first byte that the server may change, 0 for none
 *
 * Return: 0, the error of the server, or that of the transport.
 */
int zuf_call(struct inode *inode, unsigned int operation,
	     struct zufs_ioc_hdr *hdr, size_t size, size_t out)
{
	struct zuf_op op = { .riders = zuf_take_put(inode) };

	zuf_op_init(&op, operation, hdr, size, out);
	return zuf_dispatch(ZUF_SB(inode->i_sb), &op);
}

/**
 * zuf_put_blocks - blocks may move again
 * @inode: the file
 * @io: what zuf_get_blocks() returned; freed, sooner or later
 *
 * The server hears of it with the next operation on the file, unless it wants
 * to hear at once.
 */
void zuf_put_blocks(struct inode *inode, struct zufs_ioc_IO *io)
{
	struct llist_node *put = &container_of(io, struct zuf_notice,
					       io)->behind;

	make_put(io);
	if (!(io->ret_flags & (ZUFS_RET_PUT_NOW | ZUFS_RET_LOCKED_PUT)))
		put = xchg(&ZUF_I(inode)->put, put);
	if (put)
		zuf_tell(llist_entry(put, struct zuf_notice, behind));
}

/**
 * zuf_next_blocks - blocks of a reply that lie behind each other
 * @t1: memory of the mount
 * @io: the reply
 * @at: index of the first
 * @run: what lies there; dev is NULL for a hole
 *
 * Return: false when there are no more.
 */
bool zuf_next_blocks(struct zuf_t1 *t1, const struct zufs_ioc_IO *io,
		     unsigned int at, struct zuf_blocks *run)
{
	u64 type, block;
	unsigned int n;

	if (at >= io->ziom.iom_n)
		return false;
	run->block = iom_block(io->iom_e[at]);
	run->dev = run->block ? zuf_t1_dev(t1, run->block) : NULL;
	type = run->dev ? io->iom_e[at] >> IOM_TYPE_SHIFT : 0;
	run->writable = type == IOM_T1_WRITE;
	for (n = 1; at + n < io->ziom.iom_n; n++) {
		block = run->dev ? run->block + n : 0;
		if (iom_block(io->iom_e[at + n]) != block ||
		    (run->dev && (io->iom_e[at + n] >> IOM_TYPE_SHIFT != type ||
				  block >= run->dev->first + run->dev->blocks)))
			break;
	}
	run->count = n;
	return true;
}

/* ---- iomap ---- */

/* Is a block mapped, and not just at this place of this file. */
static bool mapped_elsewhere(struct inode *inode, struct zuf_t1 *t1,
			     const struct zuf_blocks *run, unsigned int n,
			     pgoff_t index)
{
	unsigned long pfn = zuf_t1_pfn(t1, run->dev, run->block + n);
	struct address_space *mapping = READ_ONCE(pfn_to_page(pfn)->mapping);

	return mapping && (mapping != inode->i_mapping ||
			   READ_ONCE(pfn_to_page(pfn)->index) != index);
}

/**
 * zuf_is_mapped_here - does fs/dax know a block as the one at its place
 * @inode: the file
 * @run: blocks
 * @n: which of them
 * @index: its place
 */
bool zuf_is_mapped_here(struct inode *inode, const struct zuf_blocks *run,
			unsigned int n, pgoff_t index)
{
	struct zuf_t1 *t1 = ZUF_SB(inode->i_sb)->t1;

	return pfn_to_page(zuf_t1_pfn(t1, run->dev, run->block + n))->mapping &&
	       !mapped_elsewhere(inode, t1, run, n, index);
}

/*
 * Blocks that are mapped through other files or places as well: fs/dax has to
 * count users. They can not be had for writing. Cuts @run where that changes.
 */
static bool shared_run(struct inode *inode, struct zuf_t1 *t1, pgoff_t index,
		       struct zuf_blocks *run)
{
	unsigned int n;
	bool shared;

	if (!run->dev || t1->is_memory)
		return false;
	shared = mapped_elsewhere(inode, t1, run, 0, index);
	for (n = 1; n < run->count; n++)
		if (mapped_elsewhere(inode, t1, run, n, index + n) != shared)
			break;
	run->count = n;
	return shared;
}

/*
 * What is mapped for writing is read where it is: fs/dax would keep its entry,
 * but put the block of @run into the page table. Cuts @run before such a place.
 */
static bool dirty_has_moved(struct inode *inode, pgoff_t index,
			    struct zuf_blocks *run)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned int n;

	if (!mapping_tagged(mapping, PAGECACHE_TAG_DIRTY))
		return false;
	for (n = 0; n < run->count; n++)
		if (xa_get_mark(&mapping->i_pages, index + n,
				PAGECACHE_TAG_DIRTY) &&
		    (!run->dev ||
		     !zuf_is_mapped_here(inode, run, n, index + n)))
			break;
	if (!n)
		return true;
	run->count = n;
	return false;
}

/*
 * A block that another file may have as well becomes a page of this one, which
 * lasts until the end of the iomap. Memory that is allocated meanwhile must not
 * make inodes go: their pages are given back under the same lock.
 */
static void begin_sharing(struct zuf_sb_info *sbi, struct iomap *iomap)
{
	mutex_lock(&sbi->sharing);
	sbi->sharing_nofs = memalloc_nofs_save();
	iomap->flags |= IOMAP_F_PRIVATE;
}

static void end_sharing(struct zuf_sb_info *sbi, struct iomap *iomap)
{
	if (!(iomap->flags & IOMAP_F_PRIVATE))
		return;
	memalloc_nofs_restore(sbi->sharing_nofs);
	mutex_unlock(&sbi->sharing);
}

static int fill_iomap(struct inode *inode, pgoff_t index,
		      struct zuf_blocks *run, struct iomap *iomap, bool write)
{
	struct zuf_t1 *t1 = ZUF_SB(inode->i_sb)->t1;
	struct zuf_t1_dev *dev = run->dev ?: &t1->devs[0];

	if (!write && dirty_has_moved(inode, index, run))
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "block that is mapped has moved");
	/* With MAP_SYNC: who knows what is persistent before a sync. */
	iomap->flags = write ? IOMAP_F_DIRTY : 0;
	if (run->dev && !run->writable && !write && !t1->is_memory)
		begin_sharing(ZUF_SB(inode->i_sb), iomap);
	if (shared_run(inode, t1, index, run)) {
		if (write)
			return zuf_bad_reply(ZUF_SB(inode->i_sb), "block in use");
		iomap->flags |= IOMAP_F_SHARED;
	}
	iomap->private = NULL;
	iomap->offset = (u64)index << PAGE_SHIFT;
	iomap->length = (u64)run->count << ZUF_BLOCK_SHIFT;
	iomap->type = run->dev ? IOMAP_MAPPED : IOMAP_HOLE;
	iomap->addr = IOMAP_NULL_ADDR;
	iomap->bdev = dev->bdev;
	iomap->dax_dev = dev->dax_dev;
	if (run->dev)
		iomap->addr = dev->dax_start +
			      ((run->block - dev->first) << ZUF_BLOCK_SHIFT);
	return 0;
}

/* With what the server said. Takes @io. */
static int begin(struct inode *inode, struct zufs_ioc_IO *io,
		 struct iomap *iomap, bool write)
{
	struct zuf_blocks run;
	int err;

	if (IS_ERR(io))
		return PTR_ERR(io);
	zuf_next_blocks(ZUF_SB(inode->i_sb)->t1, io, 0, &run);
	err = fill_iomap(inode, io->filepos >> PAGE_SHIFT, &run, iomap, write);
	if (err) {
		zuf_put_blocks(inode, io);
		return err;
	}
	iomap->private = io;
	if (write && (io->ret_flags & ZUFS_RET_NEW))
		iomap->flags |= IOMAP_F_NEW;
	return 0;
}

/* What is known, or else what the server says. */
static int find_blocks(struct inode *inode, loff_t pos, loff_t length,
		       struct iomap *iomap, bool write)
{
	u64 first = pos >> ZUF_BLOCK_SHIFT;
	unsigned int count = min_t(u64, PTRS_PER_PMD,
				   DIV_ROUND_UP(pos + length, ZUF_BLOCK_SIZE) -
				   first);
	u64 rw = write ? ZUFS_RW_MMAP | ZUFS_RW_WRITE : ZUFS_RW_MMAP;
	struct zuf_blocks run;

	if (zuf_extents_find(inode, first, count, write, &run))
		return fill_iomap(inode, first, &run, iomap, write);
	return begin(inode, zuf_get_blocks(inode, pos, count, rw), iomap, write);
}

static int zuf_read_begin(struct inode *inode, loff_t pos, loff_t length,
			  unsigned int flags, struct iomap *iomap,
			  struct iomap *srcmap)
{
	return find_blocks(inode, pos, length, iomap, false);
}

static int zuf_iomap_end(struct inode *inode, loff_t pos, loff_t length,
			 ssize_t written, unsigned int flags,
			 struct iomap *iomap)
{
	end_sharing(ZUF_SB(inode->i_sb), iomap);
	if (iomap->private)
		zuf_put_blocks(inode, iomap->private);
	return 0;
}

/*
 * The same for comparing two files, both locked: nothing moves anyway, and
 * dax_dedupe_file_range_compare() does not end what it began last.
 */
static int zuf_compare_begin(struct inode *inode, loff_t pos, loff_t length,
			     unsigned int flags, struct iomap *iomap,
			     struct iomap *srcmap)
{
	int err = zuf_read_begin(inode, pos, length, flags, iomap, srcmap);

	if (!err)
		zuf_iomap_end(inode, pos, length, 0, flags, iomap);
	return err;
}

/* write_fault() has asked already, if it had to. */
static int zuf_write_begin(struct inode *inode, loff_t pos, loff_t length,
			   unsigned int flags, struct iomap *iomap,
			   struct iomap *srcmap)
{
	struct zufs_ioc_IO *io = ZUF_I(inode)->fault;

	if (io && io->filepos >> ZUF_BLOCK_SHIFT == pos >> ZUF_BLOCK_SHIFT) {
		ZUF_I(inode)->fault = NULL;
		return begin(inode, io, iomap, true);
	}
	return find_blocks(inode, pos, length, iomap, true);
}

/* Faults on mappings that are only read: holes stay holes. */
const struct iomap_ops zuf_read_iomap_ops = {
	.iomap_begin	= zuf_read_begin,
	.iomap_end	= zuf_iomap_end,
};

/* What dedupe compares. */
const struct iomap_ops zuf_compare_iomap_ops = {
	.iomap_begin	= zuf_compare_begin,
};

/* Write faults: what is not there is allocated, what is shared is copied. */
const struct iomap_ops zuf_write_iomap_ops = {
	.iomap_begin	= zuf_write_begin,
	.iomap_end	= zuf_iomap_end,
};
