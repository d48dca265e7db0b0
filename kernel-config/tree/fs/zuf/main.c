// SPDX-License-Identifier: GPL-2.0-only
/*
 * ZUFS: zero-copy user-mode file systems. Start and end of the kernel half.
 */

#include <linux/init.h>
#include <linux/module.h>
#include <linux/sysfs.h>
#include "zuf.h"

static_assert(sizeof(struct zus_inode) == ZUFS_INODE_SIZE);
static_assert(sizeof(struct zufs_ioc_mount) == 104);
static_assert(sizeof(struct zufs_ioc_pmem) == 1856);
static_assert(sizeof(struct zufs_ioc_IO) == 224);
static_assert(offsetof(struct zufs_ioc_IO, iom_e) ==
	      offsetof(struct zufs_ioc_IO, ziom.iom_e));
static_assert(PAGE_SIZE == ZUF_BLOCK_SIZE);

static int __init zuf_init(void)
{
	int err = zuf_inode_cache_init();

	if (err)
		return err;
	err = zuf_extents_start();
	if (err)
		goto out_cache;
	err = zuf_channels_start();
	if (err)
		goto out_extents;
	err = sysfs_create_mount_point(fs_kobj, "zuf");
	if (err)
		goto out_channels;
	err = register_filesystem(&zuf_root_type);
	if (err)
		goto out_mount_point;
	zuf_debug_start();
	return 0;

out_mount_point:
	sysfs_remove_mount_point(fs_kobj, "zuf");
out_channels:
	zuf_channels_stop();
out_extents:
	zuf_extents_stop();
out_cache:
	zuf_inode_cache_exit();
	return err;
}
fs_initcall(zuf_init);

static void __exit zuf_exit(void)
{
	zuf_debug_stop();
	unregister_filesystem(&zuf_root_type);
	sysfs_remove_mount_point(fs_kobj, "zuf");
	zuf_channels_stop();
	zuf_extents_stop();
	zuf_inode_cache_exit();
}
module_exit(zuf_exit);

MODULE_DESCRIPTION("Zero-copy user-mode file systems");
MODULE_ALIAS_FS("zuf");
MODULE_LICENSE("GPL");
