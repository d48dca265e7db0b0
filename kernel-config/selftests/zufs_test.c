// SPDX-License-Identifier: GPL-2.0-only
/*
 * Conformance test of the kernel half of ZUFS: starts the server of
 * zufs_client.c, mounts, and looks at what an application sees.
 *
 * usage: zufs_test [-c CHANNELS] [-t TEST] DEVICE...
 *
 * Output is TAP. Needs root, /proc and /sys; formats the devices.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "zufs_client.h"

#define MNT	"/mnt/zufs_test"

static const char *const *devices;
static int nr_devices;
static int channels = 1;
static pid_t server;
static const char *only;
static int number, failures;
static void *volatile nowhere = (void *)1;
static char why[512];

#define CHECK(condition)						\
	do {								\
		if (!(condition)) {					\
			snprintf(why, sizeof(why), "%s:%d: %s (errno %d)", \
				 __func__, __LINE__, #condition, errno);\
			return -1;					\
		}							\
	} while (0)

/* Fails with that errno. */
#define CHECK_ERR(call, error)						\
	do {								\
		errno = 0;						\
		CHECK((call) < 0 && errno == (error));			\
	} while (0)

/* ---- server and mount ---- */

static int start_server(void)
{
	int i;

	memset(control, 0, sizeof(*control));
	server = fork();
	if (!server) {
		/* It must not outlive the test. */
		exit(client_serve(channels));
	}
	for (i = 0; i < 500 && !control->ready; i++)
		usleep(10000);
	return control->ready ? 0 : -1;
}

static int stop_server(int sig)
{
	int status;

	kill(server, sig);
	return waitpid(server, &status, 0) == server ? 0 : -1;
}

static int mount_dev(const char *options)
{
	return mount(devices[0], MNT, CLIENT_FSNAME, 0, options);
}

static int write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = write(fd, data, len);
	close(fd);
	return done == (ssize_t)len ? 0 : -1;
}

static void fill(char *data, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = (char)((i * 2654435761U + seed) >> 13);
}

/* ---- tests: each gets an empty file system ---- */

