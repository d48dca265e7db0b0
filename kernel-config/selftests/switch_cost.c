// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an operation costs: the round trip against that of a pipe, the
 * interprocessor interrupts, and what VM_LOCAL_CPU is good for. The figures
 * are in the notes between the results.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"

#define LOCAL_CPU	"/sys/module/zuf/parameters/local_cpu"
#define NOOP		ZUF_DEBUG "/noop"
#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"
#define ROUNDS		9
#define IO_BYTES	16384

static int bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static int free_cpus(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	return sched_setaffinity(0, sizeof(set), &set);
}

static int serve_with(bool local)
{
	static char data[IO_BYTES];

	CHECK(!write_text(LOCAL_CPU, local ? "1" : "0"));
	CHECK_PASS(fixture_start());
	CHECK(!write_text(LOCAL_CPU, "1"));
	fill(data, sizeof(data), 1);
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	return PASS;
}

/* ---- round trips, in nanoseconds ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, n, sizeof(*values), by_size);
	return values[n / 2];
}

/* Two processes on one CPU hand a byte to and fro. */
static int echo(int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1)
		if (write(to, &byte, 1) != 1)
			return 1;
	return 0;
}

static double pipe_round_trip(int trips)
{
	int there[2], back[2], i;
	char byte = 'x';
	double start;
	pid_t pid;

	if (pipe(there) || pipe(back))
		return 0;
	pid = fork();
	if (!pid) {
		close(there[1]);
		_exit(echo(there[0], back[1]));
	}
	start = seconds();
	for (i = 0; i < trips; i++)
		if (write(there[1], &byte, 1) != 1 ||
		    read(back[0], &byte, 1) != 1)
			return 0;
	start = seconds() - start;
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	waitpid(pid, NULL, 0);
	return start / trips * 1e9;
}

/* One system call for each. */
static double noop_round_trip(int trips)
{
	int fd = open(NOOP, O_WRONLY), i;
	double start = seconds();

	for (i = 0; i < trips; i++)
		if (write(fd, "1", 1) != 1)
			return 0;
	start = seconds() - start;
	close(fd);
	return start / trips * 1e9;
}

/* The same system call without an operation. */
static double empty_call(int trips)
{
	int fd = open(NOOP, O_WRONLY), i;
	double start = seconds();

	for (i = 0; i < trips; i++)
		if (write(fd, "0", 1) != 1)
			return 0;
	start = seconds() - start;
	close(fd);
	return start / trips * 1e9;
}

/* All in one system call: the switches alone. */
static double noop_in_kernel(int trips)
{
	char text[16];
	double start;

	snprintf(text, sizeof(text), "%d", trips);
	start = seconds();
	if (write_text(NOOP, text))
		return 0;
	return (seconds() - start) / trips * 1e9;
}

static double read_round_trip(int trips)
{
	static char buffer[4096] __attribute__((aligned(4096)));
	int fd = open(MNT "/f", O_RDONLY), i;
	double start = seconds();

	for (i = 0; i < trips; i++)
		if (pread(fd, buffer, 4096, 0) != 4096)
			return 0;
	start = seconds() - start;
	close(fd);
	return start / trips * 1e9;
}

/* The least that a call of an application does with a file. */
static double seek_round_trip(int trips)
{
	int fd = open(MNT "/f", O_RDONLY), i;
	double start = seconds();

	for (i = 0; i < trips; i++)
		if (lseek(fd, 0, SEEK_DATA) != 0)
			return 0;
	start = seconds() - start;
	close(fd);
	return start / trips * 1e9;
}

static double (*const ways[])(int trips) = {
	pipe_round_trip, noop_round_trip, noop_in_kernel, empty_call,
	seek_round_trip, read_round_trip,
};

#define NR_WAYS	6

