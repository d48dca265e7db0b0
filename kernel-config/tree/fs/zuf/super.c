// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mounts.
 */

#include <linux/blkdev.h>
#include <linux/moduleparam.h>
#include <linux/seq_file.h>
#include <linux/statfs.h>
#include "zuf.h"

#define ZUF_OPTIONS_MAX		(PAGE_SIZE - sizeof(struct zufs_ioc_mount) - 1)
#define ZUF_MEMORY_DEFAULT	(64ULL << 20)
#define ZUF_FEATURES		(ZUFS_FEATURE_MEMORY_MOUNT | \
				 ZUFS_FEATURE_EXTENT_CACHE | \
				 ZUFS_FEATURE_RIDERS | \
				 ZUFS_FEATURE_ALLOC_AHEAD)
#define ZUF_KNOWN_CAPS		(ZUFS_FSC_ACL_ON | ZUFS_FSC_NIO_READS | \
				 ZUFS_FSC_NIO_WRITES | ZUFS_FSC_QUOTA)

static bool debug;
module_param(debug, bool, 0644);
MODULE_PARM_DESC(debug, "log every bad reply, and to whom, not just some of many");

/* For the list of mounts and for zuf_sb_info.grabs. */
DEFINE_MUTEX(zuf_sbi_mutex);
static LIST_HEAD(zuf_sbi_list);
static u64 zuf_next_sb_id = 1;

/**
 * zuf_find_sbi - a mount by its number
 * @sb_id: the number
 *
 * Called with zuf_sbi_mutex held.
 */
struct zuf_sb_info *zuf_find_sbi(u64 sb_id)
{
	struct zuf_sb_info *sbi;

	lockdep_assert_held(&zuf_sbi_mutex);
	list_for_each_entry(sbi, &zuf_sbi_list, list)
		if (sbi->sb_id == sb_id)
			return sbi;
	return NULL;
}

/**
 * zuf_server_died - mounts that are there now will never be served again
 * @root: the zuf-root of the server
 */
void zuf_server_died(struct zuf_root *root)
{
	struct zuf_sb_info *sbi;

	guard(mutex)(&zuf_sbi_mutex);
	list_for_each_entry(sbi, &zuf_sbi_list, list)
		if (sbi->root == root)
			WRITE_ONCE(sbi->dead, true);
}

/**
 * zuf_last_mount - the mount that came last
 *
 * Return: with an active reference on its super block, or NULL.
 */
struct zuf_sb_info *zuf_last_mount(void)
{
	struct zuf_sb_info *sbi;

	guard(mutex)(&zuf_sbi_mutex);
	list_for_each_entry(sbi, &zuf_sbi_list, list)
		if ((sbi->sb->s_flags & SB_ACTIVE) &&
		    atomic_inc_not_zero(&sbi->sb->s_active))
			return sbi;
	return NULL;
}

/**
 * zuf_bad_reply - the server said something that can not be
 * @sbi: the mount
 * @what: what was wrong
 *
 * Return: -EIO, what becomes of the operation.
 */
int zuf_bad_reply(struct zuf_sb_info *sbi, const char *what)
{
	if (debug)
		pr_warn("zuf: %s: server gave a bad reply: %s, to %s[%d]\n",
			sbi->sb->s_id, what, current->comm, current->pid);
	else
		pr_warn_ratelimited("zuf: %s: server gave a bad reply: %s\n",
				    sbi->sb->s_id, what);
	return -EIO;
}

/* ---- options ---- */

/**
 * struct zuf_context - a mount or remount in the making
 * @size: of a memory-backed mount
 * @options: text for the server
 * @len: of it
 */
struct zuf_context {
	u64 size;
	size_t len;
	char options[];
};

static int add_option(struct zuf_context *ctx, const char *key, const char *value)
{
	size_t room = ZUF_OPTIONS_MAX - ctx->len;
	int len;

	len = snprintf(ctx->options + ctx->len, room, "%s%s%s%s",
		       ctx->len ? "," : "", key, value ? "=" : "", value ?: "");
	if (len >= room)
		return -E2BIG;
	ctx->len += len;
	return 0;
}

static int zuf_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct zuf_context *ctx = fc->fs_private;
	const char *value = NULL;
	char *end;

	if (!strcmp(param->key, "source"))
		return -ENOPARAM;
	if (param->type == fs_value_is_string)
		value = param->string;
	else if (param->type != fs_value_is_flag)
		return invalf(fc, "zuf: option %s is not text", param->key);

	if (!strcmp(param->key, "size") && value) {
		ctx->size = memparse(value, &end);
		if (*end || !ctx->size)
			return invalf(fc, "zuf: bad size '%s'", value);
	}
	if (add_option(ctx, param->key, value))
		return invalf(fc, "zuf: options are too long");
	return 0;
}

