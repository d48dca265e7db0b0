// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mounts: what a device table must be, several servers, read-only, frozen,
 * shut down and idmapped ones, file handles, and what there is not.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"

/* <sys/mount.h> and <linux/mount.h> do not go together. */
int mount(const char *source, const char *target, const char *type,
	  unsigned long flags, const void *data);
int umount(const char *target);

#define SHUTDOWN	_IOR('X', 125, __u32)

static uint64_t calls(int operation)
{
	return control->served_of[operation];
}

/* ---- device tables ---- */

static void other_magic(struct md_dev_table *mdt, int index)
{
	mdt->s_magic++;
}

static void other_major(struct md_dev_table *mdt, int index)
{
	mdt->s_version = 2 * MD_MINORS_PER_MAJOR;
}

static void listed_twice(struct md_dev_table *mdt, int index)
{
	mdt->s_dev_list.dev_ids[1] = mdt->s_dev_list.dev_ids[0];
}

static void larger(struct md_dev_table *mdt, int index)
{
	mdt->s_dev_list.dev_ids[index].blocks += 512;
	mdt->s_t1_blocks += 512;
}

static void second_missing(struct md_dev_table *mdt, int index)
{
	if (index)
		mdt->s_uuid[0]++;
}

static void second_differs(struct md_dev_table *mdt, int index)
{
	if (index)
		mdt->s_flags ^= MDT_F_SHADOW;
}

static void wrong_total(struct md_dev_table *mdt, int index)
{
	mdt->s_t1_blocks--;
}

static void needs_t2(struct md_dev_table *mdt, int index)
{
	mdt->s_dev_list.t2_count = 1;
	mdt->s_t2_blocks = 1000;
}

static const struct {
	const char *what;
	void (*spoil)(struct md_dev_table *mdt, int index);
	int error;
	const char *says;
} tables[] = {
	{ "other magic", other_magic, EINVAL, "pmem0: not a file system of" },
	{ "other major", other_major, EINVAL, "pmem0: other major version" },
	{ "twice", listed_twice, EINVAL, "pmem0: lists a device twice" },
	{ "larger", larger, EINVAL, "is of another size than the table" },
	{ "missing", second_missing, EINVAL, "device 1 (" },
	{ "differs", second_differs, EINVAL, "pmem1: device table differs" },
	{ "total", wrong_total, EINVAL, "pmem0: device sizes do not add up" },
	{ "T2", needs_t2, EOPNOTSUPP, "pmem0: needs block devices behind it" },
};

static int head_of_device(char *head, size_t size)
{
	int fd = open(options.devices[0], O_RDONLY);
	ssize_t done = pread(fd, head, size, 0);

	close(fd);
	return done == (ssize_t)size ? 0 : -1;
}

static int refused(unsigned int n)
{
	static char before[65536], after[65536];
	int lines = log_lines(tables[n].says);

	CHECK(!server_mkfs_spoilt(options.devices, options.nr_devices,
				  tables[n].spoil));
	CHECK(!head_of_device(before, sizeof(before)));
	errno = 0;
	if (!mount_pmem(NULL) || errno != tables[n].error ||
	    log_lines(tables[n].says) != lines + 1) {
		ktap_note("%s: %s, %d lines '%s'", tables[n].what,
			  strerror(errno), log_lines(tables[n].says) - lines,
			  tables[n].says);
		return FAIL;
	}
	/* Nothing was written. */
	CHECK(!head_of_device(after, sizeof(after)));
	CHECK(!memcmp(before, after, sizeof(after)));
	return PASS;
}

static int spoil_byte(void)
{
	int fd = open(options.devices[0], O_RDWR);
	bool ok = pwrite(fd, "x", 1, 100) == 1 && !fsync(fd);

	close(fd);
	return ok ? PASS : FAIL;
}

static int test_device_tables(void)
{
	int verdict = 0, lines = log_lines("fails its checksum");
	unsigned int i;

	CHECK(options.nr_devices == 2);
	CHECK(!umount_soon(MNT));
	for (i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		verdict |= refused(i);
	CHECK(!verdict);
	CHECK(!server_mkfs(options.devices, options.nr_devices));
	CHECK_PASS(spoil_byte());
	CHECK_ERR(mount_pmem(NULL), EINVAL);
	CHECK(log_lines("fails its checksum") == lines + 1);
	CHECK(!server_mkfs(options.devices, options.nr_devices));
	CHECK(!mount_pmem(NULL));
	return PASS;
}

/* Each device is memory of another node, and the server hears of which. */
static int test_nodes(void)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		return ktap_skip("the machine has one node");
	CHECK(options.nr_devices == 2);
	CHECK(control->node_of_device[0] == 0);
	CHECK(control->node_of_device[1] == 1);
	return PASS;
}

