// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks ahead of the end of a file: what is appended in small pieces needs few
 * calls, and nobody sees anything of them but the number of blocks of a file
 * that is open.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>
#include "fixture.h"
#include "grown.h"
#include "load.h"

#define BLOCK	4096

static struct grown g;

/* ---- how many calls ---- */

static int count_calls(size_t piece, uint64_t *used)
{
	close(g.fd);
	CHECK_PASS(grown_start(&g, MNT "/f", AHEAD_FROM));
	*used = control->served;
	CHECK_PASS(grown_append(&g, piece, 128 * BLOCK / piece));
	*used = control->served - *used;
	ktap_note("128 blocks, %d bytes at a time: %d calls", (int)piece,
		  (int)*used);
	return PASS;
}

static int test_calls(void)
{
	static const size_t pieces[] = { 4096, 100, 3000, 16384 };
	uint64_t used;
	int i;

	for (i = 0; i < 4; i++) {
		CHECK_PASS(count_calls(pieces[i], &used));
		CHECK(used <= 24);
		/* Those may just have been used up. */
		CHECK_PASS(grown_append(&g, 1000, 6));
		CHECK(grown_spare(&g) > 0);
		CHECK_PASS(grown_right_once_closed(&g));
	}
	return PASS;
}

/* The server does not know them, or keeps where blocks are to itself. */
static int test_without(void)
{
	uint64_t used;

	CHECK_PASS(grown_start_again(&g, ZUFS_FEATURE_EXTENT_CACHE));
	CHECK_PASS(count_calls(4096, &used));
	CHECK(used >= 128 && !grown_spare(&g));
	CHECK_PASS(count_calls(100, &used));
	CHECK(used >= 128 && !grown_spare(&g));
	CHECK_PASS(grown_right_once_closed(&g));
	CHECK_PASS(grown_start_again(&g, ZUFS_FEATURE_ALLOC_AHEAD));
	CHECK_PASS(count_calls(4096, &used));
	CHECK(used == 128 && !grown_spare(&g));
	return grown_right_once_closed(&g);
}

/* Files that are small, writes that are large. */
static int test_not_worth_it(void)
{
	close(g.fd);
	CHECK_PASS(grown_start(&g, MNT "/f", 100));
	CHECK_PASS(grown_append(&g, 1000, 60));
	CHECK(!grown_spare(&g));
	CHECK_PASS(grown_append(&g, 20000, 30));
	CHECK(!grown_spare(&g));
	return grown_right_once_closed(&g);
}

/* ---- given back ---- */

static int test_close(void)
{
	int reader = open(MNT "/f", O_RDONLY), writer;
	uint64_t before;

	CHECK_PASS(grown_until_ahead(&g));
	CHECK(reader >= 0 && !close(reader));
	CHECK(grown_spare(&g) > 0);
	/* Who has it open as well may append still. */
	writer = open(MNT "/f", O_RDWR | O_APPEND);
	CHECK(writer >= 0);
	before = calls(ZUFS_OP_FALLOCATE);
	CHECK(!close(g.fd));
	CHECK(calls(ZUFS_OP_FALLOCATE) == before + 1);
	g.fd = writer;
	CHECK(!grown_spare(&g));
	CHECK_PASS(grown_append(&g, 1000, 200));
	CHECK(grown_spare(&g) > 0);
	return grown_right_once_closed(&g);
}

/* Opened, appended to and closed each time, as some logs are. */
static int test_open_each_time(void)
{
	uint64_t before = calls(ZUFS_OP_FALLOCATE);
	int i;

	for (i = 0; i < 40; i++) {
		CHECK(!close(g.fd));
		g.fd = open(MNT "/f", O_RDWR | O_APPEND);
		CHECK_PASS(grown_append(&g, BLOCK, 1));
	}
	CHECK(calls(ZUFS_OP_FALLOCATE) == before);
	return grown_right_once_closed(&g);
}

static long free_blocks(void)
{
	struct statfs sf;

	return statfs(MNT, &sf) ? -1 : (long)sf.f_bfree;
}

static int test_unlinked(void)
{
	long before = free_blocks();
	uint64_t changes;

	close(g.fd);
	CHECK_PASS(grown_start(&g, MNT "/gone", AHEAD_FROM));
	CHECK_PASS(grown_until_ahead(&g));
	changes = calls(ZUFS_OP_FALLOCATE);
	CHECK(!unlink(MNT "/gone"));
	CHECK(!close(g.fd));
	CHECK(calls(ZUFS_OP_FALLOCATE) == changes);
	CHECK(free_blocks() == before);
	return PASS;
}