static struct zufs_ioc_mount *make_mount_command(struct zuf_sb_info *sbi,
						 unsigned int operation,
						 struct fs_context *fc)
{
	struct zuf_context *ctx = fc ? fc->fs_private : NULL;
	size_t len = ctx ? ctx->len : 0;
	struct zufs_ioc_mount *zim = kzalloc(sizeof(*zim) + len + 1, GFP_KERNEL);

	if (!zim)
		return NULL;
	zim->hdr.operation = operation;
	zim->hdr.in_len = sizeof(*zim) + len + 1;
	zim->zmi.zus_zfi = sbi->type->zus_zfi;
	zim->zmi.sb_id = sbi->sb_id;
	zim->zmi.zus_sbi = sbi->zus_sbi;
	zim->zmi.num_cpu = num_online_cpus();
	zim->zmi.num_channels = max(1U, READ_ONCE(sbi->root->nr_channels));
	zim->zmi.__pad = sbi->features;
	zim->zmi.po.mount_options_len = len;
	if (fc && (fc->sb_flags & SB_SILENT))
		zim->zmi.po.mount_flags |= ZUFS_M_SILENT;
	if (fc && (fc->sb_flags & SB_RDONLY))
		zim->zmi.remount_flags |= ZUFS_REM_WILL_RO;
	if (len)
		memcpy(zim->zmi.po.mount_options, ctx->options, len);
	return zim;
}

/* ---- super operations ---- */

static int zuf_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct zuf_sb_info *sbi = ZUF_SB(dentry->d_sb);
	struct zufs_ioc_statfs ioc = { .zus_sbi = sbi->zus_sbi };
	struct statfs64 *out = &ioc.statfs_out;
	int err;

	if (!zuf_wait_told(sbi, false))
		return -EINTR;
	err = zuf_call(d_inode(dentry), ZUFS_OP_STATFS, &ioc.hdr, sizeof(ioc),
		       offsetof(struct zufs_ioc_statfs, statfs_out));
	if (err)
		return err;
	buf->f_type = dentry->d_sb->s_magic;
	buf->f_bsize = ZUF_BLOCK_SIZE;
	buf->f_blocks = out->f_blocks;
	buf->f_bfree = out->f_bfree;
	buf->f_bavail = out->f_bavail;
	buf->f_files = out->f_files;
	buf->f_ffree = out->f_ffree;
	buf->f_namelen = ZUFS_NAME_LEN;
	buf->f_fsid = uuid_to_fsid(dentry->d_sb->s_uuid.b);
	return 0;
}

static int zuf_show_options(struct seq_file *seq, struct dentry *root)
{
	struct zuf_sb_info *sbi = ZUF_SB(root->d_sb);
	size_t out = offsetof(struct zufs_ioc_mount_options, buf);
	struct zuf_op op = {};
	char *text;
	struct zufs_ioc_mount_options *ioc __free(kfree) =
		kzalloc(out + ZUFS_MO_MAX + 1, GFP_KERNEL);

	if (!ioc)
		return -ENOMEM;
	zuf_op_init(&op, ZUFS_OP_SHOW_OPTIONS, &ioc->hdr, out, 0);
	op.room = out + ZUFS_MO_MAX;
	ioc->hdr.out_start = out;
	ioc->hdr.out_max = ZUFS_MO_MAX;
	ioc->zus_sbi = sbi->zus_sbi;
	/* A server that does not answer must not hide the mount. */
	if (!zuf_dispatch(sbi, &op)) {
		text = (char *)ioc + out;
		text[ioc->hdr.out_len] = 0;
		text += *text == ',';
		if (*text) {
			seq_putc(seq, ',');
			seq_escape(seq, text, " \t\n\\");
		}
	}
	return 0;
}

/* All else is persistent as it is done, or has been through writepages. */
static int zuf_sync_fs(struct super_block *sb, int wait)
{
	/* The root goes before the last sync of an umount, which is told. */
	if (!wait || sb_rdonly(sb) || !sb->s_root)
		return 0;
	/* What was freed is free then. */
	if (!zuf_wait_told(ZUF_SB(sb), true))
		return -EINTR;
	return zuf_sync(d_inode(sb->s_root), 0, LLONG_MAX, 0);
}