static int test_create(void)
{
	struct stat st;

	CHECK(!stat(MNT, &st) && S_ISDIR(st.st_mode) && st.st_ino == 1);
	CHECK(!write_file(MNT "/a", "hello", 5));
	CHECK(!stat(MNT "/a", &st) && st.st_size == 5 && st.st_nlink == 1);
	CHECK((st.st_mode & 0777) == 0644 && S_ISREG(st.st_mode));
	CHECK_ERR(open(MNT "/a", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
	CHECK_ERR(open(MNT "/b", O_RDWR), ENOENT);
	CHECK(!mkdir(MNT "/d", 0700));
	CHECK(!stat(MNT, &st) && st.st_nlink == 3);
	CHECK(!mknod(MNT "/fifo", S_IFIFO | 0600, 0));
	CHECK(!mknod(MNT "/null", S_IFCHR | 0666, 0x103));
	CHECK(!stat(MNT "/null", &st) && st.st_rdev == 0x103);
	CHECK(!unlink(MNT "/a"));
	CHECK_ERR(stat(MNT "/a", &st), ENOENT);
	CHECK(!rmdir(MNT "/d"));
	CHECK(!stat(MNT, &st) && st.st_nlink == 2);
	return 0;
}

static int test_read_write(void)
{
	static char data[10 << 20], back[10 << 20];
	static const size_t sizes[] = { 1, 100, 4095, 4096, 4097, 65536, 65537,
					4 << 20, (4 << 20) + 1, 10 << 20 };
	unsigned int i, shift;
	int fd;

	fill(data, sizeof(data), 1);
	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (shift = 0; shift < 3; shift++) {
			size_t len = sizes[i] - (shift && sizes[i] > 4 ? shift : 0);
			off_t pos = shift * 1000;

			CHECK(!ftruncate(fd, 0));
			CHECK(pwrite(fd, data + shift, len, pos) == (ssize_t)len);
			memset(back, 0, len + 1);
			CHECK(pread(fd, back + shift, len + 50, pos) ==
			      (ssize_t)len);
			CHECK(!memcmp(back + shift, data + shift, len));
		}
	}
	CHECK(pread(fd, back, 10, 20 << 20) == 0);
	CHECK(!ftruncate(fd, 0));
	CHECK(pwrite(fd, "x", 1, 20000) == 1);
	CHECK(pread(fd, back, 20001, 0) == 20001 && back[20000] == 'x');
	for (i = 0; i < 20000; i++)
		CHECK(!back[i]);
	CHECK_ERR(pread(fd, nowhere, 10, 0), EFAULT);
	CHECK_ERR(pwrite(fd, nowhere, 10, 0), EFAULT);
	close(fd);
	return 0;
}

static int test_vectors_and_splice(void)
{
	char a[3000], b[5000], c[10000], back[18000];
	struct iovec iov[] = { { a, 3000 }, { b, 5000 }, { c, 10000 } };
	int fd, pipes[2], done = 0;
	ssize_t n;

	fill(a, sizeof(a), 1);
	fill(b, sizeof(b), 2);
	fill(c, sizeof(c), 3);
	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(writev(fd, iov, 3) == 18000);
	CHECK(pread(fd, back, 18000, 0) == 18000);
	CHECK(!memcmp(back, a, 3000) && !memcmp(back + 3000, b, 5000) &&
	      !memcmp(back + 8000, c, 10000));
	memset(a, 0, 3000);
	memset(c, 0, 10000);
	CHECK(preadv(fd, iov, 3, 0) == 18000);
	CHECK(!memcmp(back, a, 3000) && !memcmp(back + 8000, c, 10000));

	CHECK(!pipe(pipes));
	lseek(fd, 0, SEEK_SET);
	while (done < 18000) {
		n = splice(fd, NULL, pipes[1], NULL, 18000 - done, 0);
		CHECK(n > 0);
		CHECK(read(pipes[0], back + done, n) == n);
		done += n;
	}
	CHECK(!memcmp(back, a, 3000) && !memcmp(back + 8000, c, 10000));
	CHECK(write(pipes[1], "spliced", 7) == 7);
	lseek(fd, 5, SEEK_SET);
	CHECK(splice(pipes[0], NULL, fd, NULL, 7, 0) == 7);
	CHECK(pread(fd, back, 20, 0) == 20 && !memcmp(back + 5, "spliced", 7));
	close(fd);
	return 0;
}

static int test_mmap(void)
{
	size_t len = 3 << 20;
	char *p, *data = malloc(len);
	struct stat st;
	int fd;

	fill(data, len, 9);
	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(pwrite(fd, data, len, 0) == (ssize_t)len);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!memcmp(p, data, len));
	p[5000] = 'M';
	CHECK(!msync(p, len, MS_SYNC));
	CHECK(pread(fd, data, 1, 5000) == 1 && data[0] == 'M');
	CHECK(pwrite(fd, "W", 1, 9000) == 1 && p[9000] == 'W');
	CHECK(!ftruncate(fd, len + 4096) && !fstat(fd, &st));
	CHECK(!munmap(p, len));

	/* A hole: zeroes when read, a block once written. */
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, len);
	CHECK(p != MAP_FAILED && p[17] == 0);
	p[17] = 'h';
	CHECK(pread(fd, data, 1, len + 17) == 1 && data[0] == 'h');
	CHECK(pwrite(fd, "i", 1, len + 18) == 1 && p[18] == 'i');
	CHECK(!munmap(p, 4096));

	/* A mapped hole that write(2) fills. */
	CHECK(!ftruncate(fd, len + 8192));
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, len + 4096);
	CHECK(p[1] == 0);
	CHECK(pwrite(fd, "Z", 1, len + 4097) == 1 && p[1] == 'Z');
	CHECK(!munmap(p, 4096));

	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED);
	p[0] = 'P';
	CHECK(pread(fd, data, 1, 0) == 1 && data[0] != 'P');
	CHECK(!munmap(p, 4096));
	/* The application's buffer is a mapping of the file itself. */
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(pread(fd, p, 4096, 4096) == 4096);
	CHECK(!memcmp(p, p + 4096, 4096));
	CHECK(!munmap(p, 8192));
	close(fd);
	free(data);
	return 0;
}


