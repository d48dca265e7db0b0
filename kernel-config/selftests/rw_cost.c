// SPDX-License-Identifier: GPL-2.0-only
/*
 * What 4 KiB re-reads and overwrites cost on a mounted file system, whichever
 * it is: to compare them in one VM.
 *
 * usage: rw_cost DIRECTORY [MEGABYTES [CALLS]]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "rw_bench.h"

int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 2 ? atoi(argv[2]) : 16) << 20;
	int calls = argc > 3 ? atoi(argv[3]) : 50000;
	double read, write;
	char path[4096];

	if (argc < 2 || !size || calls <= 0) {
		fprintf(stderr, "usage: %s DIRECTORY [MEGABYTES [CALLS]]\n",
			argv[0]);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/rw_cost.%d", argv[1], getpid());
	read = rw_bench(path, size, calls, 0);
	write = read ? rw_bench(path, size, calls, 1) : 0;
	if (!write)
		perror(path);
	unlink(path);
	if (!write)
		return 1;
	printf("4 KiB, ns a call: read %.0f, overwrite %.0f\n", read, write);
	return 0;
}
