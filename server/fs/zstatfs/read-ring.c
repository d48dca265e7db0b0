// SPDX-License-Identifier: BSD-3-Clause
/*
 * Read the ring of a zstatfs mount as an application does, without a system call once it is mapped:
 *
 *	cc -o read-ring read-ring.c
 *	./read-ring /mnt/stat/ring	a line a second: operations and errors since the line before, mean latency
 *	./read-ring /mnt/stat/ring 3	the last three records, then the end
 *
 * render.ts says what lies where.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC 0x474e525aU
#define RECORDS_AT 4096
#define RING_BYTES (17 * 4096)

struct header {
	uint32_t magic, version, record_size, records;
	_Atomic uint32_t written;
};

struct record {
	uint64_t time, operations, errors, reads, writes, lookups, timed, nanoseconds;
};

/* Copy record number @n, counted from 1; 0 when it was written over meanwhile. */
static int copy_record(const struct header *ring, uint32_t n, struct record *to)
{
	uint32_t slot = (n - 1) % ring->records;

	memcpy(to, (const char *)ring + RECORDS_AT + slot * sizeof(*to), sizeof(*to));
	return ring->written - n < ring->records - 1;
}

static void print_change(const struct record *now, const struct record *before)
{
	uint64_t timed = now->timed - before->timed;

	printf("operations %llu errors %llu reads %llu writes %llu lookups %llu mean %llu ns\n",
	       (unsigned long long)(now->operations - before->operations),
	       (unsigned long long)(now->errors - before->errors),
	       (unsigned long long)(now->reads - before->reads),
	       (unsigned long long)(now->writes - before->writes),
	       (unsigned long long)(now->lookups - before->lookups),
	       (unsigned long long)(timed ? (now->nanoseconds - before->nanoseconds) / timed : 0));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct record before = { 0 }, now;
	const struct header *ring;
	uint32_t next, last;
	int fd;

	if (argc < 2) {
		fprintf(stderr, "usage: read-ring RING [RECORDS]\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY);
	ring = fd < 0 ? MAP_FAILED : mmap(NULL, RING_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		perror(argv[1]);
		return 1;
	}
	if (ring->magic != MAGIC || ring->version != 1 || ring->record_size != sizeof(now)) {
		fprintf(stderr, "%s: not a ring of zstatfs\n", argv[1]);
		return 1;
	}
	last = ring->written;
	next = last;
	if (argc > 2) {
		uint32_t count = (uint32_t)atoi(argv[2]);

		next = last > count ? last - count : 0;
	}
	if (next > 0)
		copy_record(ring, next, &before);
	for (;;) {
		while (next < ring->written) {
			if (argc > 2 && next == last)
				return 0;
			next++;
			if (copy_record(ring, next, &now))
				print_change(&now, &before);
			before = now;
		}
		if (argc > 2)
			return 0;
		usleep(100000);
	}
}
