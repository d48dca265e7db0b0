// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctls: inode flags, shutdown, and what only the server knows.
 */

#include <linux/blkdev.h>
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "zuf.h"

#define FS_IOC_SHUTDOWN		_IOR('X', 125, __u32)
#define FS_GOING_DOWN_FULLSYNC	0
#define FS_GOING_DOWN_METASYNC	1
#define FS_GOING_DOWN_NOSYNC	2

#define ZUF_FS_FLAGS	(FS_SYNC_FL | FS_NOATIME_FL | FS_APPEND_FL | \
			 FS_IMMUTABLE_FL | FS_DIRSYNC_FL)

static const struct {
	u32 fs_flag;
	u32 s_flag;
} flag_map[] = {
	{ FS_SYNC_FL, S_SYNC },
	{ FS_NOATIME_FL, S_NOATIME },
	{ FS_APPEND_FL, S_APPEND },
	{ FS_IMMUTABLE_FL, S_IMMUTABLE },
	{ FS_DIRSYNC_FL, S_DIRSYNC },
};

int zuf_fileattr_get(struct dentry *dentry, struct fileattr *fa)
{
	struct inode *inode = d_inode(dentry);
	u32 flags = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flag_map); i++)
		if (inode->i_flags & flag_map[i].s_flag)
			flags |= flag_map[i].fs_flag;
	fileattr_fill_flags(fa, flags);
	return 0;
}

int zuf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		     struct fileattr *fa)
{
	struct inode *inode = d_inode(dentry);
	unsigned int set = 0, i;

	if (fileattr_has_fsx(fa) || (fa->flags & ~ZUF_FS_FLAGS))
		return -EOPNOTSUPP;
	for (i = 0; i < ARRAY_SIZE(flag_map); i++)
		if (fa->flags & flag_map[i].fs_flag)
			set |= flag_map[i].s_flag;
	inode_set_flags(inode, set, S_SYNC | S_NOATIME | S_APPEND |
				    S_IMMUTABLE | S_DIRSYNC);
	inode_set_ctime_current(inode);
	zuf_store_attrs(inode);
	return zuf_send_setattr(inode, STATX_CTIME);
}

static int shut_down(struct super_block *sb, u32 __user *arg)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	u32 how;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (get_user(how, arg))
		return -EFAULT;
	switch (how) {
	case FS_GOING_DOWN_FULLSYNC:
		err = freeze_super(sb, FREEZE_HOLDER_KERNEL);
		if (err)
			return err;
		WRITE_ONCE(sbi->shut_down, true);
		thaw_super(sb, FREEZE_HOLDER_KERNEL);
		break;
	case FS_GOING_DOWN_METASYNC:
	case FS_GOING_DOWN_NOSYNC:
		WRITE_ONCE(sbi->shut_down, true);
		break;
	default:
		return -EINVAL;
	}
	pr_info("zuf: %s: shut down\n", sb->s_id);
	return 0;
}

/* One call. What the server returns replaces the argument. */
static int call_server(struct inode *inode, struct zufs_ioc_ioctl *ioc,
		       unsigned int cmd, size_t size)
{
	size_t head = offsetof(struct zufs_ioc_ioctl, arg);
	struct zuf_op op = { .hdr = &ioc->hdr };

	op.room = head + max_t(size_t, size, 8);
	ioc->hdr.operation = ZUFS_OP_IOCTL;
	ioc->hdr.in_len = op.room;
	ioc->hdr.out_start = head;
	ioc->hdr.out_len = size;
	ioc->hdr.out_max = op.room - head;
	ioc->zus_ii = ZUF_I(inode)->zus_ii;
	ioc->time = zuf_time(current_time(inode));
	ioc->cmd = cmd;
	ioc->kflags = capable(CAP_SYS_ADMIN) ? ZUFS_IOC_CAP_ADMIN : 0;
	if (inode->i_sb->s_writers.frozen != SB_UNFROZEN)
		ioc->kflags |= ZUFS_IOC_FSFROZEN;
	return zuf_dispatch(ZUF_SB(inode->i_sb), &op);
}

/* ioctls that change something need write access. */
static long server_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	struct inode *inode = file_inode(file);
	size_t size = _IOC_SIZE(cmd), room = max_t(size_t, size, 8);
	struct zufs_ioc_ioctl *ioc;
	bool write = file->f_mode & FMODE_WRITE;
	int err = -EFAULT;

	if (_IOC_DIR(cmd) == _IOC_NONE)
		size = 0;
	if (room + sizeof(*ioc) > zuf_max_command())
		return -ENOTTY;
	ioc = kvzalloc(sizeof(*ioc) + room, GFP_KERNEL);
	if (!ioc)
		return -ENOMEM;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(ioc->arg, arg, size))
		goto out;
	if (write) {
		err = mnt_want_write_file(file);
		if (err)
			goto out;
	}
	err = call_server(inode, ioc, cmd, size);
	if (write)
		mnt_drop_write_file(file);
	/* It asks for more than the command says: nobody here to give it. */
	if (err == -EZUFS_RETRY)
		err = -EOPNOTSUPP;
	if (!err && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user(arg, ioc->arg, min_t(size_t, size, ioc->hdr.out_len)))
		err = -EFAULT;
out:
	kvfree(ioc);
	return err;
}

long zuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case FS_IOC_SHUTDOWN:
		return shut_down(file_inode(file)->i_sb, (void __user *)arg);
	default:
		return server_ioctl(file, cmd, (void __user *)arg);
	}
}
