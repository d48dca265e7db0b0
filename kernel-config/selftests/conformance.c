// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server that breaks the rules of its answers, one at a time: the operation
 * fails with EIO, one line of the log says so, and all goes on as before.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "caught.h"
#include "fixture.h"
#include "guest.h"
#include "load.h"

/* Mounts are no operation of a ZT: those stay honest. */
#define NO_OPERATION	0xffff

static int done(int verdict)
{
	CHECK(!verdict);
	honest();
	CHECK(!write_file(MNT "/fine", "x", 1));
	return PASS;
}

/* ---- names ---- */

/* The server knows every name that begins with "ghost". */
static int look_up(void)
{
	static int number;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), MNT "/ghost%d", ++number);
	return stat(path, &st);
}

static int test_lookup(void)
{
	int verdict = 0;

	CAUGHT(BAD_ERROR_POSITIVE, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_ERROR_INTERNAL, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_OUT_LEN, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_WINDOW_LEN, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_DPP_POOL, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_DPP_RANGE, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_DPP_STRADDLE, ZUFS_OP_LOOKUP, look_up);
	return done(verdict);
}

static int test_inode(void)
{
	int verdict = 0;

	CAUGHT(BAD_INO, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_MODE, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_SIZE, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_NLINK, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_BLOCKS, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_SYMLINK_EMPTY, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_SYMLINK_LONG, ZUFS_OP_LOOKUP, look_up);
	CAUGHT(BAD_SYMLINK_DPP, ZUFS_OP_LOOKUP, look_up);
	return done(verdict);
}

static int create(void)
{
	static int number;
	char path[64];

	snprintf(path, sizeof(path), MNT "/new%d", ++number);
	return mknod(path, S_IFREG | 0600, 0);
}

static int make_link(void)
{
	return link(MNT "/a", MNT "/b");
}

static int remove_file(void)
{
	return unlink(MNT "/a");
}

static int test_new_inode(void)
{
	int verdict = 0;

	CHECK(!write_file(MNT "/a", "1", 1));
	CAUGHT(BAD_DPP_POOL, ZUFS_OP_NEW_INODE, create);
	CAUGHT(BAD_DPP_RANGE, ZUFS_OP_NEW_INODE, create);
	CAUGHT(BAD_INO, ZUFS_OP_NEW_INODE, create);
	CAUGHT(BAD_SIZE, ZUFS_OP_NEW_INODE, create);
	CAUGHT(BAD_OUT_LEN, ZUFS_OP_NEW_INODE, create);
	CAUGHT(BAD_NLINK, ZUFS_OP_ADD_DENTRY, make_link);
	CAUGHT(BAD_ERROR_POSITIVE, ZUFS_OP_REMOVE_DENTRY, remove_file);
	return done(verdict);
}

static int list(void)
{
	DIR *dir = opendir(MNT);
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

static int test_readdir(void)
{
	int verdict = 0;

	CHECK(!write_file(MNT "/f", "x", 1));
	CHECK(!list());
	CAUGHT(BAD_DIRENT_RECORD, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_DIRENT_EMPTY, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_DIRENT_SLASH, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_DIRENT_NUL, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_DIRENT_TYPE, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_DIRENT_INO, ZUFS_OP_READDIR, list);
	CAUGHT(BAD_WINDOW_LEN, ZUFS_OP_READDIR, list);
	CHECK(!list());
	return done(verdict);
}

/* ---- data ---- */

static int fd;
static char *mapped;
static sigjmp_buf fault;

static int open_file(void)
{
	fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, "0123456789", 10) == 10);
	return PASS;
}

static int read_some(void)
{
	char buffer[5];

	return pread(fd, buffer, 5, 2);
}

static int write_some(void)
{
	return pwrite(fd, "abcde", 5, 2);
}

static int cut(void)
{
	return ftruncate(fd, 6);
}

static int test_read_write(void)
{
	int verdict = 0;

	CHECK_PASS(open_file());
	CAUGHT(BAD_LAST_POS_BEFORE, ZUFS_OP_READ, read_some);
	CAUGHT(BAD_LAST_POS_BEHIND, ZUFS_OP_READ, read_some);
	CAUGHT(BAD_RET_FLAGS, ZUFS_OP_READ, read_some);
	CAUGHT(BAD_OUT_LEN, ZUFS_OP_READ, read_some);
	CAUGHT(BAD_LAST_POS_BEFORE, ZUFS_OP_WRITE, write_some);
	CAUGHT(BAD_LAST_POS_BEHIND, ZUFS_OP_WRITE, write_some);
	CAUGHT(BAD_WINDOW_LEN, ZUFS_OP_WRITE, write_some);
	CAUGHT(BAD_RET_FLAGS, ZUFS_OP_WRITE, write_some);
	CAUGHT(BAD_RET_FLAGS, ZUFS_OP_FALLOCATE, cut);
	close(fd);
	return done(verdict);
}

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static int access_mapping(bool write)
{
	if (sigsetjmp(fault, 1)) {
		errno = EIO;
		return -1;
	}
	if (write)
		*(volatile char *)mapped = 'm';
	else
		(void)*(volatile char *)mapped;
	return 0;
}

static int load_byte(void)
{
	return access_mapping(false);
}

static int store_byte(void)
{
	return access_mapping(true);
}

