// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation on the way of an operation fails once: the operation ends in
 * an error, or does without what it did not get; the next try succeeds, and
 * nothing is left behind.
 *
 * Needs CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC and /proc/self/fail-nth.
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
#include <sys/xattr.h>
#include <unistd.h>
#include "each_allocation.h"
#include "fixture.h"
#include "guest.h"

static int set_up(void)
{
	static char data[64 * 1024];

	CHECK_PASS(fixture_prepare());
	if (failures_possible())
		return ktap_skip("this kernel has no fault injection");
	CHECK_PASS(fixture_start());
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	CHECK(!mkdir(MNT "/d", 0755));
	return PASS;
}

static int forget(void)
{
	return write_text("/proc/sys/vm/drop_caches", "2");
}

/* ---- mount ---- */

static int unmounted(void)
{
	if (umount_soon(MNT) && errno != EINVAL)
		return -1;
	return 0;
}

static int mount_it(void)
{
	return mount_pmem("some=options");
}

static int mount_second(void)
{
	return mount_memory(MNT_SECOND, "size=4M");
}

static int umount_second(void)
{
	return umount_soon(MNT_SECOND);
}

static int test_mount(void)
{
	static const struct site sites[] = {
		{ "mount on pmem", unmounted, mount_it, NULL },
		{ "mount on memory", NULL, mount_second, umount_second },
		{}
	};

	return fail_each_allocation(sites);
}

/* ---- names ---- */

static int look_up(void)
{
	struct stat st;

	return stat(MNT "/f", &st);
}

static int create(void)
{
	int fd = open(MNT "/new", O_CREAT | O_EXCL | O_RDWR, 0600);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int remove_new(void)
{
	return unlink(MNT "/new");
}

/*
 * The server may have made the name before the kernel ran out of memory for its
 * part of it.
 */
static int no_new(void)
{
	return unlink(MNT "/new") && errno != ENOENT ? -1 : 0;
}

static int make_dir(void)
{
	return mkdir(MNT "/newdir", 0700);
}

static int no_dir(void)
{
	return rmdir(MNT "/newdir") && errno != ENOENT ? -1 : 0;
}

static int make_symlink(void)
{
	return symlink("a target that is too long for the inode itself, so it goes through the window",
		       MNT "/new");
}

static int make_link(void)
{
	return link(MNT "/f", MNT "/new");
}

static int have_new(void)
{
	return unlink(MNT "/moved") && errno != ENOENT ? -1 :
	       write_file(MNT "/new", "x", 1);
}

static int move_it(void)
{
	return rename(MNT "/new", MNT "/moved");
}

static int make_tmpfile(void)
{
	int fd = open(MNT, O_TMPFILE | O_RDWR, 0600);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
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

static int test_names(void)
{
	static const struct site sites[] = {
		{ "lookup", forget, look_up, NULL },
		{ "create", no_new, create, remove_new },
		{ "mkdir", no_dir, make_dir, no_dir },
		{ "symlink", no_new, make_symlink, remove_new },
		{ "link", no_new, make_link, remove_new },
		{ "rename", have_new, move_it, NULL },
		{ "O_TMPFILE", NULL, make_tmpfile, NULL },
		{ "readdir", NULL, list, NULL },
		{}
	};

	return fail_each_allocation(sites);
}

/* ---- data ---- */

static int fd;
static char buffer[100000];

static int write_data(void)
{
	ssize_t done = pwrite(fd, buffer, sizeof(buffer), 1000);

	/* Some of it, when memory ran out later. */
	return done > 0 ? 0 : -1;
}

static int read_data(void)
{
	return pread(fd, buffer, sizeof(buffer), 10) > 0 ? 0 : -1;
}

static int pipes[2] = { -1, -1 };

static int empty_pipe(void)
{
	if (pipes[0] >= 0) {
		close(pipes[0]);
		close(pipes[1]);
	}
	return pipe(pipes);
}

static int splice_data(void)
{
	return splice(fd, &(loff_t){ 0 }, pipes[1], NULL, 8192, 0) > 0 ? 0 : -1;
}

static int cut(void)
{
	return ftruncate(fd, 5000) || ftruncate(fd, 70000);
}

static int set_xattr(void)
{
	return fsetxattr(fd, "user.x", buffer, 3000, 0);
}

static int get_xattr(void)
{
	return fgetxattr(fd, "user.x", buffer, 3000) < 0 ? -1 : 0;
}

static int list_xattrs(void)
{
	return flistxattr(fd, buffer, 3000) < 0 ? -1 : 0;
}

static int map_extents(void)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[4];
	} fm = { .map = { .fm_length = 4096, .fm_extent_count = 4 } };

	return ioctl(fd, FS_IOC_FIEMAP, &fm);
}

