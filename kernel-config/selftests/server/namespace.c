// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names: lookup, and all that adds, removes, moves and lists them.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "store.h"

#define RENAME_EXCHANGE_FLAG	2
#define RENAME_WHITEOUT_FLAG	4

static void link_inode(struct mount *m, unsigned int dir, unsigned int inode)
{
	struct zus_inode *zi = zi_of(m, inode);

	if (S_ISDIR(zi->i_mode)) {
		zi->i_nlink = 2;
		zi_of(m, dir)->i_nlink++;
		m->nodes[inode].parent = dir;
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

static void set_out(__u64 *ii, __u64 *dpp, unsigned int slot,
		    unsigned int inode)
{
	*ii = make_ii(slot, inode);
	*dpp = zi_offset(inode);
}

static int do_new_inode(struct zufs_ioc_new_inode *ioc, char *window)
{
	uint64_t slot = ioc->dir_ii >> 40;
	struct mount *m = mount_of(ioc->dir_ii);
	unsigned int dir = number_of(ioc->dir_ii);
	static uint64_t made;
	struct zus_inode *zi;
	unsigned int i;
	uint32_t block;

	if (!(ioc->flags & ZI_TMPFILE) &&
	    *find_name(&m->nodes[dir], &ioc->str))
		return -EEXIST;
	i = alloc_node(m);
	if (!i)
		return -ENOSPC;
	zi = zi_of(m, i);
	*zi = ioc->zi;
	zi->i_ino = i;
	zi->i_nlink = 0;
	/* Of a clock that may stand still between two of them. */
	zi->i_generation = now() + ++made;
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
	set_out(&ioc->zus_ii, &ioc->_zi, slot, i);
	return 0;
}

static int do_free(struct zufs_ioc_evict_inode *ioc)
{
	struct mount *m = mount_of(ioc->zus_ii);
	unsigned int n = number_of(ioc->zus_ii);
	struct node *node = &m->nodes[n];
	int i;

	drop_blocks(m, n, 0, MAX_FILE_BLOCKS);
	free(node->map);
	for (i = 0; i < XATTR_MAX; i++)
		free(node->xattrs[i].value);
	memset(node, 0, sizeof(*node));
	memset(zi_of(m, n), 0, sizeof(struct zus_inode));
	return 0;
}

/* A file that the kernel has not heard of before. */
static struct name *make_ghost(struct mount *m, unsigned int dir,
			       const struct zufs_str *str)
{
	struct name *name = *find_name(&m->nodes[dir], str);

	if (!name) {
		add_name(m, dir, alloc_node(m), str);
		name = *find_name(&m->nodes[dir], str);
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

	/* By a file handle, it may be long gone. */
	if (!m->nodes[dir].used)
		return -ENOENT;
	if (ioc->str.len == 1 && ioc->str.name[0] == '.') {
		found = dir;
	} else if (ioc->str.len == 2 && !memcmp(ioc->str.name, "..", 2)) {
		found = m->nodes[dir].parent;
	} else {
		name = *find_name(&m->nodes[dir], &ioc->str);
		if (ioc->str.len > 5 &&
		    !memcmp(ioc->str.name, "ghost", 5))
			name = make_ghost(m, dir, &ioc->str);
		if (!name)
			return -ENOENT;
		found = name->inode;
	}
	set_out(&ioc->zus_ii, &ioc->_zi, ioc->dir_ii >> 40, found);
	return 0;
}

static int do_add_dentry(struct zufs_ioc_dentry *ioc)
{
	struct mount *m = mount_of(ioc->zus_dir_ii);
	unsigned int dir = number_of(ioc->zus_dir_ii);

	if (*find_name(&m->nodes[dir], &ioc->str))
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
	struct name **at = find_name(&m->nodes[dir], &ioc->str);

	if (!*at)
		return -ENOENT;
	if (S_ISDIR(zi_of(m, inode)->i_mode) && m->nodes[inode].names)
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
	struct name **old = find_name(&m->nodes[from], &ioc->old_d_str);
	struct name **new = find_name(&m->nodes[to], &ioc->new_d_str);
	bool is_dir = S_ISDIR(zi_of(m, inode)->i_mode);

	if (!*old || !!*new != !!ioc->new_zus_ii)
		return -ESTALE;
	if (ioc->flags & RENAME_EXCHANGE_FLAG) {
		bool target_dir = S_ISDIR(zi_of(m, target)->i_mode);

		(*old)->inode = target;
		(*new)->inode = inode;
		zi_of(m, to)->i_nlink += is_dir - target_dir;
		zi_of(m, from)->i_nlink += target_dir - is_dir;
		m->nodes[inode].parent = to;
		m->nodes[target].parent = from;
		zi_of(m, inode)->i_ctime = zi_of(m, target)->i_ctime = ioc->time;
		touch(m, from);
		touch(m, to);
		return 0;
	}
	if (ioc->flags & RENAME_WHITEOUT_FLAG)
		return -EINVAL;
	if (*new) {
		if (S_ISDIR(zi_of(m, target)->i_mode) && m->nodes[target].names)
			return -ENOTEMPTY;
		remove_name(m, to, new);
		unlink_inode(m, to, target);
		old = find_name(&m->nodes[from], &ioc->old_d_str);
	}
	remove_name(m, from, old);
	add_name(m, to, inode, &ioc->new_d_str);
	if (is_dir && from != to) {
		zi_of(m, from)->i_nlink--;
		zi_of(m, to)->i_nlink++;
		m->nodes[inode].parent = to;
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
		put_entry(buf, &used, room, m->nodes[dir].parent, DT_DIR, 2,
			  "..", 2);
	for (name = m->nodes[dir].names; name; name = name->next) {
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

int serve_namespace(struct zufs_ioc_hdr *hdr, char *window)
{
	void *ioc = hdr;

	switch (hdr->operation) {
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
	default:
		return -EOPNOTSUPP;
	}
}
