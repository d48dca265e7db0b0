// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read and write: the application's pages are pinned and mapped in the window
 * of the ZT, where the server copies from or to them. What does not come from
 * user space (splice, loop devices, core dumps) goes through pages of ours.
 */

#include <linux/uio.h>
#include "zuf.h"

#define ZUF_BOUNCE_PAGES	64
#define ZUF_FEW_PAGES		18

/**
 * struct rw_piece - as much of a read or write as fits in the window
 * @pages: what is mapped
 * @nr_pages: how many
 * @offset: first byte in the first page
 * @len: bytes
 * @pinned: the pages are the application's
 */
struct rw_piece {
	struct page **pages;
	unsigned int nr_pages;
	size_t offset;
	size_t len;
	bool pinned;
};

static int pin_piece(struct rw_piece *piece, struct iov_iter *iter, size_t len)
{
	ssize_t got;

	got = iov_iter_extract_pages(iter, &piece->pages, len, ZUF_WINDOW_PAGES,
				     0, &piece->offset);
	if (got <= 0)
		return got ? got : -EFAULT;
	piece->len = got;
	piece->nr_pages = DIV_ROUND_UP(piece->offset + got, PAGE_SIZE);
	piece->pinned = true;
	zuf_count_pages(ZUF_PAGES_PINNED, piece->nr_pages);
	return 0;
}

/* Zeroed: the server must not see what was there before. */
static int alloc_bounce(struct rw_piece *piece, size_t len)
{
	unsigned int count = min_t(size_t, DIV_ROUND_UP(len, PAGE_SIZE),
				   ZUF_BOUNCE_PAGES);

	memset(piece->pages, 0, count * sizeof(*piece->pages));
	piece->nr_pages = alloc_pages_bulk_array(GFP_KERNEL | __GFP_ZERO, count,
						 piece->pages);
	piece->len = min(len, piece->nr_pages * PAGE_SIZE);
	piece->offset = 0;
	piece->pinned = false;
	return piece->nr_pages ? 0 : -ENOMEM;
}

/* Copy between our pages and the iterator. Returns the bytes copied. */
static size_t copy_bounce(struct rw_piece *piece, struct iov_iter *iter,
			  size_t len, bool write)
{
	size_t done = 0, part, copied;

	for (unsigned int i = 0; done < len; i++) {
		part = min_t(size_t, len - done, PAGE_SIZE);
		copied = write ?
			 copy_page_from_iter(piece->pages[i], 0, part, iter) :
			 copy_page_to_iter(piece->pages[i], 0, part, iter);
		done += copied;
		if (copied < part)
			break;
	}
	return done;
}

static int get_piece(struct rw_piece *piece, struct iov_iter *iter, size_t len,
		     bool write)
{
	int err;

	if (user_backed_iter(iter)) {
		err = pin_piece(piece, iter, len);
		/* What is mapped without a struct page can be copied. */
		if (err != -EFAULT)
			return err;
	}
	err = alloc_bounce(piece, len);
	if (err || !write)
		return err;
	piece->len = copy_bounce(piece, iter, piece->len, true);
	if (piece->len)
		return 0;
	release_pages(piece->pages, piece->nr_pages);
	return -EFAULT;
}

/* Give the pages back. @done bytes were transferred; the iterator follows. */
static ssize_t put_piece(struct rw_piece *piece, struct iov_iter *iter,
			 size_t done, bool write)
{
	size_t copied = done;

	if (piece->pinned || write)
		iov_iter_revert(iter, piece->len - done);
	if (piece->pinned) {
		unpin_user_pages_dirty_lock(piece->pages, piece->nr_pages,
					    !write);
		zuf_count_pages(ZUF_PAGES_PINNED, -(long)piece->nr_pages);
		return done;
	}
	if (!write)
		copied = copy_bounce(piece, iter, done, false);
	release_pages(piece->pages, piece->nr_pages);
	return copied < done && !copied ? -EFAULT : copied;
}

