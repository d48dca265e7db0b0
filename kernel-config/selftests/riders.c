// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that ride behind others: an inode that has to be freed is parked and
 * goes with the next command, or soon without one, and nobody sees the
 * difference.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "probe.h"

#define MANY		200
#define SHUTDOWN	_IOR('X', 125, uint32_t)
/* What is parked goes within some milliseconds; an emulated CPU may be slow. */
#define SOON		2000000

static uint64_t freed(void)
{
	return control->served_of[ZUFS_OP_FREE_INODE];
}

static uint64_t rode(void)
{
	return control->rode_of[ZUFS_OP_FREE_INODE];
}

static int start(unsigned int features)
{
	CHECK_PASS(fixture_prepare());
	control->features = features;
	CHECK_PASS(fixture_start());
	/* The parking places are those of a CPU. */
	CHECK(!bind_self(0));
	return PASS;
}

static int set_up(void)
{
	return start(ZUFS_FEATURE_RIDERS);
}

static int wait_freed(uint64_t count)
{
	int i;

	for (i = 0; i < SOON && freed() < count; i += 1000)
		usleep(1000);
	CHECK(freed() == count);
	return PASS;
}

static int make_many(size_t size)
{
	static char data[64 * 1024];
	char path[64];
	int i;

	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), MNT "/many%d", i);
		CHECK(!write_file(path, data, size));
	}
	return PASS;
}

static int unlink_many(void)
{
	char path[64];
	int i;

	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), MNT "/many%d", i);
		CHECK(!unlink(path));
	}
	return PASS;
}

static long free_blocks(const char *path)
{
	struct statfs st;

	return statfs(path, &st) ? -1 : (long)st.f_bfree;
}

/* One call for each, but for those that the clock caught. */
static int test_one_call(void)
{
	uint64_t before = freed(), rode_before = rode();
	long long names = asked(ZUFS_OP_REMOVE_DENTRY);
	long long inodes = asked(ZUFS_OP_FREE_INODE);

	CHECK_PASS(make_many(10));
	CHECK_PASS(unlink_many());
	CHECK_PASS(wait_freed(before + MANY));
	/* Which the kernel knows, and has counted, when that comes back. */
	CHECK(free_blocks(MNT) >= 0);
	names = asked(ZUFS_OP_REMOVE_DENTRY) - names;
	inodes = asked(ZUFS_OP_FREE_INODE) - inodes;
	ktap_note("%d unlinks: %lld calls for names, %lld for inodes, %d rode",
		  MANY, names, inodes, (int)(rode() - rode_before));
	CHECK(names == MANY);
	CHECK(inodes + (long long)(rode() - rode_before) == MANY);
	CHECK(inodes < MANY / 5);
	return PASS;
}

static int test_alone(void)
{
	uint64_t before = freed(), rode_before = rode();

	CHECK(!write_file(MNT "/f", "x", 1) && !unlink(MNT "/f"));
	CHECK_PASS(wait_freed(before + 1));
	CHECK(rode() == rode_before);
	return PASS;
}

/* What frees much takes its time, which is that of whoever removed it. */
static int test_large(void)
{
	uint64_t before = freed(), rode_before = rode();

	CHECK_PASS(make_many(64 * 1024));
	CHECK_PASS(unlink_many());
	CHECK(freed() == before + MANY && rode() == rode_before);
	return PASS;
}

/* More than is parked, with no command between them: the last takes the others along. */
static int test_burst(void)
{
	uint64_t before = freed(), rode_before = rode();
	char path[64];
	int fds[MANY], i;

	CHECK_PASS(make_many(10));
	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), MNT "/many%d", i);
		fds[i] = open(path, O_RDWR);
		CHECK(fds[i] >= 0);
	}
	CHECK_PASS(unlink_many());
	CHECK(freed() == before);
	for (i = 0; i < MANY; i++)
		close(fds[i]);
	CHECK_PASS(wait_freed(before + MANY));
	ktap_note("%d of %d rode", (int)(rode() - rode_before), MANY);
	CHECK(rode() - rode_before > MANY / 2);
	return PASS;
}