static int test_data(void)
{
	static const struct site sites[] = {
		{ "write", NULL, write_data, NULL },
		{ "read", NULL, read_data, NULL },
		{ "splice", empty_pipe, splice_data, NULL },
		{ "truncate", NULL, cut, NULL },
		{ "setxattr", NULL, set_xattr, NULL },
		{ "getxattr", NULL, get_xattr, NULL },
		{ "listxattr", NULL, list_xattrs, NULL },
		{ "fiemap", NULL, map_extents, NULL },
		{}
	};
	int verdict;

	fd = open(MNT "/f", O_RDWR);
	CHECK(fd >= 0);
	verdict = fail_each_allocation(sites);
	close(fd);
	return verdict;
}

/* ---- faults ---- */

static char *mapped;
static sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static int map_afresh(void)
{
	if (mapped)
		munmap(mapped, 8192);
	/* Nothing of it is left in fs/dax either. */
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192))
		return -1;
	mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return mapped == MAP_FAILED ? -1 : 0;
}

static int load_byte(void)
{
	if (sigsetjmp(fault, 1)) {
		errno = ENOMEM;
		return -1;
	}
	(void)*(volatile char *)mapped;
	return 0;
}

static int store_byte(void)
{
	if (sigsetjmp(fault, 1)) {
		errno = ENOMEM;
		return -1;
	}
	*(volatile char *)mapped = 1;
	return 0;
}

static int load_then_store(void)
{
	return load_byte() || store_byte() ? -1 : 0;
}

static int test_faults(void)
{
	static const struct site sites[] = {
		{ "fault to read", map_afresh, load_byte, NULL },
		{ "fault to write", map_afresh, store_byte, NULL },
		{ "store to what was read", map_afresh, load_then_store, NULL },
		{}
	};
	int verdict;

	fd = open(MNT "/f", O_RDWR);
	CHECK(fd >= 0);
	signal(SIGBUS, on_fault);
	verdict = fail_each_allocation(sites);
	signal(SIGBUS, SIG_DFL);
	munmap(mapped, 8192);
	close(fd);
	return verdict;
}

/* ---- the server's calls ---- */

static struct zt zt = { .cpu = 0, .channel = ZUFS_MAX_ZT_CHANNELS - 1 };

static int start_thread(void)
{
	int err = zt_open(&zt);

	errno = -err;
	return err ? -1 : 0;
}

static int end_thread(void)
{
	munmap(zt.window, ZUS_API_MAP_MAX_SIZE);
	munmap(zt.buffer, 65536);
	return close(zt.fd);
}

static int numa_map(void)
{
	static char page[4096];
	int root = zuf_open(), err, no;

	if (root < 0)
		return -1;
	err = ioctl(root, ZU_IOC_NUMA_MAP, page);
	no = errno;
	close(root);
	errno = no;
	return err;
}

static int test_server(void)
{
	static const struct site sites[] = {
		{ "thread with its mappings", NULL, start_thread, end_thread },
		{ "NUMA map", NULL, numa_map, NULL },
		{}
	};

	return fail_each_allocation(sites);
}

static const struct test tests[] = {
	{ "names", test_names },
	{ "data", test_data },
	{ "faults", test_faults },
	{ "server", test_server },
	{ "mount", test_mount },
	{ "nothing is leaked", nothing_leaked },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = set_up,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
