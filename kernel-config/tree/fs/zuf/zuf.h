/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of zuf, the kernel half of ZUFS.
 */
#ifndef _FS_ZUF_H
#define _FS_ZUF_H

#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/vm_local_cpu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/zufs_api.h>

#define ZUF_BLOCK_SIZE		4096
#define ZUF_BLOCK_SHIFT		12
#define ZUF_MAX_TYPES		16
#define ZUF_WINDOW_SIZE		ZUS_API_MAP_MAX_SIZE
#define ZUF_WINDOW_PAGES	ZUS_API_MAP_MAX_PAGES
#define ZUF_MAX_COMMAND		65536
#define ZUF_DPP_POOL_MASK	7ULL
#define ZUF_LEAVING_BITS	6
/* How long a server that was given up on gets no time from dying tasks. */
#define ZUF_SULK		(30 * HZ)

struct zuf_file;
struct zuf_sb_info;

/* ---- root.c, mount.c: zuf-root, where one server talks to the kernel ---- */

/**
 * struct zuf_mount_thread - the thread of the server that hears of mounts
 * @lock: for all that follows
 * @thread_wait: where the thread sleeps
 * @request_wait: where sleeps who asked
 * @file: the thread's
 * @requests: what is asked, one after the other
 * @breaking: the thread is to leave
 */
struct zuf_mount_thread {
	spinlock_t lock;		/* for all that follows */
	wait_queue_head_t thread_wait;
	wait_queue_head_t request_wait;
	struct file *file;
	struct list_head requests;
	bool breaking;
};

/**
 * struct zuf_root - a zuf-root
 * @users: its super block, and mounts of its server
 * @list: of all
 * @mount: the mount thread
 * @cpus: queues and channels
 * @liveness: looks for threads that have ended
 * @nr_channels: of the CPU with the most, so far
 * @command_size: the largest command that every channel can take
 * @name: what it was mounted as
 */
struct zuf_root {
	refcount_t users;
	struct list_head list;
	struct zuf_mount_thread mount;
	struct zuf_cpu __percpu *cpus;
	struct delayed_work liveness;
	unsigned int nr_channels;
	u32 command_size;
	char name[];
};

static inline unsigned int zuf_max_command(struct zuf_root *root)
{
	return READ_ONCE(root->command_size);
}

/**
 * zuf_break_command - tell a thread that there is nothing more for it to do
 * @hdr: what it gets
 */
static inline void zuf_break_command(struct zufs_ioc_hdr *hdr)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->operation = ZUFS_OP_BREAK;
	hdr->in_len = sizeof(*hdr);
}

void zuf_root_put(struct zuf_root *root);
void zuf_mount_init(struct zuf_mount_thread *mt);
int zuf_mount_become_thread(struct zuf_file *zf);
int zuf_mount_wait(struct zuf_file *zf, struct zufs_ioc_mount __user *arg);
int zuf_mount_call(struct zuf_sb_info *sbi, struct zufs_ioc_mount *zim);
void zuf_mount_thread_gone(struct zuf_file *zf);
void zuf_mount_break(struct zuf_root *root);

/* ---- types.c: mountable types, registered by a server ---- */

/**
 * struct zuf_fs_type - a mountable type
 * @fst: what the VFS knows; never freed, taken up again by the next server
 *	that registers the name
 * @root: of the server that has it
 * @rfi: as the server gave it
 * @zus_zfi: cookie of the server
 * @registered: mountable now
 */
struct zuf_fs_type {
	struct file_system_type fst;
	struct zuf_root *root;
	struct register_fs_info rfi;
	u64 zus_zfi;
	bool registered;
};

int zuf_register_type(struct zuf_root *root,
		      const struct zufs_ioc_register_fs *reg);
void zuf_unregister_types(struct zuf_root *root);
struct zuf_root *zuf_type_root(struct zuf_fs_type *type);

/* ---- t1.c: the memory of a mount ---- */

/**
 * struct zuf_t1_dev - one device, or the memory, of T1
 * @first: its first block in T1
 * @blocks: how many
 * @addr: where the kernel sees it
 * @dax_dev: NULL for memory
 * @dax_start: byte on @dax_dev where the device begins
 * @bdev_file: held open, NULL for memory and for the device of the super block
 * @bdev: NULL for memory
 */
struct zuf_t1_dev {
	u64 first;
	u64 blocks;
	void *addr;
	struct dax_device *dax_dev;
	u64 dax_start;
	struct file *bdev_file;
	struct block_device *bdev;
};