/* df after rm, whoever asks, on whichever CPU. */
static int test_statfs(void)
{
	long before = free_blocks(MNT);
	static char data[3 * 4096];
	int i;

	for (i = 0; i < 50; i++) {
		CHECK(!bind_self(i % 2));
		CHECK(!write_file(MNT "/f", data, sizeof(data)));
		CHECK(free_blocks(MNT) == before - 3);
		CHECK(!unlink(MNT "/f"));
		CHECK(!bind_self(i / 2 % 2));
		CHECK(free_blocks(MNT) == before);
	}
	return PASS;
}

/* Unlinks on the other CPU all the time. */
static int keep_unlinking(void *unused)
{
	bind_self(1);
	for (;;)
		if (write_file(MNT "/other", "x", 1) || unlink(MNT "/other"))
			return -1;
}

/* Nor has it to wait until nobody unlinks any more. */
static int test_statfs_under_load(void)
{
	pid_t pid = start_child(keep_unlinking, NULL);
	long before = free_blocks(MNT), now;
	static char data[3 * 4096];
	int i, status;

	for (i = 0; i < 50; i++) {
		CHECK(!write_file(MNT "/f", data, sizeof(data)));
		CHECK(!unlink(MNT "/f"));
		now = free_blocks(MNT);
		/* The other one has a block, or has not. */
		CHECK(now >= before - 1 && now <= before + 1);
		sync();
	}
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, 20, &status));
	return PASS;
}

static int fill_up(int fd)
{
	static char data[4096];
	int blocks = 0;

	while (write(fd, data, sizeof(data)) == sizeof(data))
		blocks++;
	return errno == ENOSPC ? blocks : -1;
}

static int write_soon(int fd, off_t pos, int *at_once)
{
	static char data[4096];
	int i;

	for (i = 0; i < SOON; i += 1000) {
		if (pwrite(fd, data, 4096, pos) == 4096) {
			*at_once += !i;
			return PASS;
		}
		CHECK(errno == ENOSPC);
		usleep(1000);
	}
	CHECK(!"room for what was freed");
}

/*
 * What rides is done before the command that it rides behind. What the clock
 * has caught is on its way alone, and may come after it.
 */
static int test_full(void)
{
	static char data[4096];
	int fd, other, i, at_once = 0;

	CHECK(!mount_memory(MNT_SECOND, "size=4M"));
	other = open(MNT_SECOND "/other", O_RDWR | O_CREAT, 0600);
	fd = open(MNT_SECOND "/full", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && other >= 0);
	for (i = 0; i < 20; i++) {
		CHECK(!write_file(MNT_SECOND "/small", data, sizeof(data)));
		CHECK(fill_up(fd) >= 0);
		CHECK_ERR(pwrite(other, data, 4096, i * 4096), ENOSPC);
		CHECK(!unlink(MNT_SECOND "/small"));
		CHECK_PASS(write_soon(other, i * 4096, &at_once));
		CHECK(!ftruncate(fd, 0) && !lseek(fd, 0, SEEK_SET));
	}
	ktap_note("at once: %d of 20", at_once);
	CHECK(at_once > 10);
	close(fd);
	close(other);
	CHECK(!umount_soon(MNT_SECOND));
	return PASS;
}

/* A handle does not lead to what is parked. */
static int test_handles(void)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, root = open(MNT, O_RDONLY), i;

	for (i = 0; i < 50; i++) {
		CHECK(!bind_self(0));
		CHECK(!write_file(MNT "/f", "x", 1));
		CHECK(!name_to_handle_at(AT_FDCWD, MNT "/f", &h.handle,
					 &mount_id, 0));
		CHECK(!unlink(MNT "/f"));
		CHECK(!bind_self(i % 2));
		CHECK_ERR(open_by_handle_at(root, &h.handle, O_RDONLY), ESTALE);
	}
	close(root);
	return PASS;
}

static int test_umount(void)
{
	uint64_t before;
	int i;

	for (i = 0; i < 10; i++) {
		before = freed();
		CHECK(!write_file(MNT "/f", "x", 1) && !unlink(MNT "/f"));
		CHECK(!umount_soon(MNT));
		CHECK(freed() == before + 1);
		CHECK(!mount_pmem(NULL));
	}
	return PASS;
}

