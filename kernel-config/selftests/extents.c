// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extent caching: what the kernel knows the place of it reads and overwrites
 * by itself, and it forgets that in time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"
#include "rw_bench.h"

#define SIZE		(256 * 1024)
#define SHUTDOWN	_IOR('X', 125, __u32)
#define SHUTDOWN_NOSYNC	2

static char data[SIZE], back[SIZE];
static int fd;

static int set_up(void)
{
	CHECK_PASS(fixture_prepare());
	control->features = ZUFS_FEATURE_EXTENT_CACHE;
	CHECK_PASS(fixture_start());
	fill(data, SIZE, 1);
	CHECK(!write_file(MNT "/f", data, SIZE));
	fd = open(MNT "/f", O_RDWR);
	CHECK(fd >= 0);
	return PASS;
}

static int tear_down(void)
{
	close(fd);
	return fixture_stop();
}

static uint64_t calls(int operation)
{
	return control->served_of[operation];
}

static int same(void)
{
	CHECK(pread(fd, back, SIZE, 0) == SIZE);
	CHECK(!memcmp(back, data, SIZE));
	return PASS;
}

/* Until reads cost no call any more. */
static int warm_up(void)
{
	uint64_t before;
	int i;

	for (i = 0; i < 300; i++) {
		before = calls(ZUFS_OP_READ);
		CHECK_PASS(same());
		if (calls(ZUFS_OP_READ) == before)
			return PASS;
	}
	CHECK(!"reads come without a call in the end");
	return PASS;
}

static int test_reads(void)
{
	struct random random = random_stream(1);
	uint64_t before;
	int i;

	CHECK_PASS(warm_up());
	before = calls(ZUFS_OP_READ);
	for (i = 0; i < 200; i++) {
		off_t pos = random_below(&random, SIZE);
		ssize_t len = 1 + random_below(&random, SIZE - pos);

		memset(back, 0, SIZE);
		CHECK(pread(fd, back, len, pos) == len);
		CHECK(!memcmp(back, data + pos, len));
	}
	/* The end of the file is the end. */
	CHECK(pread(fd, back, 100, SIZE - 10) == 10);
	CHECK(pread(fd, back, 100, SIZE) == 0);
	CHECK(calls(ZUFS_OP_READ) == before);
	return PASS;
}

static int test_overwrites(void)
{
	struct random random = random_stream(2);
	uint64_t writes, reads;
	int i;

	CHECK_PASS(warm_up());
	/* The first may have to ask once more, for leave to write. */
	CHECK(pwrite(fd, data, SIZE, 0) == SIZE);
	writes = calls(ZUFS_OP_WRITE);
	reads = calls(ZUFS_OP_READ);
	for (i = 0; i < 200; i++) {
		off_t pos = random_below(&random, SIZE);
		ssize_t len = 1 + random_below(&random, 10000);

		if (pos + len > SIZE)
			len = SIZE - pos;
		fill(data + pos, len, i);
		CHECK(pwrite(fd, data + pos, len, pos) == len);
	}
	CHECK_PASS(same());
	CHECK(calls(ZUFS_OP_WRITE) == writes);
	CHECK(calls(ZUFS_OP_READ) == reads);
	return PASS;
}

