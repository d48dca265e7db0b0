// SPDX-License-Identifier: GPL-2.0-only
/*
 * zuf-root: the pseudo file system on /sys/fs/zuf through which a server
 * talks to the kernel. It shows nothing; each file is an unnamed one, made by
 * open("/sys/fs/zuf", O_RDWR | O_TMPFILE | O_EXCL), whose first ioctl says
 * what it is for, for good.
 */

#include <linux/capability.h>
#include <linux/module.h>
#include "zuf.h"

#define ZUF_ROOT_MAGIC	0x5a554652	/* "ZUFR" */

/**
 * zuf_set_role - fix what a file is for
 * @zf: the file
 * @role: what for
 *
 * Return: 0, or -EBUSY when it is for something else, or has this role and
 * that can not be taken twice.
 */
int zuf_set_role(struct zuf_file *zf, enum zuf_role role)
{
	guard(mutex)(&zf->lock);
	if (zf->role == role && role == ZUF_ROLE_MOUNT)
		return 0;
	if (zf->role != ZUF_ROLE_NONE)
		return -EBUSY;
	zf->role = role;
	return 0;
}

static struct zuf_channel *file_channel(struct zuf_file *zf)
{
	/* Pairs with zuf_channel_init_thread(). */
	return smp_load_acquire(&zf->channel);
}

static int root_register_fs(struct zuf_file *zf, void __user *arg)
{
	struct zufs_ioc_register_fs reg;

	if (copy_from_user(&reg, arg, sizeof(reg)))
		return -EFAULT;
	return zuf_set_role(zf, ZUF_ROLE_MOUNT) ?:
	       zuf_mount_become_thread(zf) ?:
	       zuf_register_type(zf->root, &reg);
}

static int root_wait(struct zuf_file *zf)
{
	struct zuf_channel *ch = file_channel(zf);

	if (ch)
		return zuf_channel_wait(ch);
	return capable(CAP_SYS_ADMIN) ? -EINVAL : -EPERM;
}

static long root_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct zuf_file *zf = file->private_data;
	void __user *ptr = (void __user *)arg;

	/* First, since it is the one that has to be fast. */
	if (cmd == ZU_IOC_WAIT_OPT)
		return root_wait(zf);
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;

	switch (cmd) {
	case ZU_IOC_REGISTER_FS:
		return root_register_fs(zf, ptr);
	case ZU_IOC_MOUNT:
		return zuf_set_role(zf, ZUF_ROLE_MOUNT) ?:
		       zuf_mount_wait(zf, ptr);
	case ZU_IOC_NUMA_MAP:
		return zuf_numa_map(ptr);
	case ZU_IOC_GRAB_PMEM:
		return zuf_grab_pmem(zf, ptr);
	case ZU_IOC_INIT_THREAD:
		return zuf_channel_init_thread(zf, ptr);
	case ZU_IOC_BREAK_ALL:
		zuf_channels_break_all(zf->root);
		zuf_mount_break(zf->root);
		return 0;
	case ZU_IOC_PRIVATE_MOUNT:
	case ZU_IOC_ALLOC_BUFFER:
	case ZU_IOC_IOMAP_EXEC:
		return -EOPNOTSUPP;
	default:
		return -ENOTTY;
	}
}

static int root_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct zuf_file *zf = file->private_data;
	struct zuf_channel *ch;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (READ_ONCE(zf->role)) {
	case ZUF_ROLE_THREAD:
		ch = file_channel(zf);
		return ch ? zuf_channel_mmap(ch, vma) : -ENXIO;
	case ZUF_ROLE_PMEM:
		return zuf_grab_mmap(zf, vma);
	default:
		return -ENXIO;
	}
}

static int root_file_open(struct inode *inode, struct file *file)
{
	struct zuf_file *zf = kzalloc(sizeof(*zf), GFP_KERNEL);

	if (!zf)
		return -ENOMEM;
	mutex_init(&zf->lock);
	INIT_LIST_HEAD(&zf->grab);
	zf->file = file;
	zf->root = inode->i_sb->s_fs_info;
	file->private_data = zf;
	return 0;
}

static int root_flush(struct file *file, fl_owner_t id)
{
	struct zuf_file *zf = file->private_data;
	struct zuf_channel *ch = file_channel(zf);

	if (ch)
		zuf_channel_flush(ch, id);
	return 0;
}

