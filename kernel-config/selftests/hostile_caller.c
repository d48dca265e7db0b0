// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls on files of zuf-root, by root and by nobody, beside an honest
 * server that goes on serving.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"

#define FILES		12
#define ARGUMENT	8192
#define NOBODY		65534

static const unsigned int known[] = {
	ZU_IOC_REGISTER_FS, ZU_IOC_MOUNT, ZU_IOC_PRIVATE_MOUNT, ZU_IOC_NUMA_MAP,
	ZU_IOC_GRAB_PMEM, ZU_IOC_INIT_THREAD, ZU_IOC_ALLOC_BUFFER,
	ZU_IOC_WAIT_OPT, ZU_IOC_IOMAP_EXEC,
};

#define NR_KNOWN	(sizeof(known) / sizeof(*known))

/* Of the calling process. */
static struct random dice;
static int files[FILES];
static char *argument;
static void *mapping;
static size_t mapped;

static uint64_t roll(uint64_t limit)
{
	return random_below(&dice, limit);
}

/* ---- arguments ---- */

/* Names stay with the kernel for ever: a few are enough. */
static void plausible_register(void)
{
	struct zufs_ioc_register_fs *reg = (void *)argument;

	memset(reg, 0, sizeof(*reg));
	snprintf(reg->rfi.fsname, 16, "hostile%d", (int)roll(3));
	reg->rfi.s_maxbytes = 1 + (random_next(&dice) >> roll(64));
	reg->rfi.s_time_gran = 1 + roll(1000000000);
	reg->rfi.dt_offset = roll(2) ? ~0ULL : roll(1000) * 4096;
}

static void plausible_init(void)
{
	struct zufs_ioc_init *init = (void *)argument;

	memset(init, 0, sizeof(*init));
	init->channel_no = roll(6);
	init->max_command = roll(20) * 4096;
}

static void plausible_pmem(void)
{
	struct zufs_ioc_pmem *pmem = (void *)argument;

	memset(pmem, 0, sizeof(*pmem));
	pmem->sb_id = roll(200);
}

static void *some_argument(unsigned int cmd)
{
	switch (roll(10)) {
	case 0:
		return (void *)random_next(&dice);
	case 1:
		return NULL;
	case 2:
		/* Its end is not there. */
		return argument + ARGUMENT - 1 - roll(200);
	case 3 ... 6:
		random_fill(&dice, argument, 256);
		break;
	}
	if (cmd == ZU_IOC_REGISTER_FS)
		plausible_register();
	else if (cmd == ZU_IOC_INIT_THREAD)
		plausible_init();
	else if (cmd == ZU_IOC_GRAB_PMEM)
		plausible_pmem();
	return argument;
}

static unsigned int some_command(void)
{
	switch (roll(8)) {
	case 0:
		return random_next(&dice);
	case 1:
		return _IOC(roll(4), 'Z', roll(32), roll(4096));
	default:
		return known[roll(NR_KNOWN)];
	}
}

/* ---- calls ---- */

static void reopen(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = zuf_open();
}

static void unmap(void)
{
	if (mapping)
		munmap(mapping, mapped);
	mapping = NULL;
}

static void map(int fd)
{
	static const size_t sizes[] = { 4096, ZUS_API_MAP_MAX_SIZE, 65536,
					1 << 21 };
	off_t offset = roll(2) * ZUS_API_MAP_MAX_SIZE;

	if (!roll(3))
		offset = (random_next(&dice) >> 1) & ~4095ULL;
	unmap();
	mapped = sizes[roll(4)];
	mapping = mmap(NULL, mapped, roll(8), roll(4) ? MAP_SHARED : MAP_PRIVATE,
		       fd, offset);
	if (mapping == MAP_FAILED)
		mapping = NULL;
}

static void other_call(int fd)
{
	char byte;

	switch (roll(6)) {
	case 0:
		(void)!read(fd, &byte, 1);
		break;
	case 1:
		(void)!write(fd, "x", 1);
		break;
	case 2:
		lseek(fd, roll(100), SEEK_SET);
		break;
	case 3:
		(void)!ftruncate(fd, roll(100));
		break;
	case 4:
		fsync(fd);
		break;
	default:
		if (mapping)
			mprotect(mapping, mapped, roll(8));
	}
}

static void change_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(roll(2), &set);
	if (roll(2))
		CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void one_call(void)
{
	int *fd = &files[roll(FILES)];
	unsigned int cmd;

	switch (roll(40)) {
	case 0 ... 2:
		reopen(fd);
		break;
	case 3 ... 4:
		map(*fd);
		break;
	case 5:
		unmap();
		break;
	case 6:
		other_call(*fd);
		break;
	case 7:
		change_cpu();
		break;
	default:
		cmd = some_command();
		/* BREAK_ALL is what stops servers: not beside one. */
		if (cmd != ZU_IOC_BREAK_ALL || !server_pid)
			ioctl(*fd, cmd, some_argument(cmd));
	}
}

