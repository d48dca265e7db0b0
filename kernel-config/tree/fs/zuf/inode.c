// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inodes. The inode proper is the zus_inode in T1, which the server changes
 * in place; the VFS inode mirrors it and is refreshed after each operation
 * that may have changed it.
 */

#include <linux/fs.h>
#include <linux/posix_acl.h>
#include "zuf.h"

/* Asks the server when an inode was made: nanoseconds since the epoch. */
#define ZUF_IOC_BIRTH	_IOR('Z', 0x20, __u64)

/* What may be freed by the way, behind a command of somebody else. */
#define ZUF_PARK_BLOCKS	8

static struct kmem_cache *zuf_inode_cache;

struct inode *zuf_alloc_inode(struct super_block *sb)
{
	struct zuf_inode_info *zii;

	zii = alloc_inode_sb(sb, zuf_inode_cache, GFP_KERNEL);
	if (!zii)
		return NULL;
	/* Allocated now, since an inode goes when there is no memory. */
	zii->farewell = kzalloc(offsetofend(struct zuf_notice, evict),
				GFP_KERNEL_ACCOUNT);
	if (!zii->farewell) {
		kmem_cache_free(zuf_inode_cache, zii);
		return NULL;
	}
	memset(zii, 0, offsetof(struct zuf_inode_info, farewell));
	zii->extents.moving = 0;
	zii->extents.holdoff = 0;
	return &zii->vfs_inode;
}

void zuf_free_inode(struct inode *inode)
{
	/* A bad inode does not know that it was a symlink. */
	if (S_ISLNK(inode->i_mode) || is_bad_inode(inode))
		kfree(inode->i_link);
	kfree(ZUF_I(inode)->farewell);
	kmem_cache_free(zuf_inode_cache, ZUF_I(inode));
}

static void init_once(void *object)
{
	struct zuf_inode_info *zii = object;

	inode_init_once(&zii->vfs_inode);
	rwlock_init(&zii->extents.lock);
	zii->extents.tree = RB_ROOT;
	zii->extents.count = 0;
	zii->extents.generation = 0;
	INIT_LIST_HEAD(&zii->extents.lru);
}

int __init zuf_inode_cache_init(void)
{
	zuf_inode_cache = kmem_cache_create("zuf_inode_cache",
					    sizeof(struct zuf_inode_info), 0,
					    SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					    init_once);
	return zuf_inode_cache ? 0 : -ENOMEM;
}

void zuf_inode_cache_exit(void)
{
	rcu_barrier();
	kmem_cache_destroy(zuf_inode_cache);
}

/* ---- zus_inode to inode ---- */

/**
 * zuf_inode_refresh - take over what the server may have changed
 * @inode: the inode
 *
 * Return: 0, or -EIO when the zus_inode makes no sense.
 */
int zuf_inode_refresh(struct inode *inode)
{
	struct zus_inode *zi = ZUF_I(inode)->zi;
	u64 size = le64_to_cpu(READ_ONCE(zi->i_size));
	u64 blocks = le64_to_cpu(READ_ONCE(zi->i_blocks));
	u32 nlink = le32_to_cpu(READ_ONCE(zi->i_nlink));

	if (size > inode->i_sb->s_maxbytes || blocks > (U64_MAX >> 12) ||
	    nlink > ZUFS_LINK_MAX + 2)
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "inode");
	if (i_size_read(inode) != size)
		i_size_write(inode, size);
	inode->i_blocks = blocks << (ZUF_BLOCK_SHIFT - SECTOR_SHIFT);
	if (inode->i_nlink != nlink)
		set_nlink(inode, nlink);
	inode_set_mtime_to_ts(inode, ns_to_timespec64(le64_to_cpu(zi->i_mtime)));
	inode_set_ctime_to_ts(inode, ns_to_timespec64(le64_to_cpu(zi->i_ctime)));
	inode_set_atime_to_ts(inode, ns_to_timespec64(le64_to_cpu(zi->i_atime)));
	return 0;
}

/* Copy the target of a symlink, so that it is looked at once. */
static int read_link(struct inode *inode)
{
	struct zus_inode *zi = ZUF_I(inode)->zi;
	loff_t len = i_size_read(inode);
	const void *text = zi->i_symlink;

	if (len <= 0 || len >= ZUFS_MAX_SYMLINK)
		text = NULL;
	else if (len > sizeof(zi->i_symlink))
		text = zuf_t1_addr(ZUF_SB(inode->i_sb)->t1,
				   le64_to_cpu(READ_ONCE(zi->i_sym_dpp)), len);
	if (!text)
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "target of a symlink");
	inode->i_link = kmemdup_nul(text, len, GFP_KERNEL);
	return inode->i_link ? 0 : -ENOMEM;
}