static int test_round_trip(void)
{
	static double ns[NR_WAYS][ROUNDS];
	int trips = count(3000, 30000), round, way;
	double took[NR_WAYS], ratio;

	if (access(NOOP, W_OK))
		return ktap_skip("this kernel has no debugfs file zuf/noop");
	CHECK_PASS(serve_with(true));
	CHECK(!bind_to(0));
	/* By turns, so that a busy host slows all of them alike. */
	for (round = 0; round < ROUNDS; round++) {
		for (way = 0; way < NR_WAYS; way++) {
			ns[way][round] = ways[way](trips);
			CHECK(ns[way][round] > 0);
		}
	}
	free_cpus();
	for (way = 0; way < NR_WAYS; way++)
		took[way] = median(ns[way], ROUNDS);
	ratio = took[2] / took[0];
	ktap_note("median of %d times %d round trips on one CPU, in ns", ROUNDS,
		  trips);
	ktap_note("pipe: %.0f, NOOP with a write(2) to debugfs for each: %.0f, NOOP: %.0f, such a write alone: %.0f, lseek: %.0f, read of 4 KiB: %.0f",
		  took[0], took[1], took[2], took[3], took[4], took[5]);
	ktap_note("to the pipe's: NOOP %.2f, with a write(2) to debugfs for each %.2f, lseek %.2f, read %.2f",
		  ratio, took[1] / took[0], took[4] / took[0],
		  took[5] / took[0]);
	/* The transport; what the system call does before and after is not it. */
	CHECK(ratio <= 1.0);
	return PASS;
}

/* ---- who runs where ---- */

/*
 * The thread of its CPU wakes it, and not on the CPU that is idle, which is
 * tempting where both are in one socket. The load balancer moves it besides,
 * some 30 times a second.
 */
static int test_stays(void)
{
	static char buffer[4096] __attribute__((aligned(4096)));
	int reads = count(3000, 30000), moves = 0, cpu, now, fd, i;
	double took;

	CHECK_PASS(serve_with(true));
	/* Bound, by a test that failed before, it would stay in any case. */
	CHECK(!free_cpus());
	fd = open(MNT "/f", O_RDONLY);
	cpu = sched_getcpu();
	took = seconds();
	for (i = 0; i < reads; i++) {
		CHECK(pread(fd, buffer, 4096, 0) == 4096);
		now = sched_getcpu();
		moves += now != cpu;
		cpu = now;
	}
	took = seconds() - took;
	close(fd);
	ktap_note("%d reads by a task that may run on both CPUs: it moved %d times in %.1f s",
		  reads, moves, took);
	CHECK(moves < reads / 100 + 40 * took);
	return PASS;
}

/* ---- interrupts and throughput ---- */

struct bench {
	int id;
	int reads;
};