/**
 * struct zuf_t1 - all memory of a mount as one flat range
 * @blocks: its size
 * @mdt: device table
 * @nr_devs: entries of @devs
 * @is_memory: ordinary memory instead of persistent one
 * @devs: in table order
 */
struct zuf_t1 {
	u64 blocks;
	struct md_dev_table mdt;
	unsigned int nr_devs;
	bool is_memory;
	struct zuf_t1_dev devs[];
};

struct zuf_t1 *zuf_t1_open(struct super_block *sb, struct zuf_fs_type *type,
			   struct fs_context *fc);
struct zuf_t1 *zuf_t1_alloc(u64 bytes, struct fs_context *fc);
void zuf_t1_close(struct zuf_t1 *t1);
struct zuf_t1_dev *zuf_t1_dev(struct zuf_t1 *t1, u64 block);
unsigned long zuf_t1_pfn(struct zuf_t1 *t1, struct zuf_t1_dev *dev, u64 block);
void *zuf_t1_addr(struct zuf_t1 *t1, zu_dpp_t dpp, size_t len);

/* ---- super.c ---- */

/**
 * struct zuf_sb_info - one mount
 * @sb: the super block
 * @type: its type
 * @root: the zuf-root of its server
 * @t1: its memory, NULL only while mounting
 * @sb_id: number that the server names it by
 * @zus_sbi: cookie of the server, valid once @mounted
 * @features: ZUFS_FEATURE_* in force
 * @mounted: the server knows it
 * @dead: the server is gone, all that comes is EIO
 * @shut_down: by ioctl
 * @sharing: users of pages that several files may have come or go: fs/dax counts
 *	them without a lock of its own
 * @sharing_nofs: what to restore when a fault lets go of @sharing
 * @gave_up: when a dying task last gave up to wait for the server, in jiffies
 * @notices: tells the server what could not be told at once
 * @nr_notices: how much that is
 * @leaving_lock: for @leaving
 * @leaving: inodes that the server is being told have gone, by cookie
 * @left: how many have
 * @tickets: how many of them might have been parked
 * @parked: what waits for an operation to ride behind, on each CPU
 * @unpark: tells the server of it if none comes
 * @list: of all mounts
 * @grabs: open GRAB_PMEM files
 */
struct zuf_sb_info {
	struct super_block *sb;
	struct zuf_fs_type *type;
	struct zuf_root *root;
	struct zuf_t1 *t1;
	u64 sb_id;
	u64 zus_sbi;
	u32 features;
	bool mounted;
	bool dead;
	bool shut_down;
	struct mutex sharing;	/* see above */
	unsigned int sharing_nofs;
	unsigned long gave_up;
	struct workqueue_struct *notices;
	atomic_t nr_notices;
	spinlock_t leaving_lock;	/* for @leaving */
	struct hlist_head leaving[1 << ZUF_LEAVING_BITS];
	atomic_t left;
	unsigned long tickets;
	struct zuf_parked __percpu *parked;
	struct delayed_work unpark;
	struct list_head list;
	struct list_head grabs;
};

static inline struct zuf_sb_info *ZUF_SB(const struct super_block *sb)
{
	return sb->s_fs_info;
}

static inline bool zuf_is_dead(const struct zuf_sb_info *sbi)
{
	return READ_ONCE(sbi->dead) || READ_ONCE(sbi->shut_down);
}

int zuf_init_fs_context(struct fs_context *fc);
void zuf_kill_sb(struct super_block *sb);
struct zuf_sb_info *zuf_find_sbi(u64 sb_id);
int zuf_bad_reply(struct zuf_sb_info *sbi, const char *what);
void zuf_server_died(struct zuf_root *root);
struct zuf_sb_info *zuf_last_mount(void);
extern struct mutex zuf_sbi_mutex;

/* ---- root.c: zuf-root and its files ---- */

enum zuf_role {
	ZUF_ROLE_NONE = 0,
	ZUF_ROLE_MOUNT,
	ZUF_ROLE_THREAD,
	ZUF_ROLE_PMEM,
};

/**
 * struct zuf_file - what a file of zuf-root is
 * @role: fixed by its first ioctl
 * @lock: for @role
 * @channel: of a ZT
 * @sbi: of a pmem file, NULL when the mount is gone
 * @grab: in zuf_sb_info.grabs
 * @file: the file itself
 * @root: which zuf-root it is of
 */
