// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks ahead of the end of a file that are not to be had: no space, no memory,
 * a server that lies. What is appended goes to the server, as ever.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>
#include "caught.h"
#include "each_allocation.h"
#include "fixture.h"
#include "grown.h"
#include "guest.h"

#define BLOCK		4096
#define FILE_BLOCKS	4096	/* the most that a file of the server has */

static struct grown g;

/* ---- no space ---- */

/* All but so many blocks are in use. */
static int use_up(int left)
{
	char path[64];
	int fd, i;

	for (i = 0;; i++) {
		snprintf(path, sizeof(path), MNT "/filler%d", i);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		CHECK(fd >= 0);
		if (fallocate(fd, 0, 0, FILE_BLOCKS * BLOCK)) {
			CHECK(errno == ENOSPC);
			break;
		}
		close(fd);
	}
	/* What it got of the last one is there. */
	CHECK(!ftruncate(fd, FILE_BLOCKS * BLOCK));
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 left * BLOCK));
	close(fd);
	return PASS;
}

static int test_no_space(void)
{
	int i;

	CHECK_PASS(use_up(100));
	for (i = 0; i < 33; i++) {
		CHECK_PASS(grown_append(&g, 3 * BLOCK, 1));
		CHECK(!grown_spare(&g));
	}
	CHECK(write(g.fd, grown_data + g.size, 3 * BLOCK) == BLOCK);
	g.size += BLOCK;
	for (i = 0; i < 10; i++)
		CHECK_ERR(write(g.fd, grown_data, 100), ENOSPC);
	CHECK_PASS(grown_is_right(&g));
	CHECK(!unlink(MNT "/filler0"));
	CHECK_PASS(grown_until_ahead(&g));
	return grown_right_once_closed(&g);
}

/* It runs out while some are ahead: those are used first. */
static int test_space_runs_out(void)
{
	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(use_up(10));
	CHECK_PASS(grown_append(&g, 3 * BLOCK, (grown_spare(&g) + 10) / 3));
	CHECK(!grown_spare(&g));
	return grown_right_once_closed(&g);
}

/* ---- lies ---- */

/*
 * Appends until the server is asked for blocks ahead. When it lies, nothing
 * becomes of that, and the server does the write itself.
 */
static int get_ahead(void)
{
	uint64_t lies = control->lies_told, writes = 0;
	int i;

	for (i = 0; i < 40 && control->lies_told == lies; i++) {
		writes = calls(ZUFS_OP_WRITE);
		if (grown_append(&g, BLOCK, 1))
			return -1;
	}
	if (calls(ZUFS_OP_WRITE) == writes)
		return 0;
	errno = EIO;
	return -1;
}

/*
 * Has what is ahead given back. When the server lies, nobody knows what is there:
 * there will be no more of it.
 */
static int give_back(void)
{
	uint64_t writes;
	int fd;

	if (grown_until_ahead(&g))
		return -1;
	fd = open(g.path, O_RDWR);
	if (fd < 0 || close(fd))
		return -1;
	writes = calls(ZUFS_OP_WRITE);
	if (grown_append(&g, BLOCK, 20))
		return -1;
	if (calls(ZUFS_OP_WRITE) != writes + 20)
		return 0;
	errno = EIO;
	return -1;
}

/* Starts where nothing is ahead and nothing has been asked in vain. */
#define LIE(how, operation, trigger)					\
	do {								\
		CHECK_PASS(grown_start_again(&g, AHEAD));		\
		CAUGHT(how, operation, trigger);			\
		CHECK_PASS(grown_append(&g, BLOCK, 40));		\
		CHECK_PASS(grown_is_right(&g));				\
	} while (0)

#define LIE_OF_GOT(how)	LIE(how, ZUFS_OP_GET_MULTY, get_ahead)
#define LIE_OF_LEFT(how)	LIE(how, ZUFS_OP_FALLOCATE, give_back)

static int test_lies(void)
{
	int verdict = 0;

	LIE_OF_GOT(BAD_BLOCK_RANGE);
	LIE_OF_GOT(BAD_BLOCK_POOL);
	LIE_OF_GOT(BAD_BLOCK_TYPE);
	LIE_OF_GOT(BAD_BLOCK_COUNT);
	LIE_OF_GOT(BAD_BLOCK_NONE);
	LIE_OF_GOT(BAD_BLOCK_HOLE);
	LIE_OF_GOT(BAD_BLOCK_HOLE_LATER);
	LIE_OF_GOT(BAD_RET_FLAGS);
	LIE_OF_GOT(BAD_ERROR_POSITIVE);
	LIE_OF_GOT(BAD_ERROR_INTERNAL);
	LIE_OF_GOT(BAD_OUT_LEN);
	LIE_OF_LEFT(BAD_RET_FLAGS);
	LIE_OF_LEFT(BAD_ERROR_POSITIVE);
	LIE_OF_LEFT(BAD_ERROR_INTERNAL);
	LIE_OF_LEFT(BAD_OUT_LEN);
	CHECK(!verdict);
	return PASS;
}

/* Fewer blocks, and blocks that can only be read: no lies, and of no harm. */
static int test_grudging(void)
{
	uint64_t writes;

	control->most_ahead = 2;
	CHECK_PASS(grown_append(&g, 3000, 100));
	CHECK_PASS(grown_append(&g, 12000, 20));
	control->most_ahead = 0;
	CHECK_PASS(grown_right_once_closed(&g));
	lie(READ_ONLY_BLOCKS, ZUFS_OP_GET_MULTY);
	writes = calls(ZUFS_OP_WRITE);
	CHECK_PASS(grown_append(&g, 3000, 100));
	CHECK(control->lies_told > 2);
	CHECK(calls(ZUFS_OP_WRITE) == writes + 100);
	return grown_right_once_closed(&g);
}

/* ---- no memory ---- */

/* The next append is one that asks for blocks. */
static int nearly_asks(void)
{
	g.size = AHEAD_FROM;
	return ftruncate(g.fd, AHEAD_FROM) || grown_append(&g, BLOCK, 4) ? -1 : 0;
}

static int append_block(void)
{
	return write(g.fd, grown_data + g.size, BLOCK) == BLOCK ? 0 : -1;
}

/* What was got for it, or was not, does no harm to the others. */
static int append_more(void)
{
	g.size += BLOCK;
	return grown_until_ahead(&g) || grown_is_right(&g) ? -1 : 0;
}

/* Closed by another file of it, while memory may fail. */
static int append_and_close(void)
{
	int fd = open(MNT "/f", O_RDWR);

	if (fd < 0 || append_block())
		return -1;
	close(fd);
	return 0;
}

static int nothing_spare(void)
{
	return grown_spare(&g) ? -1 : 0;
}

static int test_no_memory(void)
{
	static const struct site sites[] = {
		{ "append", nearly_asks, append_block, append_more },
		{ "append and close", nearly_asks, append_and_close,
		  nothing_spare },
		{}
	};

	if (failures_possible())
		return ktap_skip("this kernel has no fault injection");
	return fail_each_allocation(sites);
}

static const struct test tests[] = {
	{ "no space", test_no_space },
	{ "space runs out", test_space_runs_out },
	{ "no memory", test_no_memory },
	{ "lies", test_lies },
	{ "few blocks, and blocks that can only be read", test_grudging },
	{ "nothing is leaked", nothing_leaked },
	{}
};

int main(int argc, char **argv)
{
	return grown_main(argc, argv, &g, tests);
}
