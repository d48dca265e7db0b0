// SPDX-License-Identifier: BSD-3-Clause
/*
 * zufs-bench-names: one operation on names, by a number of threads at a time, each on a CPU of its own.
 *
 * All threads do a batch together; what a batch leaves behind is cleared away before the next, and not timed. Prints one
 * JSON object: operations, seconds that batches took, nanoseconds of each operation as a histogram.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "operations.h"

#define THREADS_MAX 256
#define CPUS_MAX 256

struct settings {
	const struct operation *operation;
	const char *directory;
	unsigned int threads;
	unsigned int batch;
	bool shared;
	uint64_t warm_up_ns;
	uint64_t run_ns;
	int cpus[CPUS_MAX];
	unsigned int nr_cpus;
};

struct thread {
	pthread_t id;
	struct work work;
	struct latency latency;
};

static struct settings settings = { .threads = 1, .batch = 256, .run_ns = 1000000000 };
static struct thread *threads;
static pthread_barrier_t barrier;
/* Written by thread 0 while the others wait. */
static bool measuring, finished;
static uint64_t batch_from, spent_ns;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "zufs-bench-names: %s in %s: %s\n", what, settings.directory, strerror(errno));
	/* Not exit(3): other threads may be in the middle of something. */
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void must(int (*step)(struct work *work), struct work *work, const char *what)
{
	if (step && step(work))
		fail(what);
}

static void batch_of(struct thread *thread)
{
	const struct operation *operation = settings.operation;
	unsigned int number;
	uint64_t from, to;

	from = now();
	for (number = 0; number < settings.batch; number++) {
		if (operation->one(&thread->work, number))
			fail(operation->name);
		to = now();
		if (measuring)
			latency_add(&thread->latency, (to - from) / operation->times, operation->times);
		from = to;
	}
}

/* Thread 0 keeps the time for all. */
static void account(void)
{
	spent_ns += now() - batch_from;
	if (!measuring && spent_ns >= settings.warm_up_ns) {
		measuring = true;
		spent_ns = 0;
	} else if (measuring && spent_ns >= settings.run_ns) {
		finished = true;
	}
}

static void bind_to_cpu(unsigned int thread)
{
	cpu_set_t set;

	if (!settings.nr_cpus)
		return;
	CPU_ZERO(&set);
	CPU_SET(settings.cpus[thread % settings.nr_cpus], &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void *run_thread(void *argument)
{
	struct thread *thread = argument;
	const struct operation *operation = settings.operation;
	bool first = thread == threads;

	bind_to_cpu(thread->work.thread);
	must(operation->begin, &thread->work, "preparing");
	do {
		must(operation->before, &thread->work, "preparing");
		pthread_barrier_wait(&barrier);
		if (first)
			batch_from = now();
		pthread_barrier_wait(&barrier);
		batch_of(thread);
		pthread_barrier_wait(&barrier);
		if (first)
			account();
		must(operation->after, &thread->work, "clearing away");
		pthread_barrier_wait(&barrier);
	} while (!finished);
	must(operation->end, &thread->work, "clearing away");
	return NULL;
}

static void prepare(struct thread *thread, unsigned int number)
{
	struct work *work = &thread->work;

	work->thread = number;
	work->batch = settings.batch;
	if (settings.shared || settings.threads == 1)
		snprintf(work->directory, PATH_MAX, "%s", settings.directory);
	else
		snprintf(work->directory, PATH_MAX, "%s/%u", settings.directory, number);
	if (mkdir(work->directory, 0755) && errno != EEXIST)
		fail("mkdir");
}

static void print_name(const char *name)
{
	fprintf(stderr, " %s", name);
}

static _Noreturn void usage(void)
{
	fputs("usage: zufs-bench-names -o OPERATION -d DIRECTORY [-t THREADS] [-n BATCH] [-s] [-w WARM-UP-MS] [-r RUN-MS] [-c CPU,...]\n"
	      "-s: one directory for all threads, in place of one each. Operations:", stderr);
	operation_names(print_name);
	fputc('\n', stderr);
	exit(2);
}

static unsigned long number_of(const char *text, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || (*end && *end != ',') || value < least || value > most)
		usage();
	return value;
}

static void parse_cpus(const char *text)
{
	while (text && settings.nr_cpus < CPUS_MAX) {
		settings.cpus[settings.nr_cpus++] = number_of(text, 0, CPU_SETSIZE - 1);
		text = strchr(text, ',');
		if (text)
			text++;
	}
}

static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "o:d:t:n:sw:r:c:")) != -1) {
		switch (option) {
		case 'o':
			settings.operation = operation_find(optarg);
			break;
		case 'd':
			settings.directory = optarg;
			break;
		case 't':
			settings.threads = number_of(optarg, 1, THREADS_MAX);
			break;
		case 'n':
			settings.batch = number_of(optarg, 1, 1000000);
			break;
		case 's':
			settings.shared = true;
			break;
		case 'w':
			settings.warm_up_ns = number_of(optarg, 0, 1000000000) * 1000000ull;
			break;
		case 'r':
			settings.run_ns = number_of(optarg, 1, 1000000000) * 1000000ull;
			break;
		case 'c':
			parse_cpus(optarg);
			break;
		default:
			usage();
		}
	}
	if (!settings.operation || !settings.directory || optind != argc)
		usage();
}

static void print_result(void)
{
	static struct latency all;
	unsigned int number;

	for (number = 0; number < settings.threads; number++)
		latency_merge(&all, &threads[number].latency);
	printf("{\"operations\":%" PRIu64 ",\"seconds\":%.9f,\"meanNs\":%.1f,\"bins\":", all.count, spent_ns / 1e9,
	       (double)all.sum_ns / all.count);
	latency_print(&all, stdout);
	puts("}");
}

int main(int argc, char **argv)
{
	unsigned int number;

	parse(argc, argv);
	threads = calloc(settings.threads, sizeof(*threads));
	if (!threads)
		fail("memory");
	if (mkdir(settings.directory, 0755) && errno != EEXIST)
		fail("mkdir");
	pthread_barrier_init(&barrier, NULL, settings.threads);
	measuring = !settings.warm_up_ns;
	for (number = 0; number < settings.threads; number++) {
		prepare(&threads[number], number);
		errno = pthread_create(&threads[number].id, NULL, run_thread, &threads[number]);
		if (errno)
			fail("pthread_create");
	}
	for (number = 0; number < settings.threads; number++)
		pthread_join(threads[number].id, NULL);
	print_result();
	return 0;
}