/* What is appended within the last block; what goes beyond it is the server's. */
static int test_appends(void)
{
	uint64_t writes, asked_before;
	struct stat st;
	off_t size;
	int i;

	CHECK(!ftruncate(fd, 0) && pwrite(fd, data, 5, 0) == 5);
	writes = calls(ZUFS_OP_WRITE);
	asked_before = control->granted;
	for (size = 5; size + 4 <= 4096; size += 4)
		CHECK(pwrite(fd, data + size, 4, size) == 4);
	CHECK(calls(ZUFS_OP_WRITE) <= writes + 70);
	CHECK(control->granted <= asked_before + 70);
	CHECK(!fstat(fd, &st) && st.st_size == size);
	CHECK(pread(fd, back, SIZE, 0) == size && !memcmp(back, data, size));
	/* Over the end of the block, and from behind that of the file. */
	writes = calls(ZUFS_OP_WRITE);
	CHECK(pwrite(fd, data + size, 8, size) == 8);
	CHECK(calls(ZUFS_OP_WRITE) == writes + 1);
	size += 8;
	CHECK(pwrite(fd, data + size + 10, 4, size + 10) == 4);
	CHECK(calls(ZUFS_OP_WRITE) == writes + 2);
	memset(back + size, 'x', 10);
	CHECK(pread(fd, back, SIZE, 0) == size + 14);
	CHECK(!memcmp(back, data, size));
	for (i = 0; i < 10; i++)
		CHECK(!back[size + i]);
	CHECK(!memcmp(back + size + 10, data + size + 10, 4));
	size += 14;
	/* The server knows the size, too. */
	CHECK(!close(fd));
	write_text("/proc/sys/vm/drop_caches", "2");
	fd = open(MNT "/f", O_RDWR | O_APPEND);
	CHECK(fd >= 0 && !fstat(fd, &st) && st.st_size == size);
	for (i = 0; i < 100; i++)
		CHECK(write(fd, "abc", 3) == 3);
	CHECK(!fsync(fd) && !fstat(fd, &st) && st.st_size == size + 300);
	CHECK(pread(fd, back, 400, size) == 300 && !memcmp(back + 297, "abc", 3));
	return PASS;
}

static int test_growth(void)
{
	uint64_t before;
	struct stat st;

	CHECK_PASS(warm_up());
	before = calls(ZUFS_OP_WRITE);
	CHECK(pwrite(fd, "grown", 5, SIZE - 2) == 5);
	CHECK(calls(ZUFS_OP_WRITE) > before);
	CHECK(!fstat(fd, &st) && st.st_size == SIZE + 3);
	memcpy(data + SIZE - 2, "gr", 2);
	CHECK_PASS(same());
	CHECK(pread(fd, back, 10, SIZE) == 3 && !memcmp(back, "own", 3));
	/* A hole behind it, and then something in it. */
	CHECK(!ftruncate(fd, SIZE + 65536));
	CHECK(pread(fd, back, 100, SIZE + 40000) == 100 && !back[50]);
	CHECK(pwrite(fd, "x", 1, SIZE + 40050) == 1);
	CHECK(pread(fd, back, 100, SIZE + 40000) == 100 && back[50] == 'x');
	return PASS;
}

/* Holes are the server's to read. */
static int no_holes(void)
{
	CHECK(pwrite(fd, data, SIZE, 0) == SIZE);
	return warm_up();
}

static int test_changes(void)
{
	struct stat st;

	CHECK_PASS(warm_up());
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192,
			 16384));
	memset(data + 8192, 0, 16384);
	CHECK_PASS(same());
	CHECK_PASS(no_holes());
	CHECK(!fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, 5000));
	memset(data + 100, 0, 5000);
	CHECK_PASS(same());
	CHECK_PASS(no_holes());
	CHECK(!ftruncate(fd, 50000) && !ftruncate(fd, SIZE));
	memset(data + 50000, 0, SIZE - 50000);
	CHECK_PASS(same());
	CHECK(!fstat(fd, &st) && st.st_size == SIZE && st.st_blocks < SIZE / 512);
	/* Blocks that another file has now are not read through this one. */
	CHECK(!write_file(MNT "/other", back, SIZE));
	CHECK_PASS(same());
	return PASS;
}

static int test_mappings(void)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	CHECK_PASS(warm_up());
	p[5000] = data[5000] = 'M';
	CHECK_PASS(same());
	CHECK(pwrite(fd, "W", 1, 9000) == 1 && p[9000] == 'W');
	data[9000] = 'W';
	CHECK(!memcmp(p, data, SIZE));
	/* From and to the mapping of the same file. */
	CHECK(pread(fd, p + 65536, 8192, 0) == 8192);
	memcpy(data + 65536, data, 8192);
	CHECK_PASS(same());
	CHECK(!munmap(p, SIZE));
	return PASS;
}