struct zuf_file {
	enum zuf_role role;
	struct mutex lock;	/* for @role and @sbi */
	struct zuf_channel *channel;
	struct zuf_sb_info *sbi;
	struct list_head grab;
	struct file *file;
	struct zuf_root *root;
};

extern struct file_system_type zuf_root_type;
int zuf_set_role(struct zuf_file *zf, enum zuf_role role);

/* ---- grab.c: T1 in the server ---- */

int zuf_grab_pmem(struct zuf_file *zf, struct zufs_ioc_pmem __user *arg);
int zuf_grab_mmap(struct zuf_file *zf, struct vm_area_struct *vma);
void zuf_grab_release(struct zuf_file *zf);
void zuf_grab_revoke(struct zuf_sb_info *sbi);

/* ---- window.c: application pages in the server ---- */

/**
 * struct zuf_window - where a ZT sees the pages of its operation
 * @local: the mapping, unless it is an ordinary one
 * @is_local: which of the two, for good
 * @file: what is mapped
 * @plain_start: address of the ordinary mapping, 0 for none
 * @gone: called when the mapping goes
 */
struct zuf_window {
	struct vm_local_cpu local;
	bool is_local;
	struct file *file;
	unsigned long plain_start;
	void (*gone)(struct zuf_window *window);
};

void zuf_window_init(struct zuf_window *window, struct file *file, int cpu,
		     void (*gone)(struct zuf_window *window));
int zuf_window_setup(struct zuf_window *window, struct vm_area_struct *vma);
bool zuf_window_ready(struct zuf_window *window);
int zuf_window_map(struct zuf_window *window, struct page **pages,
		   unsigned int count, bool writable);
void zuf_window_unmap(struct zuf_window *window, unsigned int count);
void zuf_window_zap(struct zuf_window *window, struct page *instead);

/* ---- dispatch.c, channel.c: hand-over of operations ---- */

/* When an operation got how far. */
enum zuf_at {
	ZUF_AT_QUEUED,
	ZUF_AT_TAKEN,
	ZUF_AT_GIVEN,
	ZUF_AT_REPLIED,
	ZUF_AT_NR,
};

/* What it spent its time on. */
enum zuf_phase {
	ZUF_QUEUED,	/* waiting for a channel */
	ZUF_SWITCH,	/* to the server */
	ZUF_SERVER,
	ZUF_BACK,
	ZUF_PHASES,
};

/**
 * struct zuf_op - an operation on its way to a ZT and back
 * @hdr: the command; what comes back is written over it
 * @room: size of the memory at @hdr
 * @pages: pages to map in the window, NULL for none
 * @nr_pages: how many
 * @writable: may the server change them
 * @must_run: the server has to know, others may wait for it
 * @patient: of a kernel thread that has nothing else to do
 * @riders: of struct zuf_notice, which ride behind it; freed; NULL for none
 * @withdrawn: taken back before the server heard of it
 *
 * The rest is private to dispatch.c, channel.c and debug.c.
 */
struct zuf_op {
	struct zufs_ioc_hdr *hdr;
	size_t room;
	struct page **pages;
	unsigned int nr_pages;
	bool writable;
	bool must_run;
	bool patient;
	struct llist_node *riders;
	bool withdrawn;

	unsigned int nr_sent;	/* riders that the server has got */
	bool at_once;		/* a ZT was waiting for it */
	bool interrupted;
	bool done;
	int err;
	struct zuf_sb_info *sbi;
	struct task_struct *task;
	struct list_head queue;
	struct zuf_cpu *cpu;
	struct zuf_channel *channel;
	u64 at[ZUF_AT_NR];
};

/**
 * zuf_op_init - prepare a command
 * @op: zeroed but for what is not set here
 * @operation: ZUFS_OP_*
 * @hdr: start of the command
 * @size: of the command
 * @out: first byte that the server may change, 0 for none
 */
static inline void zuf_op_init(struct zuf_op *op, unsigned int operation,
			       struct zufs_ioc_hdr *hdr, size_t size,
			       size_t out)
{
	op->hdr = hdr;
	op->room = size;
	hdr->operation = operation;
	hdr->in_len = size;
	hdr->out_start = out;
	hdr->out_len = out ? size - out : 0;
	hdr->out_max = hdr->out_len;
}

