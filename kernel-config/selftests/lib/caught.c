// SPDX-License-Identifier: GPL-2.0-only
/*
 * See caught.h.
 */
#define _GNU_SOURCE
#include <string.h>
#include "caught.h"
#include "fixture.h"
#include "guest.h"

#define BAD_REPLY	"server gave a bad reply"
/* Every bad reply is in the log, however many there are. */
#define EVERY_ONE	"/sys/module/zuf/parameters/debug"

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

	if (write_text(EVERY_ONE, "Y")) {
		ktap_note("%s: no " EVERY_ONE, what);
		return FAIL;
	}
	before = log_lines(BAD_REPLY);
	told = control->lies_told;
	lie(how, operation);
	errno = 0;
	ret = trigger();
	err = errno;
	control->lie = HONEST;
	after = log_lines(BAD_REPLY);
	write_text(EVERY_ONE, "N");
	told = control->lies_told - told;
	if (told == 1 && ret < 0 && err == EIO && after == before + 1)
		return PASS;
	ktap_note("%s: told %d times, returned %d (%s), %d lines in the log",
		  what, (int)told, ret, ret < 0 ? strerror(err) : "believed",
		  after - before);
	return FAIL;
}
