// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data: reading, writing, the blocks of a file and where it has some.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <string.h>
#include <unistd.h>
#include "store.h"

/* Blocks are given ahead while there are so many times as many. */
#define AHEAD_SHARE	16

static int do_read(struct zufs_ioc_IO *io, char *window)
{
	struct mount *m = mount_of(io->zus_ii);
	uint64_t pos = io->filepos, end = pos + io->hdr.len;
	char *to = window + io->hdr.offset;
	bool fresh;

	while (pos < end) {
		uint64_t n = BLOCK - pos % BLOCK;
		uint32_t block = get_block(m, number_of(io->zus_ii),
					   pos / BLOCK, false, &fresh);

		if (n > end - pos)
			n = end - pos;
		if (block)
			memcpy(to, m->t1 + block * BLOCK + pos % BLOCK, n);
		else
			memset(to, 0, n);
		to += n;
		pos += n;
	}
	io->last_pos = pos;
	return 0;
}

static int do_write(struct zufs_ioc_IO *io, char *window)
{
	struct mount *m = mount_of(io->zus_ii);
	struct zus_inode *zi = zi_of(m, number_of(io->zus_ii));
	uint64_t pos = io->filepos, end = pos + io->hdr.len;
	const char *from = window + io->hdr.offset;
	bool fresh;

	while (pos < end) {
		uint64_t n = BLOCK - pos % BLOCK;
		uint32_t block = get_block(m, number_of(io->zus_ii),
					   pos / BLOCK, true, &fresh);

		if (!block)
			break;
		if (n > end - pos)
			n = end - pos;
		memcpy(m->t1 + block * BLOCK + pos % BLOCK, from, n);
		from += n;
		pos += n;
	}
	if (pos > zi->i_size)
		zi->i_size = pos;
	io->last_pos = pos;
	return pos > io->filepos ? 0 : -ENOSPC;
}

/*
 * Blocks never move: where extents may be kept, those that no other file has
 * may be overwritten.
 */
static uint64_t make_iom(struct mount *m, uint32_t block)
{
	bool cached = control->features & ZUFS_FEATURE_EXTENT_CACHE;
	uint64_t type = cached && !m->others[block] ? IOM_T1_WRITE : IOM_T1_READ;

	return block ? (type << 56) | ((uint64_t)block << 3) : 0;
}

static uint64_t blocks_of_size(const struct zus_inode *zi)
{
	return (zi->i_size + BLOCK - 1) / BLOCK;
}

/*
 * How many blocks a file gets ahead of its end: as far as it has none, and only
 * while there are many more.
 */
static unsigned int room_ahead(struct mount *m, unsigned int n, uint64_t first,
			       unsigned int wanted)
{
	unsigned int i = 0;
	bool fresh;

	if (control->most_ahead && wanted > control->most_ahead)
		wanted = control->most_ahead;
	if (first < blocks_of_size(zi_of(m, n)) ||
	    blocks_left(m) < AHEAD_SHARE * wanted)
		return 0;
	while (i < wanted && !get_block(m, n, first + i, false, &fresh))
		i++;
	return i;
}

static int do_get_multy(struct zufs_ioc_IO *io)
{
	struct mount *m = mount_of(io->zus_ii);
	bool write = io->rw & ZUFS_RW_WRITE, fresh = false;
	unsigned int i, count = io->hdr.len / BLOCK;
	uint32_t block;

	if (io->rw & ZUFS_RW_AHEAD)
		count = room_ahead(m, number_of(io->zus_ii),
				   io->filepos / BLOCK, count);
	for (i = 0; i < count; i++) {
		block = get_block(m, number_of(io->zus_ii),
				  io->filepos / BLOCK + i, write, &fresh);
		if (write && !block)
			break;
		io->iom_e[i] = make_iom(m, block);
	}
	io->ziom.iom_n = i;
	io->ret_flags = fresh ? ZUFS_RET_NEW : 0;
	return i ? 0 : -ENOSPC;
}

static int truncate_to(struct mount *m, unsigned int n, uint64_t size)
{
	struct zus_inode *zi = zi_of(m, n);
	uint64_t old = zi->i_size;

	if (size < old) {
		drop_blocks(m, n, (size + BLOCK - 1) / BLOCK, MAX_FILE_BLOCKS);
		zero_bytes(m, n, size, (size + BLOCK - 1) / BLOCK * BLOCK);
	} else {
		zero_bytes(m, n, old, (old + BLOCK - 1) / BLOCK * BLOCK);
	}
	zi->i_size = size;
	return 0;
}

/* The file may have grown since the kernel asked for that. */
static int drop_ahead(struct mount *m, unsigned int n, uint64_t from,
		      uint64_t to)
{
	uint64_t end = blocks_of_size(zi_of(m, n));

	from = (from + BLOCK - 1) / BLOCK;
	drop_blocks(m, n, from > end ? from : end, to / BLOCK);
	return 0;
}