static int test_sync(void)
{
	int sync_fd = open(MNT "/f", O_RDWR | O_SYNC);
	struct stat before, after;
	uint64_t syncs;

	CHECK(sync_fd >= 0);
	CHECK_PASS(warm_up());
	CHECK(pwrite(fd, data, 4096, 0) == 4096);
	CHECK(!fstat(fd, &before));
	usleep(50000);
	syncs = calls(ZUFS_OP_SYNC) + calls(ZUFS_OP_WRITE);
	CHECK(pwrite(sync_fd, data, 4096, 0) == 4096);
	CHECK(calls(ZUFS_OP_SYNC) + calls(ZUFS_OP_WRITE) > syncs);
	CHECK(!fstat(fd, &after));
	CHECK(after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
	close(sync_fd);
	return PASS;
}

static int test_nowait(void)
{
	struct iovec iov = { back, 4096 };

	CHECK_PASS(warm_up());
	CHECK(preadv2(fd, &iov, 1, 4096, RWF_NOWAIT) == 4096);
	CHECK(!memcmp(back, data + 4096, 4096));
	/* Of a file that nothing is known of. */
	CHECK(!write_file(MNT "/unknown", data, SIZE));
	close(fd);
	fd = open(MNT "/unknown", O_RDONLY);
	CHECK_ERR(preadv2(fd, &iov, 1, 4096, RWF_NOWAIT), EAGAIN);
	return PASS;
}

static int test_shut_down(void)
{
	__u32 how = SHUTDOWN_NOSYNC;

	CHECK_PASS(warm_up());
	CHECK(!ioctl(fd, SHUTDOWN, &how));
	CHECK_ERR(pread(fd, back, 4096, 0), EIO);
	CHECK_ERR(pwrite(fd, back, 4096, 0), EIO);
	return PASS;
}

static int test_server_gone(void)
{
	CHECK_PASS(warm_up());
	CHECK_PASS(server_stop(SIGKILL));
	CHECK_ERR(pread(fd, back, 4096, 0), EIO);
	CHECK_ERR(pwrite(fd, back, 4096, 0), EIO);
	return PASS;
}

static int test_load(void)
{
	struct load load = { .dir = MNT, .tasks = 6, .strict = true,
			     .operations = count(400, 8000) };

	return load_run(&load, 600);
}

static int test_cost(void)
{
	int calls = count(5000, 50000);
	double cached[2], plain[2];

	cached[0] = rw_bench(MNT "/bench", 1 << 20, calls, 0);
	cached[1] = rw_bench(MNT "/bench", 1 << 20, calls, 1);
	CHECK(cached[0] && cached[1]);
	close(fd);
	CHECK_PASS(fixture_stop());
	control->features = 0;
	CHECK_PASS(fixture_start());
	plain[0] = rw_bench(MNT "/bench", 1 << 20, calls, 0);
	plain[1] = rw_bench(MNT "/bench", 1 << 20, calls, 1);
	CHECK(plain[0] && plain[1]);
	ktap_note("4 KiB, ns a call: read %.0f, with a call to the server %.0f; overwrite %.0f, with a call %.0f",
		  cached[0], plain[0], cached[1], plain[1]);
	CHECK(cached[0] < plain[0] && cached[1] < plain[1]);
	return PASS;
}

static const struct test tests[] = {
	{ "known blocks are read without a call", test_reads },
	{ "known blocks are overwritten without a call", test_overwrites },
	{ "appending within a block", test_appends },
	{ "growing is the server's", test_growth },
	{ "holes, zeroes, truncation", test_changes },
	{ "mappings", test_mappings },
	{ "O_SYNC and times", test_sync },
	{ "RWF_NOWAIT", test_nowait },
	{ "shut down", test_shut_down },
	{ "a server that is gone", test_server_gone },
	{ "random load", test_load },
	{ "cheaper than calls", test_cost },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = set_up,
		.tear_down = tear_down,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
