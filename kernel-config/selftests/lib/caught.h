/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A lie of the server that the kernel has to catch.
 */
#ifndef SELFTESTS_CAUGHT_H
#define SELFTESTS_CAUGHT_H

int caught(const char *what, int how, int operation, int (*trigger)(void));

/* All are tried, so that one run shows all that is wrong. */
#define CAUGHT(how, operation, trigger)					\
	(verdict |= caught(#how " in " #operation, how, operation, trigger))

#endif