static int faults(volatile char *p)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		(void)*p;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

static int test_truncate(void)
{
	char buf[8192], *p;
	struct stat st;
	int fd, i;

	memset(buf, 'x', sizeof(buf));
	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(pwrite(fd, buf, 8192, 0) == 8192);
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p[8000] == 'x');
	CHECK(!ftruncate(fd, 100));
	CHECK(!fstat(fd, &st) && st.st_size == 100 && st.st_blocks == 8);
	CHECK(p[99] == 'x' && p[100] == 0);
	CHECK(faults(p + 4096));
	CHECK(!ftruncate(fd, 8192));
	CHECK(pread(fd, buf, 8192, 0) == 8192);
	for (i = 100; i < 8192; i++)
		CHECK(!buf[i]);
	CHECK(p[4096] == 0);
	munmap(p, 8192);

	memset(buf, 'y', sizeof(buf));
	CHECK(pwrite(fd, buf, 8192, 0) == 8192);
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	CHECK(pread(fd, buf, 4097, 0) == 4097 && !buf[0] && !buf[4095] &&
	      buf[4096] == 'y');
	CHECK(!fallocate(fd, 0, 0, 20000));
	CHECK(!fstat(fd, &st) && st.st_size == 20000 && st.st_blocks == 40);
	CHECK_ERR(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, 4096), EINVAL);
	CHECK(lseek(fd, 0, SEEK_HOLE) >= 0);
	close(fd);
	return 0;
}

static int test_readdir(void)
{
	char path[300], seen[1500] = {};
	struct dirent *entry;
	int i, count = 0, dots = 0;
	long pos;
	DIR *dir;

	for (i = 0; i < 1500; i++) {
		snprintf(path, sizeof(path), MNT "/a-rather-long-name-%d", i);
		CHECK(!mknod(path, S_IFREG | 0600, 0));
	}
	dir = opendir(MNT);
	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.') {
			CHECK(entry->d_type == DT_DIR);
			dots++;
			continue;
		}
		CHECK(entry->d_type == DT_REG);
		i = atoi(strrchr(entry->d_name, '-') + 1);
		CHECK(i >= 0 && i < 1500 && !seen[i]);
		seen[i] = 1;
		count++;
	}
	CHECK(count == 1500 && dots == 2);
	rewinddir(dir);
	for (i = 0; i < 700; i++)
		CHECK(readdir(dir));
	pos = telldir(dir);
	entry = readdir(dir);
	snprintf(path, sizeof(path), "%s", entry->d_name);
	seekdir(dir, pos);
	entry = readdir(dir);
	CHECK(entry && !strcmp(entry->d_name, path));
	closedir(dir);
	return 0;
}

static int test_links(void)
{
	char target[4100], back[4200];
	struct stat st;
	int fd;

	CHECK(!write_file(MNT "/a", "1", 1));
	CHECK(!link(MNT "/a", MNT "/b"));
	CHECK(!stat(MNT "/b", &st) && st.st_nlink == 2);
	CHECK(!unlink(MNT "/a"));
	CHECK(!stat(MNT "/b", &st) && st.st_nlink == 1);

	CHECK(!symlink("short", MNT "/s"));
	CHECK(readlink(MNT "/s", back, sizeof(back)) == 5 &&
	      !memcmp(back, "short", 5));
	CHECK(!symlink("12345678901234567890123456789012", MNT "/s32"));
	CHECK(readlink(MNT "/s32", back, sizeof(back)) == 32);
	memset(target, 'L', 4095);
	target[4095] = 0;
	CHECK(!symlink(target, MNT "/l"));
	CHECK(readlink(MNT "/l", back, sizeof(back)) == 4095 &&
	      !memcmp(back, target, 4095));

	fd = open(MNT, O_TMPFILE | O_RDWR, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, "tmp", 3) == 3 && !fstat(fd, &st) && !st.st_nlink);
	snprintf(back, sizeof(back), "/proc/self/fd/%d", fd);
	CHECK(!linkat(AT_FDCWD, back, AT_FDCWD, MNT "/t", AT_SYMLINK_FOLLOW));
	CHECK(!stat(MNT "/t", &st) && st.st_nlink == 1 && st.st_size == 3);
	close(fd);
	return 0;
}