static int test_mappings(void)
{
	int verdict = 0;

	CHECK_PASS(open_file());
	CHECK(!ftruncate(fd, 4096));
	mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(mapped != MAP_FAILED);
	signal(SIGBUS, on_fault);
	CAUGHT(BAD_BLOCK_RANGE, ZUFS_OP_GET_MULTY, load_byte);
	CAUGHT(BAD_BLOCK_POOL, ZUFS_OP_GET_MULTY, load_byte);
	CAUGHT(BAD_BLOCK_TYPE, ZUFS_OP_GET_MULTY, load_byte);
	CAUGHT(BAD_BLOCK_COUNT, ZUFS_OP_GET_MULTY, load_byte);
	CAUGHT(BAD_BLOCK_NONE, ZUFS_OP_GET_MULTY, load_byte);
	CAUGHT(BAD_BLOCK_HOLE, ZUFS_OP_GET_MULTY, store_byte);
	CAUGHT(BAD_RET_FLAGS, ZUFS_OP_GET_MULTY, store_byte);
	control->lie = HONEST;
	CHECK(!store_byte() && mapped[1] == '1');
	signal(SIGBUS, SIG_DFL);
	munmap(mapped, 4096);
	close(fd);
	return done(verdict);
}

/* ---- the rest ---- */

static int seek_data(void)
{
	return lseek(fd, 5, SEEK_DATA) < 0 ? -1 : 0;
}

static int map_extents(void)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[4];
	} fm = { .map = { .fm_length = 4096, .fm_extent_count = 4 } };

	return ioctl(fd, FS_IOC_FIEMAP, &fm);
}

static int unknown_ioctl(void)
{
	char arg[64] = "";

	return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'q', 1, sizeof(arg)), arg);
}

static int test_seek_and_extents(void)
{
	int verdict = 0;

	CHECK_PASS(open_file());
	CHECK(!seek_data() && !map_extents());
	CAUGHT(BAD_SEEK_BEFORE, ZUFS_OP_LLSEEK, seek_data);
	CAUGHT(BAD_SEEK_BEHIND, ZUFS_OP_LLSEEK, seek_data);
	CAUGHT(BAD_EXTENT_COUNT, ZUFS_OP_FIEMAP, map_extents);
	CAUGHT(BAD_EXTENT_RANGE, ZUFS_OP_FIEMAP, map_extents);
	CAUGHT(BAD_EXTENT_EMPTY, ZUFS_OP_FIEMAP, map_extents);
	CAUGHT(BAD_IOCTL_FLAGS, ZUFS_OP_IOCTL, unknown_ioctl);
	CAUGHT(BAD_IOCTL_SIZE, ZUFS_OP_IOCTL, unknown_ioctl);
	close(fd);
	return done(verdict);
}

static int get_xattr(void)
{
	char value[64];

	return getxattr(MNT "/f", "user.x", value, sizeof(value));
}

static int ask_xattr(void)
{
	return getxattr(MNT "/f", "user.x", NULL, 0);
}

static int list_xattrs(void)
{
	char names[64];

	return listxattr(MNT "/f", names, sizeof(names));
}

static int file_system_size(void)
{
	struct statfs sf;

	return statfs(MNT, &sf);
}

static int test_xattrs_and_statfs(void)
{
	int verdict = 0;

	CHECK_PASS(open_file());
	CHECK(!fsetxattr(fd, "user.x", "value", 5, 0));
	CHECK(get_xattr() == 5 && ask_xattr() == 5 && list_xattrs() == 7);
	CAUGHT(BAD_XATTR_SIZE, ZUFS_OP_XATTR_GET, get_xattr);
	CAUGHT(BAD_XATTR_OUT, ZUFS_OP_XATTR_GET, get_xattr);
	CAUGHT(BAD_XATTR_SIZE, ZUFS_OP_XATTR_GET, ask_xattr);
	CAUGHT(BAD_XATTR_SIZE, ZUFS_OP_XATTR_LIST, list_xattrs);
	CAUGHT(BAD_XATTR_LIST, ZUFS_OP_XATTR_LIST, list_xattrs);
	CAUGHT(BAD_OUT_LEN, ZUFS_OP_STATFS, file_system_size);
	CAUGHT(BAD_ERROR_INTERNAL, ZUFS_OP_STATFS, file_system_size);
	CAUGHT(BAD_ERROR_RETRY, ZUFS_OP_STATFS, file_system_size);
	close(fd);
	return done(verdict);
}

static int mount_again(void)
{
	return mount_pmem(NULL);
}

static int test_mount(void)
{
	int verdict = 0;

	CHECK(!umount_soon(MNT));
	CAUGHT(BAD_ROOT_DPP, NO_OPERATION, mount_again);
	CAUGHT(BAD_ROOT_TYPE, NO_OPERATION, mount_again);
	CAUGHT(BAD_BLOCK_BITS, NO_OPERATION, mount_again);
	CAUGHT(BAD_CAPS, NO_OPERATION, mount_again);
	CHECK(!verdict);
	CHECK(!mount_pmem(NULL));
	return done(verdict);
}

/* After all of that, on the same kernel. */
static int test_still_works(void)
{
	struct load load = { .dir = MNT, .tasks = 4, .operations = 300,
			     .strict = true };

	return load_run(&load, 120);
}

static const struct test tests[] = {
	{ "lookup", test_lookup },
	{ "inodes", test_inode },
	{ "new names", test_new_inode },
	{ "directory entries", test_readdir },
	{ "read and write", test_read_write },
	{ "mappings", test_mappings },
	{ "seek, extents, ioctl", test_seek_and_extents },
	{ "extended attributes, statfs", test_xattrs_and_statfs },
	{ "mount", test_mount },
	{ "the kernel is none the worse for it", test_still_works },
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