static u64 rw_flags(struct kiocb *iocb, bool write)
{
	return (write ? ZUFS_RW_WRITE : 0) |
	       (iocb->ki_flags & IOCB_APPEND ? ZUFS_RW_APPEND : 0) |
	       (iocb->ki_flags & IOCB_DIRECT ? ZUFS_RW_DIRECT : 0) |
	       (iocb->ki_flags & IOCB_HIPRI ? ZUFS_RW_HIPRI : 0) |
	       (iocb_is_dsync(iocb) ? ZUFS_RW_DSYNC : 0) |
	       (iocb->ki_flags & IOCB_SYNC ? ZUFS_RW_SYNC : 0) |
	       (iocb->ki_flags & IOCB_NOWAIT ? ZUFS_RW_NOWAIT : 0) |
	       (iocb->ki_filp->f_mode & FMODE_RANDOM ? ZUFS_RW_RAND : 0);
}

/*
 * Mappings of blocks that a write replaces, or of holes that it fills. They go
 * before: the server may give what it replaced to another file. What it asks to
 * unmap in its answer, all of it in the range that was written, has gone then.
 */
static void drop_mappings(struct inode *inode, loff_t from, loff_t to)
{
	struct address_space *mapping = inode->i_mapping;

	if (mapping_empty(mapping))
		return;
	guard(mutex)(&ZUF_SB(inode->i_sb)->sharing);
	invalidate_inode_pages2_range(mapping, from >> PAGE_SHIFT,
				      (to - 1) >> PAGE_SHIFT);
}

/* One round trip. Returns the bytes that the server did. */
static ssize_t send_piece(struct kiocb *iocb, struct rw_piece *piece,
			  bool write)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	struct zufs_ioc_IO ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.filepos = iocb->ki_pos,
		.rw = rw_flags(iocb, write),
		.last_pos = iocb->ki_pos,
		.ziom.iom_max = ARRAY_SIZE(ioc.iom_e),
	};
	struct zuf_op op = {
		.pages = piece->pages,
		.nr_pages = piece->nr_pages,
		.writable = !write,
		.riders = zuf_take_put(inode),
	};
	int err;

	zuf_op_init(&op, write ? ZUFS_OP_WRITE : ZUFS_OP_READ, &ioc.hdr,
		    sizeof(ioc), offsetof(struct zufs_ioc_IO, ret_flags));
	ioc.hdr.offset = piece->offset;
	ioc.hdr.len = piece->len;
	err = zuf_dispatch(sbi, &op);
	if (err)
		return err;
	if (!zuf_ret_flags_ok(ioc.ret_flags) || ioc.last_pos < iocb->ki_pos ||
	    ioc.last_pos - iocb->ki_pos > piece->len)
		return zuf_bad_reply(sbi, "answer to a read or write");
	return ioc.last_pos - iocb->ki_pos;
}

/* A write moves blocks: no fault may bring back one that it replaces. */
static ssize_t send_write(struct kiocb *iocb, struct rw_piece *piece)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	/* The block that had the end of the file may be replaced as well. */
	loff_t from = min(iocb->ki_pos, i_size_read(inode));
	loff_t to = iocb->ki_pos + piece->len;
	ssize_t done;

	zuf_drop_gap(inode, iocb->ki_pos);
	guard(zuf_invalidate)(inode->i_mapping);
	zuf_extents_block(inode, from, to, false);
	drop_mappings(inode, from, to);
	done = send_piece(iocb, piece, true);
	zuf_extents_unblock(inode);
	return done;
}

/* As much as the server does in one operation. */
static ssize_t rw_in_server(struct kiocb *iocb, struct iov_iter *iter,
			    struct rw_piece *piece, size_t len, bool write)
{
	ssize_t done;
	int err;

	len = min_t(size_t, len, ZUF_WINDOW_SIZE - PAGE_SIZE);
	err = get_piece(piece, iter, len, write);
	if (err)
		return err;
	done = write ? send_write(iocb, piece) : send_piece(iocb, piece, false);
	return put_piece(piece, iter, max(done, 0), write) ?: done;
}

