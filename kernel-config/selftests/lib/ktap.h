/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Results as KTAP, and what each test program has in common: its options, the
 * list of its tests, the random numbers.
 */
#ifndef SELFTESTS_KTAP_H
#define SELFTESTS_KTAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What a test returns. */
#define PASS	0
#define FAIL	(-1)
#define SKIP	1

/**
 * struct options - how a program was called
 * @full: -l: the full figures instead of those that CI can afford
 * @channels: -c: ZTs on each CPU
 * @seed: -s: of all random numbers; printed, so that a run can be repeated
 * @only: -t: run tests whose name contains this
 * @devices: pmem devices, which are formatted
 * @nr_devices: how many
 */
struct options {
	bool full;
	int channels;
	uint64_t seed;
	const char *only;
	const char *const *devices;
	int nr_devices;
};

/**
 * struct test - one line of KTAP
 * @name: of the line
 * @run: PASS, FAIL (see CHECK()) or SKIP (see ktap_skip())
 */
struct test {
	const char *name;
	int (*run)(void);
};

/**
 * struct suite - a program
 * @tests: ends with an entry without a name
 * @set_up: before each test, or NULL; a test whose set-up fails has failed
 * @tear_down: after each test that did not fail, or NULL
 * @clean_up: after the process of a test that failed, or NULL
 *
 * Each test runs in a process of its own, with its set-up and tear-down.
 */
struct suite {
	const struct test *tests;
	int (*set_up)(void);
	int (*tear_down)(void);
	void (*clean_up)(void);
};

extern struct options options;

int ktap_main(int argc, char **argv, const struct suite *suite);
int ktap_fail(const char *function, int line, const char *what);
int ktap_skip(const char *why);
void ktap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Random numbers that the seed and the stream decide, nothing else. */
struct random {
	uint64_t state;
};

struct random random_stream(uint64_t stream);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t limit);
void random_fill(struct random *random, void *to, size_t len);

double seconds(void);

/* Short or full, as the program was called. */
static inline int count(int quick, int full)
{
	return options.full ? full : quick;
}

#define CHECK(condition)						\
	do {								\
		if (!(condition))					\
			return ktap_fail(__func__, __LINE__, #condition); \
	} while (0)

/* Fails with that errno. */
#define CHECK_ERR(call, error)						\
	do {								\
		errno = 0;						\
		if ((call) >= 0 || errno != (error))			\
			return ktap_fail(__func__, __LINE__,		\
					 #call " fails with " #error);	\
	} while (0)

/* Another function's verdict, if it is not a pass. */
#define CHECK_PASS(call)						\
	do {								\
		int verdict = (call);					\
									\
		if (verdict != PASS)					\
			return verdict;					\
	} while (0)

#endif
