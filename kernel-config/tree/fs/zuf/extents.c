// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of a file that the kernel knows the place of: what lies in them is
 * read and overwritten by copying, without a call. Servers allow it with
 * ZUFS_FEATURE_EXTENT_CACHE.
 *
 * Extents come in from GET_MULTY. They go before an operation is sent that may
 * move blocks, and none come in until it has ended. The lock is held for the
 * time of a copy, so that once an extent has gone nobody is at its blocks any
 * more. No page fault is possible under it (one on a mapping of this file would
 * wait for itself): memory of the application that is not there is brought in
 * without it. Faults find blocks here as well; what they map stays for as long
 * as invalidate_lock is held.
 */

#include <linux/shrinker.h>
#include <linux/uio.h>
#include "zuf.h"

/* Blocks that are asked for at once, aligned: a huge page of them. */
#define ZUF_FILL_BLOCKS		512
/* Bytes that are copied before others get at the extents. */
#define ZUF_COPY_BYTES		SZ_128K
/* Accesses that go to the server after one found nothing to be had. */
#define ZUF_HOLDOFF		64
/* A file in more pieces than that is not worth the memory. */
#define ZUF_EXTENTS_MAX		8192
/* How often memory of the application may vanish between two looks. */
#define ZUF_FAULT_TRIES		16

/**
 * struct zuf_extent - blocks of a file that lie behind each other
 * @node: in zuf_extents.tree, by @first
 * @first: number in the file of the first
 * @end: behind the last
 * @block: where the first is
 * @dev: on which device, NULL for a hole
 * @writable: may be overwritten in place
 */
struct zuf_extent {
	struct rb_node node;
	u64 first;
	u64 end;
	u64 block;
	struct zuf_t1_dev *dev;
	bool writable;
};

static struct kmem_cache *extent_cache;
static struct shrinker *extent_shrinker;
static DEFINE_SPINLOCK(lru_lock);	/* for the list of files that have any */
static LIST_HEAD(lru);
static atomic_long_t nr_extents = ATOMIC_LONG_INIT(0);

/* ---- the tree ---- */

/* The first that ends behind @block. */
static struct zuf_extent *extent_from(const struct zuf_extents *es, u64 block)
{
	struct rb_node *node = es->tree.rb_node;
	struct zuf_extent *e, *found = NULL;

