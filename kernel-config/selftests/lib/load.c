// SPDX-License-Identifier: GPL-2.0-only
/*
 * See load.h. Each byte that is ever written is decided by its position, so
 * that whoever reads, from whichever file, knows what may be there: that, or a
 * hole's zero.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"

#define NAMES		24
#define FILE_MAX	(160 * 1024)
#define IO_MAX		(24 * 1024)

/*
 * The cuts of a load's files, by inode: a mapping that was cut while somebody
 * stored to it may give SIGBUS, though the file is long again when that is
 * looked at. Shared by the tasks.
 */
#define CUT_SLOTS	64

struct cuts {
	volatile unsigned int begun;
	volatile unsigned int ended;
};

struct task {
	const struct load *load;
	struct random random;
	char a[128];
	char b[128];
	unsigned char buffer[IO_MAX];
};

static sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static unsigned char byte_at(uint64_t pos)
{
	return (pos * 2654435761U >> 13) | 1;
}

static const char *some_name(struct task *task, char *path)
{
	unsigned int n = random_below(&task->random, NAMES);

	if (random_below(&task->random, 3))
		snprintf(path, 128, "%s/f%u", task->load->dir, n);
	else
		snprintf(path, 128, "%s/d%u/f%u", task->load->dir, n % 4, n);
	return path;
}

static const char *some_dir(struct task *task, char *path)
{
	snprintf(path, 128, "%s/d%u", task->load->dir,
		 (unsigned int)random_below(&task->random, 4));
	return path;
}

static int open_some(struct task *task)
{
	return open(some_name(task, task->a), O_RDWR | O_CREAT | O_NOFOLLOW,
		    0644);
}

/* ---- operations: 0, or -1 with errno set ---- */

static int op_write(struct task *task)
{
	uint64_t pos = random_below(&task->random, FILE_MAX), i;
	size_t len = 1 + random_below(&task->random, IO_MAX);
	int fd = open_some(task);
	ssize_t done;

	if (fd < 0)
		return -1;
	for (i = 0; i < len; i++)
		task->buffer[i] = byte_at(pos + i);
	done = pwrite(fd, task->buffer, len, pos);
	close(fd);
	return done < 0 ? -1 : 0;
}

/* In small pieces; another task may do the same there. */
static int op_append(struct task *task)
{
	int fd = open_some(task), pieces = 16, err = 0;
	size_t len, i;
	off_t pos;

	if (fd < 0)
		return -1;
	while (!err && pieces--) {
		pos = lseek(fd, 0, SEEK_END);
		if (pos < 0 || pos > FILE_MAX)
			break;
		len = 1 + random_below(&task->random, 6000);
		for (i = 0; i < len; i++)
			task->buffer[i] = byte_at(pos + i);
		err = pwrite(fd, task->buffer, len, pos) < 0;
	}
	close(fd);
	return err ? -1 : 0;
}

static int check_bytes(const unsigned char *bytes, uint64_t pos, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] && bytes[i] != byte_at(pos + i)) {
			errno = EILSEQ;
			return -1;
		}
	}
	return 0;
}

static int op_read(struct task *task)
{
	uint64_t pos = random_below(&task->random, FILE_MAX);
	size_t len = 1 + random_below(&task->random, IO_MAX);
	int fd = open(some_name(task, task->a), O_RDONLY | O_NOFOLLOW);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = pread(fd, task->buffer, len, pos);
	close(fd);
	return done < 0 ? -1 : check_bytes(task->buffer, pos, done);
}

static int touch_mapping(unsigned char *p, uint64_t pos, unsigned int at)
{
	int err = check_bytes(p + at, pos + at, 1);
	unsigned int i;

	for (i = at; i < at + 64 && i < 4096; i++)
		p[i] = byte_at(pos + i);
	return err;
}

static int use_mapping(struct task *task, unsigned char *p, uint64_t pos)
{
	if (!sigsetjmp(fault, 1))
		return touch_mapping(p, pos, random_below(&task->random, 4096));
	/* Behind the end of the file, or the server did not give. */
	errno = EIO;
	return -1;
}

static struct cuts *cuts_of(struct task *task, int fd)
{
	struct stat st;

