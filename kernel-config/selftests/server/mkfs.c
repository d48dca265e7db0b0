// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device tables.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include "store.h"

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

static int add_device(struct md_dev_table *mdt, const char *device, int index)
{
	struct md_dev_id *id = &mdt->s_dev_list.dev_ids[index];
	int fd = open(device, O_RDONLY);
	off_t size;

	if (fd < 0)
		return -1;
	size = lseek(fd, 0, SEEK_END) & ~(off_t)(ZUFS_ALLOC_ALIGN - 1);
	close(fd);
	memcpy(id->uuid, "device-012345678", 16);
	id->uuid[15] = index;
	id->blocks = size / BLOCK;
	mdt->s_t1_blocks += size / BLOCK;
	return 0;
}

static int write_table(struct md_dev_table *mdt, const char *device)
{
	int fd = open(device, O_RDWR);
	bool ok;

	if (fd < 0)
		return -1;
	mdt->s_sum = crc16((unsigned char *)mdt + 2,
			   offsetof(struct md_dev_table, s_mtime) - 2);
	ok = pwrite(fd, mdt, sizeof(*mdt), 0) == sizeof(*mdt) && !fsync(fd);
	close(fd);
	return ok ? 0 : -1;
}

/**
 * server_mkfs - write a device table to all devices of a new file system
 * @devices: their paths, in the order of T1
 * @count: how many
 *
 * Return: 0, or -1 with errno set.
 */
int server_mkfs(const char *const *devices, int count)
{
	return server_mkfs_spoilt(devices, count, NULL);
}

/**
 * server_mkfs_spoilt - the same, but for what a function changes
 * @devices: their paths, in the order of T1
 * @count: how many
 * @spoil: changes the table that goes to a device, or NULL; the checksum is
 *	right again afterwards
 *
 * Return: 0, or -1 with errno set.
 */
int server_mkfs_spoilt(const char *const *devices, int count,
		       void (*spoil)(struct md_dev_table *mdt, int index))
{
	struct md_dev_table changed;
	struct md_dev_table mdt = { .s_magic = SERVER_MAGIC,
				    .s_version = 1 * MD_MINORS_PER_MAJOR };
	int i;

	memcpy(mdt.s_uuid, "ctestfs-0123456", 16);
	for (i = 0; i < count; i++)
		if (add_device(&mdt, devices[i], i))
			return -1;
	mdt.s_dev_list.t1_count = count;
	for (i = 0; i < count; i++) {
		changed = mdt;
		changed.s_dev_list.id_index = i;
		if (spoil)
			spoil(&changed, i);
		if (write_table(&changed, devices[i]))
			return -1;
	}
	return 0;
}