static int test_rename(void)
{
	struct stat st;

	CHECK(!mkdir(MNT "/d1", 0755) && !mkdir(MNT "/d2", 0755));
	CHECK(!write_file(MNT "/d1/f", "one", 3));
	CHECK(!rename(MNT "/d1/f", MNT "/d2/g"));
	CHECK_ERR(stat(MNT "/d1/f", &st), ENOENT);
	CHECK(!stat(MNT "/d2/g", &st) && st.st_size == 3);
	CHECK(!write_file(MNT "/x", "two22", 5));
	CHECK(!rename(MNT "/x", MNT "/d2/g"));
	CHECK(!stat(MNT "/d2/g", &st) && st.st_size == 5);
	CHECK_ERR(rename(MNT "/d1", MNT "/d2"), ENOTEMPTY);
	CHECK(!write_file(MNT "/y", "three", 4));
	CHECK_ERR(syscall(SYS_renameat2, AT_FDCWD, MNT "/y", AT_FDCWD,
			  MNT "/d2/g", 1), EEXIST);
	CHECK(!syscall(SYS_renameat2, AT_FDCWD, MNT "/y", AT_FDCWD, MNT "/d2",
		       2));
	CHECK(!stat(MNT "/d2", &st) && S_ISREG(st.st_mode));
	CHECK(!stat(MNT "/y/g", &st) && st.st_size == 5);
	return 0;
}

static int test_attributes(void)
{
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 7 } };
	struct statfs sf;
	struct stat st;

	CHECK(!write_file(MNT "/a", "1", 1));
	CHECK(!chmod(MNT "/a", 04711) && !stat(MNT "/a", &st) &&
	      (st.st_mode & 07777) == 04711);
	CHECK(!chown(MNT "/a", 1000, 1001) && !stat(MNT "/a", &st) &&
	      st.st_uid == 1000 && st.st_gid == 1001);
	CHECK(!utimensat(AT_FDCWD, MNT "/a", ts, 0) && !stat(MNT "/a", &st));
	CHECK(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_nsec == 7);
	/* Survives the inode being forgotten. */
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT, NULL));
	write_file("/proc/sys/vm/drop_caches", "2", 1);
	CHECK(!stat(MNT "/a", &st) && st.st_uid == 1000 &&
	      st.st_mtim.tv_sec == 2000);
	CHECK(!statfs(MNT, &sf) && sf.f_type == CLIENT_MAGIC &&
	      sf.f_bsize == 4096 && sf.f_blocks > 1000);
	return 0;
}

static int test_show_options(void)
{
	char line[4096];
	FILE *f = fopen("/proc/mounts", "r");
	int found = 0;

	while (fgets(line, sizeof(line), f))
		if (strstr(line, MNT) && strstr(line, "client=c"))
			found = 1;
	fclose(f);
	CHECK(found);
	return 0;
}

static int test_unlinked_open(void)
{
	char buf[4];
	int fd;

	CHECK(!write_file(MNT "/a", "gone", 4));
	fd = open(MNT "/a", O_RDWR);
	CHECK(!unlink(MNT "/a"));
	CHECK(pread(fd, buf, 4, 0) == 4 && !memcmp(buf, "gone", 4));
	close(fd);
	return 0;
}

