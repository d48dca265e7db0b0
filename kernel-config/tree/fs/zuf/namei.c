// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names: lookup, and all that adds, removes and moves them.
 */

#include <linux/fs.h>
#include <linux/posix_acl.h>
#include "zuf.h"

static int send_lookup(struct inode *dir, u64 dir_ii, const struct qstr *name,
		       struct zufs_ioc_lookup *ioc)
{
	memset(ioc, 0, sizeof(*ioc));
	ioc->dir_ii = dir_ii;
	zuf_str_set(&ioc->str, name);
	return zuf_call(dir, ZUFS_OP_LOOKUP, &ioc->hdr, sizeof(*ioc),
			offsetof(struct zufs_ioc_lookup, _zi));
}

static int look_again(struct inode *dir, u64 dir_ii, const struct qstr *name,
		      struct inode *inode)
{
	struct zufs_ioc_lookup ioc;
	int err = send_lookup(dir, dir_ii, name, &ioc);

	if (err)
		return err;
	if (zuf_t1_addr(ZUF_SB(dir->i_sb)->t1, ioc._zi,
			sizeof(struct zus_inode)) != ZUF_I(inode)->zi)
		return -EIO;
	ZUF_I(inode)->zus_ii = ioc.zus_ii;
	return 0;
}

/**
 * zuf_lookup_inode - the inode of a name
 * @dir: any inode of the mount
 * @dir_ii: cookie of the directory
 * @name: what to look for there
 *
 * Return: the inode, or an ERR_PTR: -ENOENT, -EIO, ...
 */
struct inode *zuf_lookup_inode(struct inode *dir, u64 dir_ii,
			       const struct qstr *name)
{
	struct zuf_sb_info *sbi = ZUF_SB(dir->i_sb);
	int left = atomic_read(&sbi->left);
	struct zufs_ioc_lookup ioc;
	struct inode *inode;
	int err;

	err = send_lookup(dir, dir_ii, name, &ioc);
	if (err)
		return ERR_PTR(err);
	inode = zuf_iget(dir->i_sb, ioc.zus_ii, ioc._zi);
	if (IS_ERR(inode) || !(inode->i_state & I_NEW))
		return inode;
	/*
	 * Was the server told, after it gave us the cookie, that this inode has
	 * gone? Now it stays, since we hold it: a second answer counts.
	 */
	err = zuf_wait_left(sbi, ioc.zus_ii);
	if (!err && atomic_read(&sbi->left) != left)
		err = look_again(dir, dir_ii, name, inode);
	/* By handle: without a name it is for those alone who have it open. */
	if (!err && !inode->i_nlink)
		err = -ESTALE;
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	unlock_new_inode(inode);
	return inode;
}

static struct dentry *zuf_lookup(struct inode *dir, struct dentry *dentry,
				 unsigned int flags)
{
	struct inode *inode;

	if (dentry->d_name.len > ZUFS_NAME_LEN)
		return ERR_PTR(-ENAMETOOLONG);
	inode = zuf_lookup_inode(dir, ZUF_I(dir)->zus_ii, &dentry->d_name);
	if (inode == ERR_PTR(-ENOENT))
		inode = NULL;
	return d_splice_alias(inode, dentry);
}

/* Of a killed task the server may do it later: what is there has to be asked. */
static int forget_if_killed(struct dentry *dentry, int err)
{
	if (err == -EINTR)
		d_drop(dentry);
	return err;
}

/* What the new inode shall look like. */
static void fill_template(struct zus_inode *zi, struct inode *inode,
			  dev_t rdev, const char *link)
{
	s64 now = zuf_time(inode_get_ctime(inode));

	zi->i_mode = cpu_to_le16(inode->i_mode);
	zi->i_uid = cpu_to_le32(i_uid_read(inode));
	zi->i_gid = cpu_to_le32(i_gid_read(inode));
	zi->i_mtime = cpu_to_le64(now);
	zi->i_ctime = cpu_to_le64(now);
	zi->i_atime = cpu_to_le64(now);
	if (S_ISCHR(inode->i_mode) || S_ISBLK(inode->i_mode))
		zi->i_rdev = cpu_to_le32(new_encode_dev(rdev));
	if (link) {
		zi->i_size = cpu_to_le64(strlen(link));
		if (strlen(link) <= sizeof(zi->i_symlink))
			memcpy(zi->i_symlink, link, strlen(link));
	}
}

/* A symlink too long for the inode goes through the window. */
static int add_link_page(struct zuf_op *op, const char *link,
			 struct page **page)
{
	size_t len = link ? strlen(link) : 0;

	if (len <= sizeof_field(struct zus_inode, i_symlink))
		return 0;
	*page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!*page)
		return -ENOMEM;
	memcpy(page_address(*page), link, len);
	op->hdr->len = len;
	op->pages = page;
	op->nr_pages = 1;
	return 0;
}

