// SPDX-License-Identifier: GPL-2.0-only
/*
 * Answers that break one rule each, see enum lie.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fiemap.h>
#include <string.h>
#include <sys/stat.h>
#include "store.h"

#define FAR_BLOCK	(1ULL << 40)	/* behind the end of any T1 here */
#define UNKNOWN_FLAGS	0x40000000U

static uint64_t iom(unsigned int type, uint64_t block)
{
	return ((uint64_t)type << 56) | (block << 3);
}

static void lie_inode(struct zus_inode *zi, __u64 *dpp, int how)
{
	switch (how) {
	case BAD_DPP_POOL:
		*dpp |= 3;
		break;
	case BAD_DPP_RANGE:
		*dpp = FAR_BLOCK * BLOCK;
		break;
	case BAD_DPP_STRADDLE:
		*dpp = INODE_BLOCK * BLOCK + BLOCK - sizeof(*zi) / 2;
		break;
	case BAD_INO:
		zi->i_ino = 0;
		break;
	case BAD_MODE:
		zi->i_mode = 0777;
		break;
	case BAD_SIZE:
		zi->i_size = 1ULL << 63;
		break;
	case BAD_NLINK:
		zi->i_nlink = 0xffffffff;
		break;
	case BAD_BLOCKS:
		zi->i_blocks = ~0ULL;
		break;
	case BAD_SYMLINK_EMPTY:
		zi->i_mode = S_IFLNK | 0777;
		zi->i_size = 0;
		break;
	case BAD_SYMLINK_LONG:
		zi->i_mode = S_IFLNK | 0777;
		zi->i_size = ZUFS_MAX_SYMLINK;
		zi->i_sym_dpp = 16 * BLOCK;
		break;
	case BAD_SYMLINK_DPP:
		zi->i_mode = S_IFLNK | 0777;
		zi->i_size = 100;
		zi->i_sym_dpp = FAR_BLOCK * BLOCK;
		break;
	}
}

static void lie_lookup(struct zufs_ioc_lookup *ioc, int how)
{
	lie_inode(zi_of(mount_of(ioc->zus_ii), number_of(ioc->zus_ii)),
		  &ioc->_zi, how);
}

static void lie_new_inode(struct zufs_ioc_new_inode *ioc, int how)
{
	lie_inode(zi_of(mount_of(ioc->zus_ii), number_of(ioc->zus_ii)),
		  &ioc->_zi, how);
}

static void lie_dentry(struct zufs_ioc_dentry *ioc, int how)
{
	__u64 unused = 0;

	lie_inode(zi_of(mount_of(ioc->zus_ii), number_of(ioc->zus_ii)), &unused,
		  how);
}

static void lie_io(struct zufs_ioc_IO *io, int how)
{
	unsigned int i;

	switch (how) {
	case BAD_LAST_POS_BEFORE:
		io->last_pos = io->filepos - 1;
		break;
	case BAD_LAST_POS_BEHIND:
		io->last_pos = io->filepos + io->hdr.len + 1;
		break;
	case BAD_BLOCK_RANGE:
		io->iom_e[0] = iom(IOM_T1_READ, FAR_BLOCK);
		break;
	case BAD_BLOCK_POOL:
		io->iom_e[0] |= 5;
		break;
	case BAD_BLOCK_TYPE:
		io->iom_e[0] = iom(IOM_T2_READ, 100);
		break;
	case BAD_BLOCK_COUNT:
		io->ziom.iom_n = 60000;
		break;
	case BAD_BLOCK_NONE:
		io->ziom.iom_n = 0;
		break;
	case BAD_BLOCK_HOLE:
		io->iom_e[0] = 0;
		break;
	case BAD_BLOCK_HOLE_LATER:
		io->iom_e[io->ziom.iom_n - 1] = 0;
		break;
	case READ_ONLY_BLOCKS:
		for (i = 0; i < io->ziom.iom_n; i++)
			if (io->iom_e[i])
				io->iom_e[i] = iom(IOM_T1_READ,
						   (io->iom_e[i] << 8) >> 11);
		break;
	case BAD_RET_FLAGS:
		io->ret_flags |= UNKNOWN_FLAGS;
		break;
	}
}

static void lie_readdir(struct zufs_ioc_readdir *ioc, char *window, int how)
{
	struct zufs_dir_entry *entry = (void *)(window + ioc->hdr.offset);

	switch (how) {
	case BAD_DIRENT_RECORD:
		ioc->hdr.len = 24;
		entry->zstr.len = 200;
		break;
	case BAD_DIRENT_EMPTY:
		entry->zstr.len = 0;
		break;
	case BAD_DIRENT_SLASH:
		entry->zstr.name[0] = '/';
		break;
	case BAD_DIRENT_NUL:
		entry->zstr.name[0] = 0;
		break;
	case BAD_DIRENT_TYPE:
		entry->type = 77;
		break;
	case BAD_DIRENT_INO:
		entry->ino = 0;
		break;
	}
}

