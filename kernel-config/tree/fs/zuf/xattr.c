// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended attributes and POSIX ACLs. The server stores name and value; ACLs
 * go to it in the form that getxattr(2) shows.
 */

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include "zuf.h"

#define XATTR_HEAD	offsetof(struct zufs_ioc_xattr, buf)
#define XATTR_OUT	offsetof(struct zufs_ioc_xattr, user_buf_size)

/* Room for a value or list beside the command's head. */
static size_t xattr_room(struct inode *inode)
{
	return min(zuf_max_command(ZUF_SB(inode->i_sb)->root), U16_MAX) -
	       XATTR_HEAD;
}

static struct zufs_ioc_xattr *new_command(struct inode *inode,
					  unsigned int operation, int type,
					  const char *name, size_t value_len,
					  size_t room, size_t *total)
{
	size_t name_len = name ? strlen(name) + 1 : 0;
	struct zufs_ioc_xattr *ioc;

	*total = XATTR_HEAD + max(name_len + value_len, room);
	ioc = kvzalloc(*total, GFP_KERNEL);
	if (!ioc)
		return NULL;
	ioc->hdr.operation = operation;
	ioc->hdr.in_len = XATTR_HEAD + name_len + value_len;
	ioc->hdr.out_start = XATTR_OUT;
	ioc->hdr.out_len = XATTR_HEAD - XATTR_OUT;
	ioc->hdr.out_max = XATTR_HEAD - XATTR_OUT + room;
	ioc->zus_ii = ZUF_I(inode)->zus_ii;
	ioc->type = type;
	ioc->name_len = name_len;
	if (name)
		memcpy(ioc->buf, name, name_len);
	if (capable(CAP_SYS_ADMIN))
		ioc->ioc_flags = ZUFS_XATTR_TRUSTED;
	return ioc;
}

/* Have the server fill a buffer, or say how large it has to be. */
static ssize_t fetch(struct inode *inode, unsigned int operation, int type,
		     const char *name, void *buffer, size_t size)
{
	size_t room = min(size, xattr_room(inode));
	struct zuf_op op = {};
	ssize_t ret;
	struct zufs_ioc_xattr *ioc __free(kvfree) =
		new_command(inode, operation, type, name, 0, room, &op.room);

	if (!ioc)
		return -ENOMEM;
	op.hdr = &ioc->hdr;
	ioc->user_buf_size = room;
	ret = zuf_dispatch(ZUF_SB(inode->i_sb), &op);
	if (ret)
		return ret;
	ret = ioc->user_buf_size;
	if (ret > (room ?: XATTR_SIZE_MAX) ||
	    (room && ioc->hdr.out_len < XATTR_HEAD - XATTR_OUT + ret))
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "size of an attribute");
	if (room)
		memcpy(buffer, ioc->buf, ret);
	return ret;
}

/* No value: remove. */
static int set_xattr(struct inode *inode, int type, const char *name,
		     const void *value, size_t size, int flags)
{
	size_t name_len = strlen(name) + 1;
	struct zuf_op op = {};

	if (name_len + size > xattr_room(inode))
		return -E2BIG;
	struct zufs_ioc_xattr *ioc __free(kvfree) =
		new_command(inode, ZUFS_OP_XATTR_SET, type, name, size, 0,
			    &op.room);
	if (!ioc)
		return -ENOMEM;
	ioc->flags = flags;
	ioc->user_buf_size = size;
	if (size)
		memcpy(ioc->buf + name_len, value, size);
	else if (value)
		ioc->ioc_flags |= ZUFS_XATTR_SET_EMPTY;
	op.hdr = &ioc->hdr;
	return zuf_dispatch(ZUF_SB(inode->i_sb), &op);
}

/**
 * zuf_listxattr - names of all extended attributes
 * @dentry: of the file
 * @buffer: where to
 * @size: room there, 0 to ask how much is needed
 *
 * Return: bytes, or -errno.
 */
ssize_t zuf_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct inode *inode = d_inode(dentry);
	ssize_t ret = fetch(inode, ZUFS_OP_XATTR_LIST, 0, NULL, buffer, size);

	if (ret > 0 && size && buffer[ret - 1])
		return zuf_bad_reply(ZUF_SB(inode->i_sb), "list of attributes");
	return ret;
}

static int handler_get(const struct xattr_handler *handler,
		       struct dentry *dentry, struct inode *inode,
		       const char *name, void *buffer, size_t size)
{
	return fetch(inode, ZUFS_OP_XATTR_GET, handler->flags, name, buffer, size);
}

