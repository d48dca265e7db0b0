// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctls: inode flags, shutdown, and what only the server knows.
 */

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/mount.h>
#include "zuf.h"

#define FS_IOC_SHUTDOWN		_IOR('X', 125, __u32)
#define FS_GOING_DOWN_FULLSYNC	0
#define FS_GOING_DOWN_METASYNC	1
#define FS_GOING_DOWN_NOSYNC	2

#define ZUF_FS_FLAGS	(FS_SYNC_FL | FS_NOATIME_FL | FS_APPEND_FL | \
			 FS_IMMUTABLE_FL | FS_DIRSYNC_FL)

static u32 flags_of(const struct inode *inode)
{
	return (inode->i_flags & S_SYNC ? FS_SYNC_FL : 0) |
	       (inode->i_flags & S_NOATIME ? FS_NOATIME_FL : 0) |
	       (inode->i_flags & S_APPEND ? FS_APPEND_FL : 0) |
	       (inode->i_flags & S_IMMUTABLE ? FS_IMMUTABLE_FL : 0) |
	       (inode->i_flags & S_DIRSYNC ? FS_DIRSYNC_FL : 0);
}

static void set_flags(struct inode *inode, u32 flags)
{
	inode_set_flags(inode, (flags & FS_SYNC_FL ? S_SYNC : 0) |
			       (flags & FS_NOATIME_FL ? S_NOATIME : 0) |
			       (flags & FS_APPEND_FL ? S_APPEND : 0) |
			       (flags & FS_IMMUTABLE_FL ? S_IMMUTABLE : 0) |
			       (flags & FS_DIRSYNC_FL ? S_DIRSYNC : 0),
			ZUF_SHARED_S_FLAGS);
}

/* Servers that know of nothing but the flags in the inode. */
static bool no_such_call(int err)
{
	return err == -ENOTTY || err == -EOPNOTSUPP;
}

int zuf_fileattr_get(struct dentry *dentry, struct fileattr *fa)
{
	struct inode *inode = d_inode(dentry);
	u32 cmd = fa->flags_valid ? FS_IOC_GETFLAGS : FS_IOC_FSGETXATTR;
	union {
		struct fsxattr fsx;
		u32 flags;
	} arg = {};
	int err;

	err = zuf_call_ioctl(inode, cmd, &arg);
	if (err && !no_such_call(err))
		return err;
	if (err) {
		fileattr_fill_flags(fa, flags_of(inode));
	} else if (cmd == FS_IOC_FSGETXATTR) {
		fileattr_fill_xflags(fa, arg.fsx.fsx_xflags);
		fa->flags |= flags_of(inode) & FS_DIRSYNC_FL;
		fa->fsx_extsize = arg.fsx.fsx_extsize;
		fa->fsx_nextents = arg.fsx.fsx_nextents;
		fa->fsx_projid = arg.fsx.fsx_projid;
		fa->fsx_cowextsize = arg.fsx.fsx_cowextsize;
	} else {
		fileattr_fill_flags(fa, arg.flags);
	}
	return 0;
}

static int send_fileattr(struct inode *inode, struct fileattr *fa)
{
	struct fsxattr fsx = {
		.fsx_xflags = fa->fsx_xflags,
		.fsx_extsize = fa->fsx_extsize,
		.fsx_projid = fa->fsx_projid,
		.fsx_cowextsize = fa->fsx_cowextsize,
	};
	u32 flags = fa->flags;

	return fa->fsx_valid ? zuf_call_ioctl(inode, FS_IOC_FSSETXATTR, &fsx) :
			       zuf_call_ioctl(inode, FS_IOC_SETFLAGS, &flags);
}

int zuf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		     struct fileattr *fa)
{
	struct inode *inode = d_inode(dentry);
	int err = send_fileattr(inode, fa);

	if (!err) {
		set_flags(inode, fa->flags);
		return zuf_inode_refresh(inode);
	}
	if (!no_such_call(err))
		return err;
	if (fileattr_has_fsx(fa) || (fa->flags & ~ZUF_FS_FLAGS))
		return -EOPNOTSUPP;
	set_flags(inode, fa->flags);
	inode_set_ctime_current(inode);
	zuf_store_attrs(inode);
	return zuf_send_setattr(inode, STATX_CTIME);
}

static int shut_down(struct super_block *sb, u32 __user *arg)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	int err = 0;
	u32 how;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (get_user(how, arg))
		return -EFAULT;
	if (how > FS_GOING_DOWN_NOSYNC)
		return -EINVAL;
	/* What is parked would be lost to this mount. */
	if (!zuf_wait_told(sbi, false))
		return -EINTR;
	if (how == FS_GOING_DOWN_FULLSYNC)
		err = freeze_super(sb, FREEZE_HOLDER_KERNEL);
	/* Not what is in mappings, but all that the server knows. */
	else if (how == FS_GOING_DOWN_METASYNC)
		err = zuf_sync(d_inode(sb->s_root), 0, LLONG_MAX, 0);
	if (err)
		return err;
	WRITE_ONCE(sbi->shut_down, true);
	if (how == FS_GOING_DOWN_FULLSYNC)
		thaw_super(sb, FREEZE_HOLDER_KERNEL);
	pr_info("zuf: %s: shut down\n", sb->s_id);
	return 0;
}

/* ---- what only the server knows ---- */

/* Whatever the argument, there is room for what the server may ask for. */
static size_t command_size(size_t arg)
{
	return offsetof(struct zufs_ioc_ioctl, arg) + max_t(size_t, arg, 8);
}

