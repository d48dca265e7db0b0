// SPDX-License-Identifier: GPL-2.0-only
/*
 * See ktap.h.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "ktap.h"

struct options options = { .channels = 1 };

/* Shared with the child that a test runs in. */
static struct outcome {
	int verdict;
	char why[512];
} *outcome;

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
	snprintf(outcome->why, sizeof(outcome->why), "%s:%d: not so: %s (errno %d, %s)", function,
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
	snprintf(outcome->why, sizeof(outcome->why), "%s", reason);
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

/* What is left of a test that failed goes with its process. */
static int run_here(const struct suite *suite, const struct test *test)
{
	int verdict = suite->set_up ? suite->set_up() : PASS;

	errno = 0;
	if (verdict == PASS)
		verdict = test->run();
	if (verdict != FAIL && suite->tear_down && suite->tear_down() != PASS)
		verdict = FAIL;
	return verdict;
}

/* Children of the test that go as it goes: its server, its tasks. */
static void wait_for_orphans(void)
{
	double end = seconds() + 10;
	pid_t pid;

	do {
		pid = waitpid(-1, NULL, WNOHANG);
		if (!pid)
			usleep(1000);
	} while (pid >= 0 && seconds() < end);
}

static int run_one(const struct suite *suite, const struct test *test)
{
	int status;
	pid_t pid;

	outcome->verdict = FAIL;
	outcome->why[0] = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		outcome->verdict = run_here(suite, test);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		outcome->verdict = FAIL;
		snprintf(outcome->why, sizeof(outcome->why),
			 "ended by signal %d", WTERMSIG(status));
	}
	wait_for_orphans();
	if (outcome->verdict == FAIL && suite->clean_up)
		suite->clean_up();
	return outcome->verdict;
}

/* Notes come before the result that they explain. */
static void report(int number, const char *name, double start)
{
	int verdict = outcome->verdict;

	if (verdict == FAIL)
		ktap_note("%s", outcome->why);
	ktap_note("%.2f s", seconds() - start);
	if (verdict == SKIP)
		printf("ok %d %s # SKIP %s\n", number, name, outcome->why);
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
	int number = 0, failures = 0;
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
		start = seconds();
		failures += run_one(suite, test) == FAIL;
		report(++number, test->name, start);
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
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return run_all(suite);
}
