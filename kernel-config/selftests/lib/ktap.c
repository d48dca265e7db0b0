// SPDX-License-Identifier: GPL-2.0-only
/*
 * See ktap.h.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"

struct options options = { .channels = 1 };
static char why[512];

/**
 * ktap_fail - what CHECK() does when it does not hold
 * @function: where
 * @line: where
 * @what: did not hold
 *
 * Return: FAIL.
 */
int ktap_fail(const char *function, int line, const char *what)
{
	snprintf(why, sizeof(why), "%s:%d: not so: %s (errno %d, %s)", function,
		 line, what, errno, strerror(errno));
	return FAIL;
}

/**
 * ktap_skip - say why a test can not be run here
 * @reason: in words
 *
 * Return: SKIP.
 */
int ktap_skip(const char *reason)
{
	snprintf(why, sizeof(why), "%s", reason);
	return SKIP;
}

/**
 * ktap_note - a line of explanation
 * @format: as printf's
 */
void ktap_note(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- random numbers: splitmix64 ---- */

uint64_t random_next(struct random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

void random_fill(struct random *random, void *to, size_t len)
{
	unsigned char *byte = to;

	while (len--)
		*byte++ = random_next(random);
}

/**
 * random_stream - a sequence of its own for each task
 * @stream: its number
 */
struct random random_stream(uint64_t stream)
{
	struct random random = { .state = options.seed ^ (stream << 32) };

	random_next(&random);
	return random;
}

/* ---- running ---- */

static int run_one(const struct suite *suite, const struct test *test)
{
	int verdict = suite->set_up ? suite->set_up() : PASS;

	if (verdict == PASS)
		verdict = test->run();
	if (suite->tear_down && suite->tear_down() != PASS && verdict == PASS)
		verdict = FAIL;
	return verdict;
}

/* Notes come before the result that they explain. */
static void report(int number, const char *name, int verdict, double start)
{
	if (verdict == FAIL)
		ktap_note("%s", why);
	ktap_note("%.2f s", seconds() - start);
	if (verdict == SKIP)
		printf("ok %d %s # SKIP %s\n", number, name, why);
	else
		printf("%s %d %s\n", verdict == PASS ? "ok" : "not ok", number,
		       name);
	fflush(stdout);
}

static bool chosen(const struct test *test)
{
	return !options.only || strstr(test->name, options.only);
}

static int run_all(const struct suite *suite)
{
	int number = 0, failures = 0, verdict;
	const struct test *test;
	double start;

	for (test = suite->tests; test->name; test++)
		number += chosen(test);
	printf("KTAP version 1\n1..%d\n", number);
	ktap_note("seed %llu", (unsigned long long)options.seed);
	number = 0;
	for (test = suite->tests; test->name; test++) {
		if (!chosen(test))
			continue;
		why[0] = 0;
		start = seconds();
		verdict = run_one(suite, test);
		report(++number, test->name, verdict, start);
		failures += verdict == FAIL;
	}
	return failures != 0;
}

static int parse(int argc, char **argv)
{
	int opt;

	options.seed = 1;
	while ((opt = getopt(argc, argv, "c:ls:t:")) != -1) {
		switch (opt) {
		case 'c':
			options.channels = atoi(optarg);
			break;
		case 'l':
			options.full = true;
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			options.only = optarg;
			break;
		default:
			return -1;
		}
	}
	options.devices = (const char *const *)argv + optind;
	options.nr_devices = argc - optind;
	return options.nr_devices ? 0 : -1;
}

/**
 * ktap_main - main() of a test program
 * @argc: of main
 * @argv: of main
 * @suite: the program
 *
 * Return: exit code: 0 when nothing failed, 1, or 2 for a wrong call.
 */
int ktap_main(int argc, char **argv, const struct suite *suite)
{
	if (parse(argc, argv)) {
		fprintf(stderr,
			"usage: %s [-c CHANNELS] [-l] [-s SEED] [-t TEST] DEVICE...\n",
			argv[0]);
		return 2;
	}
	return run_all(suite);
}
