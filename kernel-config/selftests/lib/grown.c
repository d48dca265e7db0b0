// SPDX-License-Identifier: GPL-2.0-only
/*
 * See grown.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fixture.h"
#include "grown.h"

#define BLOCK	4096

char grown_data[GROWN_MAX];

uint64_t calls(int operation)
{
	return control->served_of[operation];
}

static long spare(const struct stat *st)
{
	return st->st_blocks / (BLOCK / 512) -
	       (st->st_size + BLOCK - 1) / BLOCK;
}

int path_spare(const char *path, long *blocks)
{
	struct stat st;

	CHECK(!stat(path, &st));
	*blocks = spare(&st);
	return PASS;
}

long grown_spare(const struct grown *g)
{
	struct stat st;

	return fstat(g->fd, &st) ? -1 : spare(&st);
}

int grown_start(struct grown *g, const char *path, off_t size)
{
	if (!grown_data[0])
		fill(grown_data, GROWN_MAX, 123456);
	g->path = path;
	g->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
	CHECK(g->fd >= 0);
	g->size = size;
	CHECK(write(g->fd, grown_data, size) == size);
	return PASS;
}

int grown_append(struct grown *g, size_t piece, int pieces)
{
	while (pieces--) {
		CHECK(write(g->fd, grown_data + g->size, piece) ==
		      (ssize_t)piece);
		g->size += piece;
	}
	return PASS;
}

/* Some lie ahead, more than the next pieces need. */
int grown_until_ahead(struct grown *g)
{
	int i;

	for (i = 0; i < 20 && grown_spare(g) < 8; i++)
		CHECK_PASS(grown_append(g, BLOCK, 1));
	CHECK(grown_spare(g) >= 8);
	return PASS;
}

int grown_is_right(struct grown *g)
{
	static char back[GROWN_MAX + 1];
	struct stat st;

	CHECK(!fstat(g->fd, &st) && st.st_size == g->size);
	memset(back, 'x', g->size);
	CHECK(pread(g->fd, back, sizeof(back), 0) == g->size);
	CHECK(!memcmp(back, grown_data, g->size));
	return PASS;
}

int grown_reopen(struct grown *g)
{
	CHECK(!close(g->fd));
	honest();
	g->fd = open(g->path, O_RDWR | O_APPEND);
	CHECK(g->fd >= 0);
	return PASS;
}

int grown_right_once_closed(struct grown *g)
{
	CHECK_PASS(grown_is_right(g));
	CHECK_PASS(grown_reopen(g));
	CHECK(!grown_spare(g));
	return grown_is_right(g);
}

int grown_zero(const struct grown *g, off_t from, off_t to)
{
	static char back[1 << 20];
	off_t i;

	CHECK(pread(g->fd, back, to - from, from) == to - from);
	for (i = 0; i < to - from; i++)
		CHECK(!back[i]);
	return PASS;
}

/* ---- a suite ---- */

static struct grown *tested;

static int start(unsigned int features)
{
	CHECK_PASS(fixture_prepare());
	control->features = features;
	CHECK_PASS(fixture_start());
	return grown_start(tested, MNT "/f", AHEAD_FROM);
}

static int set_up(void)
{
	return start(AHEAD);
}

static int tear_down(void)
{
	close(tested->fd);
	return fixture_stop();
}

int grown_start_again(struct grown *g, unsigned int features)
{
	tested = g;
	CHECK_PASS(tear_down());
	return start(features);
}

int grown_main(int argc, char **argv, struct grown *g, const struct test *tests)
{
	const struct suite suite = {
		.tests = tests,
		.set_up = set_up,
		.tear_down = tear_down,
		.clean_up = fixture_clean_up,
	};

	tested = g;
	return ktap_main(argc, argv, &suite);
}
