// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks, block maps and names. The caller holds the lock of the server;
 * allocation has one of its own, since reads and writes share the other.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "store.h"

struct mount *mounts[MAX_MOUNTS];
static pthread_mutex_t alloc_lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/**
 * mount_create - an empty file system
 * @t1: its memory
 * @blocks: of it
 */
struct mount *mount_create(char *t1, uint64_t blocks)
{
	struct mount *m = calloc(1, sizeof(*m));
	struct zus_inode *root;

	m->t1 = t1;
	m->blocks = blocks;
	m->next_block = INODE_BLOCK +
			MAX_INODES * sizeof(struct zus_inode) / BLOCK;
	m->free_blocks = calloc(MAX_BLOCKS, sizeof(uint32_t));
	m->others = calloc(MAX_BLOCKS, sizeof(uint32_t));
	m->next_pos = 2;
	memset(t1 + INODE_BLOCK * BLOCK, 0,
	       MAX_INODES * sizeof(struct zus_inode));
	root = zi_of(m, ROOT_INODE);
	root->i_mode = S_IFDIR | 0755;
	root->i_nlink = 2;
	root->i_ino = ROOT_INODE;
	root->i_mtime = root->i_ctime = root->i_atime = now();
	m->nodes[ROOT_INODE].used = true;
	m->nodes[ROOT_INODE].parent = ROOT_INODE;
	m->nr_nodes = ROOT_INODE + 1;
	return m;
}

static void free_node(struct node *node)
{
	struct name *name;
	int i;

	while ((name = node->names)) {
		node->names = name->next;
		free(name);
	}
	for (i = 0; i < XATTR_MAX; i++)
		free(node->xattrs[i].value);
	free(node->map);
}

void mount_free(struct mount *m)
{
	unsigned int i;

	for (i = 0; i < m->nr_nodes; i++)
		free_node(&m->nodes[i]);
	free(m->free_blocks);
	free(m->others);
	free(m);
}

/**
 * alloc_node - a number for a new inode
 * @m: the mount
 *
 * Return: it, or 0 when there is none.
 */
unsigned int alloc_node(struct mount *m)
{
	unsigned int i;

	for (i = ROOT_INODE + 1; i < m->nr_nodes && m->nodes[i].used; i++)
		;
	if (i == MAX_INODES)
		return 0;
	if (i == m->nr_nodes)
		m->nr_nodes++;
	memset(&m->nodes[i], 0, sizeof(m->nodes[i]));
	m->nodes[i].used = true;
	return i;
}

/* ---- blocks ---- */

/**
 * blocks_left - how many can be allocated
 * @m: the mount
 */
uint64_t blocks_left(struct mount *m)
{
	uint64_t end = m->blocks < MAX_BLOCKS ? m->blocks : MAX_BLOCKS;

	return m->nr_free +
	       (m->next_block < end ? end - m->next_block : 0);
}

static uint32_t take_block(struct mount *m)
{
	uint32_t block;

	if (m->nr_free)
		block = m->free_blocks[--m->nr_free];
	else if (blocks_left(m))
		block = m->next_block++;
	else
		return 0;
	memset(m->t1 + block * BLOCK, 0, BLOCK);
	return block;
}

uint32_t alloc_block(struct mount *m)
{
	uint32_t block;

	pthread_mutex_lock(&alloc_lock);
	block = take_block(m);
	pthread_mutex_unlock(&alloc_lock);
	return block;
}

static bool is_own(struct mount *m, const struct node *node, uint64_t index)
{
	return node->map && node->map[index] && !m->others[node->map[index]];
}

/* Allocate where there is none, and in place of one that others have as well. */
static bool fill_slot(struct mount *m, unsigned int inode, uint64_t index)
{
	struct node *node = &m->nodes[inode];
	uint32_t old, block;

	if (!node->map)
		node->map = calloc(MAX_FILE_BLOCKS, sizeof(*node->map));
	if (is_own(m, node, index))
		return false;
	old = node->map[index];
	block = take_block(m);
	if (!block)
		return false;
	if (old) {
		memcpy(m->t1 + block * BLOCK, m->t1 + old * BLOCK, BLOCK);
		m->others[old]--;
	} else {
		zi_of(m, inode)->i_blocks++;
	}
	node->map[index] = block;
	return true;
}

