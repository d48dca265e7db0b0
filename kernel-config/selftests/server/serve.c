// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which function answers which operation.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "store.h"

static int do_statfs(struct zufs_ioc_statfs *ioc)
{
	struct mount *m = mounts[ioc->zus_sbi % MAX_MOUNTS];

	if (!m)
		return -ESTALE;
	memset(&ioc->statfs_out, 0, sizeof(ioc->statfs_out));
	ioc->statfs_out.f_blocks = m->blocks;
	ioc->statfs_out.f_bfree = blocks_left(m);
	ioc->statfs_out.f_bavail = ioc->statfs_out.f_bfree;
	ioc->statfs_out.f_files = MAX_INODES;
	ioc->statfs_out.f_ffree = MAX_INODES / 2;
	return 0;
}

static int do_show_options(struct zufs_ioc_mount_options *ioc)
{
	strcpy(ioc->buf, "server=c");
	ioc->hdr.out_len = strlen(ioc->buf);
	return 0;
}

/* Attributes beyond those of the inode, where the test wants them. */
static int do_ioctl(struct zufs_ioc_ioctl *ioc)
{
	struct mount *m = mount_of(ioc->zus_ii);
	struct node *node = &m->nodes[number_of(ioc->zus_ii)];
	struct zus_inode *zi = zi_of(m, number_of(ioc->zus_ii));

	if (!control->knows_fsx)
		return -ENOTTY;
	switch (ioc->cmd) {
	case FS_IOC_FSGETXATTR:
		memcpy(ioc->arg, &node->fsx, sizeof(node->fsx));
		return 0;
	case FS_IOC_FSSETXATTR:
		memcpy(&node->fsx, ioc->arg, sizeof(node->fsx));
		if (node->fsx.fsx_xflags & FS_XFLAG_NODUMP)
			zi->i_flags |= ZUFS_S_NODUMP;
		return 0;
	}
	return -ENOTTY;
}

/* What the test says; but who changes owner does so here. */
static int do_quota(struct zufs_ioc_quota *ioc)
{
	size_t from = offsetof(struct zufs_ioc_quota, id);
	struct zus_inode *zi;

	control->quota_asked = *ioc;
	if (control->quota_error)
		return control->quota_error;
	if (ioc->command == ZUFS_QUOTA_CHOWN) {
		zi = zi_of(mount_of(ioc->zus_ii), number_of(ioc->zus_ii));
		zi->i_uid = ioc->id;
		zi->i_gid = ioc->gid;
		return 0;
	}
	memcpy((char *)ioc + from, (char *)&control->quota_answer + from,
	       sizeof(*ioc) - from);
	return 0;
}

/* The cookie of the inode or directory that an operation is about. */
static uint64_t cookie_of(struct zufs_ioc_hdr *hdr)
{
	if (hdr->operation == ZUFS_OP_NEW_INODE)
		return ((struct zufs_ioc_new_inode *)hdr)->dir_ii;
	/* Everywhere else it follows the header. */
	return ((struct zufs_ioc_evict_inode *)hdr)->zus_ii;
}

/**
 * serve - do an operation
 * @hdr: the command
 * @window: of the thread
 *
 * Return: 0 or -errno, for hdr->err.
 */
int serve(struct zufs_ioc_hdr *hdr, char *window)
{
	switch (hdr->operation) {
	case ZUFS_OP_STATFS:
		return do_statfs((void *)hdr);
	case ZUFS_OP_SHOW_OPTIONS:
		return do_show_options((void *)hdr);
	case ZUFS_OP_QUOTA:
		return do_quota((void *)hdr);
	case ZUFS_OP_NOOP:
		return 0;
	}
	/* A cookie that a lie has given out. */
	if (!mount_of(cookie_of(hdr)))
		return -ESTALE;
	switch (hdr->operation) {
	case ZUFS_OP_NEW_INODE:
	case ZUFS_OP_FREE_INODE:
	case ZUFS_OP_LOOKUP:
	case ZUFS_OP_ADD_DENTRY:
	case ZUFS_OP_REMOVE_DENTRY:
	case ZUFS_OP_RENAME:
	case ZUFS_OP_READDIR:
		return serve_namespace(hdr, window);
	case ZUFS_OP_READ:
	case ZUFS_OP_WRITE:
	case ZUFS_OP_GET_MULTY:
	case ZUFS_OP_FALLOCATE:
	case ZUFS_OP_CLONE:
	case ZUFS_OP_COPY:
	case ZUFS_OP_LLSEEK:
	case ZUFS_OP_FIEMAP:
		return serve_data(hdr, window);
	case ZUFS_OP_XATTR_GET:
	case ZUFS_OP_XATTR_SET:
	case ZUFS_OP_XATTR_LIST:
		return serve_xattr(hdr);
	case ZUFS_OP_EVICT_INODE:
	case ZUFS_OP_SETATTR:
	case ZUFS_OP_SYNC:
	case ZUFS_OP_PUT_MULTY:
	case ZUFS_OP_MMAP_CLOSE:
	case ZUFS_OP_PRE_READ:
		return 0;
	case ZUFS_OP_IOCTL:
		return do_ioctl((void *)hdr);
	default:
		return -EOPNOTSUPP;
	}
}