	while (node) {
		e = rb_entry(node, struct zuf_extent, node);
		if (e->end > block) {
			found = e;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

static struct zuf_extent *extent_at(const struct zuf_extents *es, u64 block)
{
	struct zuf_extent *e = extent_from(es, block);

	return e && e->first <= block ? e : NULL;
}

static void remove_extent(struct zuf_extents *es, struct zuf_extent *e)
{
	rb_erase(&e->node, &es->tree);
	es->count--;
	atomic_long_dec(&nr_extents);
	kmem_cache_free(extent_cache, e);
}

/*
 * Forget blocks. Of an extent that goes beyond both ends what lies behind is
 * forgotten too, which saves an allocation.
 */
static void drop_range(struct zuf_extents *es, u64 first, u64 end,
		       bool keep_writable)
{
	struct zuf_extent *e = extent_from(es, first);
	struct rb_node *next;

	while (e && e->first < end) {
		next = rb_next(&e->node);
		if (keep_writable && e->writable) {
			;
		} else if (e->first < first) {
			e->end = first;
		} else if (e->end > end) {
			e->block += end - e->first;
			e->first = end;
		} else {
			remove_extent(es, e);
		}
		e = rb_entry_safe(next, struct zuf_extent, node);
	}
}

static bool continues(const struct zuf_extent *a, const struct zuf_extent *b)
{
	if (a->end != b->first || a->dev != b->dev)
		return false;
	return !a->dev || (a->writable == b->writable &&
			   a->block + (a->end - a->first) == b->block);
}

static void insert_extent(struct zuf_extents *es, struct zuf_extent *new)
{
	struct rb_node **link = &es->tree.rb_node, *parent = NULL;
	struct zuf_extent *e;

	drop_range(es, new->first, new->end, false);
	while (*link) {
		parent = *link;
		e = rb_entry(parent, struct zuf_extent, node);
		link = new->first < e->first ? &parent->rb_left :
					       &parent->rb_right;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &es->tree);
	es->count++;
	atomic_long_inc(&nr_extents);

	e = rb_entry_safe(rb_next(&new->node), struct zuf_extent, node);
	if (e && continues(new, e)) {
		new->end = e->end;
		remove_extent(es, e);
	}
	e = rb_entry_safe(rb_prev(&new->node), struct zuf_extent, node);
	if (e && continues(e, new)) {
		e->end = new->end;
		remove_extent(es, new);
	}
}

/* ---- what comes in ---- */

/* False when blocks have moved since @generation. Takes the extent. */
static bool add_extent(struct zuf_extents *es, struct zuf_extent *e,
		       unsigned int generation)
{
	scoped_guard(write_lock, &es->lock) {
		if (es->moving || es->generation != generation) {
			kmem_cache_free(extent_cache, e);
			return false;
		}
		if (es->count >= ZUF_EXTENTS_MAX)
			drop_range(es, 0, U64_MAX, false);
		insert_extent(es, e);
	}
	return true;
}

/**
 * zuf_extents_add - take up what a GET_MULTY told
 * @inode: the file
 * @io: the reply
 * @generation: zuf_extents.generation before it was sent
 */
void zuf_extents_add(struct inode *inode, const struct zufs_ioc_IO *io,
		     unsigned int generation)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;
	struct zuf_t1 *t1 = ZUF_SB(inode->i_sb)->t1;
	struct zuf_blocks run;
	struct zuf_extent *e;
	unsigned int at;

	for (at = 0; zuf_next_blocks(t1, io, at, &run); at += run.count) {
		e = kmem_cache_alloc(extent_cache, GFP_NOFS | __GFP_NOWARN);
		if (!e)
			break;
		e->first = (io->filepos >> ZUF_BLOCK_SHIFT) + at;
		e->end = e->first + run.count;
		e->block = run.block;
		e->dev = run.dev;
		e->writable = run.writable;
		if (!add_extent(es, e, generation))
			break;
	}
	scoped_guard(spinlock, &lru_lock)
		if (list_empty(&es->lru))
			list_add_tail(&es->lru, &lru);
}

/* Ask the server where the blocks around a position are. */
static int fill(struct inode *inode, loff_t pos)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;
	u64 end = DIV_ROUND_UP_ULL(max(i_size_read(inode),
				       ZUF_I(inode)->ahead), ZUF_BLOCK_SIZE);
	u64 first = round_down(pos >> ZUF_BLOCK_SHIFT, ZUF_FILL_BLOCKS);
	unsigned int generation = READ_ONCE(es->generation);
	struct zufs_ioc_IO *io;

	end = min(end, first + ZUF_FILL_BLOCKS);
	if (end <= first)
		return -EINVAL;
	io = zuf_get_blocks(inode, first << ZUF_BLOCK_SHIFT, end - first, 0);
	if (IS_ERR(io))
		return PTR_ERR(io);
	zuf_extents_add(inode, io, generation);
	zuf_put_blocks(inode, io);
	return 0;
}

/* ---- what goes ---- */

/**
 * zuf_extents_block - blocks of a file are about to move
 * @inode: the file
 * @from: first byte
 * @to: behind the last
 * @keep_writable: but for those that may be overwritten in place
 *
 * Until zuf_extents_unblock() nothing comes in.
 */
void zuf_extents_block(struct inode *inode, loff_t from, loff_t to,
		       bool keep_writable)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;

	write_lock(&es->lock);
	drop_range(es, from >> ZUF_BLOCK_SHIFT,
		   DIV_ROUND_UP_ULL(to, ZUF_BLOCK_SIZE), keep_writable);
	es->moving++;
	write_unlock(&es->lock);
}

