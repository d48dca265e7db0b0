// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mountable types, as servers register them.
 *
 * The VFS hands out pointers to a file_system_type without a reference to
 * anything but its module, so a type is never freed: it is taken from a fixed
 * table, and taken up again when a server registers the name once more.
 */

#include <linux/ctype.h>
#include <linux/module.h>
#include "zuf.h"

static struct zuf_fs_type zuf_types[ZUF_MAX_TYPES];
static DEFINE_MUTEX(zuf_types_mutex);

static bool name_ok(const char *name, size_t size)
{
	size_t len = strnlen(name, size), i;

	for (i = 0; i < len; i++)
		if (!isalnum(name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return len && len < size;
}

static bool info_ok(const struct register_fs_info *rfi)
{
	return name_ok(rfi->fsname, sizeof(rfi->fsname)) &&
	       rfi->s_maxbytes && rfi->s_maxbytes <= MAX_LFS_FILESIZE &&
	       rfi->s_time_gran && rfi->s_time_gran <= NSEC_PER_SEC &&
	       (rfi->dt_offset == ~0ULL ||
		IS_ALIGNED(rfi->dt_offset, ZUF_BLOCK_SIZE));
}

/* The slot that has this name, or a free one. */
static struct zuf_fs_type *find_slot(const char *name)
{
	for (unsigned int i = 0; i < ZUF_MAX_TYPES; i++)
		if (!zuf_types[i].fst.name ||
		    !strcmp(zuf_types[i].rfi.fsname, name))
			return &zuf_types[i];
	return NULL;
}

/**
 * zuf_register_type - make a type mountable
 * @root: the zuf-root of the server
 * @reg: what the server says of it
 *
 * Return: 0, -EINVAL for values that make no sense, -EBUSY for a name that is
 * in use, -ENOSPC when there are too many.
 */
int zuf_register_type(struct zuf_root *root,
		      const struct zufs_ioc_register_fs *reg)
{
	struct zuf_fs_type *type;
	int err;

	if (!info_ok(&reg->rfi))
		return -EINVAL;

	guard(mutex)(&zuf_types_mutex);
	type = find_slot(reg->rfi.fsname);
	if (!type)
		return -ENOSPC;
	if (type->registered)
		return -EBUSY;

	type->root = root;
	type->rfi = reg->rfi;
	type->zus_zfi = reg->zus_zfi;
	type->fst.owner = THIS_MODULE;
	type->fst.name = type->rfi.fsname;
	type->fst.init_fs_context = zuf_init_fs_context;
	type->fst.kill_sb = zuf_kill_sb;
	type->fst.fs_flags = FS_ALLOW_IDMAP;
	if (type->rfi.dt_offset != ~0ULL)
		type->fst.fs_flags |= FS_REQUIRES_DEV;

	err = register_filesystem(&type->fst);
	type->registered = !err;
	return err;
}

/**
 * zuf_type_root - the zuf-root whose server has a type
 * @type: the type
 *
 * Return: it, to be given to zuf_root_put(), or NULL when the server is gone.
 */
struct zuf_root *zuf_type_root(struct zuf_fs_type *type)
{
	guard(mutex)(&zuf_types_mutex);
	if (!type->registered)
		return NULL;
	refcount_inc(&type->root->users);
	return type->root;
}

/**
 * zuf_unregister_types - the server is gone, and with it its types
 * @root: the zuf-root of the server
 */
void zuf_unregister_types(struct zuf_root *root)
{
	guard(mutex)(&zuf_types_mutex);
	for (unsigned int i = 0; i < ZUF_MAX_TYPES; i++) {
		if (!zuf_types[i].registered || zuf_types[i].root != root)
			continue;
		unregister_filesystem(&zuf_types[i].fst);
		zuf_types[i].registered = false;
	}
}