/**
 * zuf_inode_set_ops - operations by type of inode
 * @inode: with i_mode and i_rdev set
 */
void zuf_inode_set_ops(struct inode *inode)
{
	inode->i_mapping->a_ops = &zuf_aops;
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		inode->i_flags |= S_DAX;
		inode->i_op = &zuf_file_inode_operations;
		inode->i_fop = &zuf_file_operations;
		break;
	case S_IFDIR:
		inode->i_op = &zuf_dir_inode_operations;
		inode->i_fop = &zuf_dir_operations;
		break;
	case S_IFLNK:
		inode->i_op = &zuf_symlink_inode_operations;
		break;
	default:
		inode->i_op = &zuf_special_inode_operations;
		init_special_inode(inode, inode->i_mode, inode->i_rdev);
	}
}

/**
 * zuf_inode_attach - bind an inode to what the server gave
 * @inode: new
 * @zus_ii: cookie
 * @dpp: of the zus_inode, checked here
 *
 * Return: 0, or -EIO when the dpp or the zus_inode is not valid.
 */
int zuf_inode_attach(struct inode *inode, u64 zus_ii, zu_dpp_t dpp)
{
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	struct zuf_inode_info *zii = ZUF_I(inode);

	zii->zus_ii = zus_ii;
	zii->has_ii = true;
	zii->zi = zuf_t1_addr(sbi->t1, dpp, sizeof(*zii->zi));
	if (!zii->zi || !zii->zi->i_ino)
		return zuf_bad_reply(sbi, "address of an inode");
	inode->i_ino = le64_to_cpu(zii->zi->i_ino);
	inode->i_generation = le64_to_cpu(zii->zi->i_generation);
	return zuf_inode_refresh(inode);
}

static int read_inode(struct inode *inode, u64 zus_ii, zu_dpp_t dpp)
{
	int err = zuf_inode_attach(inode, zus_ii, dpp);
	struct zus_inode *zi;

	if (err)
		return err;
	zi = ZUF_I(inode)->zi;
	inode->i_mode = le16_to_cpu(READ_ONCE(zi->i_mode));
	if (fs_umode_to_ftype(inode->i_mode) == FT_UNKNOWN)
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "mode of an inode");
	i_uid_write(inode, le32_to_cpu(zi->i_uid));
	i_gid_write(inode, le32_to_cpu(zi->i_gid));
	inode->i_flags |= le16_to_cpu(zi->i_flags) & ZUF_SHARED_S_FLAGS;
	if (le16_to_cpu(zi->i_flags) & ZUFS_S_IMMUTABLE)
		inode->i_flags |= S_IMMUTABLE;
	if (S_ISCHR(inode->i_mode) || S_ISBLK(inode->i_mode))
		inode->i_rdev = new_decode_dev(le32_to_cpu(zi->i_rdev));
	zuf_inode_set_ops(inode);
	return S_ISLNK(inode->i_mode) ? read_link(inode) : 0;
}

static void forget_duplicate(struct zuf_sb_info *sbi, u64 zus_ii)
{
	struct zuf_notice *notice = zuf_new_notice(sbi, ZUFS_OP_EVICT_INODE,
						   sizeof(notice->evict));

	notice->evict.zus_ii = zus_ii;
	notice->evict.flags = ZI_LOOKUP_RACE;
	zuf_tell(notice);
}

/**
 * zuf_iget - the inode for what a lookup returned
 * @sb: the super block
 * @zus_ii: cookie
 * @dpp: of the zus_inode
 *
 * Return: the inode, still locked as new one if it was not in memory; -EIO when
 * the server returned nonsense, -ENOMEM.
 */
struct inode *zuf_iget(struct super_block *sb, u64 zus_ii, zu_dpp_t dpp)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	struct zus_inode *zi = zuf_t1_addr(sbi->t1, dpp, sizeof(*zi));
	struct inode *inode;
	u64 ino;
	int err;

	ino = zi ? le64_to_cpu(READ_ONCE(zi->i_ino)) : 0;
	if (!ino)
		return ERR_PTR(zuf_bad_reply(sbi, "address of an inode"));
	inode = iget_locked(sb, ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode->i_state & I_NEW)) {
		if (ZUF_I(inode)->zi != zi) {
			iput(inode);
			return ERR_PTR(zuf_bad_reply(sbi, "two inodes with one number"));
		}
		if (ZUF_I(inode)->zus_ii != zus_ii)
			forget_duplicate(sbi, zus_ii);
		return inode;
	}
	err = read_inode(inode, zus_ii, dpp);
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	return inode;
}