/**
 * zuf_extents_unblock - they have moved
 * @inode: the file
 */
void zuf_extents_unblock(struct inode *inode)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;

	write_lock(&es->lock);
	es->moving--;
	es->generation++;
	write_unlock(&es->lock);
}

/**
 * zuf_extents_forget - the inode goes
 * @inode: the inode
 */
void zuf_extents_forget(struct inode *inode)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;

	scoped_guard(spinlock, &lru_lock)
		list_del_init(&es->lru);
	drop_range(es, 0, U64_MAX, false);
}

static unsigned long count_extents(struct shrinker *shrinker,
				   struct shrink_control *sc)
{
	return atomic_long_read(&nr_extents);
}

/* All of one file after the other, the oldest ones first. */
static unsigned long scan_extents(struct shrinker *shrinker,
				  struct shrink_control *sc)
{
	struct zuf_extents *es, *next;
	unsigned long gone = 0;

	spin_lock(&lru_lock);
	list_for_each_entry_safe(es, next, &lru, lru) {
		if (gone >= sc->nr_to_scan)
			break;
		write_lock(&es->lock);
		gone += es->count;
		drop_range(es, 0, U64_MAX, false);
		write_unlock(&es->lock);
		list_del_init(&es->lru);
	}
	spin_unlock(&lru_lock);
	return gone ?: SHRINK_STOP;
}

/* ---- reading and writing ---- */

static size_t copy(const struct zuf_extent *e, u64 offset, size_t len,
		   struct iov_iter *iter, bool write)
{
	struct dax_device *dax_dev;
	void *addr;

	if (!e->dev)
		return iov_iter_zero(len, iter);
	dax_dev = e->dev->dax_dev;
	addr = e->dev->addr + offset +
	       ((e->block - e->dev->first) << ZUF_BLOCK_SHIFT);
	if (!dax_dev)
		return write ? _copy_from_iter(addr, len, iter) :
			       _copy_to_iter(addr, len, iter);
	return write ? dax_copy_from_iter(dax_dev, 0, addr, len, iter) :
		       dax_copy_to_iter(dax_dev, 0, addr, len, iter);
}

/*
 * Copy as far as the extents go. Returns the bytes done; 0 when the place of
 * the first is not known, -ENODATA when it is but can not be overwritten,
 * -EFAULT when memory of the application is missing.
 */
static ssize_t copy_known(struct zuf_extents *es, loff_t pos,
			  struct iov_iter *iter, size_t len, bool write)
{
	size_t done = 0, part = 0, copied = 0;
	struct zuf_extent *e;
	u64 offset;
	int id;

	if (RB_EMPTY_ROOT(&es->tree))
		return 0;
	len = min_t(size_t, len, ZUF_COPY_BYTES);
	id = dax_read_lock();
	pagefault_disable();
	read_lock(&es->lock);
	do {
		e = extent_at(es, (pos + done) >> ZUF_BLOCK_SHIFT);
		if (!e || (write && !e->writable))
			break;
		offset = pos + done - (e->first << ZUF_BLOCK_SHIFT);
		part = min_t(u64, len - done,
			     ((e->end - e->first) << ZUF_BLOCK_SHIFT) - offset);
		copied = copy(e, offset, part, iter, write);
		done += copied;
	} while (copied == part && done < len);
	read_unlock(&es->lock);
	pagefault_enable();
	dax_read_unlock(id);
	if (done)
		return done;
	return part ? -EFAULT : e ? -ENODATA : 0;
}

/* Bring in memory of the application. */
static int fault_in(struct iov_iter *iter, size_t len, bool write)
{
	size_t missing;

	if (!user_backed_iter(iter))
		return -EIO;
	len = min_t(size_t, len, ZUF_COPY_BYTES);
	missing = write ? fault_in_iov_iter_readable(iter, len) :
			  fault_in_iov_iter_writeable(iter, len);
	return missing < len ? 0 : -EFAULT;
}