/* It gets its name once nobody has it open for writing any more. */
static int test_named_late(void)
{
	char path[32];
	int reader;
	long spare;

	close(g.fd);
	g.fd = open(MNT, O_TMPFILE | O_RDWR | O_APPEND, 0600);
	g.size = 0;
	CHECK(g.fd >= 0);
	CHECK_PASS(grown_append(&g, AHEAD_FROM, 1));
	CHECK_PASS(grown_until_ahead(&g));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", g.fd);
	reader = open(path, O_RDONLY);
	CHECK(reader >= 0 && !close(g.fd));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader);
	CHECK(!linkat(AT_FDCWD, path, AT_FDCWD, MNT "/named",
		      AT_SYMLINK_FOLLOW));
	close(reader);
	CHECK_PASS(path_spare(MNT "/named", &spare));
	CHECK(!spare);
	return PASS;
}

/* Once they are asked for, extents are those of the file. */
static int test_fiemap(void)
{
	struct fiemap map = { .fm_length = ~0ULL };
	int reader = open(MNT "/f", O_RDONLY);

	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(grown_append(&g, 10, 1));
	CHECK(!ioctl(reader, FS_IOC_FIEMAP, &map));
	CHECK(map.fm_mapped_extents == (g.size + BLOCK - 1) / BLOCK);
	CHECK(!grown_spare(&g));
	CHECK(lseek(reader, 0, SEEK_HOLE) == g.size);
	close(reader);
	CHECK_PASS(grown_append(&g, BLOCK, 20));
	return grown_right_once_closed(&g);
}

static int freeze_and_close(void *unused)
{
	struct grown mine;
	int dir = open(MNT, O_RDONLY);

	CHECK_PASS(grown_start(&mine, MNT "/frozen", AHEAD_FROM));
	CHECK_PASS(grown_until_ahead(&mine));
	CHECK(!ioctl(dir, FIFREEZE, 0));
	CHECK(!close(mine.fd));
	return PASS;
}

static int test_freeze(void)
{
	pid_t pid = start_child(freeze_and_close, NULL);
	int dir = open(MNT, O_RDONLY), status, hangs;
	long spare;

	hangs = wait_exit(pid, 20, &status);
	CHECK(!ioctl(dir, FITHAW, 0));
	close(dir);
	CHECK(!hangs && !status);
	/* They are kept until somebody can give them back. */
	CHECK_PASS(path_spare(MNT "/frozen", &spare));
	CHECK(spare > 0);
	close(open(MNT "/frozen", O_WRONLY));
	CHECK_PASS(path_spare(MNT "/frozen", &spare));
	CHECK(!spare);
	return PASS;
}

/* ---- the block map changes ---- */

static int test_sizes(void)
{
	off_t end;

	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(grown_append(&g, 3000, 3));
	CHECK(!ftruncate(g.fd, g.size - 5000));
	g.size -= 5000;
	CHECK(!grown_spare(&g));
	CHECK_PASS(grown_is_right(&g));
	CHECK_PASS(grown_append(&g, 3000, 30));
	CHECK(grown_spare(&g) > 0);

	end = g.size;
	CHECK(!ftruncate(g.fd, end + 25 * BLOCK));
	CHECK(grown_spare(&g) == -25);
	CHECK_PASS(grown_zero(&g, end, end + 25 * BLOCK));
	CHECK(!ftruncate(g.fd, end));
	CHECK(!grown_spare(&g));
	CHECK_PASS(grown_append(&g, 3000, 30));
	CHECK(!ftruncate(g.fd, 0) && !grown_spare(&g));
	g.size = 0;
	CHECK_PASS(grown_append(&g, 12345, 20));
	return grown_right_once_closed(&g);
}