static int do_fallocate(struct zufs_ioc_IO *io)
{
	struct mount *m = mount_of(io->zus_ii);
	unsigned int n = number_of(io->zus_ii);
	struct zus_inode *zi = zi_of(m, n);
	uint64_t from = io->filepos, to = io->last_pos, i;
	bool fresh;

	if (io->rw & ZUFS_FL_TRUNCATE)
		return truncate_to(m, n, from);
	if (io->rw & ZUFS_FL_DROP_AHEAD)
		return drop_ahead(m, n, from, to);
	if (io->rw & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
		       FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (io->rw & FALLOC_FL_PUNCH_HOLE) {
		zero_bytes(m, n, from, to);
		drop_blocks(m, n, (from + BLOCK - 1) / BLOCK, to / BLOCK);
		return 0;
	}
	if (io->rw & FALLOC_FL_ZERO_RANGE)
		zero_bytes(m, n, from, to);
	for (i = from / BLOCK; i < (to + BLOCK - 1) / BLOCK; i++)
		if (!get_block(m, n, i, true, &fresh))
			return -ENOSPC;
	if (!(io->rw & FALLOC_FL_KEEP_SIZE) && to > zi->i_size)
		zi->i_size = to;
	return 0;
}

/* Whole blocks, each to a new one in place of what was there. */
static int do_copy(struct zufs_ioc_clone *ioc)
{
	struct mount *m = mount_of(ioc->src_zus_ii);
	unsigned int src = number_of(ioc->src_zus_ii);
	unsigned int dst = number_of(ioc->dst_zus_ii);
	struct zus_inode *zi = zi_of(m, dst);
	uint64_t i, from = ioc->pos_in / BLOCK, to = ioc->pos_out / BLOCK;
	uint32_t block, copy;
	bool fresh;

	if ((ioc->pos_in | ioc->pos_out | ioc->len) % BLOCK)
		return -EOPNOTSUPP;
	for (i = 0; i < ioc->len / BLOCK; i++) {
		block = get_block(m, src, from + i, false, &fresh);
		/* Before the old one goes, so that it is another. */
		copy = alloc_block(m);
		if (!copy)
			return -ENOSPC;
		drop_blocks(m, dst, to + i, to + i + 1);
		if (block)
			memcpy(m->t1 + copy * BLOCK, m->t1 + block * BLOCK,
			       BLOCK);
		set_block(m, dst, to + i, copy);
		/* What has been copied is part of the file, whatever follows. */
		if (zi->i_size < (to + i + 1) * BLOCK)
			zi->i_size = (to + i + 1) * BLOCK;
	}
	return 0;
}

/* Blocks that both files have from now on, until one of them writes. */
static int do_clone(struct zufs_ioc_clone *ioc)
{
	struct mount *m = mount_of(ioc->src_zus_ii);
	unsigned int src = number_of(ioc->src_zus_ii);
	unsigned int dst = number_of(ioc->dst_zus_ii);
	struct zus_inode *zi = zi_of(m, dst);
	uint64_t i, from = ioc->pos_in / BLOCK, to = ioc->pos_out / BLOCK;

	if (!control->knows_clone)
		return -EOPNOTSUPP;
	for (i = 0; i < ioc->len_up / BLOCK; i++)
		share_block(m, src, from + i, dst, to + i);
	if (zi->i_size < ioc->pos_out + ioc->len)
		zi->i_size = ioc->pos_out + ioc->len;
	return 0;
}

static int do_seek(struct zufs_ioc_seek *ioc)
{
	struct mount *m = mount_of(ioc->zus_ii);
	unsigned int n = number_of(ioc->zus_ii);
	uint64_t size = zi_of(m, n)->i_size, pos = ioc->offset_in;
	bool fresh;

	/* It lies where lies may have changed it: not without end. */
	if (size > MAX_FILE_BLOCKS * BLOCK)
		size = MAX_FILE_BLOCKS * BLOCK;
	for (; pos < size; pos = (pos / BLOCK + 1) * BLOCK)
		if (!!get_block(m, n, pos / BLOCK, false, &fresh) ==
		    (ioc->whence == SEEK_DATA))
			break;
	if (pos >= size) {
		if (ioc->whence == SEEK_DATA)
			return -ENXIO;
		pos = size;
	}
	ioc->offset_out = pos;
	return 0;
}

/* Extents are single blocks. */
static int do_fiemap(struct zufs_ioc_fiemap *ioc, char *window)
{
	struct fiemap_extent *extents = (void *)(window + ioc->hdr.offset);
	struct mount *m = mount_of(ioc->zus_ii);
	unsigned int n = number_of(ioc->zus_ii);
	uint64_t i, end = ioc->start + ioc->length;
	uint32_t block, found = 0;
	bool fresh;

	/* Attributes lie in no blocks here. */
	if (ioc->flags & FIEMAP_FLAG_XATTR)
		end = 0;
	for (i = ioc->start / BLOCK; i < MAX_FILE_BLOCKS && i * BLOCK < end;
	     i++) {
		block = get_block(m, n, i, false, &fresh);
		if (!block)
			continue;
		if (found == ioc->extents_max)
			break;
		memset(&extents[found], 0, sizeof(extents[found]));
		extents[found].fe_logical = i * BLOCK;
		extents[found].fe_physical = block * BLOCK;
		extents[found++].fe_length = BLOCK;
	}
	ioc->extents_mapped = found;
	return 0;
}

int serve_data(struct zufs_ioc_hdr *hdr, char *window)
{
	void *ioc = hdr;

	switch (hdr->operation) {
	case ZUFS_OP_READ:
		return do_read(ioc, window);
	case ZUFS_OP_WRITE:
		return do_write(ioc, window);
	case ZUFS_OP_GET_MULTY:
		return do_get_multy(ioc);
	case ZUFS_OP_FALLOCATE:
		return do_fallocate(ioc);
	case ZUFS_OP_CLONE:
		return do_clone(ioc);
	case ZUFS_OP_COPY:
		return do_copy(ioc);
	case ZUFS_OP_LLSEEK:
		return do_seek(ioc);
	case ZUFS_OP_FIEMAP:
		return do_fiemap(ioc, window);
	default:
		return -EOPNOTSUPP;
	}
}