static int keep_reading(void *arg)
{
	struct bench *bench = arg;
	int fd = open(MNT "/f", O_RDONLY), i;
	char *buffer;

	if (bind_to(bench->id % 2))
		return -1;
	buffer = mmap(NULL, IO_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	for (i = 0; i < bench->reads; i++)
		if (pread(fd, buffer, IO_BYTES, 0) != IO_BYTES)
			return -1;
	return 0;
}

/* So many tasks share so many reads. Seconds, 0 for an error. */
static double bench(int tasks, int reads)
{
	pid_t pids[16];
	double start = seconds();
	int i, status;

	for (i = 0; i < tasks; i++) {
		struct bench one = { .id = i, .reads = reads / tasks };

		pids[i] = start_child(keep_reading, &one);
	}
	for (i = 0; i < tasks; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			return 0;
	return seconds() - start;
}

struct ipis {
	uint64_t tlb;
	uint64_t reschedule;
};

static struct ipis ipis_now(void)
{
	return (struct ipis){ interrupts("TLB"), interrupts("RES") };
}

/* What so many reads by two tasks, one on each CPU, bring. */
static int ipis_of(int reads, struct ipis *ipis)
{
	struct ipis before = ipis_now(), after;

	CHECK(bench(2, reads) > 0);
	after = ipis_now();
	ipis->tlb = after.tlb - before.tlb;
	ipis->reschedule = after.reschedule - before.reschedule;
	return PASS;
}

/*
 * Starting and ending of tasks brings some as well, whatever they do: so a few
 * reads against many, and the difference counts.
 */
static int ipis_for_reads(bool local, int reads, struct ipis *more)
{
	struct ipis few, many;

	CHECK_PASS(serve_with(local));
	CHECK_PASS(ipis_of(reads / 10, &few));
	CHECK_PASS(ipis_of(reads, &many));
	more->tlb = many.tlb > few.tlb ? many.tlb - few.tlb : 0;
	more->reschedule = many.reschedule > few.reschedule ?
			   many.reschedule - few.reschedule : 0;
	ktap_note("local_cpu=%d, %d reads of 16 KiB on two CPUs: %llu more TLB shootdowns, %llu more reschedule interrupts",
		  local, reads - reads / 10, (unsigned long long)more->tlb,
		  (unsigned long long)more->reschedule);
	return fixture_stop();
}

static int compare_interrupts(void)
{
	int reads = count(10000, 100000);
	struct ipis local, plain;

	CHECK_PASS(ipis_for_reads(true, reads, &local));
	CHECK_PASS(ipis_for_reads(false, reads, &plain));
	/* With it: none that the reads bring. Without: they do. */
	CHECK(local.tlb < (uint64_t)reads / 1000);
	CHECK(local.reschedule < (uint64_t)reads / 100);
	CHECK(plain.tlb > (uint64_t)reads / 100);
	return PASS;
}

/*
 * NUMA balancing looks through a task's memory time and again, whatever the task
 * does, and each time is a shootdown: some, where the kernel is slow.
 */
static int test_interrupts(void)
{
	int ret;

	CHECK(!write_text(NUMA_BALANCING, "0"));
	ret = compare_interrupts();
	CHECK(!write_text(NUMA_BALANCING, "1"));
	return ret;
}

static int measure_throughput(bool local, int tasks, int reads,
			      double *per_second)
{
	double took;

	CHECK_PASS(serve_with(local));
	took = bench(tasks, reads);
	CHECK(took > 0);
	*per_second = reads / took;
	return fixture_stop();
}

static int test_throughput(void)
{
	int reads = count(2000, 20000), rounds = count(1, ROUNDS), tasks, round;
	/* Without VM_LOCAL_CPU, and with it. */
	double per_second[2][ROUNDS], low, high, a, b;

	for (tasks = 1; tasks <= 8; tasks *= 2) {
		for (round = 0; round < rounds; round++) {
			/* Who is first takes turns, too. */
			bool first = round % 2;

			CHECK_PASS(measure_throughput(first, tasks, reads,
						      &per_second[first][round]));
			CHECK_PASS(measure_throughput(!first, tasks, reads,
						      &per_second[!first][round]));
		}
		low = high = per_second[1][0] / per_second[0][0];
		for (round = 1; round < rounds; round++) {
			double ratio = per_second[1][round] /
				       per_second[0][round];

			low = ratio < low ? ratio : low;
			high = ratio > high ? ratio : high;
		}
		a = median(per_second[0], rounds);
		b = median(per_second[1], rounds);
		ktap_note("%d tasks, reads of 16 KiB a second, median of %d: %.0f without, %.0f with VM_LOCAL_CPU, %.2f times as many (%.2f to %.2f)",
			  tasks, rounds, a, b, b / a, low, high);
	}
	return PASS;
}

static const struct test tests[] = {
	{ "a NOOP costs no more than a pipe's round trip", test_round_trip },
	{ "a task stays on its CPU, though another is idle", test_stays },
	{ "no interprocessor interrupts with VM_LOCAL_CPU, many without",
	  test_interrupts },
	{ "throughput by tasks, with and without", test_throughput },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = fixture_prepare,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
