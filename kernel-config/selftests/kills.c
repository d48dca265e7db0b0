// SPDX-License-Identifier: GPL-2.0-only
/*
 * Servers and applications killed at any moment: who waits gets an error, and
 * nothing stays behind, no task, no page, no mount.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"

/* What the kernel grants a server to let go of a killed task, and some more. */
#define KILL_LIMIT	15
/* The same for umount: what it grants for the last notices, and for itself. */
#define UMOUNT_LIMIT	55
#define MANY		30

static int clean(void)
{
	CHECK_PASS(nobody_stuck());
	CHECK_PASS(nothing_held());
	return PASS;
}

/* ---- while the server sits on an operation ---- */

static int read_file(void *unused)
{
	int fd = open(MNT "/f", O_RDWR);
	char buffer[8192];

	return pread(fd, buffer, sizeof(buffer), 0) < 0;
}

static int test_hung_application(void)
{
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG, ZUFS_OP_READ);
	pid = start_child(read_file, NULL);
	CHECK(!wait_hung(1));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status));
	CHECK(WIFSIGNALED(status));
	honest();
	/* The channel is back. */
	CHECK(!write_file(MNT "/g", "0123456789", 10));
	return clean();
}

static int make_late(void *unused)
{
	return mkdir(MNT "/late", 0700);
}

static int move_late(void *unused)
{
	return rename(MNT "/f", MNT "/moved");
}

/* Killed, and until then the server sits on the operation. */
static int killed_in(int (*work)(void *), int how, int operation)
{
	int status;
	pid_t pid;

	lie(how, operation);
	pid = start_child(work, NULL);
	CHECK(!wait_hung(1));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status));
	CHECK(WIFSIGNALED(status));
	control->lie = HONEST;
	while (control->hung)
		usleep(1000);
	return PASS;
}

/* What it did for them is there, whatever was known of these names before. */
static int test_done_for_killed(void)
{
	struct stat st;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	CHECK_ERR(stat(MNT "/late", &st), ENOENT);
	CHECK_PASS(killed_in(make_late, HANG_AFTER, ZUFS_OP_NEW_INODE));
	CHECK(!stat(MNT "/late", &st) && S_ISDIR(st.st_mode));
	CHECK_ERR(stat(MNT "/moved", &st), ENOENT);
	CHECK_PASS(killed_in(move_late, HANG_AFTER, ZUFS_OP_RENAME));
	CHECK_ERR(stat(MNT "/f", &st), ENOENT);
	CHECK(!stat(MNT "/moved", &st) && st.st_size == 10);
	return clean();
}

/* What it had not begun with then it leaves: nobody holds the locks any more. */
static int test_not_begun(void)
{
	struct stat st;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	CHECK_PASS(killed_in(move_late, HANG, ZUFS_OP_RENAME));
	/* One operation later it has come to it. */
	CHECK(!write_file(MNT "/g", "0123456789", 10));
	honest();
	CHECK(!stat(MNT "/f", &st));
	CHECK_ERR(stat(MNT "/moved", &st), ENOENT);
	return clean();
}

static int test_hung_server(void)
{
	int status, i;
	pid_t pids[6];
	struct stat st;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG, ZUFS_OP_READ);
	for (i = 0; i < 6; i++)
		pids[i] = start_child(read_file, NULL);
	CHECK(!wait_hung(1));
	CHECK_PASS(server_stop(SIGKILL));
	for (i = 0; i < 6; i++) {
		CHECK(!wait_exit(pids[i], 10, &status));
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EIO);
	}
	CHECK_ERR(stat(MNT "/f", &st), EIO);
	CHECK_ERR(open(MNT "/new", O_CREAT | O_RDWR, 0600), EIO);
	CHECK(!umount_soon(MNT));
	CHECK_PASS(clean());
	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	CHECK(!write_file(MNT "/f", "0123456789", 10));
	return PASS;
}

static uint64_t told(void)
{
	return control->served_of[ZUFS_OP_FREE_INODE] +
	       control->served_of[ZUFS_OP_MMAP_CLOSE];
}