/* ---- several servers ---- */

static struct control *first_control, *second_control;

/* A server on a zuf-root of its own, with a control of its own. */
static pid_t start_second(void)
{
	pid_t pid;
	int i;

	mkdir(SECOND_ROOT, 0755);
	mount("second", SECOND_ROOT, "zuf", 0, NULL);
	memset(second_control, 0, sizeof(*second_control));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		control = second_control;
		exit(server_run_second());
	}
	for (i = 0; i < 10000 && !second_control->ready; i++)
		usleep(1000);
	return pid;
}

static int break_second(void)
{
	struct zufs_ioc_break_all arg = {};
	int fd, err;

	server_root = SECOND_ROOT;
	fd = zuf_open();
	err = ioctl(fd, ZU_IOC_BREAK_ALL, &arg);
	close(fd);
	server_root = ZUF_ROOT;
	return err;
}

static int test_roots(void)
{
	struct stat st;
	int status, i;
	pid_t pid;

	first_control = control;
	second_control = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < 2; i++) {
		pid = start_second();
		CHECK(second_control->ready);
		CHECK(!mount("none", MNT_SECOND, SECOND_MEMNAME, 0, "size=8M"));
		CHECK(!write_file(MNT "/f", "first", 5));
		CHECK(!write_file(MNT_SECOND "/f", "2nd", 3));
		CHECK(!stat(MNT "/f", &st) && st.st_size == 5);
		CHECK(!stat(MNT_SECOND "/f", &st) && st.st_size == 3);
		/* One is sent home, or dies: the other goes on. */
		if (i) {
			kill(pid, SIGKILL);
		} else {
			CHECK(!break_second());
		}
		CHECK(!wait_exit(pid, 20, &status));
		CHECK(i ? WIFSIGNALED(status) : !status);
		CHECK_ERR(stat(MNT_SECOND "/g", &st), EIO);
		CHECK(!write_file(MNT "/g", "still", 5));
		CHECK(!umount_soon(MNT_SECOND));
		CHECK_ERR(mount("none", MNT_SECOND, SECOND_MEMNAME, 0, NULL),
			  ENODEV);
	}
	/* The other way round. */
	pid = start_second();
	CHECK(!mount("none", MNT_SECOND, SECOND_MEMNAME, 0, "size=8M"));
	CHECK_PASS(server_stop(SIGKILL));
	CHECK_ERR(stat(MNT "/g", &st), EIO);
	CHECK(!write_file(MNT_SECOND "/g", "still", 5));
	CHECK(!umount_soon(MNT_SECOND));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, 20, &status));
	CHECK(!umount(SECOND_ROOT));
	return PASS;
}

/* ---- what there is not ---- */

static int test_not_supported(void)
{
	static const unsigned int commands[] = { ZU_IOC_PRIVATE_MOUNT,
						 ZU_IOC_ALLOC_BUFFER,
						 ZU_IOC_IOMAP_EXEC };
	static char page[4096];
	unsigned int i;
	int fd;

	for (i = 0; i < 3; i++) {
		fd = zuf_open();
		CHECK_ERR(ioctl(fd, commands[i], page), EOPNOTSUPP);
		close(fd);
	}
	return PASS;
}

/* ---- read-only, frozen, shut down ---- */

static int test_read_only(void)
{
	CHECK(!write_file(MNT "/f", "x", 1));
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	CHECK_ERR(open(MNT "/f", O_RDWR), EROFS);
	CHECK_ERR(mkdir(MNT "/d", 0755), EROFS);
	CHECK(!access(MNT "/f", R_OK));
	CHECK(!mount(NULL, MNT, NULL, MS_REMOUNT, NULL));
	CHECK(!write_file(MNT "/f", "xy", 2));
	return PASS;
}