int zuf_dispatch(struct zuf_sb_info *sbi, struct zuf_op *op);
bool zuf_dying(void);
bool zuf_in_a_hurry(const struct zuf_sb_info *sbi);
int zuf_channel_init_thread(struct zuf_file *zf,
			    struct zufs_ioc_init __user *arg);
int zuf_channel_wait(struct zuf_channel *ch);
int zuf_channel_mmap(struct zuf_channel *ch, struct vm_area_struct *vma);
void zuf_channel_flush(struct zuf_channel *ch, fl_owner_t id);
void zuf_channel_release(struct zuf_channel *ch);
void zuf_channels_break_all(struct zuf_root *root);
bool zuf_current_is_zt(struct zuf_root *root);
int zuf_channels_open(struct zuf_root *root);
void zuf_channels_close(struct zuf_root *root);
int zuf_channels_start(void);
void zuf_channels_stop(void);

/* ---- notice.c: what the server has to know ---- */

/**
 * struct zuf_notice - what the server is told: now, later, or by the way, behind
 * another command
 * @work: if later
 * @sbi: the mount
 * @leaving: in zuf_sb_info.leaving, of an inode that goes
 * @ticket: number of one that may be parked
 * @behind: what rides behind it, or behind the same command
 * @hdr: the command, whatever it is; what follows has room for that one only
 * @io: the GET_MULTY that was, and the PUT_MULTY that it becomes
 * @evict: that of an inode that goes
 * @mmap_close: that of a mapping that goes
 * @command: as bytes
 */
struct zuf_notice {
	struct work_struct work;
	struct zuf_sb_info *sbi;
	struct hlist_node leaving;
	unsigned long ticket;
	struct llist_node behind;
	union {
		struct zufs_ioc_hdr hdr;
		struct zufs_ioc_IO io;
		struct zufs_ioc_evict_inode evict;
		struct zufs_ioc_mmap_close mmap_close;
		DECLARE_FLEX_ARRAY(u8, command);
	};
};

struct zuf_notice *zuf_new_notice(struct zuf_sb_info *sbi,
				  unsigned int operation, size_t size);
void zuf_tell(struct zuf_notice *notice);
void zuf_tell_later(struct zuf_notice *notice);
void zuf_told(struct zuf_notice *notice);
void zuf_tell_leaving(struct zuf_notice *notice, bool may_park);
void zuf_add_parked(struct zuf_op *op);
int zuf_notices_init(struct zuf_sb_info *sbi);
void zuf_notices_exit(struct zuf_sb_info *sbi);
int zuf_wait_left(struct zuf_sb_info *sbi, u64 zus_ii);
bool zuf_wait_told(struct zuf_sb_info *sbi, bool all);

/* ---- debug.c ---- */

enum zuf_pages {
	ZUF_PAGES_WINDOW,
	ZUF_PAGES_PINNED,
	ZUF_PAGES_NR,
};

DECLARE_PER_CPU(long [ZUF_PAGES_NR], zuf_page_counts);

/**
 * zuf_count_pages - pages of applications come and go
 * @which: where
 * @nr: how many, negative when they go
 */
static inline void zuf_count_pages(enum zuf_pages which, long nr)
{
	this_cpu_add(zuf_page_counts[which], nr);
}

void zuf_account(const struct zuf_op *op, int err);
void zuf_debug_start(void);
void zuf_debug_stop(void);

/* ---- numa.c ---- */

int zuf_numa_map(struct zufs_ioc_numa_map __user *arg);

/* ---- inode.c ---- */

/* zus_inode.i_flags that the VFS has under the same number. */
#define ZUF_SHARED_S_FLAGS	(S_SYNC | S_NOATIME | S_APPEND | S_IMMUTABLE | \
				 S_DIRSYNC)

/**
 * struct zuf_extents - blocks of a file that the kernel knows the place of
 * @lock: for what follows; held over a copy to or from them
 * @tree: of struct zuf_extent
 * @count: how many
 * @moving: operations under way that may move blocks
 * @generation: how many there were
 * @holdoff: accesses that go without asking the server for extents
 * @lru: files that have any
 */
struct zuf_extents {
	rwlock_t lock;		/* see above */
	struct rb_root tree;
	unsigned int count;
	unsigned int moving;
	unsigned int generation;
	unsigned int holdoff;
	struct list_head lru;
};