/* Has files that only it knows and mappings of them, and sits in a read. */
static int hold_many(void *unused)
{
	int fds[MANY], i;
	char path[64];

	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), MNT "/held%d", i);
		if (write_file(path, "0123456789", 10))
			return -1;
		fds[i] = open(path, O_RDWR);
		if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, fds[i], 0) ==
			    MAP_FAILED ||
		    unlink(path))
			return -1;
	}
	lie(HANG, 0);
	return pread(fds[0], path, 10, 0) < 0;
}

/*
 * The server has to be told of each of these files and mappings. What it does
 * not want to hear as the task goes it hears later.
 */
static int test_told_later(void)
{
	uint64_t before = told();
	double start;
	int status, i;
	pid_t pid;

	pid = start_child(hold_many, NULL);
	CHECK(!wait_hung(1));
	start = seconds();
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status));
	ktap_note("gone after %.1f s", seconds() - start);
	CHECK(WIFSIGNALED(status));
	CHECK_PASS(nobody_stuck());
	CHECK(told() - before < MANY);
	honest();
	for (i = 0; i < 2000 && told() - before < 2 * MANY; i++)
		usleep(10000);
	ktap_note("%d of %d things told", (int)(told() - before), 2 * MANY);
	CHECK(told() - before == 2 * MANY);
	CHECK(!write_file(MNT "/g", "0123456789", 10));
	return clean();
}

static int umount_it(void *unused)
{
	return umount(MNT);
}

/* The server does not answer, to a thread or to umount itself. */
static int killed_umount(int operation)
{
	double start;
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG, operation);
	pid = start_child(umount_it, NULL);
	CHECK(!wait_hung(1));
	start = seconds();
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, UMOUNT_LIMIT, &status));
	ktap_note("gone after %.1f s", seconds() - start);
	CHECK_PASS(server_stop(SIGKILL));
	CHECK_PASS(clean());
	/* It is unmounted, and the device is free. */
	CHECK_ERR(umount(MNT), EINVAL);
	CHECK_PASS(fixture_start());
	return PASS;
}

static int test_umount(void)
{
	CHECK_PASS(killed_umount(0));
	return killed_umount(UMOUNT);
}

static void on_signal(int signal)
{
}

static int read_interrupted(void *unused)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	return read_file(NULL);
}

/* A signal that does not kill: the server may cut the operation short. */
static int test_interrupted(void)
{
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG_UNTIL_INTR, ZUFS_OP_READ);
	pid = start_child(read_interrupted, NULL);
	CHECK(!wait_hung(1));
	CHECK(wait_exit(pid, 0.3, &status));
	kill(pid, SIGUSR1);
	CHECK(!wait_exit(pid, 10, &status));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EINTR);
	return clean();
}

/* ---- the server, under load ---- */

static int one_server_kill(struct random *random)
{
	struct load load = { .dir = MNT, .tasks = 4, .errors_end = true,
			     .strict = true };
	int codes[LOAD_TASKS_MAX], i;

	CHECK_PASS(load_start(&load));
	usleep(20000 + random_below(random, 150000));
	CHECK_PASS(server_stop(SIGKILL));
	CHECK_PASS(load_wait(&load, KILL_LIMIT, codes));
	for (i = 0; i < load.tasks; i++)
		CHECK(codes[i] == LOAD_SERVER_GONE);
	CHECK(!umount_soon(MNT));
	CHECK_PASS(nothing_held());

	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	CHECK(!write_file(MNT "/f", "0123456789", 10));
	return PASS;
}

static int test_server(void)
{
	struct random random = random_stream(1);
	int i, kills = count(12, 200);

	for (i = 0; i < kills; i++) {
		CHECK_PASS(one_server_kill(&random));
		/* Every other server announces all of them. */
		control->features ^= ALL_FEATURES;
	}
	ktap_note("server killed %d times", kills);
	return clean();
}

/* ---- the application ---- */

static char *buffer;
#define BUFFER	(256 * 1024)

static int keep_reading(void *unused)
{
	int fd = open(MNT "/f", O_RDONLY);

	for (;;)
		if (pread(fd, buffer, BUFFER, 0) < 0)
			return -1;
}

