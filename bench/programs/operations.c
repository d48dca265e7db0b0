// SPDX-License-Identifier: BSD-3-Clause
/* Operations on names and files, each as short as an application could make it. */
#include "operations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPEND_BYTES 4096
/* So many NOOPs to a write(2), whose own cost is then small beside theirs. */
#define NOOPS "64"
#define NOOPS_TIMES 64

static void path_of(const struct work *work, unsigned int number, int turn, char *path)
{
	snprintf(path, PATH_MAX, "%.3800s/%u-%u%s", work->directory, work->thread, number, turn ? "-renamed" : "");
}

static int create_one(struct work *work, unsigned int number)
{
	char path[PATH_MAX];
	int fd;

	path_of(work, number, 0, path);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
	return fd < 0 ? -1 : close(fd);
}

static int unlink_one(struct work *work, unsigned int number)
{
	char path[PATH_MAX];

	path_of(work, number, work->turn, path);
	return unlink(path);
}

static int create_all(struct work *work)
{
	unsigned int number;

	for (number = 0; number < work->batch; number++)
		if (create_one(work, number))
			return -1;
	return 0;
}

static int unlink_all(struct work *work)
{
	unsigned int number;

	for (number = 0; number < work->batch; number++)
		if (unlink_one(work, number))
			return -1;
	return 0;
}

static int stat_one(struct work *work, unsigned int number)
{
	char path[PATH_MAX];
	struct stat status;

	path_of(work, number, 0, path);
	return stat(path, &status);
}

static int open_one(struct work *work, unsigned int number)
{
	char path[PATH_MAX];
	int fd;

	path_of(work, number, 0, path);
	fd = open(path, O_RDONLY);
	return fd < 0 ? -1 : close(fd);
}

static int rename_one(struct work *work, unsigned int number)
{
	char from[PATH_MAX], to[PATH_MAX];

	path_of(work, number, work->turn, from);
	path_of(work, number, !work->turn, to);
	return rename(from, to);
}

static int turn_over(struct work *work)
{
	work->turn = !work->turn;
	return 0;
}

/* All of a directory; with what the other threads have there, if it is shared. */
static int list_one(struct work *work, unsigned int number)
{
	DIR *directory = opendir(work->directory);
	unsigned int names = 0;

	(void)number;
	if (!directory)
		return -1;
	errno = 0;
	while (readdir(directory))
		names++;
	if (errno) {
		closedir(directory);
		return -1;
	}
	closedir(directory);
	if (names < work->batch) {
		errno = EIO;
		return -1;
	}
	return 0;
}

static int append_begin(struct work *work)
{
	char path[PATH_MAX];

	path_of(work, 0, 0, path);
	work->fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0644);
	return work->fd < 0 ? -1 : 0;
}

static int append_one(struct work *work, unsigned int number)
{
	char bytes[APPEND_BYTES];

	memset(bytes, (int)number | 1, sizeof(bytes));
	return write(work->fd, bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : -1;
}

static int append_and_sync_one(struct work *work, unsigned int number)
{
	return append_one(work, number) || fsync(work->fd) ? -1 : 0;
}

static int append_after(struct work *work)
{
	return ftruncate(work->fd, 0);
}

static int close_it(struct work *work)
{
	return close(work->fd);
}

static int noop_begin(struct work *work)
{
	work->fd = open("/sys/kernel/debug/zuf/noop", O_WRONLY);
	return work->fd < 0 ? -1 : 0;
}

static int noop_one(struct work *work, unsigned int number)
{
	(void)number;
	return write(work->fd, NOOPS, sizeof(NOOPS) - 1) < 0 ? -1 : 0;
}

static const struct operation operations[] = {
	{ .name = "create", .times = 1, .one = create_one, .after = unlink_all },
	{ .name = "unlink", .times = 1, .before = create_all, .one = unlink_one },
	{ .name = "stat", .times = 1, .begin = create_all, .one = stat_one, .end = unlink_all },
	{ .name = "open", .times = 1, .begin = create_all, .one = open_one, .end = unlink_all },
	{ .name = "rename", .times = 1, .begin = create_all, .one = rename_one, .after = turn_over, .end = unlink_all },
	{ .name = "readdir", .times = 1, .begin = create_all, .one = list_one, .end = unlink_all },
	{ .name = "append", .times = 1, .begin = append_begin, .one = append_one, .after = append_after, .end = close_it },
	{ .name = "append-fsync", .times = 1, .begin = append_begin, .one = append_and_sync_one, .after = append_after,
	  .end = close_it },
	{ .name = "noop", .times = NOOPS_TIMES, .begin = noop_begin, .one = noop_one, .end = close_it },
};

#define COUNT (sizeof(operations) / sizeof(operations[0]))

const struct operation *operation_find(const char *name)
{
	unsigned int at;

	for (at = 0; at < COUNT; at++)
		if (!strcmp(operations[at].name, name))
			return &operations[at];
	return NULL;
}

void operation_names(void (*each)(const char *name))
{
	unsigned int at;

	for (at = 0; at < COUNT; at++)
		each(operations[at].name);
}