static int root_release(struct inode *inode, struct file *file)
{
	struct zuf_file *zf = file->private_data;

	if (zf->role == ZUF_ROLE_MOUNT)
		zuf_mount_thread_gone(zf);
	if (zf->role == ZUF_ROLE_PMEM)
		zuf_grab_release(zf);
	if (zf->channel)
		zuf_channel_release(zf->channel);
	kfree(zf);
	return 0;
}

static const struct file_operations root_file_operations = {
	.owner		= THIS_MODULE,
	.open		= root_file_open,
	.flush		= root_flush,
	.release	= root_release,
	.unlocked_ioctl	= root_ioctl,
	.mmap		= root_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek		= noop_llseek,
};

static int root_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
			struct file *file, umode_t mode)
{
	struct inode *inode;

	if (!(file->f_flags & O_EXCL) ||
	    (file->f_flags & O_ACCMODE) != O_RDWR)
		return finish_open_simple(file, -EINVAL);

	inode = new_inode(dir->i_sb);
	if (!inode)
		return finish_open_simple(file, -ENOMEM);
	inode->i_ino = get_next_ino();
	inode_init_owner(idmap, inode, dir, mode);
	simple_inode_init_ts(inode);
	inode->i_fop = &root_file_operations;
	d_tmpfile(file, inode);
	return finish_open_simple(file, 0);
}

static const struct inode_operations root_dir_inode_operations = {
	.lookup		= simple_lookup,
	.tmpfile	= root_tmpfile,
};

static int root_fill_super(struct super_block *sb)
{
	static const struct tree_descr no_files[] = { { "" } };
	struct inode *dir;
	int err = simple_fill_super(sb, ZUF_ROOT_MAGIC, no_files);

	if (err)
		return err;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	dir = d_inode(sb->s_root);
	dir->i_mode = S_IFDIR | 0700;
	dir->i_op = &root_dir_inode_operations;
	return 0;
}

/* ---- one for each name that is given as the device ---- */

static struct zuf_root *alloc_root(const char *name)
{
	size_t size = strlen(name) + 1;
	struct zuf_root *root = kzalloc(struct_size(root, name, size),
					GFP_KERNEL);

	if (!root)
		return NULL;
	memcpy(root->name, name, size);
	refcount_set(&root->users, 1);
	zuf_mount_init(&root->mount);
	if (!zuf_channels_open(root))
		return root;
	kfree(root);
	return NULL;
}

/**
 * zuf_root_put - let go of a zuf-root
 * @root: what root_kill_sb() and mounts hold on to
 */
void zuf_root_put(struct zuf_root *root)
{
	if (!refcount_dec_and_test(&root->users))
		return;
	free_percpu(root->cpus);
	kfree(root);
}

static void close_root(struct zuf_root *root)
{
	zuf_channels_close(root);
	zuf_root_put(root);
}

static int root_test(struct super_block *sb, struct fs_context *fc)
{
	struct zuf_root *root = sb->s_fs_info, *new = fc->s_fs_info;

	return !strcmp(root->name, new->name);
}

static int root_get_tree(struct fs_context *fc)
{
	struct super_block *sb;
	int err;

	fc->s_fs_info = alloc_root(fc->source ?: "zuf");
	if (!fc->s_fs_info)
		return -ENOMEM;
	sb = sget_fc(fc, root_test, set_anon_super_fc);
	if (IS_ERR(sb))
		return PTR_ERR(sb);
	if (!sb->s_root) {
		err = root_fill_super(sb);
		if (err) {
			deactivate_locked_super(sb);
			return err;
		}
		sb->s_flags |= SB_ACTIVE;
	}
	fc->root = dget(sb->s_root);
	return 0;
}

static void root_free_context(struct fs_context *fc)
{
	/* Still ours if there was one of that name already. */
	if (fc->s_fs_info)
		close_root(fc->s_fs_info);
}

static void root_kill_sb(struct super_block *sb)
{
	struct zuf_root *root = sb->s_fs_info;

	kill_litter_super(sb);
	close_root(root);
}

static const struct fs_context_operations root_context_operations = {
	.get_tree	= root_get_tree,
	.free		= root_free_context,
};

static int root_init_fs_context(struct fs_context *fc)
{
	fc->ops = &root_context_operations;
	return 0;
}

struct file_system_type zuf_root_type = {
	.owner		= THIS_MODULE,
	.name		= "zuf",
	.init_fs_context = root_init_fs_context,
	.kill_sb	= root_kill_sb,
};