static int zuf_freeze_fs(struct super_block *sb)
{
	return zuf_sync_fs(sb, true);
}

static void zuf_put_super(struct super_block *sb)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	struct zufs_ioc_mount *zim;

	/* A server that does not listen will not hear of the umount either. */
	if (sbi->mounted && !zuf_wait_told(sbi, true))
		WRITE_ONCE(sbi->dead, true);
	cancel_delayed_work_sync(&sbi->unpark);
	flush_workqueue(sbi->notices);
	if (sbi->mounted) {
		zim = make_mount_command(sbi, ZUFS_M_UMOUNT, NULL);
		if (zim)
			zuf_mount_call(sbi, zim);
		kfree(zim);
		sbi->mounted = false;
	}
	zuf_grab_revoke(sbi);
}

static const struct super_operations zuf_super_operations = {
	.alloc_inode	= zuf_alloc_inode,
	.free_inode	= zuf_free_inode,
	.evict_inode	= zuf_evict_inode,
	.drop_inode	= generic_drop_inode,
	.put_super	= zuf_put_super,
	.sync_fs	= zuf_sync_fs,
	.freeze_fs	= zuf_freeze_fs,
	.statfs		= zuf_statfs,
	.show_options	= zuf_show_options,
};

/* ---- mount ---- */

static int open_memory(struct zuf_sb_info *sbi, struct fs_context *fc)
{
	struct zuf_context *ctx = fc->fs_private;
	struct zuf_t1 *t1;

	if (sbi->sb->s_bdev)
		t1 = zuf_t1_open(sbi->sb, sbi->type, fc);
	else if (sbi->features & ZUFS_FEATURE_MEMORY_MOUNT)
		t1 = zuf_t1_alloc(ctx->size ?: ZUF_MEMORY_DEFAULT, fc);
	else
		return invalf(fc, "zuf: the server gives no memory for this type");
	if (IS_ERR(t1))
		return PTR_ERR(t1);
	scoped_guard(mutex, &zuf_sbi_mutex)
		sbi->t1 = t1;
	return 0;
}

static struct inode *root_inode(struct zuf_sb_info *sbi,
				const struct zufs_mount_info *zmi)
{
	struct inode *root;

	if (zmi->fs_caps & ~ZUF_KNOWN_CAPS)
		return ERR_PTR(zuf_bad_reply(sbi, "capabilities"));
	if (zmi->s_blocksize_bits != ZUF_BLOCK_SHIFT)
		return ERR_PTR(zuf_bad_reply(sbi, "block size"));
	if (zmi->fs_caps & ZUFS_FSC_ACL_ON)
		sbi->sb->s_flags |= SB_POSIXACL;
	if (zmi->fs_caps & ZUFS_FSC_QUOTA)
		zuf_quota_init(sbi->sb);
	root = zuf_iget(sbi->sb, zmi->zus_ii, zmi->_zi);
	if (IS_ERR(root))
		return root;
	unlock_new_inode(root);
	if (S_ISDIR(root->i_mode))
		return root;
	iput(root);
	return ERR_PTR(zuf_bad_reply(sbi, "root is not a directory"));
}

/* Ask the server to mount; the root inode is what comes of it. */
static struct inode *mount_in_server(struct zuf_sb_info *sbi,
				     struct fs_context *fc)
{
	struct zufs_ioc_mount *zim __free(kfree) =
		make_mount_command(sbi, ZUFS_M_MOUNT, fc);
	int err;

	if (!zim)
		return ERR_PTR(-ENOMEM);
	err = zuf_mount_call(sbi, zim);
	if (err) {
		errorf(fc, "zuf: the server refuses the mount: %d", err);
		return ERR_PTR(err);
	}
	sbi->mounted = true;
	sbi->zus_sbi = zim->zmi.zus_sbi;
	return root_inode(sbi, &zim->zmi);
}

static void set_super(struct super_block *sb, struct zuf_sb_info *sbi)
{
	sb->s_magic = sbi->type->rfi.FS_magic;
	sb->s_maxbytes = sbi->type->rfi.s_maxbytes;
	sb->s_time_gran = sbi->type->rfi.s_time_gran;
	sb->s_time_min = div_s64(S64_MIN, NSEC_PER_SEC);
	sb->s_time_max = div_s64(S64_MAX, NSEC_PER_SEC);
	sb->s_max_links = ZUFS_LINK_MAX;
	sb->s_blocksize = ZUF_BLOCK_SIZE;
	sb->s_blocksize_bits = ZUF_BLOCK_SHIFT;
	sb->s_op = &zuf_super_operations;
	sb->s_xattr = zuf_xattr_handlers;
	sb->s_export_op = &zuf_export_operations;
	/* What has no attributes need not be asked for them at each write. */
	sb->s_flags |= SB_NOSEC;
}

