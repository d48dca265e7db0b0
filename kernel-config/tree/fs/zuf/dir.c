// SPDX-License-Identifier: GPL-2.0-only
/*
 * Directories: reading them.
 */

#include "zuf.h"

#define ZUF_READDIR_ORDER	2
#define ZUF_READDIR_SIZE	(PAGE_SIZE << ZUF_READDIR_ORDER)
#define ZUF_DIRENT_HEAD		offsetof(struct zufs_dir_entry, zstr.name)

/* The record at @at, or NULL when what is there is not one. */
static struct zufs_dir_entry *dir_entry(void *buffer, u32 at, u32 used,
					u32 *next)
{
	struct zufs_dir_entry *entry = buffer + at;
	u32 len;

	if (used - at < ZUF_DIRENT_HEAD)
		return NULL;
	len = entry->zstr.len;
	if (!len || len > used - at - ZUF_DIRENT_HEAD || !entry->ino ||
	    entry->type > DT_WHT ||
	    memchr(entry->zstr.name, '/', len) ||
	    memchr(entry->zstr.name, 0, len))
		return NULL;
	*next = ALIGN(at + ZUF_DIRENT_HEAD + len, 8);
	return entry;
}

/* False when the caller has enough. */
static bool emit_all(struct zuf_sb_info *sbi, struct dir_context *ctx,
		     void *buffer, u32 used, int *err)
{
	struct zufs_dir_entry *entry;
	u32 at = 0, next;

	while (at < used) {
		entry = dir_entry(buffer, at, used, &next);
		if (!entry) {
			*err = zuf_bad_reply(sbi, "directory entry");
			return false;
		}
		if (!dir_emit(ctx, entry->zstr.name, entry->zstr.len,
			      le64_to_cpu(entry->ino), entry->type))
			return false;
		ctx->pos = entry->pos;
		at = next;
	}
	return true;
}

static int read_some(struct inode *dir, struct dir_context *ctx,
		     struct page **pages, void *buffer, bool *more)
{
	struct zufs_ioc_readdir ioc = {
		.dir_ii = ZUF_I(dir)->zus_ii,
		.pos = ctx->pos,
	};
	struct zuf_op op = {
		.pages = pages,
		.nr_pages = 1 << ZUF_READDIR_ORDER,
		.writable = true,
	};
	int err;

	zuf_op_init(&op, ZUFS_OP_READDIR, &ioc.hdr, sizeof(ioc),
		    offsetof(struct zufs_ioc_readdir, pos));
	ioc.hdr.len = ZUF_READDIR_SIZE;
	err = zuf_dispatch(ZUF_SB(dir->i_sb), &op);
	if (err)
		return err;
	*more = emit_all(ZUF_SB(dir->i_sb), ctx, buffer, ioc.hdr.len, &err) &&
		ioc.more && ioc.hdr.len;
	return err;
}

static int zuf_iterate(struct file *file, struct dir_context *ctx)
{
	struct page *pages[1 << ZUF_READDIR_ORDER];
	bool more;
	void *buffer;
	int err;

	buffer = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					  ZUF_READDIR_ORDER);
	if (!buffer)
		return -ENOMEM;
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = virt_to_page(buffer + i * PAGE_SIZE);
	do {
		err = read_some(file_inode(file), ctx, pages, buffer, &more);
	} while (!err && more && !fatal_signal_pending(current));
	free_pages((unsigned long)buffer, ZUF_READDIR_ORDER);
	return err;
}

static loff_t zuf_dir_llseek(struct file *file, loff_t offset, int whence)
{
	return generic_file_llseek_size(file, offset, whence, LLONG_MAX,
					i_size_read(file_inode(file)));
}

const struct file_operations zuf_dir_operations = {
	.llseek		= zuf_dir_llseek,
	.read		= generic_read_dir,
	.iterate_shared	= zuf_iterate,
	.fsync		= zuf_fsync,
	.unlocked_ioctl	= zuf_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