/**
 * struct zuf_inode_info - an inode
 * @vfs_inode: the VFS part
 * @zus_ii: cookie of the server
 * @zi: the inode proper, in T1, shared with the server
 * @has_ii: the server knows it by @zus_ii and has to be told when it goes
 * @knows_birth: @birth is what the server says
 * @birth: when it was made, nanoseconds since the epoch, 0 for not known
 * @mappings: VMAs of it
 * @put: zuf_notice of a PUT_MULTY that rides behind the next operation on it
 * @fault: GET_MULTY of the write fault that holds invalidate_lock
 * @ahead: behind the last byte of blocks that were got ahead, see ahead.c
 * @appends: calls that appended since a writer closed it; below 0: no more ahead
 * @farewell: for when it goes; all before it is zeroed for a new inode
 * @extents: where its blocks are
 */
struct zuf_inode_info {
	u64 zus_ii;
	struct zus_inode *zi;
	bool has_ii;
	bool knows_birth;
	s64 birth;
	atomic_t mappings;
	struct llist_node *put;
	struct zufs_ioc_IO *fault;
	loff_t ahead;
	int appends;
	struct zuf_notice *farewell;
	struct zuf_extents extents;
	struct inode vfs_inode;
};

static inline struct zuf_inode_info *ZUF_I(const struct inode *inode)
{
	return container_of(inode, struct zuf_inode_info, vfs_inode);
}

int zuf_inode_cache_init(void);
void zuf_inode_cache_exit(void);
struct inode *zuf_alloc_inode(struct super_block *sb);
void zuf_free_inode(struct inode *inode);
struct inode *zuf_iget(struct super_block *sb, u64 zus_ii, zu_dpp_t dpp);
int zuf_inode_attach(struct inode *inode, u64 zus_ii, zu_dpp_t dpp);
int zuf_inode_refresh(struct inode *inode);
void zuf_inode_set_ops(struct inode *inode);
void zuf_evict_inode(struct inode *inode);
void zuf_store_attrs(struct inode *inode);
int zuf_send_setattr(struct inode *inode, u32 mask);
int zuf_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		struct iattr *attr);
int zuf_getattr(struct mnt_idmap *idmap, const struct path *path,
		struct kstat *stat, u32 request_mask, unsigned int flags);
int zuf_update_time(struct inode *inode, int flags);
int zuf_sync(struct inode *inode, loff_t start, loff_t end, u64 flags);

