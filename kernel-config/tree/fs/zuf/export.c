// SPDX-License-Identifier: GPL-2.0-only
/*
 * File handles, for NFS and open_by_handle_at(2).
 *
 * The interface has no call that finds an inode by its number, so a handle
 * leads to inodes that are in memory; others are stale.
 */

#include <linux/exportfs.h>
#include <linux/fs.h>
#include "zuf.h"

static struct inode *inode_of_handle(struct super_block *sb, u64 ino,
				     u32 generation)
{
	struct inode *inode = ilookup(sb, ino);

	if (inode && (!generation || inode->i_generation == generation) &&
	    inode->i_nlink)
		return inode;
	iput(inode);
	return ERR_PTR(-ESTALE);
}

static struct dentry *zuf_fh_to_dentry(struct super_block *sb, struct fid *fid,
				       int len, int type)
{
	return generic_fh_to_dentry(sb, fid, len, type, inode_of_handle);
}

static struct dentry *zuf_fh_to_parent(struct super_block *sb, struct fid *fid,
				       int len, int type)
{
	return generic_fh_to_parent(sb, fid, len, type, inode_of_handle);
}

static struct dentry *zuf_get_parent(struct dentry *child)
{
	struct inode *dir = d_inode(child);
	struct zufs_ioc_lookup ioc = { .dir_ii = ZUF_I(dir)->zus_ii };
	int err;

	zuf_str_set(&ioc.str, &dotdot_name);
	err = zuf_call(ZUF_SB(dir->i_sb), ZUFS_OP_LOOKUP, &ioc.hdr, sizeof(ioc),
		       offsetof(struct zufs_ioc_lookup, _zi));
	if (err)
		return ERR_PTR(err);
	return d_obtain_alias(zuf_iget(dir->i_sb, ioc.zus_ii, ioc._zi));
}

const struct export_operations zuf_export_operations = {
	.encode_fh	= generic_encode_ino32_fh,
	.fh_to_dentry	= zuf_fh_to_dentry,
	.fh_to_parent	= zuf_fh_to_parent,
	.get_parent	= zuf_get_parent,
};
