// SPDX-License-Identifier: GPL-2.0-only
/*
 * File handles, for NFS and open_by_handle_at(2).
 *
 * The interface has no call that finds an inode by its number. Servers whose
 * cookies are a fixed number for the mount plus that of the inode (as the one
 * of the root tells) can be asked for "." of any; handles of others lead to
 * inodes that are in memory.
 */

#include <linux/exportfs.h>
#include "zuf.h"

/* Cookies of a mount begin at a multiple of this. */
#define ZUF_COOKIE_BASE		BIT_ULL(40)

static struct inode *find_inode(struct super_block *sb, u64 ino)
{
	static const struct qstr dot = QSTR_INIT(".", 1);
	struct inode *root = d_inode(sb->s_root), *inode = ilookup(sb, ino);
	u64 base = ZUF_I(root)->zus_ii - root->i_ino;

	if (inode)
		return inode;
	if (base % ZUF_COOKIE_BASE || !ino || ino >= ZUF_COOKIE_BASE)
		return ERR_PTR(-ESTALE);
	inode = zuf_lookup_inode(root, base + ino, &dot);
	if (!IS_ERR(inode) || inode == ERR_PTR(-EIO) ||
	    inode == ERR_PTR(-ENOMEM) || inode == ERR_PTR(-EINTR))
		return inode;
	return ERR_PTR(-ESTALE);
}

static struct inode *inode_of_handle(struct super_block *sb, u64 ino,
				     u32 generation)
{
	struct inode *inode = find_inode(sb, ino);

	if (IS_ERR(inode) ||
	    (inode->i_ino == ino &&
	     (!generation || inode->i_generation == generation)))
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

	return d_obtain_alias(zuf_lookup_inode(dir, ZUF_I(dir)->zus_ii,
					       &dotdot_name));
}

/* Handles have 32 bits for the number of an inode. */
static int zuf_encode_fh(struct inode *inode, u32 *fh, int *len,
			 struct inode *parent)
{
	if (inode->i_ino > U32_MAX || (parent && parent->i_ino > U32_MAX))
		return FILEID_INVALID;
	return generic_encode_ino32_fh(inode, fh, len, parent);
}

const struct export_operations zuf_export_operations = {
	.encode_fh	= zuf_encode_fh,
	.fh_to_dentry	= zuf_fh_to_dentry,
	.fh_to_parent	= zuf_fh_to_parent,
	.get_parent	= zuf_get_parent,
};
