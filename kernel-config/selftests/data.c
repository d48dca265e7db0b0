// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data, as an application sees it with an honest server: reading, writing,
 * mapping, changing the size.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"

static void *volatile nowhere = (void *)1;


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
	return PASS;
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
	return PASS;
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
	CHECK(!fstat(fd, &st) && st.st_blocks == (blkcnt_t)len / 512);
	p[17] = 'h';
	CHECK(!fstat(fd, &st) && st.st_blocks == (blkcnt_t)len / 512 + 8);
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
	return PASS;
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
	return PASS;
}

/* Files of that size until there is room for so many blocks less than one. */
static int fill_up(off_t size, unsigned int left)
{
	struct statfs sf;
	char path[64];
	int fd, i;

	for (i = 0; !statfs(MNT, &sf) && sf.f_bfree > left; i++) {
		snprintf(path, sizeof(path), MNT "/full%d", i);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		if (size > (off_t)(sf.f_bfree - left) * 4096)
			size = (off_t)(sf.f_bfree - left) * 4096;
		if (fd < 0 || fallocate(fd, 0, 0, size) || close(fd))
			return -1;
	}
	return sf.f_bfree == left ? 0 : -1;
}

/* What was copied before the room was over is there, and nothing else. */
static int test_copy_without_room(void)
{
	char data[8 * 4096], back[8 * 4096];
	int from = open(MNT "/from", O_RDWR | O_CREAT, 0600);
	int to = open(MNT "/to", O_RDWR | O_CREAT, 0600);
	loff_t in = 0, out = 0;
	struct stat st;

	fill(data, sizeof(data), 3);
	CHECK(pwrite(from, data, sizeof(data), 0) == sizeof(data));
	CHECK(!fill_up(16 << 20, 5));
	CHECK_ERR(copy_file_range(from, &in, to, &out, sizeof(data), 0), ENOSPC);
	CHECK(!fstat(to, &st) && st.st_size == 5 * 4096 && st.st_blocks == 40);
	CHECK(pread(to, back, sizeof(back), 0) == 5 * 4096);
	CHECK(!memcmp(back, data, 5 * 4096));
	close(from);
	close(to);
	return PASS;
}

static int test_memory_mount(void)
{
	char *p, c, back[5];
	int fd;

	CHECK(!mount_memory(MNT_SECOND, "size=16M"));
	CHECK(!write_file(MNT_SECOND "/a", "hello", 5));
	fd = open(MNT_SECOND "/a", O_RDWR);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, "hello", 5));
	p[0] = 'j';
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'j');
	CHECK(pwrite(fd, "J", 1, 0) == 1 && p[0] == 'J');
	/* The application's buffer is a mapping that has no pages. */
	CHECK(pwrite(fd, p, 5, 4096) == 5 && pread(fd, back, 5, 4096) == 5);
	CHECK(!memcmp(back, "Jello", 5));
	CHECK(pread(fd, p + 100, 5, 4096) == 5 && !memcmp(p + 100, "Jello", 5));
	munmap(p, 4096);
	close(fd);
	CHECK(!umount(MNT_SECOND));
	return PASS;
}

static int worker(int id)
{
	char path[64], buf[6000], back[6000];
	int i, fd;

	for (i = 0; i < count(15, 60); i++) {
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
	return PASS;
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
	return PASS;
}

static const struct test tests[] = {
	{ "read and write", test_read_write },
	{ "vectors and splice", test_vectors_and_splice },
	{ "mmap", test_mmap },
	{ "truncate and fallocate", test_truncate },
	{ "a copy without room", test_copy_without_room },
	{ "memory mount", test_memory_mount },
	{ "128 tasks", test_many_tasks },
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
