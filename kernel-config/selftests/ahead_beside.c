// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks ahead of the end of a file, and other ways at what is appended there:
 * mappings, clones, other tasks, mounts on memory, memory that is not there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "grown.h"
#include "guest.h"

#define BLOCK	4096

static struct grown g;

static int store_behind(void *at)
{
	signal(SIGBUS, SIG_DFL);
	*(volatile char *)at = 'x';
	return PASS;
}

static int test_mappings(void)
{
	char *p = mmap(NULL, GROWN_MAX, PROT_READ | PROT_WRITE, MAP_SHARED,
		       g.fd, 0);
	int status;
	pid_t pid;

	CHECK(p != MAP_FAILED);
	p[g.size - 1] = grown_data[g.size - 1];
	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(grown_append(&g, 5000, 1));
	CHECK(!memcmp(p, grown_data, g.size));
	/* That there is a block does not make it part of the file. */
	pid = start_child(store_behind, p + (g.size / BLOCK + 1) * BLOCK);
	CHECK(!wait_exit(pid, 10, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);

	memset(p + g.size - 5000, 'm', 5000);
	CHECK(pread(g.fd, &status, 4, g.size - 4) == 4);
	CHECK(!memcmp(&status, "mmmm", 4));
	memcpy(p + g.size - 5000, grown_data + g.size - 5000, 5000);
	/* Over what was stored behind the end, in the last block of it. */
	memset(p + g.size, 'm', 1000);
	CHECK_PASS(grown_append(&g, 600, 100));
	CHECK(!memcmp(p, grown_data, g.size));
	CHECK(!msync(p, g.size, MS_SYNC) && !munmap(p, GROWN_MAX));
	return grown_right_once_closed(&g);
}

static ssize_t append_nowait(void)
{
	struct iovec iov = { grown_data + g.size, 1000 };
	ssize_t done = pwritev2(g.fd, &iov, 1, -1, RWF_NOWAIT);

	if (done > 0)
		g.size += done;
	return done;
}

static int test_nowait(void)
{
	uint64_t before;
	int i, done = 0;

	/* There is no room: it would have to ask. */
	before = control->served;
	for (i = 0; i < 20; i++)
		CHECK_ERR(append_nowait(), EAGAIN);
	CHECK(control->served == before);
	CHECK_PASS(grown_until_ahead(&g));
	before = control->served;
	for (i = 0; i < 20 && done < 4; i++) {
		/* Now and then it is time for another time of change. */
		CHECK_PASS(grown_append(&g, 1, 1));
		if (append_nowait() == 1000)
			done++;
		else
			CHECK(errno == EAGAIN);
	}
	CHECK(done == 4 && control->served == before);
	return grown_right_once_closed(&g);
}

static int test_sync(void)
{
	static const int flags[] = { O_SYNC, O_DSYNC };
	uint64_t syncs, writes;
	int i;

	for (i = 0; i < 2; i++) {
		CHECK_PASS(grown_reopen(&g));
		CHECK(!close(g.fd));
		g.fd = open(MNT "/f", O_RDWR | O_APPEND | flags[i]);
		CHECK_PASS(grown_until_ahead(&g));
		syncs = calls(ZUFS_OP_SYNC);
		writes = calls(ZUFS_OP_WRITE);
		CHECK_PASS(grown_append(&g, 2000, 6));
		CHECK(calls(ZUFS_OP_SYNC) == syncs + 6);
		CHECK(calls(ZUFS_OP_WRITE) == writes);
	}
	return grown_right_once_closed(&g);
}

#define RECORD	700
#define RECORDS	1000

/* Records of one byte, a different one for each who appends. */
static int append_records(void *byte)
{
	int fd = open(MNT "/f", O_WRONLY | O_APPEND), i;
	char record[RECORD];

	memset(record, *(char *)byte, RECORD);
	for (i = 0; i < RECORDS; i++)
		CHECK(write(fd, record, RECORD) == RECORD);
	CHECK(!close(fd));
	return PASS;
}

static int test_two_append(void)
{
	static char bytes[] = "ab", record[RECORD];
	int i, k, status, of[2] = {};
	pid_t pids[2];

	for (i = 0; i < 2; i++)
		pids[i] = start_child(append_records, &bytes[i]);
	for (i = 0; i < 2; i++)
		CHECK(!wait_exit(pids[i], 60, &status) && !status);
	for (i = 0; i < 2 * RECORDS; i++) {
		CHECK(pread(g.fd, record, RECORD, g.size + i * RECORD) == RECORD);
		CHECK(record[0] == 'a' || record[0] == 'b');
		for (k = 1; k < RECORD; k++)
			CHECK(record[k] == record[0]);
		of[record[0] - 'a']++;
	}
	CHECK(of[0] == RECORDS && of[1] == RECORDS);
	CHECK(!pread(g.fd, record, 1, g.size + i * RECORD));
	CHECK(!grown_spare(&g));
	return PASS;
}

static int test_clone_from(void)
{
	struct grown copy;
	int fd;

	control->knows_clone = 1;
	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(grown_append(&g, 1000, 1));
	CHECK_PASS(grown_is_right(&g));
	CHECK_PASS(grown_start(&copy, MNT "/copy", 0));
	fd = open(MNT "/copy", O_RDWR);
	CHECK(!ioctl(fd, FICLONE, g.fd));
	close(fd);
	copy.size = g.size;
	CHECK(!grown_spare(&copy));
	/* What was known of the blocks does not hold any more. */
	fd = open(MNT "/f", O_RDWR);
	CHECK(pwrite(fd, "other", 5, g.size - 500) == 5);
	CHECK_PASS(grown_is_right(&copy));
	CHECK(pwrite(fd, grown_data + g.size - 500, 5, g.size - 500) == 5);
	close(fd);
	/* Both in what was the last block of both, and beyond. */
	CHECK_PASS(grown_append(&copy, 100, 1));
	CHECK(write(g.fd, "other", 5) == 5);
	CHECK_PASS(grown_append(&copy, 900, 100));
	CHECK(!ftruncate(g.fd, g.size));
	CHECK_PASS(grown_append(&g, 1100, 100));
	CHECK_PASS(grown_is_right(&copy));
	CHECK_PASS(grown_reopen(&copy));
	CHECK(!grown_spare(&copy));
	CHECK_PASS(grown_is_right(&copy));
	close(copy.fd);
	return grown_right_once_closed(&g);
}

/* Blocks of another file come to lie where blocks are ahead. */
static int test_clone_onto(void)
{
	struct file_clone_range range = { .src_length = 6 * BLOCK };
	struct grown other;
	int fd = open(MNT "/f", O_RDWR);
	loff_t in, out;

	control->knows_clone = 1;
	CHECK_PASS(grown_until_ahead(&g));
	/* All of its blocks are known now. */
	CHECK_PASS(grown_is_right(&g));
	CHECK_PASS(grown_start(&other, MNT "/other", g.size + 100 * BLOCK));
	range.src_fd = other.fd;
	range.src_offset = range.dest_offset = g.size;
	CHECK(!ioctl(fd, FICLONERANGE, &range));
	g.size += 6 * BLOCK;
	CHECK_PASS(grown_is_right(&g));
	CHECK_PASS(grown_append(&g, 1000, 8));
	CHECK_PASS(grown_right_once_closed(&g));
	CHECK(!ftruncate(g.fd, g.size -= g.size % BLOCK));

	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(grown_is_right(&g));
	in = out = g.size;
	control->knows_clone = 0;
	CHECK(copy_file_range(other.fd, &in, fd, &out, 6 * BLOCK, 0) ==
	      6 * BLOCK);
	g.size += 6 * BLOCK;
	CHECK_PASS(grown_append(&g, 1000, 8));
	CHECK_PASS(grown_right_once_closed(&g));
	CHECK_PASS(grown_is_right(&other));
	close(other.fd);
	close(fd);
	return PASS;
}

/* The kernel forgets where they are, and has to ask again. */
static int test_shrinker(void)
{
	uint64_t writes;
	int i;

	CHECK_PASS(grown_until_ahead(&g));
	writes = calls(ZUFS_OP_WRITE);
	for (i = 0; i < 50; i++) {
		CHECK_PASS(grown_append(&g, 3000, 1));
		CHECK(!write_text("/proc/sys/vm/drop_caches", i % 2 ? "2" : "3"));
	}
	CHECK(calls(ZUFS_OP_WRITE) == writes);
	return grown_right_once_closed(&g);
}

/* Memory of the application ends in the middle of what it appends. */
static int test_bad_memory(void)
{
	char *p = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t done;
	off_t end;

	CHECK(p != MAP_FAILED && !munmap(p + BLOCK, BLOCK));
	CHECK_PASS(grown_until_ahead(&g));
	memcpy(p, grown_data + g.size, BLOCK);
	CHECK_ERR(write(g.fd, p + BLOCK, 2000), EFAULT);
	done = write(g.fd, p, BLOCK + 1000);
	CHECK(done > 0 && done <= BLOCK);
	end = g.size += done;
	CHECK_PASS(grown_is_right(&g));
	CHECK(!ftruncate(g.fd, end + 20000));
	CHECK_PASS(grown_zero(&g, end, end + 20000));
	CHECK(!ftruncate(g.fd, end));
	return grown_right_once_closed(&g);
}

static int test_memory_mount(void)
{
	uint64_t used;

	CHECK(!mount_memory(MNT_SECOND, "size=16M"));
	close(g.fd);
	CHECK_PASS(grown_start(&g, MNT_SECOND "/f", AHEAD_FROM));
	used = control->served;
	CHECK_PASS(grown_append(&g, BLOCK, 128));
	CHECK(control->served - used <= 24);
	CHECK_PASS(test_mappings());
	CHECK(!close(g.fd) && !umount_soon(MNT_SECOND));
	return PASS;
}

static const struct test tests[] = {
	{ "mappings", test_mappings },
	{ "RWF_NOWAIT", test_nowait },
	{ "O_SYNC, O_DSYNC", test_sync },
	{ "two who append", test_two_append },
	{ "a clone from", test_clone_from },
	{ "a clone and a copy onto", test_clone_onto },
	{ "memory pressure", test_shrinker },
	{ "memory that is not there", test_bad_memory },
	{ "a mount on memory", test_memory_mount },
	{}
};

int main(int argc, char **argv)
{
	return grown_main(argc, argv, &g, tests);
}
