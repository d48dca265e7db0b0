// SPDX-License-Identifier: GPL-2.0-only
/*
 * See caught.h.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "caught.h"
#include "fixture.h"
#include "guest.h"

#define BAD_REPLY	"server gave a bad reply"
/* The log's rate limit is 10 lines in 5 seconds. */
#define LINES_AT_ONCE	10
#define LINES_PERIOD	5.5

/* Lines of all tests of the program: the limit knows of no tests. */
static struct period {
	double since;
	int lines;
} *period;

static void __attribute__((constructor)) share_period(void)
{
	period = mmap(NULL, sizeof(*period), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Not more lines than the log takes, so that each is seen. */
static void pace(void)
{
	double left = period->since + LINES_PERIOD - seconds();

	if (left > 0 && period->lines && period->lines < LINES_AT_ONCE) {
		period->lines++;
		return;
	}
	if (left > 0 && period->lines)
		usleep(left * 1e6);
	period->since = seconds();
	period->lines = 1;
}

/**
 * caught - a lie is told once, is not believed, and is in the log once
 * @what: for the note, if that is not so
 * @how: enum lie
 * @operation: ZUFS_OP_*
 * @trigger: what makes the server tell it; -1 and EIO are expected of it
 */
int caught(const char *what, int how, int operation,
	   int (*trigger)(void))
{
	int before, after, ret, err;
	uint64_t told;

	pace();
	before = log_lines(BAD_REPLY);
	told = control->lies_told;
	lie(how, operation);
	errno = 0;
	ret = trigger();
	err = errno;
	control->lie = HONEST;
	after = log_lines(BAD_REPLY);
	told = control->lies_told - told;
	if (told == 1 && ret < 0 && err == EIO && after == before + 1)
		return PASS;
	ktap_note("%s: told %d times, returned %d (%s), %d lines in the log",
		  what, (int)told, ret, ret < 0 ? strerror(err) : "believed",
		  after - before);
	return FAIL;
}