static int handler_set(const struct xattr_handler *handler,
		       struct mnt_idmap *idmap, struct dentry *dentry,
		       struct inode *inode, const char *name, const void *value,
		       size_t size, int flags)
{
	int err = set_xattr(inode, handler->flags, name, value, size, flags);

	if (err)
		return err;
	inode_set_ctime_current(inode);
	zuf_store_attrs(inode);
	return zuf_send_setattr(inode, STATX_CTIME);
}

static bool trusted_list(struct dentry *dentry)
{
	return capable(CAP_SYS_ADMIN);
}

#define HANDLER(name, of_prefix, type, may_list)			\
static const struct xattr_handler zuf_##name##_handler = {		\
	.prefix	= of_prefix,						\
	.flags	= type,							\
	.list	= may_list,						\
	.get	= handler_get,						\
	.set	= handler_set,						\
}

HANDLER(user, XATTR_USER_PREFIX, X_F_USER, NULL);
HANDLER(trusted, XATTR_TRUSTED_PREFIX, X_F_TRUSTED, trusted_list);
HANDLER(security, XATTR_SECURITY_PREFIX, X_F_SECURITY, NULL);

const struct xattr_handler * const zuf_xattr_handlers[] = {
	&zuf_user_handler,
	&zuf_trusted_handler,
	&zuf_security_handler,
	NULL,
};

/* ---- ACLs ---- */

/* Behind "system.", which the type of the attribute says. */
#define acl_name(type)	(posix_acl_xattr_name(type) + XATTR_SYSTEM_PREFIX_LEN)

struct posix_acl *zuf_get_acl(struct inode *inode, int type, bool rcu)
{
	void *value __free(kvfree) = NULL;
	ssize_t size;

	if (rcu)
		return ERR_PTR(-ECHILD);
	size = fetch(inode, ZUFS_OP_XATTR_GET, X_F_SYSTEM, acl_name(type), NULL, 0);
	if (size > 0) {
		value = kvmalloc(size, GFP_KERNEL);
		if (!value)
			return ERR_PTR(-ENOMEM);
		size = fetch(inode, ZUFS_OP_XATTR_GET, X_F_SYSTEM, acl_name(type), value, size);
	}
	if (size > 0)
		return posix_acl_from_xattr(&init_user_ns, value, size);
	if (size == -ENODATA || size == -EOPNOTSUPP)
		return NULL;
	return ERR_PTR(size);
}

static int store_acl(struct inode *inode, struct posix_acl *acl, int type)
{
	void *value __free(kvfree) = NULL;
	size_t size = 0;
	int err;

	if (acl) {
		size = posix_acl_xattr_size(acl->a_count);
		value = kvmalloc(size, GFP_KERNEL);
		if (!value)
			return -ENOMEM;
		err = posix_acl_to_xattr(&init_user_ns, acl, value, size);
		if (err < 0)
			return err;
	}
	err = set_xattr(inode, X_F_SYSTEM, acl_name(type), value, size, 0);
	if (err == -ENODATA && !acl)
		err = 0;
	if (!err)
		set_cached_acl(inode, type, acl);
	return err;
}

int zuf_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		struct posix_acl *acl, int type)
{
	struct inode *inode = d_inode(dentry);
	umode_t mode = inode->i_mode;
	int err;

	if (type == ACL_TYPE_ACCESS && acl) {
		err = posix_acl_update_mode(idmap, inode, &mode, &acl);
		if (err)
			return err;
	}
	if (type == ACL_TYPE_DEFAULT && !S_ISDIR(inode->i_mode))
		return acl ? -EACCES : 0;
	err = store_acl(inode, acl, type);
	if (err)
		return err;
	inode->i_mode = mode;
	inode_set_ctime_current(inode);
	zuf_store_attrs(inode);
	return zuf_send_setattr(inode, STATX_MODE | STATX_CTIME);
}

/**
 * zuf_init_acls - ACLs of a new inode
 * @inode: the inode
 * @acl: access ACL, or NULL
 * @default_acl: default ACL, or NULL
 *
 * Return: 0 or -errno.
 */
int zuf_init_acls(struct inode *inode, struct posix_acl *acl,
		  struct posix_acl *default_acl)
{
	int err = 0;

	if (default_acl)
		err = store_acl(inode, default_acl, ACL_TYPE_DEFAULT);
	else
		cache_no_acl(inode);
	if (!err && acl)
		err = store_acl(inode, acl, ACL_TYPE_ACCESS);
	return err;
}
