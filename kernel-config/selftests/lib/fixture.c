// SPDX-License-Identifier: GPL-2.0-only
/*
 * See fixture.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"

pid_t server_pid;

/**
 * fixture_prepare - what every test needs, whether it mounts or not
 */
int fixture_prepare(void)
{
	uint32_t features;
	int knows_quota;

	if (!control) {
		control = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		mkdir("/mnt", 0755);
		mkdir(MNT, 0755);
		mkdir(MNT_SECOND, 0755);
		/* Busy when another program did it. */
		mount("zuf", ZUF_ROOT, "zuf", 0, NULL);
	}
	features = control->features;
	knows_quota = control->knows_quota;
	memset(control, 0, sizeof(*control));
	control->features = features;
	control->knows_quota = knows_quota;
	return PASS;
}

int server_start(void)
{
	int i;

	control->ready = control->threads = control->hung = 0;
	server_pid = fork();
	if (!server_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(server_run(options.channels));
	}
	for (i = 0; i < 10000 && !control->ready; i++)
		usleep(1000);
	CHECK(control->ready);
	return PASS;
}

int server_stop(int sig)
{
	int status;

	if (!server_pid)
		return PASS;
	kill(server_pid, sig);
	CHECK(waitpid(server_pid, &status, 0) == server_pid);
	server_pid = 0;
	return PASS;
}

int mount_pmem(const char *mount_options)
{
	return mount(options.devices[0], MNT, SERVER_FSNAME, 0, mount_options);
}

int mount_memory(const char *target, const char *mount_options)
{
	return mount("none", target, SERVER_MEMNAME, 0, mount_options);
}

/*
 * A task that was killed lets go of its files a little after it can be waited
 * for; whatever takes longer than a few seconds is a leak.
 */
int umount_soon(const char *target)
{
	int i;

	for (i = 0; i < 500; i++) {
		if (!umount(target))
			return 0;
		if (errno != EBUSY)
			return -1;
		usleep(10000);
	}
	return -1;
}

int fixture_start(void)
{
	CHECK_PASS(fixture_prepare());
	CHECK(!server_mkfs(options.devices, options.nr_devices));
	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	return PASS;
}

/* Whatever the test left: no mount, no server, no page, and a quiet machine. */
int fixture_stop(void)
{
	honest();
	CHECK(!umount_soon(MNT) || errno == EINVAL);
	CHECK_PASS(server_stop(SIGTERM));
	CHECK_PASS(nothing_held());
	return PASS;
}

/**
 * fixture_clean_up - make room after a test that failed
 */
void fixture_clean_up(void)
{
	int i;

	/* Its server went with it; whoever used the mount may take longer. */
	umount_soon(MNT_SECOND);
	umount_soon(MNT);
	for (i = 0; i < 2; i++)
		cpu_online(i, 1);
	write_text("/sys/module/zuf/parameters/local_cpu", "1");
}

/* ---- lies ---- */

void lie(int how, int operation)
{
	control->lie_operation = operation;
	control->lie = how;
}

void honest(void)
{
	int i;

	control->lie = HONEST;
	/* What was just used survives the first round. */
	for (i = 0; i < 3; i++)
		write_text("/proc/sys/vm/drop_caches", "2");
}

int wait_hung(int count)
{
	int i;

	for (i = 0; i < 3000 && control->hung < count; i++)
		usleep(1000);
	return control->hung >= count ? 0 : -1;
}

/* ---- files and children ---- */

int write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = write(fd, data, len);
	close(fd);
	return done == (ssize_t)len ? 0 : -1;
}

void fill(char *data, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = (char)((i * 2654435761U + seed) >> 13);
}

int wait_exit(pid_t pid, double limit, int *status)
{
	double end = seconds() + limit;

	while (seconds() < end) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return 0;
		usleep(1000);
	}
	return -1;
}

pid_t start_child(int (*work)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(work(arg) ? (errno ?: 255) : 0);
}