static int keep_writing(void *unused)
{
	int fd = open(MNT "/f", O_WRONLY);

	for (;;)
		if (pwrite(fd, buffer, BUFFER, 0) < 0)
			return -1;
}

static int keep_faulting(void *unused)
{
	int fd = open(MNT "/f", O_RDWR), i;
	char *p;

	for (;;) {
		p = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return -1;
		for (i = 0; i < BUFFER; i += 4096)
			p[i]++;
		munmap(p, BUFFER);
	}
}

static int keep_creating(void *unused)
{
	char path[64];
	int i;

	for (i = 0;; i = (i + 1) % 50) {
		snprintf(path, sizeof(path), MNT "/c%d", i);
		unlink(path);
		if (mknod(path, S_IFREG | 0600, 0) && errno != EEXIST)
			return -1;
	}
}

static int keep_renaming(void *unused)
{
	for (;;) {
		if (rename(MNT "/r1", MNT "/r2") && errno != ENOENT)
			return -1;
		if (rename(MNT "/r2", MNT "/r1") && errno != ENOENT)
			return -1;
	}
}

static const struct {
	const char *what;
	int (*work)(void *unused);
} works[] = {
	{ "read", keep_reading },
	{ "write", keep_writing },
	{ "fault", keep_faulting },
	{ "create", keep_creating },
	{ "rename", keep_renaming },
};

#define NR_WORKS	(sizeof(works) / sizeof(*works))

static int one_application_kill(struct random *random, int which)
{
	int status;
	pid_t pid = start_child(works[which].work, NULL);

	usleep(random_below(random, 8000));
	kill(pid, SIGKILL);
	if (wait_exit(pid, KILL_LIMIT, &status)) {
		ktap_note("killed in %s: does not go", works[which].what);
		return FAIL;
	}
	/* It was still at it: no error before the end. */
	if (!WIFSIGNALED(status)) {
		ktap_note("%s: ended with %d", works[which].what,
			  WEXITSTATUS(status));
		return FAIL;
	}
	return PASS;
}

static int test_application(void)
{
	struct random random = random_stream(2);
	int i, kills = count(100, 1000);

	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(buffer != MAP_FAILED);
	CHECK(!write_file(MNT "/f", buffer, BUFFER));
	CHECK(!write_file(MNT "/r1", "r", 1));
	for (i = 0; i < kills; i++)
		CHECK(!one_application_kill(&random, i % NR_WORKS));
	ktap_note("application killed %d times", kills);
	CHECK_PASS(clean());
	/* The file system is all there. */
	CHECK(!write_file(MNT "/fine", buffer, BUFFER));
	CHECK(!access(MNT "/r1", F_OK) || !access(MNT "/r2", F_OK));
	return PASS;
}

/* Both at once, in either order. */
static int test_both(void)
{
	struct load load = { .dir = MNT, .tasks = 4 };
	struct random random = random_stream(3);
	int i, kills = count(5, 50);

	for (i = 0; i < kills; i++) {
		CHECK_PASS(load_start(&load));
		usleep(random_below(&random, 50000));
		if (i % 2) {
			CHECK_PASS(server_stop(SIGKILL));
			CHECK_PASS(load_stop(&load));
		} else {
			kill(server_pid, SIGKILL);
			CHECK_PASS(load_stop(&load));
			CHECK_PASS(server_stop(SIGKILL));
		}
		CHECK(!umount_soon(MNT));
		CHECK_PASS(clean());
		CHECK_PASS(server_start());
		CHECK(!mount_pmem(NULL));
	}
	return PASS;
}

static const struct test tests[] = {
	{ "application, while the server does not answer", test_hung_application },
	{ "what the server did for one that was killed", test_done_for_killed },
	{ "what it had not begun with", test_not_begun },
	{ "application with much to tell, while the server does not answer",
	  test_told_later },
	{ "umount, while the server does not answer", test_umount },
	{ "a signal that does not kill", test_interrupted },
	{ "server, while it does not answer", test_hung_server },
	{ "server, under load", test_server },
	{ "application, in read, write, fault, create, rename", test_application },
	{ "both at once", test_both },
	{ "nothing is leaked", nothing_leaked },
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
