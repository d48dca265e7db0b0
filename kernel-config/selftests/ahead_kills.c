// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks ahead of the end of a file, and tasks that are killed, servers that do
 * not answer or are gone: nobody waits, and what was appended is right.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "grown.h"
#include "guest.h"

#define BLOCK		4096
/* What the kernel grants a server to let go of a killed task, and some more. */
#define KILL_LIMIT	15
#define MANY		20
#define SHUTDOWN	_IOR('X', 125, __u32)
#define SHUTDOWN_NOSYNC	2

static struct grown g;

static int keep_appending(void *piece)
{
	g.fd = open(MNT "/f", O_RDWR | O_APPEND);
	/* Others have appended before. */
	g.size = lseek(g.fd, 0, SEEK_END);
	while (!grown_append(&g, *(int *)piece, 1))
		if (g.size > GROWN_MAX - 2 * *(int *)piece)
			pause();
	return FAIL;
}

static int one_kill(struct random *random)
{
	static int pieces[] = { 4096, 100, 3000, 16384 };
	int *piece = &pieces[random_below(random, 4)], status;
	pid_t pid = start_child(keep_appending, piece);

	usleep(random_below(random, 60000));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status) && WIFSIGNALED(status));
	CHECK(!grown_spare(&g));
	g.size = lseek(g.fd, 0, SEEK_END);
	CHECK_PASS(grown_is_right(&g));
	if (g.size > GROWN_MAX / 2) {
		g.size = AHEAD_FROM + random_below(random, 10000);
		CHECK(!ftruncate(g.fd, g.size));
	}
	return PASS;
}

static int test_killed(void)
{
	struct random random = random_stream(1);
	int i;

	for (i = 0; i < count(60, 1000); i++)
		CHECK_PASS(one_kill(&random));
	return PASS;
}

static int ask_and_wait(void *unused)
{
	g.fd = open(MNT "/f", O_RDWR | O_APPEND);
	CHECK_PASS(grown_until_ahead(&g));
	while (grown_spare(&g) > 2)
		CHECK_PASS(grown_append(&g, BLOCK, 1));
	lie(HANG_UNTIL_INTR, ZUFS_OP_GET_MULTY);
	return grown_append(&g, 3 * BLOCK, 1);
}

/* Some are ahead, not enough for what is appended next, as the task is killed. */
static int test_killed_as_it_asks(void)
{
	pid_t pid = start_child(ask_and_wait, NULL);
	int status;

	CHECK(!wait_hung(1));
	CHECK(grown_spare(&g) == 2);
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status) && WIFSIGNALED(status));
	CHECK(!grown_spare(&g));
	honest();
	g.size = lseek(g.fd, 0, SEEK_END);
	CHECK_PASS(grown_is_right(&g));
	CHECK_PASS(grown_append(&g, BLOCK, 100));
	return grown_right_once_closed(&g);
}

static volatile int *is_ready;

static int ready(void)
{
	*is_ready = 1;
	pause();
	return FAIL;
}

/* Until the child has come to that. */
static pid_t start_ready(int (*work)(void *), void *arg)
{
	pid_t pid;
	int i;

	is_ready = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = start_child(work, arg);
	for (i = 0; i < 10000 && !*is_ready; i++)
		usleep(1000);
	return pid;
}

/* Has blocks ahead of a file of its own, and waits to be killed. */
static int append_and_wait(void *path)
{
	struct grown mine;

	CHECK_PASS(grown_start(&mine, path, AHEAD_FROM));
	CHECK_PASS(grown_until_ahead(&mine));
	return ready();
}

/*
 * What it was to give back is given back in the end, when others have appended
 * there already: that is theirs.
 */
static int test_hung_drop(void)
{
	struct grown late;
	uint64_t before;
	int status, i;
	pid_t pid = start_ready(append_and_wait, MNT "/late");

	lie(HANG, ZUFS_OP_FALLOCATE);
	before = calls(ZUFS_OP_FALLOCATE);
	kill(pid, SIGKILL);
	CHECK(!wait_hung(1));
	CHECK(!wait_exit(pid, KILL_LIMIT, &status) && WIFSIGNALED(status));

	late.path = MNT "/late";
	late.fd = open(late.path, O_RDWR | O_APPEND);
	late.size = lseek(late.fd, 0, SEEK_END);
	CHECK_PASS(grown_append(&late, 5000, 4));
	honest();
	for (i = 0; i < 3000 && calls(ZUFS_OP_FALLOCATE) == before; i++)
		usleep(1000);
	CHECK(calls(ZUFS_OP_FALLOCATE) > before);
	/* What it freed others have now. */
	CHECK_PASS(grown_append(&g, 16384, 20));
	CHECK_PASS(grown_append(&late, 5000, 40));
	CHECK_PASS(grown_right_once_closed(&late));
	close(late.fd);
	return grown_right_once_closed(&g);
}

