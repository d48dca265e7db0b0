// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names, attributes and mounts, as an application sees them with an honest
 * server.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"


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
	return PASS;
}

/* What is there, whether the kernel knows it or not, is opened. */
static int open_existing(void)
{
	char text[8] = {};
	struct stat st;
	int fd;

	fd = open(MNT "/there", O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 5);
	CHECK(!memcmp(text, "hello", 5));
	CHECK(!fstat(fd, &st) && (st.st_mode & 0777) == 0644);
	close(fd);
	CHECK_ERR(open(MNT "/there", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
	CHECK_ERR(open(MNT "/dir", O_CREAT | O_RDWR, 0600), EISDIR);
	CHECK_ERR(open(MNT "/link", O_CREAT | O_NOFOLLOW | O_RDWR, 0600), ELOOP);
	fd = open(MNT "/link", O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 5);
	close(fd);
	return PASS;
}

static int test_open_creates(void)
{
	long long made, looked;
	struct stat st;
	int fd;

	CHECK(!write_file(MNT "/there", "hello", 5));
	CHECK(!mkdir(MNT "/dir", 0700));
	CHECK(!symlink("there", MNT "/link"));
	CHECK(open_existing() == PASS);
	write_text("/proc/sys/vm/drop_caches", "2");
	CHECK(open_existing() == PASS);

	made = asked(ZUFS_OP_NEW_INODE);
	looked = asked(ZUFS_OP_LOOKUP);
	CHECK(made > 0);
	fd = open(MNT "/new", O_CREAT | O_RDWR, 0640);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	/* One call, not a look before it. */
	CHECK(asked(ZUFS_OP_NEW_INODE) == made + 1);
	CHECK(asked(ZUFS_OP_LOOKUP) == looked);
	CHECK(!fstat(fd, &st) && st.st_nlink == 1 && st.st_size == 1);
	close(fd);
	CHECK(!stat(MNT "/new", &st) && (st.st_mode & 0777) == 0640);
	/* A name that the kernel knows is not there. */
	CHECK_ERR(stat(MNT "/later", &st), ENOENT);
	fd = open(MNT "/later", O_CREAT | O_EXCL | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK(!unlink(MNT "/later"));
	CHECK_ERR(open(MNT "/later", O_RDWR), ENOENT);

	/* What may not be changed can still be opened. */
	write_text("/proc/sys/vm/drop_caches", "2");
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	fd = open(MNT "/there", O_CREAT | O_RDONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_ERR(open(MNT "/none", O_CREAT | O_RDONLY, 0600), EROFS);
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT, NULL));
	return PASS;
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
	return PASS;
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
	return PASS;
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
	return PASS;
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
	/* From the first second to the last that nanoseconds have. */
	ts[0].tv_sec = -9223372036;
	ts[1].tv_sec = 9223372036;
	ts[0].tv_nsec = ts[1].tv_nsec = 0;
	CHECK(!utimensat(AT_FDCWD, MNT "/a", ts, 0));
	honest();
	CHECK(!stat(MNT "/a", &st) && st.st_atim.tv_sec == -9223372036 &&
	      st.st_mtim.tv_sec == 9223372036 && !st.st_atim.tv_nsec &&
	      !st.st_mtim.tv_nsec);
	ts[1] = (struct timespec){ 2000, 7 };
	CHECK(!utimensat(AT_FDCWD, MNT "/a", ts, 0));
	/* Survives the inode being forgotten. */
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT, NULL));
	write_text("/proc/sys/vm/drop_caches", "2");
	CHECK(!stat(MNT "/a", &st) && st.st_uid == 1000 &&
	      st.st_mtim.tv_sec == 2000);
	CHECK(!statfs(MNT, &sf) && sf.f_type == SERVER_MAGIC &&
	      sf.f_bsize == 4096 && sf.f_blocks > 1000);
	return PASS;
}

static int test_show_options(void)
{
	char line[4096];
	FILE *f = fopen("/proc/mounts", "r");
	int found = 0;

	while (fgets(line, sizeof(line), f))
		if (strstr(line, MNT) && strstr(line, "server=c"))
			found = 1;
	fclose(f);
	CHECK(found);
	return PASS;
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
	return PASS;
}

static int test_xattrs(void)
{
	char value[4000], back[4000], list[64];

	fill(value, sizeof(value), 3);
	CHECK(!write_file(MNT "/a", "1", 1));
	CHECK_ERR(getxattr(MNT "/a", "user.one", back, 10), ENODATA);
	CHECK(!setxattr(MNT "/a", "user.one", value, sizeof(value), 0));
	CHECK(getxattr(MNT "/a", "user.one", NULL, 0) == sizeof(value));
	CHECK(getxattr(MNT "/a", "user.one", back, sizeof(back)) ==
	      sizeof(value));
	CHECK(!memcmp(value, back, sizeof(value)));
	CHECK_ERR(getxattr(MNT "/a", "user.one", back, 10), ERANGE);
	CHECK_ERR(setxattr(MNT "/a", "user.one", "x", 1, XATTR_CREATE), EEXIST);
	CHECK_ERR(setxattr(MNT "/a", "user.two", "x", 1, XATTR_REPLACE),
		  ENODATA);
	CHECK(!setxattr(MNT "/a", "trusted.two", "", 0, 0));
	CHECK(getxattr(MNT "/a", "trusted.two", back, 10) == 0);
	CHECK(listxattr(MNT "/a", list, sizeof(list)) == 21);
	CHECK(!memcmp(list, "user.one\0trusted.two", 21));
	CHECK(!removexattr(MNT "/a", "user.one"));
	CHECK(listxattr(MNT "/a", list, sizeof(list)) == 12);
	return PASS;
}

static int test_break_all(void)
{
	struct zufs_ioc_break_all arg = {};
	int fd = zuf_open();
	struct stat st;
	int status;

	CHECK(fd >= 0);
	CHECK(!ioctl(fd, ZU_IOC_BREAK_ALL, &arg));
	CHECK(waitpid(server_pid, &status, 0) == server_pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	close(fd);
	CHECK_ERR(stat(MNT "/none", &st), EIO);
	CHECK(!umount(MNT));
	CHECK(!server_start());
	CHECK(!mount_pmem(NULL));
	return PASS;
}

static int test_mount_errors(void)
{
	CHECK(!umount(MNT));
	CHECK_ERR(mount_pmem("refuse=1"), EPERM);
	CHECK_ERR(mount("/dev/null", MNT, SERVER_FSNAME, 0, NULL), ENOTBLK);
	CHECK(!mount_pmem(NULL));
	/* The same file system twice is the same super block. */
	CHECK(!mount(options.devices[0], MNT_SECOND, SERVER_FSNAME, 0, NULL));
	CHECK(!write_file(MNT "/a", "1", 1));
	CHECK(!access(MNT_SECOND "/a", F_OK));
	CHECK(!umount(MNT_SECOND));
	if (options.nr_devices > 1)
		CHECK_ERR(mount(options.devices[1], MNT_SECOND, SERVER_FSNAME, 0,
				NULL), EBUSY);
	return PASS;
}

static const struct test tests[] = {
	{ "create", test_create },
	{ "open creates", test_open_creates },
	{ "readdir", test_readdir },
	{ "links", test_links },
	{ "rename", test_rename },
	{ "attributes", test_attributes },
	{ "extended attributes", test_xattrs },
	{ "show options", test_show_options },
	{ "unlinked but open", test_unlinked_open },
	{ "mount errors", test_mount_errors },
	{ "break all", test_break_all },
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