/* One call. What the server returns replaces the argument. */
static int call_server(struct inode *inode, struct zufs_ioc_ioctl *ioc,
		       unsigned int cmd, size_t size, bool admin)
{
	ioc->zus_ii = ZUF_I(inode)->zus_ii;
	ioc->time = zuf_time(current_time(inode));
	ioc->cmd = cmd;
	ioc->kflags = admin ? ZUFS_IOC_CAP_ADMIN : 0;
	if (inode->i_sb->s_writers.frozen != SB_UNFROZEN)
		ioc->kflags |= ZUFS_IOC_FSFROZEN;
	return zuf_call(inode, ZUFS_OP_IOCTL, &ioc->hdr, command_size(size),
			offsetof(struct zufs_ioc_ioctl, arg));
}

/* The same for what somebody else made up: it may do anything to the blocks. */
static int pass_on(struct inode *inode, struct zufs_ioc_ioctl *ioc,
		   unsigned int cmd, size_t size)
{
	int err;

	zuf_extents_block(inode, 0, LLONG_MAX, false);
	err = call_server(inode, ioc, cmd, size, capable(CAP_SYS_ADMIN));
	zuf_extents_unblock(inode);
	return err;
}

/**
 * zuf_call_ioctl - have the server do an ioctl of the kernel's own
 * @inode: on what
 * @cmd: which says how large @arg is and in which direction it goes
 * @arg: the argument
 *
 * Return: 0, -ENOTTY when the server does not know it, or another -errno.
 */
int zuf_call_ioctl(struct inode *inode, unsigned int cmd, void *arg)
{
	size_t size = _IOC_SIZE(cmd);
	struct zufs_ioc_ioctl *ioc __free(kfree) = kzalloc(command_size(size),
							   GFP_KERNEL);
	int err;

	if (!ioc)
		return -ENOMEM;
	if (_IOC_DIR(cmd) & _IOC_WRITE)
		memcpy(ioc->arg, arg, size);
	/* Who may do this has been looked at. */
	err = call_server(inode, ioc, cmd, size, true);
	if (err == -EZUFS_RETRY)
		err = -EIO;
	if (!err && (_IOC_DIR(cmd) & _IOC_READ))
		memcpy(arg, ioc->arg, size);
	return err;
}

static bool fits(struct super_block *sb, size_t arg)
{
	return command_size(arg) <= min(zuf_max_command(ZUF_SB(sb)->root),
					U16_MAX);
}

/*
 * The server wants more of the argument than the command says, or the file
 * system frozen. @size is what it got, and is updated.
 */
static int retry_ioctl(struct inode *inode, struct zufs_ioc_ioctl **ioc,
		       unsigned int cmd, size_t *size, void __user *arg)
{
	u32 uflags = (*ioc)->uflags, new_size = (*ioc)->new_size;
	struct super_block *sb = inode->i_sb;
	int err;

	if (!uflags || (uflags & ~(ZUFS_IOC_REALLOC | ZUFS_IOC_FREEZE_REQ)) ||
	    ((uflags & ZUFS_IOC_REALLOC) && !fits(sb, new_size)))
		return zuf_bad_reply(ZUF_SB(sb), "what an ioctl asks for");
	if (uflags & ZUFS_IOC_REALLOC) {
		kvfree(*ioc);
		*size = new_size;
		*ioc = kvzalloc(command_size(new_size), GFP_KERNEL);
		if (!*ioc)
			return -ENOMEM;
	}
	memset((*ioc)->arg, 0, *size);
	if ((_IOC_DIR(cmd) & _IOC_WRITE) &&
	    copy_from_user((*ioc)->arg, arg, *size))
		return -EFAULT;
	if (!(uflags & ZUFS_IOC_FREEZE_REQ))
		return pass_on(inode, *ioc, cmd, *size);
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = freeze_super(sb, FREEZE_HOLDER_KERNEL);
	if (err)
		return err;
	err = pass_on(inode, *ioc, cmd, *size);
	thaw_super(sb, FREEZE_HOLDER_KERNEL);
	return err;
}

static long server_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	size_t size = _IOC_DIR(cmd) == _IOC_NONE ? 0 : _IOC_SIZE(cmd);
	/* ioctls that change something need write access to the mount. */
	bool write = (file->f_mode & FMODE_WRITE) || cmd == FS_IOC_SETFSLABEL;
	struct inode *inode = file_inode(file);
	struct zufs_ioc_ioctl *ioc __free(kvfree) = NULL;
	int err;

	if (!fits(inode->i_sb, size))
		return -ENOTTY;
	ioc = kvzalloc(command_size(size), GFP_KERNEL);
	if (!ioc)
		return -ENOMEM;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(ioc->arg, arg, size))
		return -EFAULT;
	err = write ? mnt_want_write_file(file) : 0;
	if (err)
		return err;
	err = pass_on(inode, ioc, cmd, size);
	if (write)
		mnt_drop_write_file(file);
	/* Once: what it asks for then is not to be had. */
	if (err == -EZUFS_RETRY)
		err = retry_ioctl(inode, &ioc, cmd, &size, arg);
	if (err == -EZUFS_RETRY)
		err = -EOPNOTSUPP;
	if (!err && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user(arg, ioc->arg, min_t(size_t, size, ioc->hdr.out_len)))
		return -EFAULT;
	return err;
}

long zuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd == FS_IOC_SHUTDOWN)
		return shut_down(file_inode(file)->i_sb, (void __user *)arg);
	return server_ioctl(file, cmd, (void __user *)arg);
}