static int append_to_many(void *unused)
{
	struct grown mine;
	char path[64];
	int i;

	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), MNT "/many%d", i);
		CHECK_PASS(grown_start(&mine, path, AHEAD_FROM));
		CHECK_PASS(grown_until_ahead(&mine));
	}
	return ready();
}

/* Each of its files has some to give back: it does not wait for all. */
static int test_killed_with_many(void)
{
	pid_t pid = start_ready(append_to_many, NULL);
	double start;
	int status;
	long spare;

	lie(HANG, ZUFS_OP_FALLOCATE);
	start = seconds();
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, KILL_LIMIT, &status) && WIFSIGNALED(status));
	ktap_note("gone after %.1f s", seconds() - start);
	control->lie = HONEST;
	/* The next writer does, of all but what is under way. */
	CHECK_PASS(path_spare(MNT "/many9", &spare));
	CHECK(spare > 0);
	close(open(MNT "/many9", O_WRONLY));
	CHECK_PASS(path_spare(MNT "/many9", &spare));
	CHECK(!spare);
	return nobody_stuck();
}

static int append_large(void *unused)
{
	return write(g.fd, grown_data, GROWN_MAX / 2) < 0;
}

static int hold_open(void *unused)
{
	int fd = open(MNT "/f", O_RDWR | O_APPEND);

	CHECK(fd >= 0);
	return ready();
}

/* The file is locked by a task that waits for the server, and is not killed. */
static int test_killed_beside(void)
{
	pid_t holder = start_ready(hold_open, NULL), writer;
	int status, gone;

	CHECK_PASS(grown_until_ahead(&g));
	lie(HANG, ZUFS_OP_WRITE);
	writer = start_child(append_large, NULL);
	CHECK(!wait_hung(1));
	kill(holder, SIGKILL);
	gone = wait_exit(holder, KILL_LIMIT, &status);
	honest();
	CHECK(!wait_exit(writer, KILL_LIMIT, &status) && !status);
	CHECK(!gone);
	return PASS;
}

/* ---- gone ---- */

static int close_it(void *unused)
{
	return close(g.fd);
}

static int closes(void)
{
	pid_t pid = start_child(close_it, NULL);
	int status;

	/* The last one to close it, in a task that may hang. */
	CHECK(!close(g.fd));
	CHECK(!wait_exit(pid, KILL_LIMIT, &status) && !status);
	return PASS;
}

static int test_server_gone(void)
{
	CHECK_PASS(grown_until_ahead(&g));
	CHECK_PASS(server_stop(SIGKILL));
	CHECK_ERR(write(g.fd, grown_data, 100), EIO);
	CHECK_ERR(write(g.fd, grown_data, 10000), EIO);
	CHECK_ERR(ftruncate(g.fd, 10), EIO);
	CHECK_PASS(closes());
	return nobody_stuck();
}

static int test_shut_down(void)
{
	__u32 how = SHUTDOWN_NOSYNC;

	CHECK_PASS(grown_until_ahead(&g));
	CHECK(!ioctl(g.fd, SHUTDOWN, &how));
	CHECK_ERR(write(g.fd, grown_data, 100), EIO);
	CHECK_ERR(write(g.fd, grown_data, 10000), EIO);
	return closes();
}

static const struct test tests[] = {
	{ "tasks are killed", test_killed },
	{ "killed as it asks for more", test_killed_as_it_asks },
	{ "killed, while the server does not answer", test_hung_drop },
	{ "killed with many files, while the server does not answer",
	  test_killed_with_many },
	{ "killed, while another waits for the server", test_killed_beside },
	{ "a server that is gone", test_server_gone },
	{ "shut down", test_shut_down },
	{ "nothing is leaked", nothing_leaked },
	{}
};

int main(int argc, char **argv)
{
	/* Some of them hang on purpose. */
	options.channels = 2;
	return grown_main(argc, argv, &g, tests);
}