/* ---- the end of an inode ---- */

/**
 * zuf_evict_inode - the VFS forgets an inode
 * @inode: the inode
 */
void zuf_evict_inode(struct inode *inode)
{
	struct zuf_sb_info *sbi = ZUF_SB(inode->i_sb);
	struct zuf_inode_info *zii = ZUF_I(inode);
	struct zuf_notice *farewell = zii->farewell;
	/* The server may have taken the last name for a task that was killed. */
	bool last = !is_bad_inode(inode) && !READ_ONCE(zii->zi->i_nlink);

	if (last && IS_DAX(inode)) {
		guard(zuf_invalidate)(inode->i_mapping);
		zuf_break_layouts(inode, TASK_UNINTERRUPTIBLE);
	}
	scoped_guard(mutex, &sbi->sharing)
		truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	zuf_extents_forget(inode);
	zii->farewell = NULL;
	if (!zii->has_ii || !sbi->mounted) {
		kfree(farewell);
		return;
	}
	farewell->sbi = sbi;
	farewell->behind.next = zuf_take_put(inode);
	farewell->hdr.operation = last ? ZUFS_OP_FREE_INODE :
					 ZUFS_OP_EVICT_INODE;
	farewell->hdr.in_len = sizeof(farewell->evict);
	farewell->evict.zus_ii = zii->zus_ii;
	if (last)
		sb_start_intwrite(inode->i_sb);
	zuf_tell_leaving(farewell, last && le64_to_cpu(zii->zi->i_blocks) <=
					   ZUF_PARK_BLOCKS);
	if (last)
		sb_end_intwrite(inode->i_sb);
}

/* ---- inode to zus_inode ---- */

/* Not those that the server may be changing meanwhile. */
static void store_times(struct inode *inode, int which)
{
	struct zus_inode *zi = ZUF_I(inode)->zi;

	if (which & S_MTIME)
		WRITE_ONCE(zi->i_mtime,
			   cpu_to_le64(zuf_time(inode_get_mtime(inode))));
	if (which & S_CTIME)
		WRITE_ONCE(zi->i_ctime,
			   cpu_to_le64(zuf_time(inode_get_ctime(inode))));
	if (which & S_ATIME)
		WRITE_ONCE(zi->i_atime,
			   cpu_to_le64(zuf_time(inode_get_atime(inode))));
}

/**
 * zuf_store_attrs - write owner, mode, flags and times to the zus_inode
 * @inode: the inode
 */
void zuf_store_attrs(struct inode *inode)
{
	struct zus_inode *zi = ZUF_I(inode)->zi;
	u16 flags = le16_to_cpu(zi->i_flags) &
		    ~(ZUF_SHARED_S_FLAGS | ZUFS_S_IMMUTABLE);

	flags |= inode->i_flags & ZUF_SHARED_S_FLAGS;
	if (inode->i_flags & S_IMMUTABLE)
		flags |= ZUFS_S_IMMUTABLE;
	WRITE_ONCE(zi->i_flags, cpu_to_le16(flags));
	WRITE_ONCE(zi->i_mode, cpu_to_le16(inode->i_mode));
	WRITE_ONCE(zi->i_uid, cpu_to_le32(i_uid_read(inode)));
	WRITE_ONCE(zi->i_gid, cpu_to_le32(i_gid_read(inode)));
	store_times(inode, S_MTIME | S_CTIME | S_ATIME);
}

/**
 * zuf_send_setattr - have the server make attributes persistent
 * @inode: whose zus_inode has them
 * @mask: STATX_* of what changed
 *
 * Return: 0 or -errno.
 */
int zuf_send_setattr(struct inode *inode, u32 mask)
{
	struct zufs_ioc_attr ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.zuf_attr = mask,
	};

	return zuf_call(inode, ZUFS_OP_SETATTR, &ioc.hdr, sizeof(ioc), 0);
}