static int zuf_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	struct inode *root;
	int err;

	if (sb->s_bdev && !sb_set_blocksize(sb, ZUF_BLOCK_SIZE))
		return invalf(fc, "zuf: %pg: bad block size", sb->s_bdev);
	sbi->sb = sb;
	set_super(sb, sbi);
	scoped_guard(mutex, &zuf_sbi_mutex) {
		sbi->sb_id = zuf_next_sb_id++;
		list_add(&sbi->list, &zuf_sbi_list);
	}

	err = zuf_notices_init(sbi) ?: open_memory(sbi, fc);
	if (err)
		return err;
	super_set_uuid(sb, sbi->t1->mdt.s_uuid, sizeof(sbi->t1->mdt.s_uuid));
	root = mount_in_server(sbi, fc);
	sb->s_root = IS_ERR(root) ? NULL : d_make_root(root);
	if (sb->s_root)
		return 0;
	zuf_put_super(sb);
	return PTR_ERR_OR_ZERO(root) ?: -ENOMEM;
}

static void free_sbi(struct zuf_sb_info *sbi)
{
	if (!sbi)
		return;
	zuf_root_put(sbi->root);
	kfree(sbi);
}

static int zuf_get_tree(struct fs_context *fc)
{
	struct zuf_fs_type *type = container_of(fc->fs_type, struct zuf_fs_type,
						fst);
	struct zuf_sb_info *sbi __free(kfree) = kzalloc(sizeof(*sbi), GFP_KERNEL);
	int err;

	if (!sbi)
		return -ENOMEM;
	INIT_LIST_HEAD(&sbi->list);
	INIT_LIST_HEAD(&sbi->grabs);
	mutex_init(&sbi->sharing);
	sbi->gave_up = jiffies - ZUF_SULK;
	sbi->type = type;
	sbi->root = zuf_type_root(type);
	if (!sbi->root)
		return -ENODEV;
	sbi->features = type->rfi.notused & ZUF_FEATURES;
	fc->s_fs_info = no_free_ptr(sbi);

	err = type->fst.fs_flags & FS_REQUIRES_DEV ?
	      get_tree_bdev(fc, zuf_fill_super) :
	      get_tree_nodev(fc, zuf_fill_super);
	/* Still ours if no new super block took it. */
	free_sbi(fc->s_fs_info);
	fc->s_fs_info = NULL;
	return err;
}

static int zuf_reconfigure(struct fs_context *fc)
{
	struct super_block *sb = fc->root->d_sb;
	struct zuf_sb_info *sbi = ZUF_SB(sb);
	struct zufs_ioc_mount *zim __free(kfree) =
		make_mount_command(sbi, ZUFS_M_REMOUNT, fc);

	if (!zim)
		return -ENOMEM;
	sync_filesystem(sb);
	if (sb_rdonly(sb))
		zim->zmi.remount_flags |= ZUFS_REM_WAS_RO;
	return zuf_mount_call(sbi, zim);
}

static void zuf_free_context(struct fs_context *fc)
{
	kfree(fc->fs_private);
	free_sbi(fc->s_fs_info);
}

static const struct fs_context_operations zuf_context_operations = {
	.parse_param	= zuf_parse_param,
	.get_tree	= zuf_get_tree,
	.reconfigure	= zuf_reconfigure,
	.free		= zuf_free_context,
};

int zuf_init_fs_context(struct fs_context *fc)
{
	struct zuf_context *ctx;

	ctx = kzalloc(sizeof(*ctx) + ZUF_OPTIONS_MAX, GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	fc->fs_private = ctx;
	fc->ops = &zuf_context_operations;
	return 0;
}

void zuf_kill_sb(struct super_block *sb)
{
	struct zuf_sb_info *sbi = ZUF_SB(sb);

	/* Not s_bdev: it is missing when it could not be opened. */
	if (MAJOR(sb->s_dev))
		kill_block_super(sb);
	else
		kill_anon_super(sb);
	if (!sbi)
		return;
	zuf_grab_revoke(sbi);
	scoped_guard(mutex, &zuf_sbi_mutex)
		list_del(&sbi->list);
	zuf_notices_exit(sbi);
	zuf_t1_close(sbi->t1);
	free_sbi(sbi);
}