static void lie_seek(struct zufs_ioc_seek *ioc, int how)
{
	if (how == BAD_SEEK_BEFORE)
		ioc->offset_out = ioc->offset_in - 1;
	else if (how == BAD_SEEK_BEHIND)
		ioc->offset_out = 1ULL << 62;
}

static void lie_xattr(struct zufs_ioc_xattr *ioc, int how)
{
	switch (how) {
	case BAD_XATTR_SIZE:
		ioc->user_buf_size = 0x7fffffff;
		break;
	case BAD_XATTR_OUT:
		ioc->user_buf_size = 50;
		ioc->hdr.out_len = sizeof(*ioc) - ioc->hdr.out_start;
		break;
	case BAD_XATTR_LIST:
		ioc->buf[ioc->user_buf_size - 1] = 'x';
		break;
	}
}

static void lie_fiemap(struct zufs_ioc_fiemap *ioc, char *window, int how)
{
	struct fiemap_extent *extent = (void *)(window + ioc->hdr.offset);

	switch (how) {
	case BAD_EXTENT_COUNT:
		ioc->extents_mapped = 0xffffffff;
		break;
	case BAD_EXTENT_RANGE:
		extent->fe_logical = 1ULL << 62;
		break;
	case BAD_EXTENT_EMPTY:
		extent->fe_length = 0;
		break;
	}
}

static void lie_ioctl(struct zufs_ioc_ioctl *ioc, int how)
{
	/* With any other error these bytes are the caller's argument. */
	if (how == BAD_IOCTL_FLAGS) {
		ioc->hdr.err = -EZUFS_RETRY;
		ioc->uflags = UNKNOWN_FLAGS;
	} else if (how == BAD_IOCTL_SIZE) {
		ioc->hdr.err = -EZUFS_RETRY;
		ioc->uflags = ZUFS_IOC_REALLOC;
		ioc->new_size = 0x7fffffff;
	}
}

/* Lies that fit every operation. */
static bool lie_header(struct zufs_ioc_hdr *hdr, int how)
{
	switch (how) {
	case BAD_ERROR_POSITIVE:
		hdr->err = 5;
		return true;
	case BAD_ERROR_INTERNAL:
		hdr->err = -529; /* EIOCBQUEUED */
		return true;
	case BAD_ERROR_RETRY:
		hdr->err = -EZUFS_RETRY;
		return true;
	case BAD_OUT_LEN:
		hdr->out_len = 65535;
		return true;
	case BAD_WINDOW_LEN:
		hdr->len = 0x7fffffff;
		return true;
	}
	return false;
}

/**
 * tell_lie - spoil an answer
 * @hdr: the answer
 * @window: of the thread
 * @how: enum lie
 */
void tell_lie(struct zufs_ioc_hdr *hdr, char *window, int how)
{
	void *ioc = hdr;

	__sync_fetch_and_add(&control->lies_told, 1);
	if (lie_header(hdr, how))
		return;
	if (hdr->operation == ZUFS_OP_IOCTL)
		lie_ioctl(ioc, how);
	if (hdr->err)
		return;
	switch (hdr->operation) {
	case ZUFS_OP_LOOKUP:
		lie_lookup(ioc, how);
		break;
	case ZUFS_OP_NEW_INODE:
		lie_new_inode(ioc, how);
		break;
	case ZUFS_OP_ADD_DENTRY:
	case ZUFS_OP_REMOVE_DENTRY:
		lie_dentry(ioc, how);
		break;
	case ZUFS_OP_READ:
	case ZUFS_OP_WRITE:
	case ZUFS_OP_GET_MULTY:
	case ZUFS_OP_FALLOCATE:
		lie_io(ioc, how);
		break;
	case ZUFS_OP_READDIR:
		lie_readdir(ioc, window, how);
		break;
	case ZUFS_OP_LLSEEK:
		lie_seek(ioc, how);
		break;
	case ZUFS_OP_XATTR_GET:
	case ZUFS_OP_XATTR_LIST:
		lie_xattr(ioc, how);
		break;
	case ZUFS_OP_FIEMAP:
		lie_fiemap(ioc, window, how);
		break;
	}
}

/**
 * tell_mount_lie - spoil the answer to a mount
 * @m: the mount
 * @zmi: the answer
 * @how: enum lie
 */
void tell_mount_lie(struct mount *m, struct zufs_mount_info *zmi, int how)
{
	switch (how) {
	case BAD_ROOT_DPP:
		zmi->_zi = FAR_BLOCK * BLOCK;
		break;
	case BAD_ROOT_TYPE:
		zi_of(m, ROOT_INODE)->i_mode = S_IFREG | 0600;
		break;
	case BAD_BLOCK_BITS:
		zmi->s_blocksize_bits = 30;
		break;
	case BAD_CAPS:
		zmi->fs_caps |= UNKNOWN_FLAGS;
		break;
	default:
		return;
	}
	__sync_fetch_and_add(&control->lies_told, 1);
}