/* A change wants a mount that can be written to, whatever the file was opened for. */
static int test_label_of_read_only(void)
{
	char label[FSLABEL_MAX] = "label";
	int fd, bound;

	CHECK(!mount(MNT, MNT_SECOND, NULL, MS_BIND, NULL));
	CHECK(!mount(NULL, MNT_SECOND, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY,
		     NULL));
	bound = open(MNT_SECOND, O_RDONLY);
	fd = open(MNT, O_RDONLY);
	CHECK(bound >= 0 && fd >= 0);
	CHECK_ERR(ioctl(bound, FS_IOC_SETFSLABEL, label), EROFS);
	/* This server has none. */
	CHECK_ERR(ioctl(fd, FS_IOC_SETFSLABEL, label), ENOTTY);
	CHECK_ERR(ioctl(bound, FS_IOC_GETFSLABEL, label), ENOTTY);
	close(bound);
	close(fd);
	CHECK(!umount(MNT_SECOND));
	return PASS;
}

static int write_it(void *unused)
{
	return write_file(MNT "/f", "thawed", 6);
}

/* Has a file without a name, and closes it when it hears of it. */
static int hold_unlinked(void *pipes)
{
	int fd = open(MNT "/gone", O_RDWR | O_CREAT, 0600);
	char byte = 0;

	return fd < 0 || unlink(MNT "/gone") ||
	       write(((int *)pipes)[3], &byte, 1) != 1 ||
	       read(((int *)pipes)[0], &byte, 1) != 1 || close(fd);
}

/* To free a file is to change the file system, too: that waits. */
static int test_freeze_unlinked(void)
{
	int fd = open(MNT, O_RDONLY), pipes[4], status;
	uint64_t freed = calls(ZUFS_OP_FREE_INODE);
	char byte = 0;
	pid_t pid;

	CHECK(!pipe(pipes) && !pipe(pipes + 2));
	pid = start_child(hold_unlinked, pipes);
	CHECK(read(pipes[2], &byte, 1) == 1);
	CHECK(!ioctl(fd, FIFREEZE, 0));
	CHECK(write(pipes[1], &byte, 1) == 1);
	CHECK(wait_exit(pid, 0.5, &status));
	CHECK(calls(ZUFS_OP_FREE_INODE) == freed);
	CHECK(!ioctl(fd, FITHAW, 0));
	CHECK(!wait_exit(pid, 10, &status) && !status);
	CHECK(!syncfs(fd) && calls(ZUFS_OP_FREE_INODE) == freed + 1);
	close(fd);
	return PASS;
}

static int test_freeze(void)
{
	int fd = open(MNT, O_RDONLY), status;
	uint64_t syncs = calls(ZUFS_OP_SYNC);
	pid_t pid;

	CHECK(!write_file(MNT "/f", "x", 1));
	CHECK(!ioctl(fd, FIFREEZE, 0));
	CHECK(calls(ZUFS_OP_SYNC) > syncs);
	pid = start_child(write_it, NULL);
	CHECK(wait_exit(pid, 0.5, &status));
	CHECK(!ioctl(fd, FITHAW, 0));
	CHECK(!wait_exit(pid, 10, &status));
	CHECK(!status);
	close(fd);
	return PASS;
}

/* FULLSYNC, METASYNC, NOSYNC: what the server has to make persistent before. */
static int test_shut_down(void)
{
	uint64_t syncs;
	struct stat st;
	char byte;
	__u32 how;
	int fd;

	for (how = 0; how < 3; how++) {
		CHECK(!write_file(MNT "/f", "x", 1));
		fd = open(MNT "/f", O_RDWR);
		syncs = calls(ZUFS_OP_SYNC);
		CHECK(!ioctl(fd, SHUTDOWN, &how));
		CHECK((calls(ZUFS_OP_SYNC) > syncs) == (how < 2));
		CHECK_ERR(pread(fd, &byte, 1, 0), EIO);
		CHECK_ERR(pwrite(fd, &byte, 1, 0), EIO);
		CHECK_ERR(fsync(fd), EIO);
		CHECK_ERR(stat(MNT "/unknown", &st), EIO);
		close(fd);
		CHECK(!umount_soon(MNT));
		CHECK(!mount_pmem(NULL));
	}
	how = 3;
	fd = open(MNT, O_RDONLY);
	CHECK_ERR(ioctl(fd, SHUTDOWN, &how), EINVAL);
	close(fd);
	return PASS;
}

/* ---- file handles ---- */

