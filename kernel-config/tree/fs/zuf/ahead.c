// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks ahead of the end of a file that is written in small pieces, one behind
 * the other: what is appended is then copied to where it belongs without a
 * call. The server gives them only where the file had none, and zeroed; nobody
 * sees them but in the number of blocks. They are given back when a writer
 * closes the file, and before anything else changes which blocks it has.
 *
 * Servers allow it with ZUFS_FEATURE_ALLOC_AHEAD.
 */

#include "zuf.h"

/* Such writes, and files, are not worth a call to save the others. */
#define ZUF_AHEAD_MAX_WRITE	SZ_16K
#define ZUF_AHEAD_MIN_SIZE	SZ_64K
/* Calls that appended before the first one that asks ahead. */
#define ZUF_AHEAD_APPENDS	4
/* Blocks asked for: twice as many each time. */
#define ZUF_AHEAD_MIN_SHIFT	4
#define ZUF_AHEAD_MAX_SHIFT	9

/**
 * zuf_get_ahead - have room for a write that goes beyond the last block
 * @iocb: file and position, not behind the end; i_rwsem held for write
 * @len: bytes
 *
 * Return: false when the server has to do the write.
 */
bool zuf_get_ahead(struct kiocb *iocb, size_t len)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct zuf_inode_info *zii = ZUF_I(inode);
	loff_t end = round_up(i_size_read(inode), ZUF_BLOCK_SIZE), from, to;
	struct zufs_ioc_IO *io;
	int shift;

	if (iocb->ki_pos + len <= zii->ahead)
		return true;
	if (!(ZUF_SB(inode->i_sb)->features & ZUFS_FEATURE_ALLOC_AHEAD) ||
	    (iocb->ki_flags & IOCB_NOWAIT) || len > ZUF_AHEAD_MAX_WRITE ||
	    end < ZUF_AHEAD_MIN_SIZE || zii->appends++ < ZUF_AHEAD_APPENDS)
		return false;
	shift = min(ZUF_AHEAD_MIN_SHIFT + zii->appends - ZUF_AHEAD_APPENDS - 1,
		    ZUF_AHEAD_MAX_SHIFT);
	from = max(end, zii->ahead);
	to = from + (ZUF_BLOCK_SIZE << shift);
	filemap_invalidate_lock(inode->i_mapping);
	zuf_extents_block(inode, from, to, false);
	io = zuf_get_blocks(inode, from, 1U << shift,
			    ZUFS_RW_WRITE | ZUFS_RW_AHEAD);
	zuf_extents_unblock(inode);
	if (IS_ERR(io)) {
		/* Not at once again, but what there is has to go back. */
		zii->appends = 1;
	} else {
		zii->ahead = from + ((loff_t)io->ziom.iom_n << ZUF_BLOCK_SHIFT);
		zuf_extents_add(inode, io,
				READ_ONCE(zii->extents.generation));
		zuf_put_blocks(inode, io);
		zuf_inode_refresh(inode);
	}
	filemap_invalidate_unlock(inode->i_mapping);
	return iocb->ki_pos + len <= zii->ahead;
}

/**
 * zuf_drop_ahead - give back what lies behind the end of a file
 * @inode: the file, i_rwsem held for write
 */
void zuf_drop_ahead(struct inode *inode)
{
	struct zuf_inode_info *zii = ZUF_I(inode);
	loff_t end = round_up(i_size_read(inode), ZUF_BLOCK_SIZE);
	loff_t ahead = zii->ahead;

	if (zii->appends <= 0 || !sb_start_intwrite_trylock(inode->i_sb))
		return;
	zii->appends = 0;
	zii->ahead = 0;
	if (ahead <= end)
		goto out;
	zuf_extents_block(inode, end, ahead, false);
	/* If not, it may still come to that: nothing may be there by then. */
	if (zuf_send_change(inode, ZUFS_FL_DROP_AHEAD, end, ahead))
		zii->appends = INT_MIN;
	zuf_extents_unblock(inode);
	zuf_inode_refresh(inode);
out:
	sb_end_intwrite(inode->i_sb);
}

/**
 * zuf_file_release - a file is closed
 * @inode: its inode
 * @file: the file
 *
 * Return: 0.
 */
int zuf_file_release(struct inode *inode, struct file *file)
{
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);

	if (!(file->f_mode & FMODE_WRITE) || READ_ONCE(ZUF_I(inode)->appends) <= 0)
		return 0;
	/* Who dies does not wait long, for the server or for who waits for it. */
	if (zuf_dying() && time_before(jiffies, READ_ONCE(sbi->gave_up) + ZUF_SULK))
		return 0;
	if (!(current->flags & PF_SIGNALED))
		inode_lock(inode);
	else if (!inode_trylock(inode))
		return 0;
	/* All of what has no name, and gets none, goes by itself. */
	if (inode->i_nlink || (inode->i_state & I_LINKABLE))
		zuf_drop_ahead(inode);
	inode_unlock(inode);
	return 0;
}