/* timespec64_to_ns() takes the first and the last second for more than they are. */
static inline s64 zuf_time(struct timespec64 ts)
{
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static inline void zuf_str_set(struct zufs_str *str, const struct qstr *name)
{
	str->len = name->len;
	memcpy(str->name, name->name, name->len);
}

/* ---- namei.c, dir.c ---- */

extern const struct inode_operations zuf_dir_inode_operations;
extern const struct inode_operations zuf_symlink_inode_operations;
extern const struct inode_operations zuf_special_inode_operations;
extern const struct file_operations zuf_dir_operations;

struct inode *zuf_lookup_inode(struct inode *dir, u64 dir_ii,
			       const struct qstr *name);

/* ---- map.c, extents.c ---- */

/**
 * struct zuf_blocks - blocks that lie behind each other
 * @block: the first
 * @count: how many
 * @dev: that they are on, NULL for a hole
 * @writable: may be overwritten in place
 */
struct zuf_blocks {
	u64 block;
	unsigned int count;
	struct zuf_t1_dev *dev;
	bool writable;
};

static inline bool zuf_ret_flags_ok(u32 flags)
{
	return !(flags & ~(ZUFS_RET_NEW | ZUFS_RET_IOM_ALL_PMEM |
			   ZUFS_RET_PUT_NOW | ZUFS_RET_LOCKED_PUT));
}

struct zufs_ioc_IO *zuf_get_blocks(struct inode *inode, loff_t pos,
				   unsigned int blocks, u64 rw);
void zuf_put_blocks(struct inode *inode, struct zufs_ioc_IO *io);
struct llist_node *zuf_take_put(struct inode *inode);
int zuf_call(struct inode *inode, unsigned int operation,
	     struct zufs_ioc_hdr *hdr, size_t size, size_t out);
bool zuf_next_blocks(struct zuf_t1 *t1, const struct zufs_ioc_IO *io,
		     unsigned int at, struct zuf_blocks *run);
bool zuf_is_mapped_here(struct inode *inode, const struct zuf_blocks *run,
			unsigned int n, pgoff_t index);
ssize_t zuf_extents_rw(struct kiocb *iocb, struct iov_iter *iter, size_t len,
		       bool write);
bool zuf_extents_find(struct inode *inode, u64 first, unsigned int count,
		      bool write, struct zuf_blocks *run);
void zuf_extents_block(struct inode *inode, loff_t from, loff_t to,
		       bool keep_writable);
void zuf_extents_unblock(struct inode *inode);
void zuf_extents_forget(struct inode *inode);
void zuf_extents_add(struct inode *inode, const struct zufs_ioc_IO *io,
		     unsigned int generation);
int zuf_extents_start(void);
void zuf_extents_stop(void);

/* ---- ahead.c ---- */

bool zuf_get_ahead(struct kiocb *iocb, size_t len);
void zuf_drop_ahead(struct inode *inode);

/* Before something is put behind the end: what lies between is a hole. */
static inline void zuf_drop_gap(struct inode *inode, loff_t pos)
{
	if (pos > i_size_read(inode))
		zuf_drop_ahead(inode);
}

int zuf_file_release(struct inode *inode, struct file *file);

/* ---- file.c, rw.c, mmap.c ---- */

/* Faults on the file wait meanwhile. */
DEFINE_GUARD(zuf_invalidate, struct address_space *,
	     filemap_invalidate_lock(_T), filemap_invalidate_unlock(_T))

extern const struct inode_operations zuf_file_inode_operations;
extern const struct file_operations zuf_file_operations;
extern const struct address_space_operations zuf_aops;
extern const struct iomap_ops zuf_read_iomap_ops;
extern const struct iomap_ops zuf_write_iomap_ops;
extern const struct iomap_ops zuf_compare_iomap_ops;

ssize_t zuf_read_iter(struct kiocb *iocb, struct iov_iter *iter);
ssize_t zuf_write_iter(struct kiocb *iocb, struct iov_iter *iter);
int zuf_file_mmap(struct file *file, struct vm_area_struct *vma);
int zuf_fsync(struct file *file, loff_t start, loff_t end, int datasync);
int zuf_sync_changed(struct file *file, loff_t offset, loff_t len);
int zuf_break_layouts(struct inode *inode, unsigned int state);
int zuf_change_blocks(struct inode *inode, u64 mode, loff_t from, loff_t to);
int zuf_send_change(struct inode *inode, u64 mode, loff_t from, loff_t to);

/* ---- xattr.c ---- */

/* What all inodes have. */
#define ZUF_INODE_OPERATIONS			\
	.setattr	= zuf_setattr,		\
	.getattr	= zuf_getattr,		\
	.update_time	= zuf_update_time,	\
	.listxattr	= zuf_listxattr

/* And all but symlinks. */
#define ZUF_ACL_AND_FLAGS			\
	.get_inode_acl	= zuf_get_acl,		\
	.set_acl	= zuf_set_acl,		\
	.fileattr_get	= zuf_fileattr_get,	\
	.fileattr_set	= zuf_fileattr_set

extern const struct xattr_handler * const zuf_xattr_handlers[];
ssize_t zuf_listxattr(struct dentry *dentry, char *buffer, size_t size);
struct posix_acl *zuf_get_acl(struct inode *inode, int type, bool rcu);
int zuf_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		struct posix_acl *acl, int type);
int zuf_init_acls(struct inode *inode, struct posix_acl *acl,
		  struct posix_acl *default_acl);

/* ---- seek.c, remap.c, ioctl.c, export.c, quota.c ---- */

extern const struct export_operations zuf_export_operations;
void zuf_quota_init(struct super_block *sb);
int zuf_quota_chown(struct mnt_idmap *idmap, struct inode *inode,
		    const struct iattr *attr);
loff_t zuf_llseek(struct file *file, loff_t offset, int whence);
int zuf_fiemap(struct inode *inode, struct fiemap_extent_info *info, u64 start,
	       u64 len);
loff_t zuf_remap_file_range(struct file *in, loff_t pos_in, struct file *out,
			    loff_t pos_out, loff_t len, unsigned int flags);
ssize_t zuf_copy_file_range(struct file *in, loff_t pos_in, struct file *out,
			    loff_t pos_out, size_t len, unsigned int flags);
long zuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int zuf_call_ioctl(struct inode *inode, unsigned int cmd, void *arg);
int zuf_fileattr_get(struct dentry *dentry, struct fileattr *fa);
int zuf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		     struct fileattr *fa);

#endif /* _FS_ZUF_H */
