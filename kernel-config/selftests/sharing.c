// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks that several files have: clones, what parts them, and pages of them
 * that come and go on several CPUs at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"

#define PAGE		4096
#define PAGES		64
#define SIZE		(PAGES * PAGE)

static char data[SIZE], back[SIZE];

static int set_up(void)
{
	CHECK_PASS(fixture_start());
	control->knows_clone = 1;
	fill(data, SIZE, 1);
	CHECK(!write_file(MNT "/shared", data, SIZE));
	return PASS;
}

/* A file with the blocks of "shared", open. */
static int clone_of(const char *path)
{
	int src = open(MNT "/shared", O_RDONLY);
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (src >= 0 && fd >= 0 && ioctl(fd, FICLONE, src)) {
		close(fd);
		fd = -1;
	}
	close(src);
	return fd;
}

static int reads_as(const char *path, const char *wanted)
{
	int fd = open(path, O_RDONLY);

	CHECK(pread(fd, back, SIZE, 0) == SIZE);
	CHECK(!memcmp(back, wanted, SIZE));
	close(fd);
	return PASS;
}

static int test_writes_part(void)
{
	static char changed[SIZE];
	int fd = clone_of(MNT "/a");

	CHECK(fd >= 0);
	CHECK_PASS(reads_as(MNT "/a", data));
	memcpy(changed, data, SIZE);
	fill(changed + 5000, 10000, 2);
	CHECK(pwrite(fd, changed + 5000, 10000, 5000) == 10000);
	CHECK_PASS(reads_as(MNT "/a", changed));
	CHECK_PASS(reads_as(MNT "/shared", data));
	CHECK(!ftruncate(fd, 100));
	CHECK_PASS(reads_as(MNT "/shared", data));
	close(fd);
	return PASS;
}

static int test_stores_part(void)
{
	int src = open(MNT "/shared", O_RDWR), fd = clone_of(MNT "/a");
	char *p, *q;

	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, src, 0);
	CHECK(p != MAP_FAILED && q != MAP_FAILED);
	/* Mapped through both, for reading. */
	CHECK(!memcmp(p, data, SIZE) && !memcmp(q, data, SIZE));
	p[0] = ~data[0];
	q[PAGE] = ~data[PAGE];
	CHECK(q[0] == data[0] && p[PAGE] == data[PAGE]);
	CHECK(pread(fd, back, 1, 0) == 1 && back[0] == p[0]);
	CHECK(pread(src, back, 1, PAGE) == 1 && back[0] == q[PAGE]);
	q[PAGE] = data[PAGE];
	munmap(p, SIZE);
	munmap(q, SIZE);
	close(src);
	close(fd);
	return reads_as(MNT "/shared", data);
}

/* What is mapped for writing must not be, once the block is another file's too. */
static int test_clone_of_mapped(void)
{
	int src = open(MNT "/shared", O_RDWR), fd;
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, src, 0);

	CHECK(p != MAP_FAILED);
	p[7] = data[7];
	fd = clone_of(MNT "/a");
	CHECK(fd >= 0);
	p[7] = ~data[7];
	CHECK_PASS(reads_as(MNT "/a", data));
	p[7] = data[7];
	munmap(p, SIZE);
	close(src);
	close(fd);
	return PASS;
}

struct visitor {
	int cpu;
	const char *path;
};

/* Pages of the shared blocks become pages of this file, and cease to be. */
static int come_and_go(void *arg)
{
	const struct visitor *visitor = arg;
	int i, round, fd;
	cpu_set_t set;
	char *p;

	CPU_ZERO(&set);
	CPU_SET(visitor->cpu, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
	for (round = 0; round < count(100, 2000); round++) {
		fd = clone_of(visitor->path);
		CHECK(fd >= 0);
		p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
		CHECK(p != MAP_FAILED);
		for (i = 0; i < PAGES; i++)
			CHECK(p[i * PAGE] == data[i * PAGE]);
		CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 0, SIZE));
		munmap(p, SIZE);
		close(fd);
	}
	return PASS;
}

/* fs/dax takes a block that still counts users for one that is in use. */
static int store_everywhere(void *arg)
{
	int fd = open(MNT "/n", O_RDWR | O_CREAT, 0600);
	char *p;

	CHECK(!ftruncate(fd, 3 * SIZE));
	p = mmap(NULL, 3 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 'n', 3 * SIZE);
	munmap(p, 3 * SIZE);
	close(fd);
	return PASS;
}

static int test_come_and_go(void)
{
	static struct visitor visitors[] = {
		{ 0, MNT "/a" }, { 1, MNT "/b" }, { 0, MNT "/c" },
		{ 1, MNT "/d" },
	};
	pid_t pids[4];
	int i, status;

	for (i = 0; i < 4; i++)
		pids[i] = start_child(come_and_go, &visitors[i]);
	for (i = 0; i < 4; i++) {
		CHECK(!wait_exit(pids[i], count(200, 3000), &status));
		CHECK(!status);
	}
	CHECK_PASS(reads_as(MNT "/shared", data));
	for (i = 0; i < 4; i++)
		CHECK(!unlink(visitors[i].path));
	CHECK(!unlink(MNT "/shared"));
	/* The blocks that were shared are the next to be allocated. */
	pids[0] = start_child(store_everywhere, NULL);
	CHECK(!wait_exit(pids[0], 100, &status));
	CHECK(!status);
	return PASS;
}

static const struct test tests[] = {
	{ "a write parts files", test_writes_part },
	{ "a store to a mapping parts files", test_stores_part },
	{ "a clone of what is mapped for writing", test_clone_of_mapped },
	{ "pages come and go on two CPUs", test_come_and_go },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = set_up,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