static int send_new_inode(struct inode *dir, struct inode *inode,
			  const struct qstr *name, dev_t rdev, const char *link)
{
	struct zufs_ioc_new_inode ioc = { .dir_ii = ZUF_I(dir)->zus_ii };
	struct page *page = NULL;
	struct zuf_op op = {};
	int err;

	zuf_op_init(&op, ZUFS_OP_NEW_INODE, &ioc.hdr, sizeof(ioc),
		    offsetof(struct zufs_ioc_new_inode, _zi));
	if (name)
		zuf_str_set(&ioc.str, name);
	else
		ioc.flags = ZI_TMPFILE;
	fill_template(&ioc.zi, inode, rdev, link);
	err = add_link_page(&op, link, &page);
	if (err)
		return err;
	err = zuf_dispatch(ZUF_SB(dir->i_sb), &op);
	if (page)
		__free_page(page);
	return err ? err : zuf_inode_attach(inode, ioc.zus_ii, ioc._zi);
}

static int send_dentry(struct inode *dir, struct inode *inode,
		       const struct qstr *name, unsigned int operation)
{
	struct zufs_ioc_dentry ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.zus_dir_ii = ZUF_I(dir)->zus_ii,
		.ino = inode->i_ino,
	};

	if (name->len > ZUFS_NAME_LEN)
		return -ENAMETOOLONG;
	zuf_str_set(&ioc.str, name);
	return zuf_call(inode, operation, &ioc.hdr, sizeof(ioc), 0) ?:
	       zuf_inode_refresh(inode) ?: zuf_inode_refresh(dir);
}

static void drop_failed_inode(struct inode *inode)
{
	make_bad_inode(inode);
	iput(inode);
}

static struct inode *init_new_inode(struct mnt_idmap *idmap, struct inode *dir,
				    umode_t mode, dev_t rdev, const char *link)
{
	struct inode *inode = new_inode(dir->i_sb);

	if (!inode)
		return NULL;
	inode_init_owner(idmap, inode, dir, mode);
	inode->i_rdev = rdev;
	simple_inode_init_ts(inode);
	if (!link)
		return inode;
	inode->i_link = kstrdup(link, GFP_KERNEL);
	if (inode->i_link)
		return inode;
	drop_failed_inode(inode);
	return NULL;
}

/*
 * A new inode, with its name unless @name is NULL. What comes back is locked
 * and hashed.
 */
static struct inode *new_inode_in(struct mnt_idmap *idmap, struct inode *dir,
				  const struct qstr *name, umode_t mode,
				  dev_t rdev, const char *link)
{
	struct posix_acl *acl = NULL, *default_acl = NULL;
	struct inode *inode;
	int err;

	if (name && name->len > ZUFS_NAME_LEN)
		return ERR_PTR(-ENAMETOOLONG);
	inode = init_new_inode(idmap, dir, mode, rdev, link);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	err = link ? 0 : posix_acl_create(dir, &inode->i_mode, &default_acl,
					  &acl);
	if (!err)
		err = send_new_inode(dir, inode, name, rdev, link);
	if (!err && insert_inode_locked(inode))
		err = -EIO;
	if (err) {
		drop_failed_inode(inode);
		goto out;
	}
	zuf_inode_set_ops(inode);
	zuf_inode_refresh(dir);
	if (!link)
		err = zuf_init_acls(inode, acl, default_acl);
	if (err) {
		/* Without its ACL more people than meant could get at it. */
		if (name)
			send_dentry(dir, inode, name, ZUFS_OP_REMOVE_DENTRY);
		discard_new_inode(inode);
	}
out:
	posix_acl_release(acl);
	posix_acl_release(default_acl);
	return err ? ERR_PTR(err) : inode;
}

static int add_new(struct mnt_idmap *idmap, struct inode *dir,
		   struct dentry *dentry, umode_t mode, dev_t rdev,
		   const char *link)
{
	struct inode *inode = new_inode_in(idmap, dir, &dentry->d_name, mode,
					   rdev, link);

	if (IS_ERR(inode))
		return forget_if_killed(dentry, PTR_ERR(inode));
	d_instantiate_new(dentry, inode);
	return 0;
}

static int zuf_mknod(struct mnt_idmap *idmap, struct inode *dir,
		     struct dentry *dentry, umode_t mode, dev_t rdev)
{
	return add_new(idmap, dir, dentry, mode, rdev, NULL);
}

static int zuf_create(struct mnt_idmap *idmap, struct inode *dir,
		      struct dentry *dentry, umode_t mode, bool excl)
{
	return add_new(idmap, dir, dentry, mode | S_IFREG, 0, NULL);
}

/*
 * A name that open(2) may make is as a rule not there. So it is made without
 * looking whether it is: one call to the server in place of two.
 */
