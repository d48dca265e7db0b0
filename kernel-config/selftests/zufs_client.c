// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ZUFS server in C, against the header alone: enough of a file system to
 * test the kernel with, and a liar on request (see enum misbehaviour).
 *
 * Inodes and data lie in T1, names and block maps in the memory of the server.
 * One lock for everything: this is about the kernel.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/stat.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "zufs_client.h"

#define ROOT_DIR	"/sys/fs/zuf"
#define BLOCK		4096UL
#define MAX_COMMAND	65536
#define MAX_INODES	8192
#define MAX_BLOCKS	(MAX_INODES * 4)
#define MAX_FILE_BLOCKS	4096
#define INODE_BLOCK	1UL	/* first block of the inodes */
#define XATTR_MAX	16

struct name {
	struct name *next;
	uint64_t pos;
	unsigned int inode;
	uint8_t len;
	char text[256];
};

struct xattr {
	int type;
	char name[256];
	size_t size;
	char *value;
};

struct client_inode {
	bool used;
	struct name *names;
	unsigned int parent;
	uint32_t *map;
	struct xattr xattrs[XATTR_MAX];
};

struct mount {
	bool used;
	char *t1;
	uint64_t blocks;
	uint64_t next_block;
	uint32_t *free_blocks;
	uint64_t nr_free;
	uint64_t next_pos;
	struct client_inode inodes[MAX_INODES];
};

