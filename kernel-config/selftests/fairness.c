// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many tasks on few channels: each gets its turn, also while CPUs come and go.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"
#include "probe.h"

#define TASKS	128

/* Of all tasks, shared with them. */
static struct turns {
	volatile int ready;
	volatile int go;
	double started;
	double took[TASKS];
	int operations;
} *turns;

static int take_turns(void *arg)
{
	int id = (long)arg, i, fd = open(MNT "/f", O_RDWR);
	char buffer[4096];

	if (fd < 0)
		return -1;
	__sync_fetch_and_add(&turns->ready, 1);
	while (!turns->go)
		usleep(1000);
	for (i = 0; i < turns->operations; i++)
		if (pread(fd, buffer, sizeof(buffer), 0) != sizeof(buffer))
			return -1;
	turns->took[id] = seconds() - turns->started;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int test_turns(void)
{
	static char data[4096];
	pid_t pids[TASKS];
	int status;
	long i;

	turns = mmap(NULL, sizeof(*turns), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	turns->operations = count(300, 2000);
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	for (i = 0; i < TASKS; i++)
		pids[i] = start_child(take_turns, (void *)i);
	while (turns->ready < TASKS)
		usleep(1000);
	turns->started = seconds();
	turns->go = 1;
	for (i = 0; i < TASKS; i++) {
		CHECK(!wait_exit(pids[i], 300, &status));
		CHECK(!status);
	}
	qsort(turns->took, TASKS, sizeof(double), by_size);
	ktap_note("%d tasks, %d reads each: first %.2f s, median %.2f s, last %.2f s",
		  TASKS, turns->operations, turns->took[0],
		  turns->took[TASKS / 2], turns->took[TASKS - 1]);
	CHECK(turns->took[TASKS - 1] < 2 * turns->took[TASKS / 2]);
	return PASS;
}

static int wait_for_threads(void)
{
	int i;

	for (i = 0; i < 5000 && control->threads < 2 * options.channels; i++)
		usleep(1000);
	CHECK(control->threads == 2 * options.channels);
	return PASS;
}

static int test_hotplug(void)
{
	struct load load = { .dir = MNT, .tasks = 6, .strict = true };
	int i, rounds = count(6, 100);
	uint64_t before;

	if (access("/sys/devices/system/cpu/cpu1/online", W_OK))
		return ktap_skip("CPU 1 can not be taken offline");
	CHECK_PASS(load_start(&load));
	for (i = 0; i < rounds; i++) {
		CHECK(!cpu_online(1, 0));
		before = control->served;
		usleep(100000);
		/* They are served while it is away. */
		CHECK(control->served > before);
		CHECK(!cpu_online(1, 1));
		CHECK_PASS(wait_for_threads());
		before = control->served;
		usleep(50000);
		CHECK(control->served > before);
	}
	CHECK_PASS(load_stop(&load));
	CHECK_PASS(nobody_stuck());
	return PASS;
}

static int read_on(void *cpu)
{
	int fd = open(MNT "/f", O_RDONLY);
	char buffer[4096];

	return bind_self((long)cpu) ||
	       pread(fd, buffer, sizeof(buffer), 0) != sizeof(buffer);
}

/*
 * A CPU goes although a task waits there, for a server that does not answer:
 * nobody who waits is kept on its CPU.
 */
static int test_offline(void)
{
	static char data[4096];
	double start;
	int status;
	pid_t pid;

	if (access("/sys/devices/system/cpu/cpu1/online", W_OK))
		return ktap_skip("CPU 1 can not be taken offline");
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	lie(HANG, ZUFS_OP_READ);
	pid = start_child(read_on, (void *)1);
	CHECK(!wait_hung(1));
	start = seconds();
	CHECK(!cpu_online(1, 0));
	ktap_note("offline after %.1f s", seconds() - start);
	CHECK(seconds() - start < 10);
	CHECK(wait_exit(pid, 0.2, &status));
	control->lie = HONEST;
	CHECK(!wait_exit(pid, 20, &status));
	CHECK(!status);
	CHECK(!cpu_online(1, 1));
	return wait_for_threads();
}

/*
 * With all channels of a CPU but one in use, an operation waits; what the
 * server has to know does not.
 */
static int test_reserve(void)
{
	static char data[4096];
	int fd, status, i;
	uint64_t before;
	pid_t pids[3];

	CHECK_PASS(fixture_stop());
	options.channels = 3;
	CHECK_PASS(fixture_start());
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	lie(HANG, ZUFS_OP_READ);
	for (i = 0; i < 3; i++)
		pids[i] = start_child(read_on, (void *)0);
	CHECK(!wait_hung(2));
	CHECK(wait_exit(pids[2], 0.5, &status));
	CHECK(control->hung == 2);
	/* The other CPU does as ever. */
	CHECK(!bind_self(1));
	fd = open(MNT "/gone", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && !unlink(MNT "/gone"));
	CHECK(!bind_self(0));
	before = control->served_of[ZUFS_OP_FREE_INODE];
	close(fd);
	CHECK(control->served_of[ZUFS_OP_FREE_INODE] == before + 1);
	control->lie = HONEST;
	for (i = 0; i < 3; i++) {
		CHECK(!wait_exit(pids[i], 20, &status));
		CHECK(!status);
	}
	return PASS;
}

static const struct test tests[] = {
	{ "128 tasks on two CPUs: the last within twice the median", test_turns },
	{ "CPU hotplug under load", test_hotplug },
	{ "a CPU goes offline while a task waits there", test_offline },
	{ "the last free channel is for what the server has to know",
	  test_reserve },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = fixture_start,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