static int worker(int id)
{
	char path[64], buf[6000], back[6000];
	int i, fd;

	for (i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), MNT "/w%d-%d", id, i % 7);
		fill(buf, sizeof(buf), id * 1000 + i);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		if (fd < 0 || pwrite(fd, buf, 6000, i * 10) != 6000 ||
		    pread(fd, back, 6000, i * 10) != 6000 ||
		    memcmp(buf, back, 6000) || close(fd))
			return 1;
		if (i % 3 == 0 && unlink(path))
			return 1;
	}
	return 0;
}

static int test_many_tasks(void)
{
	int i, status, bad = 0;

	for (i = 0; i < 128; i++)
		if (!fork())
			_exit(worker(i));
	for (i = 0; i < 128; i++) {
		wait(&status);
		bad += status != 0;
	}
	CHECK(!bad);
	return 0;
}

/* ---- the server lies ---- */

static int lie(int how, int operation)
{
	control->misbehave_operation = operation;
	control->misbehave = how;
	return 0;
}

static int honest(void)
{
	int i;

	control->misbehave = BEHAVE;
	/* What was just used survives the first round. */
	for (i = 0; i < 3; i++)
		write_file("/proc/sys/vm/drop_caches", "2", 1);
	return 0;
}

static int log_lines(const char *text)
{
	static char log[1 << 18];
	int n = syscall(SYS_syslog, 3, log, sizeof(log) - 1), count = 0;
	char *at = log;

	if (n < 0)
		return -1;
	log[n] = 0;
	while ((at = strstr(at, text))) {
		count++;
		at++;
	}
	return count;
}

static int test_lies_lookup(void)
{
	static const int lies[] = { BAD_ERROR_POSITIVE, BAD_ERROR_INTERNAL,
				    BAD_OUT_LEN, BAD_WINDOW_LEN, BAD_DPP_POOL,
				    BAD_DPP_RANGE, BAD_DPP_STRADDLE, BAD_MODE,
				    BAD_SIZE, BAD_NLINK };
	char path[32];
	struct stat st;
	unsigned int i;
	int before;

	for (i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		snprintf(path, sizeof(path), MNT "/ghost%u", i);
		before = log_lines("server gave a bad reply");
		lie(lies[i], ZUFS_OP_LOOKUP);
		errno = 0;
		if (stat(path, &st) != -1 || errno != EIO) {
			snprintf(why, sizeof(why), "lie %d believed, errno %d",
				 lies[i], errno);
			honest();
			return -1;
		}
		honest();
		CHECK(log_lines("server gave a bad reply") == before + 1);
	}
	for (; i < 20; i++) {
		snprintf(path, sizeof(path), MNT "/ghost%u", i);
		CHECK(!stat(path, &st) && st.st_nlink == 1);
	}
	/* And it still works. */
	CHECK(!write_file(MNT "/fine", "x", 1));
	return 0;
}

static int test_lies_io(void)
{
	char buf[100];
	char *p;
	int fd;

	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(write(fd, "0123456789", 10) == 10);
	lie(BAD_LAST_POS_BEFORE, ZUFS_OP_READ);
	CHECK_ERR(pread(fd, buf, 5, 2), EIO);
	lie(BAD_LAST_POS_BEHIND, ZUFS_OP_READ);
	CHECK_ERR(pread(fd, buf, 5, 2), EIO);
	lie(BAD_LAST_POS_BEHIND, ZUFS_OP_WRITE);
	CHECK_ERR(pwrite(fd, buf, 5, 2), EIO);
	lie(BAD_WINDOW_LEN, ZUFS_OP_WRITE);
	CHECK_ERR(pwrite(fd, buf, 5, 2), EIO);
	honest();

	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	lie(BAD_BLOCK_RANGE, ZUFS_OP_GET_MULTY);
	CHECK(faults(p));
	lie(BAD_BLOCK_TYPE, ZUFS_OP_GET_MULTY);
	CHECK(faults(p));
	lie(BAD_BLOCK_COUNT, ZUFS_OP_GET_MULTY);
	CHECK(faults(p));
	lie(BAD_BLOCK_NONE, ZUFS_OP_GET_MULTY);
	CHECK(faults(p));
	honest();
	CHECK(*p == '0' || *p);
	munmap(p, 4096);
	close(fd);
	return 0;
}