/* As much as is known to lie where, without asking. */
static ssize_t rw_here(struct kiocb *iocb, struct iov_iter *iter, size_t len,
		       bool write)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	loff_t pos = iocb->ki_pos, size = i_size_read(inode);
	loff_t room = max_t(loff_t, size - pos, 0);
	ssize_t done;

	if (zuf_is_dead(sbi))
		return -EIO;
	if (!(sbi->features & ZUFS_FEATURE_EXTENT_CACHE))
		room = 0;
	/* The rest of the last block, for what is no longer, or what is ahead. */
	else if (write && pos <= size &&
		 (len <= round_up(size, ZUF_BLOCK_SIZE) - pos ||
		  zuf_get_ahead(iocb, len)))
		room = len;
	if (!room)
		return iocb->ki_flags & IOCB_NOWAIT ? -EAGAIN : 0;
	done = zuf_extents_rw(iocb, iter, min_t(u64, len, room), write);
	if (write && done > 0 && pos + done > size) {
		/* It is part of the file once it is there. */
		pmem_wmb();
		i_size_write(inode, pos + done);
		WRITE_ONCE(ZUF_I(inode)->zi->i_size, cpu_to_le64(pos + done));
	}
	return done;
}

/* Room for the pages of a piece: on the stack if they are @few. */
static struct page **room_for(size_t len, struct page **few)
{
	size_t count = min_t(size_t, ZUF_WINDOW_PAGES, len / PAGE_SIZE + 2);

	return count <= ZUF_FEW_PAGES ? few :
	       kvmalloc_array(count, sizeof(struct page *), GFP_KERNEL);
}

/* The whole, in pieces. @len is bounded by the size of the file for reads. */
static ssize_t do_rw(struct kiocb *iocb, struct iov_iter *iter, size_t len,
		     bool write, bool *sent)
{
	struct page *few[ZUF_FEW_PAGES];
	struct rw_piece piece = {};
	ssize_t total = 0, done = 0;

	while (len) {
		done = rw_here(iocb, iter, len, write);
		if (!done) {
			if (!piece.pages)
				piece.pages = room_for(len, few);
			*sent = true;
			done = piece.pages ? rw_in_server(iocb, iter, &piece,
							  len, write) : -ENOMEM;
			/* A short answer is the end. */
			if (done > 0 && done < piece.len)
				len = done;
		}
		if (done <= 0)
			break;
		iocb->ki_pos += done;
		total += done;
		len -= done;
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	if (piece.pages != few)
		kvfree(piece.pages);
	return total ? total : done;
}

/**
 * zuf_read_iter - read(2) and its kind
 * @iocb: file and position
 * @iter: where to
 *
 * Return: bytes read, or -errno.
 */
ssize_t zuf_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	size_t len = iov_iter_count(iter);
	ssize_t ret = 0;
	bool sent;
	loff_t size;

	if (!len)
		return 0;
	if (!(iocb->ki_flags & IOCB_NOWAIT))
		inode_lock_shared(inode);
	else if (!inode_trylock_shared(inode))
		return -EAGAIN;
	size = i_size_read(inode);
	if (iocb->ki_pos < size)
		ret = do_rw(iocb, iter, min_t(u64, len, size - iocb->ki_pos),
			    false, &sent);
	inode_unlock_shared(inode);
	/* A call to the server, if it is time for that. */
	if (!(iocb->ki_flags & IOCB_NOWAIT))
		file_accessed(iocb->ki_filp);
	return ret;
}

/**
 * zuf_write_iter - write(2) and its kind
 * @iocb: file and position
 * @iter: where from
 *
 * Return: bytes written, or -errno.
 */
ssize_t zuf_write_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	bool sent = false;
	ssize_t ret;

	if (!(iocb->ki_flags & IOCB_NOWAIT))
		inode_lock(inode);
	else if (!inode_trylock(inode))
		return -EAGAIN;
	ret = generic_write_checks(iocb, iter);
	if (ret > 0)
		ret = kiocb_modified(iocb) ?:
		      do_rw(iocb, iter, iov_iter_count(iter), true, &sent);
	/* What is written here changes nothing but times and size. */
	if (sent)
		ret = zuf_inode_refresh(inode) ?: ret;
	inode_unlock(inode);
	return ret > 0 ? generic_write_sync(iocb, ret) : ret;
}