/* From behind the end: what lies between is a hole, whoever had it before. */
static int test_gap(void)
{
	int fd = open(MNT "/f", O_RDWR);
	off_t end;

	CHECK_PASS(grown_until_ahead(&g));
	end = g.size += 5 * BLOCK;
	CHECK(pwrite(fd, grown_data + end - 10, 10, end - 10) == 10);
	CHECK_PASS(grown_zero(&g, end - 5 * BLOCK, end - 10));
	CHECK(lseek(fd, end - 5 * BLOCK, SEEK_DATA) == end - BLOCK);
	CHECK(grown_spare(&g) == -4);
	CHECK_PASS(grown_append(&g, BLOCK, 20));
	CHECK_PASS(grown_zero(&g, end - 5 * BLOCK, end - 10));
	CHECK(pwrite(fd, grown_data + end - 5 * BLOCK, 5 * BLOCK,
		     end - 5 * BLOCK) == 5 * BLOCK);
	close(fd);
	return grown_right_once_closed(&g);
}

static int test_preallocated(void)
{
	CHECK_PASS(grown_until_ahead(&g));
	CHECK(!fallocate(g.fd, FALLOC_FL_KEEP_SIZE, g.size, 64 * BLOCK));
	CHECK(grown_spare(&g) == 64);
	CHECK_PASS(grown_append(&g, BLOCK, 8));
	CHECK_PASS(grown_reopen(&g));
	CHECK(grown_spare(&g) == 56);
	CHECK_PASS(grown_append(&g, BLOCK, 80));
	CHECK_PASS(grown_right_once_closed(&g));

	/* And there it is, not far ahead. */
	CHECK(!fallocate(g.fd, FALLOC_FL_KEEP_SIZE, g.size + 20 * BLOCK,
			 16 * BLOCK));
	CHECK_PASS(grown_append(&g, BLOCK, 8));
	CHECK(grown_spare(&g) == 16 + 12);
	CHECK_PASS(grown_reopen(&g));
	CHECK(grown_spare(&g) == 16);
	CHECK_PASS(grown_append(&g, BLOCK, 60));
	return grown_right_once_closed(&g);
}

static int test_punch(void)
{
	CHECK_PASS(grown_until_ahead(&g));
	CHECK(!fallocate(g.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 4 * BLOCK, 8 * BLOCK));
	CHECK(grown_spare(&g) == -8);
	CHECK_PASS(grown_zero(&g, 4 * BLOCK, 12 * BLOCK));
	CHECK_PASS(grown_append(&g, BLOCK, 20));
	CHECK_PASS(grown_zero(&g, 4 * BLOCK, 12 * BLOCK));
	CHECK_PASS(grown_reopen(&g));
	CHECK(grown_spare(&g) == -8);
	return PASS;
}

static int test_load(void)
{
	struct load load = { .dir = MNT, .tasks = 6, .strict = true,
			     .operations = count(400, 8000) };

	return load_run(&load, 600);
}

/* Nanoseconds for appending a block, 0 for an error. */
static double append_cost(void)
{
	int pieces = 1000, rounds = count(3, 30), i;
	double start, total = 0;

	for (i = 0; i < rounds; i++) {
		close(g.fd);
		if (grown_start(&g, MNT "/f", AHEAD_FROM))
			return 0;
		start = seconds();
		if (grown_append(&g, BLOCK, pieces))
			return 0;
		total += seconds() - start;
	}
	return total / pieces / rounds * 1e9;
}

static int test_cost(void)
{
	double ahead = append_cost(), plain;

	CHECK(ahead);
	CHECK_PASS(grown_start_again(&g, ZUFS_FEATURE_EXTENT_CACHE));
	plain = append_cost();
	CHECK(plain);
	ktap_note("4 KiB appended, ns a call: %.0f, with a call to the server %.0f",
		  ahead, plain);
	CHECK(ahead < plain);
	return PASS;
}

static const struct test tests[] = {
	{ "small appends need few calls", test_calls },
	{ "a server that does not know them", test_without },
	{ "small files, large writes", test_not_worth_it },
	{ "a close gives them back", test_close },
	{ "open, append, close", test_open_each_time },
	{ "a file without a name", test_unlinked },
	{ "a file without a name yet", test_named_late },
	{ "extents", test_fiemap },
	{ "a close of what is frozen", test_freeze },
	{ "truncation", test_sizes },
	{ "a write behind the end", test_gap },
	{ "what the application allocated", test_preallocated },
	{ "a hole is punched", test_punch },
	{ "random load", test_load },
	{ "cheaper than calls", test_cost },
	{}
};

int main(int argc, char **argv)
{
	return grown_main(argc, argv, &g, tests);
}