static int list_root(void)
{
	DIR *dir = opendir(MNT);
	int err;

	if (!dir)
		return -errno;
	errno = 0;
	while (readdir(dir))
		;
	err = -errno;
	closedir(dir);
	return err;
}

static int test_lies_readdir(void)
{
	CHECK(!write_file(MNT "/f", "x", 1));
	CHECK(list_root() == 0);
	lie(BAD_DIRENT_LEN, ZUFS_OP_READDIR);
	CHECK(list_root() == -EIO);
	lie(BAD_DIRENT_SLASH, ZUFS_OP_READDIR);
	CHECK(list_root() == -EIO);
	lie(BAD_DIRENT_TYPE, ZUFS_OP_READDIR);
	CHECK(list_root() == -EIO);
	lie(BAD_WINDOW_LEN, ZUFS_OP_READDIR);
	CHECK(list_root() == -EIO);
	honest();
	CHECK(list_root() == 0);
	return 0;
}

/* ---- the server, or the application, dies ---- */

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* A child that does one operation; its exit code is the errno. */
static pid_t start_reader(void)
{
	pid_t pid = fork();
	char buf[8192];
	int fd;

	if (pid)
		return pid;
	fd = open(MNT "/f", O_RDWR);
	_exit(pread(fd, buf, sizeof(buf), 0) < 0 ? errno : 0);
}

static int wait_hung(int count)
{
	int i;

	for (i = 0; i < 300 && control->hung < count; i++)
		usleep(10000);
	return control->hung >= count ? 0 : -1;
}

static int wait_exit(pid_t pid, double limit, int *status)
{
	double end = seconds() + limit;

	while (seconds() < end) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return 0;
		usleep(10000);
	}
	return -1;
}

static int test_kill_application(void)
{
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG, ZUFS_OP_READ);
	pid = start_reader();
	CHECK(!wait_hung(1));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, 15, &status));
	CHECK(WIFSIGNALED(status));
	honest();
	usleep(200000);
	/* The channel is back. */
	CHECK(!write_file(MNT "/g", "0123456789", 10));
	return 0;
}

static int test_kill_server(void)
{
	int status, i;
	pid_t pids[6];
	struct stat st;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	lie(HANG, ZUFS_OP_READ);
	for (i = 0; i < 6; i++)
		pids[i] = start_reader();
	CHECK(!wait_hung(1));
	stop_server(SIGKILL);
	for (i = 0; i < 6; i++) {
		CHECK(!wait_exit(pids[i], 10, &status));
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EIO);
	}
	CHECK_ERR(stat(MNT "/f", &st), EIO);
	CHECK_ERR(open(MNT "/new", O_CREAT | O_RDWR, 0600), EIO);
	CHECK(!umount(MNT));
	CHECK(!start_server());
	CHECK(!mount_dev(NULL));
	CHECK(!write_file(MNT "/f", "0123456789", 10));
	return 0;
}

static int test_break_all(void)
{
	struct zufs_ioc_break_all arg = {};
	int fd = open("/sys/fs/zuf", O_RDWR | O_TMPFILE | O_EXCL, 0600);
	struct stat st;
	int status;

	CHECK(fd >= 0);
	CHECK(!ioctl(fd, ZU_IOC_BREAK_ALL, &arg));
	CHECK(waitpid(server, &status, 0) == server);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	close(fd);
	CHECK_ERR(stat(MNT "/none", &st), EIO);
	CHECK(!umount(MNT));
	CHECK(!start_server());
	CHECK(!mount_dev(NULL));
	return 0;
}