	return fstat(fd, &st) ? NULL :
	       &task->load->cuts[st.st_ino % CUT_SLOTS];
}

/* Store to a page of a file that reaches that far. */
static int store_mapped(struct task *task, int fd, uint64_t pos)
{
	struct cuts *cuts = cuts_of(task, fd);
	unsigned int begun;
	unsigned char *p;
	struct stat st;
	bool cutting;
	int err;

	if (!cuts)
		return -1;
	begun = cuts->begun;
	cutting = cuts->ended != begun;
	if (fstat(fd, &st))
		return -1;
	if ((uint64_t)st.st_size < pos + 4096)
		return 0;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, pos);
	if (p == MAP_FAILED)
		return -1;
	err = use_mapping(task, p, pos);
	munmap(p, 4096);
	if (!err || errno != EIO)
		return err;
	return cutting || cuts->begun != begun ? 0 : -1;
}

static int op_mmap(struct task *task)
{
	uint64_t pos = random_below(&task->random, FILE_MAX / 4096) * 4096;
	int fd = open_some(task), err;

	if (fd < 0)
		return -1;
	err = store_mapped(task, fd, pos);
	close(fd);
	return err;
}

static int cut(struct task *task, int fd, uint64_t size)
{
	struct cuts *cuts = cuts_of(task, fd);
	int err;

	if (!cuts)
		return -1;
	__sync_fetch_and_add(&cuts->begun, 1);
	err = ftruncate(fd, size);
	__sync_fetch_and_add(&cuts->ended, 1);
	return err;
}

static int op_change(struct task *task)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE };
	uint64_t pos = random_below(&task->random, FILE_MAX);
	int fd = open_some(task), err;

	if (fd < 0)
		return -1;
	if (random_below(&task->random, 2))
		err = cut(task, fd, pos);
	else
		err = fallocate(fd, modes[random_below(&task->random, 4)], pos,
				1 + random_below(&task->random, IO_MAX));
	close(fd);
	return err;
}

static int op_look(struct task *task)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[8];
	} fm = { .map = { .fm_length = FILE_MAX, .fm_extent_count = 8 } };
	int fd = open(some_name(task, task->a), O_RDONLY | O_NOFOLLOW), err;
	struct stat st;

	if (fd < 0)
		return -1;
	err = fstat(fd, &st);
	if (!err && st.st_size && lseek(fd, st.st_size / 2, SEEK_DATA) < 0)
		err = -1;
	if (!err)
		err = ioctl(fd, FS_IOC_FIEMAP, &fm);
	if (!err)
		err = fsync(fd);
	close(fd);
	return err;
}

static int op_list(struct task *task)
{
	DIR *dir = opendir(random_below(&task->random, 2) ?
			   task->load->dir : some_dir(task, task->a));
	int err;

	if (!dir)
		return -1;
	errno = 0;
	while (readdir(dir))
		;
	err = errno;
	closedir(dir);
	errno = err;
	return err ? -1 : 0;
}

static int op_names(struct task *task)
{
	some_name(task, task->a);
	some_name(task, task->b);
	switch (random_below(&task->random, 8)) {
	case 0:
	case 1:
		return unlink(task->a);
	case 2:
	case 3:
		return rename(task->a, task->b);
	case 4:
		return link(task->a, task->b);
	case 5:
		return symlink("f1", task->a);
	case 6:
		return mkdir(some_dir(task, task->a), 0755);
	default:
		return rmdir(some_dir(task, task->a));
	}
}

static int op_attributes(struct task *task)
{
	char value[64];

	some_name(task, task->a);
	switch (random_below(&task->random, 6)) {
	case 0:
		return lsetxattr(task->a, "user.load", value, 1 +
				 random_below(&task->random, 64), 0);
	case 1:
		return lgetxattr(task->a, "user.load", value, 64) < 0 ? -1 : 0;
	case 2:
		return llistxattr(task->a, value, 64) < 0 ? -1 : 0;
	case 3:
		return lremovexattr(task->a, "user.load");
	case 4:
		return fchmodat(AT_FDCWD, task->a, 0600, 0);
	default:
		return readlink(task->a, value, 64) < 0 ? -1 : 0;
	}
}

