// SPDX-License-Identifier: GPL-2.0-only
/*
 * See rw_bench.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "ktap.h"
#include "rw_bench.h"

#define BYTES	4096

static int whole_file(int fd, size_t size)
{
	static char data[65536];
	size_t pos;

	memset(data, 'b', sizeof(data));
	for (pos = 0; pos < size; pos += sizeof(data))
		if (pwrite(fd, data, sizeof(data), pos) != sizeof(data))
			return -1;
	return 0;
}

static int one_pass(int fd, size_t size, int calls, int overwrite)
{
	static char data[BYTES] __attribute__((aligned(BYTES)));
	struct random random = { .state = 7 };
	ssize_t done;
	off_t pos;

	while (calls--) {
		pos = random_below(&random, size / BYTES) * BYTES;
		if (overwrite)
			done = pwrite(fd, data, BYTES, pos);
		else
			done = pread(fd, data, BYTES, pos);
		if (done != BYTES)
			return -1;
	}
	return 0;
}

double rw_bench(const char *path, size_t file_size, int calls, int overwrite)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600), err = -1;
	double start = 0;

	if (fd < 0)
		return 0;
	/* A pass to warm up what there is to warm up. */
	if (!whole_file(fd, file_size) &&
	    !one_pass(fd, file_size, calls, overwrite)) {
		start = seconds();
		err = one_pass(fd, file_size, calls, overwrite);
	}
	close(fd);
	return err ? 0 : (seconds() - start) / calls * 1e9;
}