static u32 setattr_mask(unsigned int valid)
{
	return (valid & ATTR_MODE ? STATX_MODE : 0) |
	       (valid & ATTR_UID ? STATX_UID : 0) |
	       (valid & ATTR_GID ? STATX_GID : 0) |
	       (valid & ATTR_ATIME ? STATX_ATIME : 0) |
	       (valid & ATTR_MTIME ? STATX_MTIME : 0) |
	       (valid & ATTR_CTIME ? STATX_CTIME : 0);
}

static int set_size(struct inode *inode, struct iattr *attr)
{
	int err;

	if (attr->ia_size == i_size_read(inode) && !(attr->ia_valid & ATTR_MTIME))
		return 0;
	err = inode_newsize_ok(inode, attr->ia_size);
	if (err)
		return err;
	/* truncate(2) changes times only if it changes the size. */
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
	zuf_store_attrs(inode);
	return zuf_change_blocks(inode, ZUFS_FL_TRUNCATE, attr->ia_size,
				 attr->ia_size);
}

int zuf_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err = setattr_prepare(idmap, dentry, attr);
	u32 mask;

	if (!err && (attr->ia_valid & ATTR_SIZE))
		err = set_size(inode, attr);
	if (!err)
		err = zuf_quota_chown(idmap, inode, attr);
	if (err)
		return err;
	setattr_copy(idmap, inode, attr);
	zuf_store_attrs(inode);
	mask = setattr_mask(attr->ia_valid);
	if (mask)
		err = zuf_send_setattr(inode, mask);
	if (!err && (attr->ia_valid & ATTR_MODE))
		err = posix_acl_chmod(idmap, dentry, inode->i_mode);
	return err;
}

/* Asked once: it does not change. */
static bool find_birth(struct inode *inode)
{
	struct zuf_inode_info *zii = ZUF_I(inode);
	s64 birth = 0;
	int err;

	/* Pairs with the store below. */
	if (!smp_load_acquire(&zii->knows_birth)) {
		err = zuf_call_ioctl(inode, ZUF_IOC_BIRTH, &birth);
		if (err && err != -ENOTTY && err != -EOPNOTSUPP)
			return false;
		WRITE_ONCE(zii->birth, birth);
		/* Pairs with the load above. */
		smp_store_release(&zii->knows_birth, true);
	}
	return READ_ONCE(zii->birth);
}

int zuf_getattr(struct mnt_idmap *idmap, const struct path *path,
		struct kstat *stat, u32 request_mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	if (READ_ONCE(ZUF_SB(inode->i_sb)->dead))
		return -EIO;
	generic_fill_statx_attr(inode, stat);
	generic_fillattr(idmap, request_mask, inode, stat);
	/* Faults through mappings add some, and no operation looks. */
	stat->blocks = le64_to_cpu(READ_ONCE(ZUF_I(inode)->zi->i_blocks)) <<
		       (ZUF_BLOCK_SHIFT - SECTOR_SHIFT);
	if (le16_to_cpu(ZUF_I(inode)->zi->i_flags) & ZUFS_S_NODUMP)
		stat->attributes |= STATX_ATTR_NODUMP;
	stat->attributes_mask |= STATX_ATTR_NODUMP;
	stat->blksize = ZUF_BLOCK_SIZE;
	if ((request_mask & STATX_BTIME) && find_birth(inode)) {
		stat->btime = ns_to_timespec64(ZUF_I(inode)->birth);
		stat->result_mask |= STATX_BTIME;
	}
	return 0;
}

/**
 * zuf_update_time - times that reads and writes change by the way
 * @inode: the inode
 * @flags: S_*
 *
 * They become persistent with the write, and the access time on its own.
 *
 * Return: 0 or -errno.
 */
int zuf_update_time(struct inode *inode, int flags)
{
	if (READ_ONCE(ZUF_SB(inode->i_sb)->dead))
		return -EIO;
	inode_update_timestamps(inode, flags);
	store_times(inode, flags);
	if (!(flags & S_ATIME))
		return 0;
	return zuf_send_setattr(inode, STATX_ATIME);
}

/**
 * zuf_sync - have the server make part of a file persistent
 * @inode: the file
 * @start: first byte
 * @end: last byte
 * @flags: ZUFS_SF_*
 *
 * Return: 0 or -errno.
 */
int zuf_sync(struct inode *inode, loff_t start, loff_t end, u64 flags)
{
	struct zufs_ioc_sync ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.offset = start,
		.length = end - start + 1,
		.flags = flags,
	};

	return zuf_call(inode, ZUFS_OP_SYNC, &ioc.hdr, sizeof(ioc),
			offsetof(struct zufs_ioc_sync, write_unmapped));
}