/* What sleeps is called out of it. */
static void on_alarm(int signal)
{
}

/*
 * In a millisecond; and again, should the call not have slept by then, but not so
 * soon that a slow kernel has time for nothing else.
 */
static void set_alarm(void)
{
	static const struct itimerval soon = { { 0, 20000 }, { 0, 1000 } };

	setitimer(ITIMER_REAL, &soon, NULL);
}

static void prepare(uint64_t stream)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int i;

	dice = random_stream(stream);
	argument = mmap(NULL, ARGUMENT + 4096, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(argument + ARGUMENT, 4096);
	for (i = 0; i < FILES; i++)
		files[i] = zuf_open();
	sigaction(SIGALRM, &action, NULL);
}

/* How many at once, and how many calls each. */
#define CALLERS	4

static uint64_t calls_each(void)
{
	return count(20000, 500000) / CALLERS;
}

static int make_calls(void *arg)
{
	uint64_t i;

	prepare((long)arg);
	for (i = 0; i < calls_each(); i++) {
		set_alarm();
		one_call();
	}
	return 0;
}

static int call_and_wait(long stream)
{
	double end = seconds() + (options.full ? 3000 : 180);
	pid_t callers[CALLERS];
	int status, i;

	for (i = 0; i < CALLERS; i++)
		callers[i] = start_child(make_calls, (void *)(stream + i));
	for (i = 0; i < CALLERS; i++) {
		CHECK(!wait_exit(callers[i], end - seconds(), &status));
		CHECK(!status);
	}
	ktap_note("%llu calls by %d tasks",
		  (unsigned long long)calls_each() * CALLERS, CALLERS);
	return nobody_stuck();
}

/*
 * The caller may become a thread of the server, and swallow operations: those
 * end with an error when it goes.
 */
static int test_beside(void)
{
	struct load load = { .dir = MNT, .tasks = 2 };

	CHECK_PASS(load_start(&load));
	CHECK_PASS(call_and_wait(100));
	CHECK_PASS(load_stop(&load));
	CHECK(!write_file(MNT "/fine", "x", 1));
	return PASS;
}

static int test_alone(void)
{
	CHECK(!umount_soon(MNT));
	CHECK_PASS(server_stop(SIGTERM));
	CHECK_PASS(call_and_wait(200));
	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	CHECK(!write_file(MNT "/fine", "x", 1));
	return PASS;
}

/* A caller that is killed in the middle of it, many times. */
static int endless_calls(void *arg)
{
	prepare((long)arg);
	for (;;) {
		set_alarm();
		one_call();
	}
	return 0;
}

static int test_killed(void)
{
	int i, status, kills = count(20, 200);
	pid_t pid;

	for (i = 0; i < kills; i++) {
		pid = start_child(endless_calls, (void *)(300L + i));
		usleep(20000);
		kill(pid, SIGKILL);
		CHECK(!wait_exit(pid, 10, &status));
	}
	CHECK(!write_file(MNT "/fine", "x", 1));
	return nobody_stuck();
}

/* ---- nobody ---- */

static int refused_to(int fd, unsigned int cmd)
{
	if (ioctl(fd, cmd, argument) != -1 || errno != EPERM) {
		ktap_note("ioctl %#x by nobody: %s", cmd, strerror(errno));
		return FAIL;
	}
	return PASS;
}

static int as_nobody(void *arg)
{
	int fd = zuf_open(), verdict = 0;
	unsigned int i;

	argument = mmap(NULL, ARGUMENT, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		return -1;
	for (i = 0; i < NR_KNOWN; i++)
		verdict |= refused_to(fd, known[i]);
	verdict |= refused_to(fd, ZU_IOC_BREAK_ALL);
	for (i = 0; i < 1000; i++) {
		dice = random_stream(i);
		verdict |= refused_to(fd, _IOC(roll(4), 'Z', roll(64),
					       roll(4096)));
	}
	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED)
		verdict = FAIL;
	/* And no file of its own in the first place. */
	if (zuf_open() != -1 || errno != EACCES)
		verdict = FAIL;
	errno = 0;
	return verdict;
}

static int test_nobody(void)
{
	pid_t pid = start_child(as_nobody, NULL);
	int status;

	CHECK(!wait_exit(pid, 30, &status));
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	/* The server was not sent home. */
	CHECK(!write_file(MNT "/fine", "x", 1));
	return PASS;
}

static const struct test tests[] = {
	{ "random calls by root, beside a server", test_beside },
	{ "random calls by root, without one", test_alone },
	{ "killed in the middle of such calls", test_killed },
	{ "nobody is refused everything", test_nobody },
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