static int zuf_atomic_open(struct inode *dir, struct dentry *dentry,
			   struct file *file, unsigned int flags, umode_t mode)
{
	struct inode *inode = ERR_PTR(-ENOENT);
	struct dentry *found = NULL;

	if (flags & O_CREAT)
		inode = new_inode_in(file_mnt_idmap(file), dir, &dentry->d_name,
				     mode | S_IFREG, 0, NULL);
	if (!IS_ERR(inode)) {
		file->f_mode |= FMODE_CREATED;
		if (d_in_lookup(dentry))
			d_add(dentry, NULL);
		d_instantiate_new(dentry, inode);
		return finish_no_open(file, NULL);
	}
	/* Whatever is wrong with a new one: what is there can be opened. */
	if (d_in_lookup(dentry))
		found = zuf_lookup(dir, dentry, 0);
	if (IS_ERR(found))
		return PTR_ERR(found);
	if (d_really_is_negative(found ?: dentry)) {
		dput(found);
		return forget_if_killed(dentry, PTR_ERR(inode));
	}
	return finish_no_open(file, found);
}

static int zuf_mkdir(struct mnt_idmap *idmap, struct inode *dir,
		     struct dentry *dentry, umode_t mode)
{
	return add_new(idmap, dir, dentry, mode | S_IFDIR, 0, NULL);
}

static int zuf_symlink(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, const char *link)
{
	if (strlen(link) >= ZUFS_MAX_SYMLINK)
		return -ENAMETOOLONG;
	return add_new(idmap, dir, dentry, S_IFLNK | 0777, 0, link);
}

static int zuf_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
		       struct file *file, umode_t mode)
{
	struct inode *inode = new_inode_in(idmap, dir, NULL, mode, 0, NULL);

	if (IS_ERR(inode))
		return finish_open_simple(file, PTR_ERR(inode));
	d_mark_tmpfile(file, inode);
	d_instantiate_new(file->f_path.dentry, inode);
	return finish_open_simple(file, 0);
}

static int zuf_link(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = d_inode(old);
	int err = send_dentry(dir, inode, &dentry->d_name, ZUFS_OP_ADD_DENTRY);

	if (err)
		return forget_if_killed(dentry, err);
	ihold(inode);
	d_instantiate(dentry, inode);
	return 0;
}

static int zuf_unlink(struct inode *dir, struct dentry *dentry)
{
	return forget_if_killed(dentry, send_dentry(dir, d_inode(dentry), &dentry->d_name,
						    ZUFS_OP_REMOVE_DENTRY));
}

static int zuf_rename(struct mnt_idmap *idmap, struct inode *old_dir,
		      struct dentry *old, struct inode *new_dir,
		      struct dentry *new, unsigned int flags)
{
	struct inode *inode = d_inode(old);
	struct inode *target = d_inode(new);
	struct zufs_ioc_rename ioc = {
		.old_dir_ii = ZUF_I(old_dir)->zus_ii,
		.new_dir_ii = ZUF_I(new_dir)->zus_ii,
		.old_zus_ii = ZUF_I(inode)->zus_ii,
		.new_zus_ii = target ? ZUF_I(target)->zus_ii : 0,
		.flags = flags,
		.time = zuf_time(current_time(inode)),
	};
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	if (new->d_name.len > ZUFS_NAME_LEN)
		return -ENAMETOOLONG;
	zuf_str_set(&ioc.old_d_str, &old->d_name);
	zuf_str_set(&ioc.new_d_str, &new->d_name);
	err = zuf_call(inode, ZUFS_OP_RENAME, &ioc.hdr, sizeof(ioc), 0) ?:
	      zuf_inode_refresh(old_dir) ?: zuf_inode_refresh(new_dir) ?:
	      zuf_inode_refresh(inode) ?:
	      target ? zuf_inode_refresh(target) : 0;
	return forget_if_killed(new, forget_if_killed(old, err));
}

const struct inode_operations zuf_dir_inode_operations = {
	.lookup		= zuf_lookup,
	.create		= zuf_create,
	.atomic_open	= zuf_atomic_open,
	.link		= zuf_link,
	.unlink		= zuf_unlink,
	.symlink	= zuf_symlink,
	.mkdir		= zuf_mkdir,
	.rmdir		= zuf_unlink,
	.mknod		= zuf_mknod,
	.rename		= zuf_rename,
	.tmpfile	= zuf_tmpfile,
	ZUF_INODE_OPERATIONS,
	ZUF_ACL_AND_FLAGS,
};

const struct inode_operations zuf_symlink_inode_operations = {
	.get_link	= simple_get_link,
	ZUF_INODE_OPERATIONS,
};

const struct inode_operations zuf_special_inode_operations = {
	ZUF_INODE_OPERATIONS,
	ZUF_ACL_AND_FLAGS,
};