static int test_handles(void)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, root = open(MNT, O_RDONLY), fd, again;
	uint64_t evictions;
	char text[8] = "";

	CHECK(!mkdir(MNT "/d", 0755) && !write_file(MNT "/d/f", "handle", 6));
	CHECK(!name_to_handle_at(AT_FDCWD, MNT "/d/f", &h.handle, &mount_id, 0));
	/* Of an inode that is not in memory any more. */
	evictions = calls(ZUFS_OP_EVICT_INODE);
	honest();
	CHECK(calls(ZUFS_OP_EVICT_INODE) >= evictions + 2);
	fd = open_by_handle_at(root, &h.handle, O_RDONLY);
	CHECK(fd >= 0);
	CHECK(read(fd, text, 7) == 6 && !strcmp(text, "handle"));
	/* Without a name, but open. */
	CHECK(!unlink(MNT "/d/f"));
	again = open_by_handle_at(root, &h.handle, O_RDONLY);
	CHECK(again >= 0);
	close(again);
	close(fd);
	/* Nor on the file system, whoever has its number now. */
	CHECK_ERR(open_by_handle_at(root, &h.handle, O_RDONLY), ESTALE);
	CHECK(!write_file(MNT "/d/g", "another", 7));
	CHECK_ERR(open_by_handle_at(root, &h.handle, O_RDONLY), ESTALE);
	close(root);
	return PASS;
}

/* ---- idmapped mounts ---- */

static int pause_in_user_ns(void *ready)
{
	if (unshare(CLONE_NEWUSER))
		return -1;
	*(volatile int *)ready = 1;
	pause();
	return 0;
}

/* A user namespace where ids from 0 on are those from 1000 on. */
static int user_ns(void)
{
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = start_child(pause_in_user_ns, (void *)ready);
	char path[64];
	int i, fd = -1, status;

	for (i = 0; i < 5000 && !*ready; i++)
		usleep(1000);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	if (!write_text(path, "0 1000 100")) {
		snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
		if (!write_text(path, "0 1000 100")) {
			snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
			fd = open(path, O_RDONLY);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return fd;
}

static int mount_idmapped(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	int ns = user_ns(), tree;

	CHECK(ns >= 0);
	attr.userns_fd = ns;
	tree = syscall(SYS_open_tree, AT_FDCWD, MNT, OPEN_TREE_CLONE);
	CHECK(tree >= 0);
	CHECK(!syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr,
		       sizeof(attr)));
	CHECK(!syscall(SYS_move_mount, tree, "", AT_FDCWD, MNT_SECOND,
		       MOVE_MOUNT_F_EMPTY_PATH));
	close(tree);
	close(ns);
	return PASS;
}

static int create_as_1005(void *unused)
{
	return setgid(1005) || setuid(1005) ||
	       write_file(MNT_SECOND "/open/new", "x", 1);
}

static int test_idmapped(void)
{
	struct stat st;
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "x", 1));
	CHECK(!mkdir(MNT "/open", 0777) && !chmod(MNT "/open", 0777));
	CHECK_PASS(mount_idmapped());
	CHECK(!stat(MNT_SECOND "/f", &st) && st.st_uid == 1000 &&
	      st.st_gid == 1000);
	CHECK(!chown(MNT_SECOND "/f", 1007, 1008));
	CHECK(!stat(MNT "/f", &st) && st.st_uid == 7 && st.st_gid == 8);
	/* Who has no id there can not own anything there. */
	CHECK_ERR(open(MNT_SECOND "/open/roots", O_CREAT | O_RDWR, 0600),
		  EOVERFLOW);
	pid = start_child(create_as_1005, NULL);
	CHECK(!wait_exit(pid, 20, &status));
	CHECK(!status);
	CHECK(!stat(MNT "/open/new", &st) && st.st_uid == 5 && st.st_gid == 5);
	CHECK(!umount(MNT_SECOND));
	return PASS;
}

static const struct test tests[] = {
	{ "device tables that are wrong", test_device_tables },
	{ "the server learns the node of each device", test_nodes },
	{ "several servers, each on its zuf-root", test_roots },
	{ "T2 and private mounts are not supported", test_not_supported },
	{ "read-only", test_read_only },
	{ "a label is not set through a read-only mount", test_label_of_read_only },
	{ "freeze", test_freeze },
	{ "a file without a name is closed while frozen", test_freeze_unlinked },
	{ "shut down in three ways", test_shut_down },
	{ "file handles", test_handles },
	{ "idmapped mounts", test_idmapped },
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
