/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the server keeps: inodes and data in T1, names and block maps in its
 * own memory.
 */
#ifndef SELFTESTS_STORE_H
#define SELFTESTS_STORE_H

#include <linux/fs.h>
#include "server.h"

#define BLOCK		4096UL
#define MAX_COMMAND	65536
#define MAX_INODES	8192
#define MAX_BLOCKS	(MAX_INODES * 4)
#define MAX_FILE_BLOCKS	4096
#define MAX_MOUNTS	64
#define INODE_BLOCK	1UL	/* first block of the inodes */
#define ROOT_INODE	1
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

struct node {
	bool used;
	struct name *names;
	unsigned int parent;
	uint32_t *map;
	struct fsxattr fsx;
	struct xattr xattrs[XATTR_MAX];
};

struct mount {
	char *t1;
	uint64_t blocks;
	uint64_t next_block;
	uint32_t *free_blocks;
	uint32_t *others;	/* of a block in use: files that have it besides one */
	uint64_t nr_free;
	uint64_t next_pos;
	unsigned int nr_nodes;	/* behind them none was ever used */
	struct node nodes[MAX_INODES];
};

extern struct mount *mounts[MAX_MOUNTS];

/* Cookies: mount above, inode below. */

static inline uint64_t make_ii(uint64_t mount, unsigned int inode)
{
	return (mount << 40) + inode;
}

static inline struct mount *mount_of(uint64_t ii)
{
	return mounts[(ii >> 40) % MAX_MOUNTS];
}

static inline unsigned int number_of(uint64_t ii)
{
	return (ii & 0xffffff) % MAX_INODES;
}

static inline uint64_t zi_offset(unsigned int inode)
{
	return INODE_BLOCK * BLOCK + inode * sizeof(struct zus_inode);
}

static inline struct zus_inode *zi_of(struct mount *m, unsigned int inode)
{
	return (void *)(m->t1 + zi_offset(inode));
}

uint64_t now(void);
struct mount *mount_create(char *t1, uint64_t blocks);
void mount_free(struct mount *m);

uint64_t blocks_left(struct mount *m);
unsigned int alloc_node(struct mount *m);
uint32_t alloc_block(struct mount *m);
uint32_t get_block(struct mount *m, unsigned int inode, uint64_t index,
		   bool alloc, bool *fresh);
void set_block(struct mount *m, unsigned int inode, uint64_t index,
	       uint32_t block);
void share_block(struct mount *m, unsigned int src, uint64_t from,
		 unsigned int dst, uint64_t to);
void drop_blocks(struct mount *m, unsigned int inode, uint64_t from,
		 uint64_t to);
void zero_bytes(struct mount *m, unsigned int inode, uint64_t from,
		uint64_t to);

struct name **find_name(struct node *dir, const struct zufs_str *str);
void add_name(struct mount *m, unsigned int dir, unsigned int inode,
	      const struct zufs_str *str);
void remove_name(struct mount *m, unsigned int dir, struct name **at);
void touch(struct mount *m, unsigned int dir);

/* The answer to an operation: 0 or -errno. */
int serve(struct zufs_ioc_hdr *hdr, char *window);
int serve_namespace(struct zufs_ioc_hdr *hdr, char *window);
int serve_data(struct zufs_ioc_hdr *hdr, char *window);
int serve_xattr(struct zufs_ioc_hdr *hdr);

/* lies.c */
void tell_lie(struct zufs_ioc_hdr *hdr, char *window, int how);
void tell_mount_lie(struct mount *m, struct zufs_mount_info *zmi, int how);

#endif