static int test_mount_errors(void)
{
	CHECK(!umount(MNT));
	CHECK_ERR(mount_dev("refuse=1"), EPERM);
	CHECK_ERR(mount("/dev/null", MNT, CLIENT_FSNAME, 0, NULL), ENOTBLK);
	CHECK(!mount_dev(NULL));
	CHECK(!mkdir("/mnt/second", 0755) || errno == EEXIST);
	/* The same file system twice is the same super block. */
	CHECK(!mount(devices[0], "/mnt/second", CLIENT_FSNAME, 0, NULL));
	CHECK(!write_file(MNT "/a", "1", 1));
	CHECK(!access("/mnt/second/a", F_OK));
	CHECK(!umount("/mnt/second"));
	if (nr_devices > 1)
		CHECK_ERR(mount(devices[1], "/mnt/second", CLIENT_FSNAME, 0,
				NULL), EBUSY);
	return 0;
}

static int test_memory_mount(void)
{
	char *p;
	int fd;

	CHECK(!mkdir("/mnt/second", 0755) || errno == EEXIST);
	CHECK(!mount("none", "/mnt/second", CLIENT_MEMNAME, 0, "size=16M"));
	CHECK(!write_file("/mnt/second/a", "hello", 5));
	fd = open("/mnt/second/a", O_RDWR);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, "hello", 5));
	p[0] = 'j';
	char c;
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'j');
	CHECK(pwrite(fd, "J", 1, 0) == 1 && p[0] == 'J');
	munmap(p, 4096);
	close(fd);
	CHECK(!umount("/mnt/second"));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} tests[] = {
	{ "create", test_create },
	{ "read and write", test_read_write },
	{ "vectors and splice", test_vectors_and_splice },
	{ "mmap", test_mmap },
	{ "truncate and fallocate", test_truncate },
	{ "readdir", test_readdir },
	{ "links", test_links },
	{ "rename", test_rename },
	{ "attributes", test_attributes },
	{ "show options", test_show_options },
	{ "unlinked but open", test_unlinked_open },
	{ "128 tasks", test_many_tasks },
	{ "lies: lookup", test_lies_lookup },
	{ "lies: io", test_lies_io },
	{ "lies: readdir", test_lies_readdir },
	{ "mount errors", test_mount_errors },
	{ "memory mount", test_memory_mount },
	{ "kill application", test_kill_application },
	{ "kill server", test_kill_server },
	{ "break all", test_break_all },
};

static int wipe(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	char name[PATH_MAX];

	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) && errno == EISDIR) {
			wipe(name);
			rmdir(name);
		}
	}
	closedir(dir);
	return 0;
}

static void run(unsigned int i)
{
	double start = seconds();
	int err;

	if (only && !strstr(tests[i].name, only))
		return;
	why[0] = 0;
	err = tests[i].run();
	control->misbehave = BEHAVE;
	printf("%s %d - %s # %.2f s\n", err ? "not ok" : "ok", ++number,
	       tests[i].name, seconds() - start);
	if (err) {
		printf("# %s\n", why);
		failures++;
	}
	fflush(stdout);
	wipe(MNT);
}

int main(int argc, char **argv)
{
	unsigned int i;
	int opt;

	while ((opt = getopt(argc, argv, "c:t:")) != -1) {
		if (opt == 'c')
			channels = atoi(optarg);
		else if (opt == 't')
			only = optarg;
		else
			return 2;
	}
	devices = (const char *const *)argv + optind;
	nr_devices = argc - optind;
	if (!nr_devices)
		return 2;
	control = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mkdir("/mnt", 0755);
	mkdir(MNT, 0755);
	mount("zuf", "/sys/fs/zuf", "zuf", 0, NULL);
	if (client_mkfs(devices, nr_devices) || start_server() ||
	    mount_dev(NULL)) {
		printf("Bail out! no server or no mount, errno %d\n", errno);
		return 1;
	}
	for (i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		run(i);
	printf("%s %d - umount\n", umount(MNT) ? "not ok" : "ok", ++number);
	stop_server(SIGTERM);
	printf("1..%d\n# %d failed\n", number, failures);
	return failures != 0;
}
