// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended attributes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "store.h"

static struct node *node_of(uint64_t ii)
{
	return &mount_of(ii)->nodes[number_of(ii)];
}

static struct xattr *find_xattr(struct node *node, int type,
				const char *name)
{
	int i;

	for (i = 0; i < XATTR_MAX; i++)
		if (node->xattrs[i].type == type &&
		    !strcmp(node->xattrs[i].name, name))
			return &node->xattrs[i];
	return NULL;
}

static int do_xattr_get(struct zufs_ioc_xattr *ioc)
{
	struct xattr *x = find_xattr(node_of(ioc->zus_ii), ioc->type, ioc->buf);

	if (!x)
		return -ENODATA;
	if (ioc->user_buf_size && ioc->user_buf_size < x->size)
		return -ERANGE;
	if (ioc->user_buf_size) {
		memcpy(ioc->buf, x->value, x->size);
		ioc->hdr.out_len = sizeof(*ioc) + x->size - ioc->hdr.out_start;
	}
	ioc->user_buf_size = x->size;
	return 0;
}

static int do_xattr_set(struct zufs_ioc_xattr *ioc)
{
	struct node *node = node_of(ioc->zus_ii);
	struct xattr *x = find_xattr(node, ioc->type, ioc->buf);
	bool remove = !ioc->user_buf_size &&
		      !(ioc->ioc_flags & ZUFS_XATTR_SET_EMPTY);

	if (!x && (remove || (ioc->flags & XATTR_REPLACE)))
		return -ENODATA;
	if (x && !remove && (ioc->flags & XATTR_CREATE))
		return -EEXIST;
	if (!x)
		x = find_xattr(node, 0, "");
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
	struct node *node = node_of(ioc->zus_ii);
	char *to = ioc->buf;
	char name[512];
	size_t len, total = 0;
	int i;

	for (i = 0; i < XATTR_MAX; i++) {
		if (!node->xattrs[i].type)
			continue;
		len = snprintf(name, sizeof(name), "%s%s",
			       prefix[node->xattrs[i].type],
			       node->xattrs[i].name) + 1;
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

int serve_xattr(struct zufs_ioc_hdr *hdr)
{
	void *ioc = hdr;

	switch (hdr->operation) {
	case ZUFS_OP_XATTR_GET:
		return do_xattr_get(ioc);
	case ZUFS_OP_XATTR_SET:
		return do_xattr_set(ioc);
	case ZUFS_OP_XATTR_LIST:
		return do_xattr_list(ioc);
	default:
		return -EOPNOTSUPP;
	}
}