struct control *control;
static struct mount *mounts[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int nr_channels = 1;

static int open_root(void)
{
	int fd = open(ROOT_DIR, O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		perror(ROOT_DIR);
	return fd;
}

/* ---- cookies ---- */

static uint64_t make_ii(uint64_t mount, unsigned int inode)
{
	return (mount << 40) + inode;
}

static struct mount *mount_of(uint64_t ii)
{
	return mounts[(ii >> 40) & 63];
}

static unsigned int number_of(uint64_t ii)
{
	return ii & 0xffffff;
}

static struct client_inode *inode_of(uint64_t ii)
{
	return &mount_of(ii)->inodes[number_of(ii)];
}

static uint64_t zi_offset(unsigned int inode)
{
	return INODE_BLOCK * BLOCK + inode * sizeof(struct zus_inode);
}

static struct zus_inode *zi_of(struct mount *m, unsigned int inode)
{
	return (void *)(m->t1 + zi_offset(inode));
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- blocks ---- */

static uint32_t alloc_block(struct mount *m)
{
	uint32_t block;

	if (m->nr_free)
		block = m->free_blocks[--m->nr_free];
	else if (m->next_block < m->blocks && m->next_block < MAX_BLOCKS)
		block = m->next_block++;
	else
		return 0;
	memset(m->t1 + block * BLOCK, 0, BLOCK);
	return block;
}

static void free_block(struct mount *m, struct zus_inode *zi, uint32_t *slot)
{
	if (!*slot)
		return;
	m->free_blocks[m->nr_free++] = *slot;
	*slot = 0;
	zi->i_blocks--;
}

static uint32_t get_block(struct mount *m, unsigned int inode, uint64_t index,
			  bool alloc, bool *fresh)
{
	struct client_inode *ci = &m->inodes[inode];

	if (index >= MAX_FILE_BLOCKS)
		return 0;
	if (!ci->map)
		ci->map = calloc(MAX_FILE_BLOCKS, sizeof(*ci->map));
	if (!ci->map[index] && alloc) {
		ci->map[index] = alloc_block(m);
		if (ci->map[index]) {
			zi_of(m, inode)->i_blocks++;
			*fresh = true;
		}
	}
	return ci->map[index];
}

static void drop_blocks(struct mount *m, unsigned int inode, uint64_t from,
			uint64_t to)
{
	struct client_inode *ci = &m->inodes[inode];
	uint64_t i;

	if (!ci->map)
		return;
	for (i = from; i < to && i < MAX_FILE_BLOCKS; i++)
		free_block(m, zi_of(m, inode), &ci->map[i]);
}

static void zero_bytes(struct mount *m, unsigned int inode, uint64_t from,
		       uint64_t to)
{
	bool fresh;

	while (from < to) {
		uint64_t end = (from / BLOCK + 1) * BLOCK;
		uint32_t block = get_block(m, inode, from / BLOCK, false, &fresh);

		if (end > to)
			end = to;
		if (block)
			memset(m->t1 + block * BLOCK + from % BLOCK, 0,
			       end - from);
		from = end;
	}
}

/* ---- names ---- */

static struct name **find_name(struct client_inode *dir,
			       const struct zufs_str *str)
{
	struct name **at;

	for (at = &dir->names; *at; at = &(*at)->next)
		if ((*at)->len == str->len &&
		    !memcmp((*at)->text, str->name, str->len))
			break;
	return at;
}

static void touch(struct mount *m, unsigned int dir)
{
	struct zus_inode *zi = zi_of(m, dir);

	zi->i_mtime = zi->i_ctime = now();
}

static void add_name(struct mount *m, unsigned int dir, unsigned int inode,
		     const struct zufs_str *str)
{
	struct name *name = calloc(1, sizeof(*name));
	struct name **at = &m->inodes[dir].names;

	name->inode = inode;
	name->len = str->len;
	name->pos = ++m->next_pos;
	memcpy(name->text, str->name, str->len);
	while (*at)
		at = &(*at)->next;
	*at = name;
	zi_of(m, dir)->i_size++;
	touch(m, dir);
}

static void remove_name(struct mount *m, unsigned int dir, struct name **at)
{
	struct name *name = *at;

	*at = name->next;
	free(name);
	zi_of(m, dir)->i_size--;
	touch(m, dir);
}

static void link_inode(struct mount *m, unsigned int dir, unsigned int inode)
{
	struct zus_inode *zi = zi_of(m, inode);

	if (S_ISDIR(zi->i_mode)) {
		zi->i_nlink = 2;
		zi_of(m, dir)->i_nlink++;
		m->inodes[inode].parent = dir;
	} else {
		zi->i_nlink++;
	}
	zi->i_ctime = now();
}

static void unlink_inode(struct mount *m, unsigned int dir, unsigned int inode)
{
	struct zus_inode *zi = zi_of(m, inode);

	if (S_ISDIR(zi->i_mode)) {
		zi->i_nlink = 0;
		zi_of(m, dir)->i_nlink--;
	} else {
		zi->i_nlink--;
	}
	zi->i_ctime = now();
}

/* ---- operations ---- */

static void set_out(__u64 *ii, __u64 *dpp, struct mount *m,
		    unsigned int slot, unsigned int inode)
{
	(void)m;
	*ii = make_ii(slot, inode);
	*dpp = zi_offset(inode);
}

static int do_new_inode(struct zufs_ioc_new_inode *ioc, char *window)
{
	uint64_t slot = ioc->dir_ii >> 40;
	struct mount *m = mount_of(ioc->dir_ii);
	unsigned int dir = number_of(ioc->dir_ii);
	struct zus_inode *zi;
	unsigned int i;
	uint32_t block;

	if (!(ioc->flags & ZI_TMPFILE) &&
	    *find_name(&m->inodes[dir], &ioc->str))
		return -EEXIST;
	for (i = 2; i < MAX_INODES && m->inodes[i].used; i++)
		;
	if (i == MAX_INODES)
		return -ENOSPC;
	memset(&m->inodes[i], 0, sizeof(m->inodes[i]));
	m->inodes[i].used = true;
	zi = zi_of(m, i);
	*zi = ioc->zi;
	zi->i_ino = i;
	zi->i_nlink = 0;
	zi->i_generation = now();
	if (S_ISLNK(zi->i_mode) && zi->i_size > sizeof(zi->i_symlink)) {
		block = alloc_block(m);
		if (!block)
			return -ENOSPC;
		memcpy(m->t1 + block * BLOCK, window + ioc->hdr.offset,
		       ioc->hdr.len);
		zi->i_sym_dpp = block * BLOCK;
	}
	if (!(ioc->flags & ZI_TMPFILE)) {
		add_name(m, dir, i, &ioc->str);
		link_inode(m, dir, i);
	}
	set_out(&ioc->zus_ii, &ioc->_zi, m, slot, i);
	return 0;
}

static int do_free(struct zufs_ioc_evict_inode *ioc)
{
	struct mount *m = mount_of(ioc->zus_ii);
	unsigned int n = number_of(ioc->zus_ii);
	struct client_inode *ci = &m->inodes[n];
	int i;

	drop_blocks(m, n, 0, MAX_FILE_BLOCKS);
	free(ci->map);
	for (i = 0; i < XATTR_MAX; i++)
		free(ci->xattrs[i].value);
	memset(ci, 0, sizeof(*ci));
	memset(zi_of(m, n), 0, sizeof(struct zus_inode));
	return 0;
}

/* A file that the kernel has not heard of before. */
static struct name *make_ghost(struct mount *m, unsigned int dir,
			       const struct zufs_str *str)
{
	struct name *name = *find_name(&m->inodes[dir], str);
	unsigned int i;

	if (!name) {
		for (i = 2; m->inodes[i].used; i++)
			;
		m->inodes[i].used = true;
		add_name(m, dir, i, str);
		name = *find_name(&m->inodes[dir], str);
	}
	/* Whatever was said of it before. */
	zi_of(m, name->inode)->i_ino = name->inode;
	zi_of(m, name->inode)->i_mode = S_IFREG | 0600;
	zi_of(m, name->inode)->i_nlink = 1;
	zi_of(m, name->inode)->i_size = 0;
	return name;
}

static int do_lookup(struct zufs_ioc_lookup *ioc)
{
	struct mount *m = mount_of(ioc->dir_ii);
	unsigned int dir = number_of(ioc->dir_ii), found;
	struct name *name;

	if (ioc->str.len == 1 && ioc->str.name[0] == '.') {
		found = dir;
	} else if (ioc->str.len == 2 && !memcmp(ioc->str.name, "..", 2)) {
		found = m->inodes[dir].parent;
	} else {
		name = *find_name(&m->inodes[dir], &ioc->str);
		if (ioc->str.len > 5 &&
		    !memcmp(ioc->str.name, "ghost", 5))
			name = make_ghost(m, dir, &ioc->str);
		if (!name)
			return -ENOENT;
		found = name->inode;
	}
	set_out(&ioc->zus_ii, &ioc->_zi, m, ioc->dir_ii >> 40, found);
	return 0;
}

static int do_add_dentry(struct zufs_ioc_dentry *ioc)
{
	struct mount *m = mount_of(ioc->zus_dir_ii);
	unsigned int dir = number_of(ioc->zus_dir_ii);

	if (*find_name(&m->inodes[dir], &ioc->str))
		return -EEXIST;
	add_name(m, dir, number_of(ioc->zus_ii), &ioc->str);
	link_inode(m, dir, number_of(ioc->zus_ii));
	return 0;
}

static int do_remove_dentry(struct zufs_ioc_dentry *ioc)
{
	struct mount *m = mount_of(ioc->zus_dir_ii);
	unsigned int dir = number_of(ioc->zus_dir_ii);
	unsigned int inode = number_of(ioc->zus_ii);
	struct name **at = find_name(&m->inodes[dir], &ioc->str);

	if (!*at)
		return -ENOENT;
	if (S_ISDIR(zi_of(m, inode)->i_mode) && m->inodes[inode].names)
		return -ENOTEMPTY;
	remove_name(m, dir, at);
	unlink_inode(m, dir, inode);
	return 0;
}

static int do_rename(struct zufs_ioc_rename *ioc)
{
	struct mount *m = mount_of(ioc->old_dir_ii);
	unsigned int from = number_of(ioc->old_dir_ii);
	unsigned int to = number_of(ioc->new_dir_ii);
	unsigned int inode = number_of(ioc->old_zus_ii);
	unsigned int target = number_of(ioc->new_zus_ii);
	struct name **old = find_name(&m->inodes[from], &ioc->old_d_str);
	struct name **new = find_name(&m->inodes[to], &ioc->new_d_str);
	bool is_dir = S_ISDIR(zi_of(m, inode)->i_mode);

	if (!*old || !!*new != !!ioc->new_zus_ii)
		return -ESTALE;
	if (ioc->flags & 2) { /* RENAME_EXCHANGE */
		bool target_dir = S_ISDIR(zi_of(m, target)->i_mode);

		(*old)->inode = target;
		(*new)->inode = inode;
		zi_of(m, to)->i_nlink += is_dir - target_dir;
		zi_of(m, from)->i_nlink += target_dir - is_dir;
		m->inodes[inode].parent = to;
		m->inodes[target].parent = from;
		zi_of(m, inode)->i_ctime = zi_of(m, target)->i_ctime = ioc->time;
		touch(m, from);
		touch(m, to);
		return 0;
	}
	if (ioc->flags & 4) /* RENAME_WHITEOUT */
		return -EINVAL;
	if (*new) {
		if (S_ISDIR(zi_of(m, target)->i_mode) && m->inodes[target].names)
			return -ENOTEMPTY;
		remove_name(m, to, new);
		unlink_inode(m, to, target);
		old = find_name(&m->inodes[from], &ioc->old_d_str);
	}
	remove_name(m, from, old);
	add_name(m, to, inode, &ioc->new_d_str);
	if (is_dir && from != to) {
		zi_of(m, from)->i_nlink--;
		zi_of(m, to)->i_nlink++;
		m->inodes[inode].parent = to;
	}
	zi_of(m, inode)->i_ctime = ioc->time;
	return 0;
}

static unsigned int type_of(struct mount *m, unsigned int inode)
{
	return (zi_of(m, inode)->i_mode & S_IFMT) >> 12;
}

static bool put_entry(char *buf, uint32_t *at, uint32_t room, uint64_t ino,
		      unsigned int type, uint64_t pos, const char *text,
		      unsigned int len)
{
	uint32_t size = (17 + len + 7) & ~7U;
	struct zufs_dir_entry *entry = (void *)(buf + *at);

	if (*at + size > room)
		return false;
	entry->ino = ino;
	entry->type = type;
	entry->pos = pos;
	entry->zstr.len = len;
	memcpy(entry->zstr.name, text, len);
	*at += size;
	return true;
}

static int do_readdir(struct zufs_ioc_readdir *ioc, char *window)
{
	struct mount *m = mount_of(ioc->dir_ii);
	unsigned int dir = number_of(ioc->dir_ii);
	char *buf = window + ioc->hdr.offset;
	uint32_t room = ioc->hdr.len, used = 0;
	struct name *name;

	ioc->more = 0;
	if (ioc->pos < 1)
		put_entry(buf, &used, room, dir, DT_DIR, 1, ".", 1);
	if (ioc->pos < 2)
		put_entry(buf, &used, room, m->inodes[dir].parent, DT_DIR, 2,
			  "..", 2);
	for (name = m->inodes[dir].names; name; name = name->next) {
		if (name->pos <= ioc->pos)
			continue;
		if (!put_entry(buf, &used, room, name->inode,
			       type_of(m, name->inode), name->pos, name->text,
			       name->len)) {
			ioc->more = 1;
			break;
		}
	}
	ioc->hdr.len = used;
	return 0;
}

static int do_read(struct zufs_ioc_IO *io, char *window)
{
	struct mount *m = mount_of(io->zus_ii);
	uint64_t pos = io->filepos, end = pos + io->hdr.len;
	char *to = window + io->hdr.offset;
	bool fresh;

	while (pos < end) {
		uint64_t n = BLOCK - pos % BLOCK;
		uint32_t block = get_block(m, number_of(io->zus_ii),
					   pos / BLOCK, false, &fresh);

		if (n > end - pos)
			n = end - pos;
		if (block)
			memcpy(to, m->t1 + block * BLOCK + pos % BLOCK, n);
		else
			memset(to, 0, n);
		to += n;
		pos += n;
	}
	io->last_pos = pos;
	return 0;
}

static int do_write(struct zufs_ioc_IO *io, char *window)
{
	struct mount *m = mount_of(io->zus_ii);
	struct zus_inode *zi = zi_of(m, number_of(io->zus_ii));
	uint64_t pos = io->filepos, end = pos + io->hdr.len;
	const char *from = window + io->hdr.offset;
	bool fresh;

	while (pos < end) {
		uint64_t n = BLOCK - pos % BLOCK;
		uint32_t block = get_block(m, number_of(io->zus_ii),
					   pos / BLOCK, true, &fresh);

		if (!block)
			break;
		if (n > end - pos)
			n = end - pos;
		memcpy(m->t1 + block * BLOCK + pos % BLOCK, from, n);
		from += n;
		pos += n;
	}
	if (pos > zi->i_size)
		zi->i_size = pos;
	io->last_pos = pos;
	return pos > io->filepos ? 0 : -ENOSPC;
}

static int do_get_multy(struct zufs_ioc_IO *io)
{
	struct mount *m = mount_of(io->zus_ii);
	bool write = io->rw & ZUFS_RW_WRITE, fresh = false;
	unsigned int i, count = io->hdr.len / BLOCK;
	uint32_t block;

	for (i = 0; i < count; i++) {
		block = get_block(m, number_of(io->zus_ii),
				  io->filepos / BLOCK + i, write, &fresh);
		if (write && !block)
			break;
		io->iom_e[i] = block ? ((uint64_t)IOM_T1_READ << 56) |
				       ((uint64_t)block << 3) : 0;
	}
	io->ziom.iom_n = i;
	io->ret_flags = fresh ? ZUFS_RET_NEW : 0;
	return i ? 0 : -ENOSPC;
}

static int truncate_to(struct mount *m, unsigned int n, uint64_t size)
{
	struct zus_inode *zi = zi_of(m, n);
	uint64_t old = zi->i_size;

	if (size < old) {
		drop_blocks(m, n, (size + BLOCK - 1) / BLOCK, MAX_FILE_BLOCKS);
		zero_bytes(m, n, size, (size + BLOCK - 1) / BLOCK * BLOCK);
	} else {
		zero_bytes(m, n, old, (old + BLOCK - 1) / BLOCK * BLOCK);
	}
	zi->i_size = size;
	return 0;
}

static int do_fallocate(struct zufs_ioc_IO *io)
{
	struct mount *m = mount_of(io->zus_ii);
	unsigned int n = number_of(io->zus_ii);
	struct zus_inode *zi = zi_of(m, n);
	uint64_t from = io->filepos, to = io->last_pos, i;
	bool fresh;

	if (io->rw & ZUFS_FL_TRUNCATE)
		return truncate_to(m, n, from);
	if (io->rw & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
		       FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (io->rw & FALLOC_FL_PUNCH_HOLE) {
		zero_bytes(m, n, from, to);
		drop_blocks(m, n, (from + BLOCK - 1) / BLOCK, to / BLOCK);
		return 0;
	}
	if (io->rw & FALLOC_FL_ZERO_RANGE)
		zero_bytes(m, n, from, to);
	for (i = from / BLOCK; i < (to + BLOCK - 1) / BLOCK; i++)
		if (!get_block(m, n, i, true, &fresh))
			return -ENOSPC;
	if (!(io->rw & FALLOC_FL_KEEP_SIZE) && to > zi->i_size)
		zi->i_size = to;
	return 0;
}

static int do_seek(struct zufs_ioc_seek *ioc)
{
	struct mount *m = mount_of(ioc->zus_ii);
	unsigned int n = number_of(ioc->zus_ii);
	uint64_t size = zi_of(m, n)->i_size, pos = ioc->offset_in;
	bool fresh;

	for (; pos < size; pos = (pos / BLOCK + 1) * BLOCK)
		if (!!get_block(m, n, pos / BLOCK, false, &fresh) ==
		    (ioc->whence == SEEK_DATA))
			break;
	if (pos >= size) {
		if (ioc->whence == SEEK_DATA)
			return -ENXIO;
		pos = size;
	}
	ioc->offset_out = pos;
	return 0;
}

static int do_statfs(struct zufs_ioc_statfs *ioc)
{
	struct mount *m = mounts[ioc->zus_sbi];

	memset(&ioc->statfs_out, 0, sizeof(ioc->statfs_out));
	ioc->statfs_out.f_blocks = m->blocks;
	ioc->statfs_out.f_bfree = m->blocks - m->next_block + m->nr_free;
	ioc->statfs_out.f_bavail = ioc->statfs_out.f_bfree;
	ioc->statfs_out.f_files = MAX_INODES;
	ioc->statfs_out.f_ffree = MAX_INODES / 2;
	return 0;
}

static int do_show_options(struct zufs_ioc_mount_options *ioc)
{
	strcpy(ioc->buf, "client=c");
	ioc->hdr.out_len = strlen(ioc->buf);
	return 0;
}

/* ---- extended attributes ---- */

static struct xattr *find_xattr(struct client_inode *ci, int type,
				const char *name)
{
	int i;

	for (i = 0; i < XATTR_MAX; i++)
		if (ci->xattrs[i].type == type &&
		    !strcmp(ci->xattrs[i].name, name))
			return &ci->xattrs[i];
	return NULL;
}

static int do_xattr_get(struct zufs_ioc_xattr *ioc)
{
	struct xattr *x = find_xattr(inode_of(ioc->zus_ii), ioc->type, ioc->buf);

	if (!x)
		return -ENODATA;
	if (ioc->user_buf_size && ioc->user_buf_size < x->size)
		return -ERANGE;
	if (ioc->user_buf_size) {
		memcpy(ioc->buf + ioc->name_len, x->value, x->size);
		ioc->hdr.out_len = sizeof(*ioc) + ioc->name_len + x->size -
				   ioc->hdr.out_start;
	}
	ioc->user_buf_size = x->size;
	return 0;
}

static int do_xattr_set(struct zufs_ioc_xattr *ioc)
{
	struct client_inode *ci = inode_of(ioc->zus_ii);
	struct xattr *x = find_xattr(ci, ioc->type, ioc->buf);
	bool remove = !ioc->user_buf_size &&
		      !(ioc->ioc_flags & ZUFS_XATTR_SET_EMPTY);

	if (!x && (remove || (ioc->flags & 2)))
		return -ENODATA;
	if (x && !remove && (ioc->flags & 1))
		return -EEXIST;
	if (!x)
		x = find_xattr(ci, 0, "");
	if (!x)
		return -ENOSPC;
	free(x->value);
	memset(x, 0, sizeof(*x));
	if (remove)
		return 0;
	x->type = ioc->type;
	strcpy(x->name, ioc->buf);
	x->size = ioc->user_buf_size;
	x->value = malloc(x->size + 1);
	memcpy(x->value, ioc->buf + ioc->name_len, x->size);
	return 0;
}

static int do_xattr_list(struct zufs_ioc_xattr *ioc)
{
	static const char *const prefix[] = {
		[X_F_SECURITY] = "security.", [X_F_SYSTEM] = "system.",
		[X_F_TRUSTED] = "trusted.", [X_F_USER] = "user.",
	};
	struct client_inode *ci = inode_of(ioc->zus_ii);
	char *to = ioc->buf;
	char name[512];
	size_t len, total = 0;
	int i;

	for (i = 0; i < XATTR_MAX; i++) {
		if (!ci->xattrs[i].type)
			continue;
		len = snprintf(name, sizeof(name), "%s%s",
			       prefix[ci->xattrs[i].type],
			       ci->xattrs[i].name) + 1;
		total += len;
		if (!ioc->user_buf_size)
			continue;
		if (total > ioc->user_buf_size)
			return -ERANGE;
		memcpy(to, name, len);
		to += len;
	}
	if (ioc->user_buf_size)
		ioc->hdr.out_len = sizeof(*ioc) + total - ioc->hdr.out_start;
	ioc->user_buf_size = total;
	return 0;
}

static int do_ioctl(struct zufs_ioc_ioctl *ioc)
{
	(void)ioc;
	return -ENOTTY;
}

static int serve_one(struct zufs_ioc_hdr *hdr, char *window)
{
	void *ioc = hdr;

	switch (hdr->operation) {
	case ZUFS_OP_STATFS:
		return do_statfs(ioc);
	case ZUFS_OP_SHOW_OPTIONS:
		return do_show_options(ioc);
	case ZUFS_OP_NEW_INODE:
		return do_new_inode(ioc, window);
	case ZUFS_OP_FREE_INODE:
		return do_free(ioc);
	case ZUFS_OP_LOOKUP:
		return do_lookup(ioc);
	case ZUFS_OP_ADD_DENTRY:
		return do_add_dentry(ioc);
	case ZUFS_OP_REMOVE_DENTRY:
		return do_remove_dentry(ioc);
	case ZUFS_OP_RENAME:
		return do_rename(ioc);
	case ZUFS_OP_READDIR:
		return do_readdir(ioc, window);
	case ZUFS_OP_READ:
		return do_read(ioc, window);
	case ZUFS_OP_WRITE:
		return do_write(ioc, window);
	case ZUFS_OP_GET_MULTY:
		return do_get_multy(ioc);
	case ZUFS_OP_FALLOCATE:
		return do_fallocate(ioc);
	case ZUFS_OP_LLSEEK:
		return do_seek(ioc);
	case ZUFS_OP_XATTR_GET:
		return do_xattr_get(ioc);
	case ZUFS_OP_XATTR_SET:
		return do_xattr_set(ioc);
	case ZUFS_OP_XATTR_LIST:
		return do_xattr_list(ioc);
	case ZUFS_OP_IOCTL:
		return do_ioctl(ioc);
	case ZUFS_OP_EVICT_INODE:
	case ZUFS_OP_SETATTR:
	case ZUFS_OP_SYNC:
	case ZUFS_OP_PUT_MULTY:
	case ZUFS_OP_MMAP_CLOSE:
	case ZUFS_OP_PRE_READ:
	case ZUFS_OP_NOOP:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- lies ---- */

static void lie_lookup(struct zufs_ioc_lookup *ioc, int how)
{
	struct zus_inode *zi = zi_of(mount_of(ioc->zus_ii),
				     number_of(ioc->zus_ii));

	switch (how) {
	case BAD_DPP_POOL:
		ioc->_zi |= 3;
		break;
	case BAD_DPP_RANGE:
		ioc->_zi = 1ULL << 50;
		break;
	case BAD_DPP_STRADDLE:
		ioc->_zi = INODE_BLOCK * BLOCK + BLOCK - 64;
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
	}
}

static void lie_io(struct zufs_ioc_IO *io, int how)
{
	switch (how) {
	case BAD_LAST_POS_BEFORE:
		io->last_pos = io->filepos - 1;
		break;
	case BAD_LAST_POS_BEHIND:
		io->last_pos = io->filepos + io->hdr.len + 1;
		break;
	case BAD_BLOCK_RANGE:
		io->iom_e[0] = ((uint64_t)IOM_T1_READ << 56) | (1ULL << 50);
		break;
	case BAD_BLOCK_TYPE:
		io->iom_e[0] = ((uint64_t)IOM_T2_READ << 56) |
			       (io->iom_e[0] & ((1ULL << 56) - 1));
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
	}
}

static void lie_readdir(struct zufs_ioc_readdir *ioc, char *window, int how)
{
	struct zufs_dir_entry *entry = (void *)(window + ioc->hdr.offset);

	switch (how) {
	case BAD_DIRENT_LEN:
		ioc->hdr.len = 24;
		entry->zstr.len = 200;
		break;
	case BAD_DIRENT_SLASH:
		entry->zstr.name[0] = '/';
		break;
	case BAD_DIRENT_TYPE:
		entry->type = 77;
		break;
	}
}

static void lie(struct zufs_ioc_hdr *hdr, char *window, int how)
{
	switch (how) {
	case BAD_ERROR_POSITIVE:
		hdr->err = 5;
		return;
	case BAD_ERROR_INTERNAL:
		hdr->err = -529; /* EIOCBQUEUED */
		return;
	case BAD_OUT_LEN:
		hdr->out_len = 65535;
		return;
	case BAD_WINDOW_LEN:
		hdr->len = 0x7fffffff;
		return;
	}
	if (hdr->operation == ZUFS_OP_LOOKUP && !hdr->err)
		lie_lookup((void *)hdr, how);
	if (hdr->operation == ZUFS_OP_READ || hdr->operation == ZUFS_OP_WRITE ||
	    hdr->operation == ZUFS_OP_GET_MULTY)
		lie_io((void *)hdr, how);
	if (hdr->operation == ZUFS_OP_READDIR)
		lie_readdir((void *)hdr, window, how);
}

/* ---- threads ---- */

struct zt {
	int cpu;
	int channel;
	pthread_t thread;
};

static int map_channel(int fd, char **window, char **buffer)
{
	*window = mmap(NULL, ZUS_API_MAP_MAX_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED, fd, 0);
	*buffer = mmap(NULL, MAX_COMMAND, PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, ZUS_API_MAP_MAX_SIZE);
	return *window == MAP_FAILED || *buffer == MAP_FAILED ? -1 : 0;
}

static void hang(void)
{
	__sync_fetch_and_add(&control->hung, 1);
	while (control->misbehave == HANG)
		usleep(10000);
	__sync_fetch_and_sub(&control->hung, 1);
}

static void *zt_loop(void *arg)
{
	struct zufs_ioc_init init = { .max_command = MAX_COMMAND };
	struct zt *zt = arg;
	struct zufs_ioc_hdr *hdr;
	char *window, *buffer;
	cpu_set_t set;
	int fd, how;

	CPU_ZERO(&set);
	CPU_SET(zt->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("sched_setaffinity");
	fd = open_root();
	init.channel_no = zt->channel;
	if (ioctl(fd, ZU_IOC_INIT_THREAD, &init)) {
		perror("INIT_THREAD");
		exit(1);
	}
	if (map_channel(fd, &window, &buffer)) {
		perror("mmap of a channel");
		exit(1);
	}
	hdr = (void *)buffer;
	for (;;) {
		if (ioctl(fd, ZU_IOC_WAIT_OPT, buffer)) {
			if (errno == EINTR)
				continue;
			perror("WAIT_OPT");
			exit(1);
		}
		if (hdr->operation == ZUFS_OP_BREAK)
			break;
		how = control->misbehave;
		if (control->misbehave_operation &&
		    control->misbehave_operation != hdr->operation)
			how = BEHAVE;
		if (how == HANG)
			hang();
		pthread_mutex_lock(&lock);
		hdr->err = serve_one(hdr, window);
		if (how != BEHAVE && how != HANG)
			lie(hdr, window, how);
		control->served++;
		pthread_mutex_unlock(&lock);
	}
	close(fd);
	return NULL;
}

/* The first mount starts them, when all CPUs are known. */
static void start_threads(void)
{
	static bool started;
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), cpu, channel;
	struct zt *zt;

	if (started)
		return;
	started = true;
	for (cpu = 0; cpu < cpus; cpu++) {
		for (channel = 0; channel < nr_channels; channel++) {
			zt = calloc(1, sizeof(*zt));
			zt->cpu = cpu;
			zt->channel = channel;
			pthread_create(&zt->thread, NULL, zt_loop, zt);
		}
	}
	/* INIT_THREAD and both mappings of all of them. */
	usleep(300000);
}

static int do_mount(struct zufs_ioc_mount *zim)
{
	static struct zufs_ioc_pmem pmem;
	struct mount *m = calloc(1, sizeof(*m));
	struct zus_inode *root;
	int slot, fd;

	start_threads();
	for (slot = 1; mounts[slot]; slot++)
		;
	fd = open_root();
	pmem.sb_id = zim->zmi.sb_id;
	if (ioctl(fd, ZU_IOC_GRAB_PMEM, &pmem))
		return -errno;
	m->blocks = pmem.mdt.s_t1_blocks;
	m->t1 = mmap(NULL, m->blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd, 0);
	if (m->t1 == MAP_FAILED)
		return -errno;
	close(fd);
	m->next_block = INODE_BLOCK +
			MAX_INODES * sizeof(struct zus_inode) / BLOCK;
	m->free_blocks = calloc(MAX_BLOCKS, sizeof(uint32_t));
	m->next_pos = 2;
	memset(m->t1 + INODE_BLOCK * BLOCK, 0,
	       MAX_INODES * sizeof(struct zus_inode));
	root = zi_of(m, 1);
	root->i_mode = S_IFDIR | 0755;
	root->i_nlink = 2;
	root->i_ino = 1;
	root->i_mtime = root->i_ctime = root->i_atime = now();
	m->inodes[1].used = true;
	m->inodes[1].parent = 1;
	mounts[slot] = m;

	zim->zmi.zus_sbi = slot;
	zim->zmi.zus_ii = make_ii(slot, 1);
	zim->zmi._zi = zi_offset(1);
	zim->zmi.fs_caps = ZUFS_FSC_ACL_ON;
	zim->zmi.s_blocksize_bits = 12;
	return strstr(zim->zmi.po.mount_options, "refuse") ? -EPERM : 0;
}

static int do_umount(struct zufs_ioc_mount *zim)
{
	struct mount *m = mounts[zim->zmi.zus_sbi];

	munmap(m->t1, m->blocks * BLOCK);
	mounts[zim->zmi.zus_sbi] = NULL;
	free(m->free_blocks);
	free(m);
	return 0;
}

static int register_type(int fd, const char *name, uint64_t dt_offset)
{
	struct zufs_ioc_register_fs reg = {
		.zus_zfi = 7,
		.rfi = {
			.FS_magic = CLIENT_MAGIC,
			.FS_ver_major = 1,
			.notused = ZUFS_FEATURE_MEMORY_MOUNT,
			.dt_offset = dt_offset,
			.s_maxbytes = 1ULL << 40,
			.s_time_gran = 1,
			.def_mode = 0755,
		},
	};

	strcpy(reg.rfi.fsname, name);
	return ioctl(fd, ZU_IOC_REGISTER_FS, &reg);
}

/**
 * client_serve - be the server, until BREAK_ALL
 * @channels: ZTs on each CPU
 */
int client_serve(int channels)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct zufs_ioc_mount *zim = (void *)page;
	int fd = open_root();

	nr_channels = channels;
	if (fd < 0)
		return 1;
	if (register_type(fd, CLIENT_FSNAME, 0) ||
	    register_type(fd, CLIENT_MEMNAME, ~0ULL)) {
		perror("REGISTER_FS");
		return 1;
	}
	control->ready = 1;
	for (;;) {
		if (ioctl(fd, ZU_IOC_MOUNT, zim)) {
			if (errno == EINTR)
				continue;
			perror("MOUNT");
			return 1;
		}
		switch (zim->hdr.operation) {
		case ZUFS_OP_BREAK: /* ZUFS_M_MOUNT has the same number */
			if (zim->hdr.in_len == sizeof(zim->hdr))
				return 0;
			zim->hdr.err = do_mount(zim);
			break;
		case ZUFS_M_UMOUNT:
			zim->hdr.err = do_umount(zim);
			break;
		default:
			zim->hdr.err = 0;
		}
	}
}

/* ---- mkfs ---- */

static uint16_t crc16(const unsigned char *p, size_t len)
{
	uint16_t crc = 0xffff;
	int i;

	while (len--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
	}
	return crc;
}

/**
 * client_mkfs - write a device table to all devices of a new file system
 * @devices: their paths, in the order of T1
 * @count: how many
 */
int client_mkfs(const char *const *devices, int count)
{
	struct md_dev_table mdt = { .s_magic = CLIENT_MAGIC,
				    .s_version = 1 * MD_MINORS_PER_MAJOR };
	int i, fd;
	off_t size;

	memcpy(mdt.s_uuid, "ctestfs-0123456", 16);
	for (i = 0; i < count; i++) {
		fd = open(devices[i], O_RDONLY);
		if (fd < 0)
			return -1;
		size = lseek(fd, 0, SEEK_END) & ~(off_t)(ZUFS_ALLOC_ALIGN - 1);
		close(fd);
		memcpy(mdt.s_dev_list.dev_ids[i].uuid, "device-012345678", 16);
		mdt.s_dev_list.dev_ids[i].uuid[15] = i;
		mdt.s_dev_list.dev_ids[i].blocks = size / BLOCK;
		mdt.s_t1_blocks += size / BLOCK;
	}
	mdt.s_dev_list.t1_count = count;
	for (i = 0; i < count; i++) {
		mdt.s_dev_list.id_index = i;
		mdt.s_sum = crc16((unsigned char *)&mdt + 2,
				  offsetof(struct md_dev_table, s_mtime) - 2);
		fd = open(devices[i], O_RDWR);
		if (fd < 0 || pwrite(fd, &mdt, sizeof(mdt), 0) != sizeof(mdt) ||
		    fsync(fd) || close(fd))
			return -1;
	}
	return 0;
}