static int (*const operations[])(struct task *) = {
	op_write, op_append, op_read, op_read, op_mmap, op_change, op_look,
	op_list, op_names, op_names, op_attributes,
};

#define NR_OPERATIONS	(sizeof(operations) / sizeof(*operations))

/* Errors that honest file systems give to such a load. */
static bool expected(int err)
{
	switch (err) {
	case ENOENT:
	case EEXIST:
	case ENOTDIR:
	case EISDIR:
	case ENOTEMPTY:
	case ENOSPC:
	case EINVAL:
	case ELOOP:
	case ENXIO:
	case ENODATA:
	case EOPNOTSUPP:
	case EPERM:	/* extended attributes of symlinks */
	case ESTALE:	/* a name that another task removed meanwhile */
	case ERANGE:
		return true;
	}
	return false;
}

static int run_task(const struct load *load, int number)
{
	struct task *task = calloc(1, sizeof(*task));
	uint64_t i;
	unsigned int op;

	task->load = load;
	task->random = random_stream(1000 + number);
	signal(SIGBUS, on_fault);
	signal(SIGSEGV, on_fault);
	for (i = 0; !load->operations || i < load->operations; i++) {
		op = random_below(&task->random, NR_OPERATIONS);
		errno = 0;
		if (!operations[op](task))
			continue;
		if (errno == EIO && load->errors_end)
			return LOAD_SERVER_GONE;
		if (load->strict && !expected(errno)) {
			ktap_note("load: operation %u: %s", op, strerror(errno));
			return LOAD_WRONG;
		}
	}
	return LOAD_DONE;
}

/**
 * load_start - start the tasks
 * @load: what they do
 *
 * Return: PASS or FAIL.
 */
int load_start(struct load *load)
{
	int i;

	load->cuts = mmap(NULL, CUT_SLOTS * sizeof(*load->cuts),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	CHECK(load->cuts != MAP_FAILED);
	fflush(stdout);
	for (i = 0; i < load->tasks; i++) {
		load->pids[i] = fork();
		CHECK(load->pids[i] >= 0);
		if (!load->pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(run_task(load, i));
		}
	}
	return PASS;
}

/* Where a task is that should have ended. */
static int does_not_end(pid_t pid)
{
	static char text[4096];
	char path[64], *line;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (read_text(path, text, sizeof(text)) > 0)
		for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
			ktap_note("%d: %s", pid, line);
	CHECK(!"tasks of a load come to an end");
	return FAIL;
}

/**
 * load_wait - wait for all tasks
 * @load: started
 * @limit: seconds for all of them together
 * @codes: exit code of each, or -1 for a signal
 *
 * Return: PASS, or FAIL when some do not come to an end.
 */
int load_wait(struct load *load, double limit, int codes[LOAD_TASKS_MAX])
{
	double end = seconds() + limit;
	int i, status;

	for (i = 0; i < load->tasks; i++) {
		if (wait_exit(load->pids[i], end - seconds() + 0.1, &status))
			return does_not_end(load->pids[i]);
		codes[i] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	return PASS;
}

/**
 * load_stop - kill all tasks
 * @load: started
 *
 * Return: PASS, or FAIL when some do not come to an end, or came to a bad one
 * before.
 */
int load_stop(struct load *load)
{
	int codes[LOAD_TASKS_MAX], i;

	for (i = 0; i < load->tasks; i++)
		kill(load->pids[i], SIGKILL);
	CHECK_PASS(load_wait(load, LOAD_STOP_LIMIT, codes));
	for (i = 0; i < load->tasks; i++)
		CHECK(codes[i] != LOAD_WRONG);
	return PASS;
}

/**
 * load_run - have tasks do all of it
 * @load: with an end, and strict
 * @limit: seconds
 *
 * Return: PASS, or FAIL when one does not come to a good end.
 */
int load_run(struct load *load, double limit)
{
	int codes[LOAD_TASKS_MAX], i;

	CHECK_PASS(load_start(load));
	CHECK_PASS(load_wait(load, limit, codes));
	for (i = 0; i < load->tasks; i++)
		CHECK(codes[i] == LOAD_DONE);
	return PASS;
}