/*
 * What was removed before a shutdown is freed, whatever it does not wait for,
 * and what was still open is once it is closed.
 */
static int test_shut_down(void)
{
	uint64_t before = freed();
	uint32_t how = 2;	/* nothing is synced */
	int root = open(MNT, O_RDONLY), nameless;

	CHECK(root >= 0);
	CHECK(!write_file(MNT "/g", "x", 1));
	nameless = open(MNT "/g", O_RDWR);
	CHECK(nameless >= 0 && !unlink(MNT "/g"));
	CHECK(!write_file(MNT "/f", "x", 1) && !unlink(MNT "/f"));
	CHECK(!ioctl(root, SHUTDOWN, &how));
	CHECK(freed() == before + 1);
	close(nameless);
	close(root);
	CHECK(!umount_soon(MNT));
	CHECK(freed() == before + 2);
	CHECK(!mount_pmem(NULL));
	return PASS;
}

static int test_server_gone(void)
{
	CHECK(!write_file(MNT "/f", "x", 1) && !unlink(MNT "/f"));
	CHECK_PASS(server_stop(SIGKILL));
	CHECK(!umount_soon(MNT));
	CHECK_PASS(nobody_stuck());
	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	return PASS;
}

static int read_file(void *unused)
{
	int fd = open(MNT "/f", O_RDWR);
	char buffer[8];

	bind_self(0);
	return pread(fd, buffer, sizeof(buffer), 0) < 0;
}

/* The server sits on a command and what rides behind it: no umount waits long. */
static int test_server_hangs(void)
{
	uint64_t before = freed();
	int status;
	pid_t pid;

	CHECK(!write_file(MNT "/f", "0123456789", 10));
	CHECK(!write_file(MNT "/g", "x", 1));
	lie(HANG, ZUFS_OP_FREE_INODE);
	CHECK(!unlink(MNT "/g"));
	pid = start_child(read_file, NULL);
	CHECK(!wait_hung(1));
	kill(pid, SIGKILL);
	CHECK(!wait_exit(pid, 15, &status));
	honest();
	CHECK_PASS(wait_freed(before + 1));
	CHECK_PASS(nobody_stuck());
	CHECK(!write_file(MNT "/h", "0123456789", 10));
	return PASS;
}

static int test_hotplug(void)
{
	uint64_t before;
	int i;

	for (i = 0; i < 3; i++) {
		before = freed();
		CHECK(!bind_self(1));
		CHECK(!write_file(MNT "/f", "x", 1) && !unlink(MNT "/f"));
		CHECK(!bind_self(0));
		CHECK(!cpu_online(1, 0));
		CHECK_PASS(wait_freed(before + 1));
		CHECK(!cpu_online(1, 1));
		while (control->threads < 2)
			usleep(1000);
	}
	return PASS;
}

/* Who has not said that it knows riders is sent none, but for PUT_MULTY. */
static int test_not_announced(void)
{
	uint64_t before;

	CHECK_PASS(fixture_stop());
	CHECK_PASS(start(0));
	before = freed();
	CHECK_PASS(make_many(10));
	CHECK_PASS(unlink_many());
	CHECK(freed() == before + MANY && !rode());
	return PASS;
}

static const struct test tests[] = {
	{ "an unlink is one call", test_one_call },
	{ "what nothing follows goes alone", test_alone },
	{ "a large file is freed at once", test_large },
	{ "many at once", test_burst },
	{ "statfs after unlink", test_statfs },
	{ "statfs and sync while another CPU unlinks", test_statfs_under_load },
	{ "what is freed can be had", test_full },
	{ "file handles", test_handles },
	{ "umount", test_umount },
	{ "shut down", test_shut_down },
	{ "a server that is gone", test_server_gone },
	{ "a server that does not answer", test_server_hangs },
	{ "a CPU that goes", test_hotplug },
	{ "a server that does not know riders", test_not_announced },
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