/**
 * get_block - block of a file
 * @m: the mount
 * @inode: the file
 * @index: which of its blocks
 * @alloc: to be written to: have one, of the file alone
 * @fresh: set to true when one was allocated, else left alone
 *
 * Return: its number, 0 for none.
 */
uint32_t get_block(struct mount *m, unsigned int inode, uint64_t index,
		   bool alloc, bool *fresh)
{
	struct node *node = &m->nodes[inode];

	if (index >= MAX_FILE_BLOCKS)
		return 0;
	if (alloc && !is_own(m, node, index)) {
		pthread_mutex_lock(&alloc_lock);
		if (fill_slot(m, inode, index))
			*fresh = true;
		pthread_mutex_unlock(&alloc_lock);
		if (!is_own(m, node, index))
			return 0;
	}
	return node->map ? node->map[index] : 0;
}

/**
 * set_block - give a file a block where it has none
 * @m: the mount
 * @inode: the file
 * @index: which of its blocks
 * @block: its number
 */
void set_block(struct mount *m, unsigned int inode, uint64_t index,
	       uint32_t block)
{
	struct node *node = &m->nodes[inode];

	if (!node->map)
		node->map = calloc(MAX_FILE_BLOCKS, sizeof(*node->map));
	node->map[index] = block;
	zi_of(m, inode)->i_blocks++;
}

/**
 * share_block - give a file the block of another, or its hole
 * @m: the mount
 * @src: the other file
 * @from: which of its blocks
 * @dst: the file
 * @to: which block it becomes there
 */
void share_block(struct mount *m, unsigned int src, uint64_t from,
		 unsigned int dst, uint64_t to)
{
	bool fresh;
	uint32_t block = get_block(m, src, from, false, &fresh);

	/* Before the old one goes, which may be the same. */
	if (block)
		m->others[block]++;
	drop_blocks(m, dst, to, to + 1);
	if (block)
		set_block(m, dst, to, block);
}

/**
 * drop_blocks - make part of a file a hole
 * @m: the mount
 * @inode: the file
 * @from: first block
 * @to: behind the last
 */
void drop_blocks(struct mount *m, unsigned int inode, uint64_t from,
		 uint64_t to)
{
	uint32_t *map = m->nodes[inode].map;
	uint64_t i;

	if (!map)
		return;
	for (i = from; i < to && i < MAX_FILE_BLOCKS; i++) {
		if (!map[i])
			continue;
		if (m->others[map[i]])
			m->others[map[i]]--;
		else
			m->free_blocks[m->nr_free++] = map[i];
		map[i] = 0;
		zi_of(m, inode)->i_blocks--;
	}
}

/**
 * zero_bytes - zero what is there of a range, holes excepted
 * @m: the mount
 * @inode: the file
 * @from: first byte
 * @to: behind the last
 */
void zero_bytes(struct mount *m, unsigned int inode, uint64_t from,
		uint64_t to)
{
	bool fresh;

	while (from < to) {
		uint64_t end = (from / BLOCK + 1) * BLOCK;
		uint32_t block = get_block(m, inode, from / BLOCK, false, &fresh);

		if (end > to)
			end = to;
		if (block)
			block = get_block(m, inode, from / BLOCK, true, &fresh);
		if (block)
			memset(m->t1 + block * BLOCK + from % BLOCK, 0,
			       end - from);
		from = end;
	}
}

/* ---- names ---- */

struct name **find_name(struct node *dir, const struct zufs_str *str)
{
	struct name **at;

	for (at = &dir->names; *at; at = &(*at)->next)
		if ((*at)->len == str->len &&
		    !memcmp((*at)->text, str->name, str->len))
			break;
	return at;
}

void touch(struct mount *m, unsigned int dir)
{
	struct zus_inode *zi = zi_of(m, dir);

	zi->i_mtime = zi->i_ctime = now();
}

void add_name(struct mount *m, unsigned int dir, unsigned int inode,
	      const struct zufs_str *str)
{
	struct name *name = calloc(1, sizeof(*name));
	struct name **at = &m->nodes[dir].names;

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

void remove_name(struct mount *m, unsigned int dir, struct name **at)
{
	struct name *name = *at;

	*at = name->next;
	free(name);
	zi_of(m, dir)->i_size--;
	touch(m, dir);
}