/* Not again and again for a file of holes, or one that the server shares. */
static bool worth_asking(struct zuf_extents *es)
{
	unsigned int holdoff = READ_ONCE(es->holdoff);

	if (!holdoff)
		return true;
	WRITE_ONCE(es->holdoff, holdoff - 1);
	return false;
}

/* -ENOENT when it is not known, -ENODATA when it is not as it should be. */
static int find_known(struct zuf_extents *es, u64 first, unsigned int count,
		      bool write, struct zuf_blocks *run)
{
	struct zuf_extent *e;

	scoped_guard(read_lock, &es->lock) {
		e = extent_at(es, first);
		if (!e)
			return -ENOENT;
		if (e->end - first < count || (write && !e->writable))
			return -ENODATA;
		run->block = e->block + (first - e->first);
		run->count = count;
		run->dev = e->dev;
		run->writable = e->writable;
	}
	return 0;
}

/**
 * zuf_extents_find - where blocks are, for a fault
 * @inode: the file, invalidate_lock held
 * @first: number in the file of the first
 * @count: how many
 * @write: they will be overwritten in place
 * @run: where they are
 *
 * Return: false if they do not lie behind each other, or that is not known.
 */
bool zuf_extents_find(struct inode *inode, u64 first, unsigned int count,
		      bool write, struct zuf_blocks *run)
{
	struct zuf_extents *es = &ZUF_I(inode)->extents;
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	int err;

	if (zuf_is_dead(sbi) || !(sbi->features & ZUFS_FEATURE_EXTENT_CACHE))
		return false;
	err = find_known(es, first, count, write, run);
	if (err != -ENOENT || !worth_asking(es))
		return !err;
	err = fill(inode, first << ZUF_BLOCK_SHIFT) ?:
	      find_known(es, first, count, write, run);
	if (err)
		WRITE_ONCE(es->holdoff, ZUF_HOLDOFF);
	return !err;
}

/**
 * zuf_extents_rw - read or write without a call
 * @iocb: file and position
 * @iter: where to or from
 * @len: bytes, all within the blocks of the file up to its size
 * @write: overwrite
 *
 * Called with i_rwsem held, as VFS holds it for reads and writes.
 *
 * Return: bytes done; 0 when the server has to do it; -EAGAIN when it has to
 * but the caller can not wait; -EFAULT, -EIO.
 */
ssize_t zuf_extents_rw(struct kiocb *iocb, struct iov_iter *iter, size_t len,
		       bool write)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct zuf_extents *es = &ZUF_I(inode)->extents;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT, asked = false;
	unsigned int tries = 0;
	ssize_t done;

	for (;;) {
		done = copy_known(es, iocb->ki_pos, iter, len, write);
		if (done > 0)
			return done;
		if (nowait)
			return -EAGAIN;
		if (done == -ENODATA) {
			/* Looking for writable ones is in vain here. */
			if (asked)
				WRITE_ONCE(es->holdoff, ZUF_HOLDOFF);
			return 0;
		}
		if (done == -EFAULT) {
			if (++tries <= ZUF_FAULT_TRIES)
				done = fault_in(iter, len, write);
			if (done)
				return done;
			continue;
		}
		if (!asked && !worth_asking(es))
			return 0;
		if (asked || fill(inode, iocb->ki_pos)) {
			WRITE_ONCE(es->holdoff, ZUF_HOLDOFF);
			return 0;
		}
		asked = true;
	}
}

int __init zuf_extents_start(void)
{
	extent_cache = KMEM_CACHE(zuf_extent, SLAB_RECLAIM_ACCOUNT);
	extent_shrinker = shrinker_alloc(0, "zuf-extents");
	if (!extent_cache || !extent_shrinker) {
		zuf_extents_stop();
		return -ENOMEM;
	}
	extent_shrinker->count_objects = count_extents;
	extent_shrinker->scan_objects = scan_extents;
	shrinker_register(extent_shrinker);
	return 0;
}

void zuf_extents_stop(void)
{
	shrinker_free(extent_shrinker);
	kmem_cache_destroy(extent_cache);
}
