// SPDX-License-Identifier: GPL-2.0-only
/*
 * The threads of the server: one for mounts, and a ZT for each CPU and channel.
 *
 * Operations that change names, attributes or the map of a file run alone;
 * reads, writes and faults beside each other, since what the kernel costs when
 * two CPUs are busy would not be seen otherwise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "store.h"

struct control *control;
struct hooks server_hooks;
const char *server_root = ZUF_ROOT;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

/**
 * zuf_open - a new file of zuf-root
 */
int zuf_open(void)
{
	return open(server_root, O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600);
}

static bool bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

/**
 * zt_open - make the calling thread a ZT
 * @zt: cpu and channel say which; the rest is set
 *
 * Return: 0, or -errno, when nothing is left open or mapped.
 */
int zt_open(struct zt *zt)
{
	struct zufs_ioc_init init = { .max_command = MAX_COMMAND,
				      .channel_no = zt->channel };
	int err;

	if (!bind_to(zt->cpu))
		return -errno;
	zt->fd = zuf_open();
	if (zt->fd < 0)
		return -errno;
	if (ioctl(zt->fd, ZU_IOC_INIT_THREAD, &init))
		goto out_close;
	zt->window = mmap(NULL, ZUS_API_MAP_MAX_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED, zt->fd, 0);
	if (zt->window == MAP_FAILED)
		goto out_close;
	zt->buffer = mmap(NULL, MAX_COMMAND, PROT_READ | PROT_WRITE, MAP_SHARED,
			  zt->fd, ZUS_API_MAP_MAX_SIZE);
	if (zt->buffer != MAP_FAILED)
		return 0;
	err = errno;
	munmap(zt->window, ZUS_API_MAP_MAX_SIZE);
	errno = err;
out_close:
	err = errno;
	close(zt->fd);
	return -err;
}

static void zt_close(struct zt *zt)
{
	if (zt->window != MAP_FAILED)
		munmap(zt->window, ZUS_API_MAP_MAX_SIZE);
	munmap(zt->buffer, MAX_COMMAND);
	close(zt->fd);
}

static void hang(void)
{
	__sync_fetch_and_add(&control->hung, 1);
	while (control->lie == HANG || control->lie == HANG_AFTER)
		usleep(1000);
	__sync_fetch_and_sub(&control->hung, 1);
}

static bool hang_until_interrupted(const volatile struct zufs_ioc_hdr *hdr)
{
	bool interrupted;

	__sync_fetch_and_add(&control->hung, 1);
	while (!(interrupted = hdr->flags & ZUFS_H_INTR) &&
	       control->lie == HANG_UNTIL_INTR)
		usleep(1000);
	__sync_fetch_and_sub(&control->hung, 1);
	return interrupted;
}

static int lie_about(const struct zufs_ioc_hdr *hdr)
{
	if (control->lie_operation && control->lie_operation != hdr->operation)
		return HONEST;
	return control->lie;
}

static bool is_shared(const struct zufs_ioc_hdr *hdr)
{
	switch (hdr->operation) {
	case ZUFS_OP_READ:
	case ZUFS_OP_WRITE:
	case ZUFS_OP_GET_MULTY:
	case ZUFS_OP_PUT_MULTY:
	case ZUFS_OP_STATFS:
		return true;
	}
	return false;
}

static void answer(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	int how = lie_about(hdr);

	if (how == HANG)
		hang();
	if (how == HANG_UNTIL_INTR && hang_until_interrupted(hdr)) {
		hdr->err = -EINTR;
		return;
	}
	if (is_shared(hdr))
		pthread_rwlock_rdlock(&lock);
	else
		pthread_rwlock_wrlock(&lock);
	hdr->err = serve(hdr, zt->window);
	if (how > HANG_UNTIL_INTR)
		tell_lie(hdr, zt->window, how);
	pthread_rwlock_unlock(&lock);
	if (how == HANG_AFTER)
		hang();
}

static void account(unsigned int operation)
{
	__sync_fetch_and_add(&control->served, 1);
	if (operation <= ZUFS_OP_QUOTA)
		__sync_fetch_and_add(&control->served_of[operation], 1);
}

/* What came behind the command is older than it: first. */
static void serve_riders(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	while (hdr->flags & ZUFS_H_HAS_PIGY_PUT) {
		hdr = (void *)((char *)hdr + hdr->in_len);
		answer(zt, hdr);
		account(hdr->operation);
		if (hdr->operation <= ZUFS_OP_NOOP)
			__sync_fetch_and_add(&control->rode_of[hdr->operation], 1);
	}
}

/* Until it is told to leave, by the kernel or by a hook. */
static void serve_channel(struct zt *zt)
{
	struct zufs_ioc_hdr *hdr = (void *)zt->buffer;
	unsigned int operation;

	for (;;) {
		if (ioctl(zt->fd, ZU_IOC_WAIT_OPT, zt->buffer)) {
			if (errno == EINTR)
				continue;
			perror("WAIT_OPT");
			exit(1);
		}
		if (hdr->operation == ZUFS_OP_BREAK)
			return;
		serve_riders(zt, hdr);
		/* Nothing but the way there and back, see switch_cost.c. */
		if (hdr->operation == ZUFS_OP_NOOP) {
			hdr->err = 0;
			continue;
		}
		if (server_hooks.before)
			server_hooks.before(zt, hdr);
		operation = hdr->operation;
		answer(zt, hdr);
		account(operation);
		if (operation == ZUFS_OP_GET_MULTY && !hdr->err)
			__sync_fetch_and_add(&control->granted, 1);
		if (server_hooks.after && server_hooks.after(zt, hdr))
			return;
	}
}

/*
 * A ZT is told to leave when its CPU goes (then it starts anew as the CPU comes
 * back) or when the server shall end (then the mount thread ends the process).
 */
static void *zt_main(void *arg)
{
	struct zt *zt = arg;
	int err;

	for (;;) {
		err = zt_open(zt);
		if (!err) {
			__sync_fetch_and_add(&control->threads, 1);
			serve_channel(zt);
			__sync_fetch_and_sub(&control->threads, 1);
			zt_close(zt);
		} else if (err != -EINVAL && err != -EBUSY) {
			fprintf(stderr, "ZT: %s\n", strerror(-err));
			exit(1);
		}
		usleep(20000);
	}
	return NULL;
}

/* The first mount starts them, when all CPUs are known. */
static void start_threads(int channels)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), cpu, channel;
	static bool started;
	pthread_t thread;
	struct zt *zt;

	if (started)
		return;
	started = true;
	for (cpu = 0; cpu < cpus; cpu++) {
		for (channel = 0; channel < channels; channel++) {
			zt = calloc(1, sizeof(*zt));
			zt->cpu = cpu;
			zt->channel = channel;
			pthread_create(&thread, NULL, zt_main, zt);
		}
	}
	while (control->threads < cpus * channels)
		usleep(1000);
}

static int grab(uint64_t sb_id, char **t1, uint64_t *blocks)
{
	static struct zufs_ioc_pmem pmem;
	int fd = zuf_open(), i;

	if (fd < 0)
		return -errno;
	pmem.sb_id = sb_id;
	if (ioctl(fd, ZU_IOC_GRAB_PMEM, &pmem)) {
		close(fd);
		return -errno;
	}
	*blocks = pmem.mdt.s_t1_blocks;
	for (i = 0; i < pmem.mdt.s_dev_list.t1_count; i++)
		control->node_of_device[i] =
			pmem.mdt.s_dev_list.dev_ids[i].blocks >>
			MD_DEV_NUMA_SHIFT;
	*t1 = mmap(NULL, *blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	close(fd);
	return *t1 == MAP_FAILED ? -errno : 0;
}

static int do_mount(struct zufs_ioc_mount *zim)
{
	uint64_t blocks = 0;
	char *t1;
	int slot, err;

	for (slot = 1; mounts[slot]; slot++)
		if (slot == MAX_MOUNTS - 1)
			return -ENOSPC;
	err = grab(zim->zmi.sb_id, &t1, &blocks);
	if (err)
		return err;
	if (strstr(zim->zmi.po.mount_options, "refuse")) {
		munmap(t1, blocks * BLOCK);
		return -EPERM;
	}
	mounts[slot] = mount_create(t1, blocks);
	zim->zmi.zus_sbi = slot;
	zim->zmi.zus_ii = make_ii(slot, ROOT_INODE);
	zim->zmi._zi = zi_offset(ROOT_INODE);
	zim->zmi.fs_caps = ZUFS_FSC_ACL_ON;
	if (control->knows_quota)
		zim->zmi.fs_caps |= ZUFS_FSC_QUOTA;
	zim->zmi.s_blocksize_bits = 12;
	tell_mount_lie(mounts[slot], &zim->zmi, control->lie);
	return 0;
}

static int do_umount(struct zufs_ioc_mount *zim)
{
	uint64_t slot = zim->zmi.zus_sbi % MAX_MOUNTS;
	struct mount *m;

	pthread_rwlock_wrlock(&lock);
	m = mounts[slot];
	mounts[slot] = NULL;
	pthread_rwlock_unlock(&lock);
	if (!m)
		return -ESTALE;
	munmap(m->t1, m->blocks * BLOCK);
	mount_free(m);
	return 0;
}

static int register_type(int fd, const char *name, uint64_t dt_offset)
{
	struct zufs_ioc_register_fs reg = {
		.zus_zfi = 7,
		.rfi = {
			.FS_magic = SERVER_MAGIC,
			.FS_ver_major = 1,
			.notused = ZUFS_FEATURE_MEMORY_MOUNT | control->features,
			.dt_offset = dt_offset,
			.s_maxbytes = 1ULL << 40,
			.s_time_gran = 1,
			.def_mode = 0755,
		},
	};

	strcpy(reg.rfi.fsname, name);
	return ioctl(fd, ZU_IOC_REGISTER_FS, &reg);
}

/* True when it shall end. M_MOUNT and BREAK have the same number. */
static bool do_request(struct zufs_ioc_mount *zim, int channels)
{
	switch (zim->hdr.operation) {
	case ZUFS_M_MOUNT:
		if (zim->hdr.in_len == sizeof(zim->hdr))
			return true;
		start_threads(channels);
		zim->hdr.err = do_mount(zim);
		break;
	case ZUFS_M_UMOUNT:
		if (control->lie == HANG && control->lie_operation == UMOUNT)
			hang();
		zim->hdr.err = do_umount(zim);
		break;
	default:
		zim->hdr.err = 0;
	}
	return false;
}

static int serve_mounts(int fd, int channels)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct zufs_ioc_mount *zim = (void *)page;

	control->ready = 1;
	for (;;) {
		if (!ioctl(fd, ZU_IOC_MOUNT, zim)) {
			if (do_request(zim, channels))
				return 0;
		} else if (errno != EINTR) {
			perror("MOUNT");
			return 1;
		}
	}
}

/**
 * server_run - be the server, until BREAK_ALL
 * @channels: ZTs on each CPU
 *
 * Return: exit code.
 */
int server_run(int channels)
{
	int fd = zuf_open();

	if (fd < 0) {
		perror(server_root);
		return 1;
	}
	if (register_type(fd, SERVER_FSNAME, 0) ||
	    register_type(fd, SERVER_MEMNAME, ~0ULL)) {
		perror("REGISTER_FS");
		return 1;
	}
	return serve_mounts(fd, channels);
}

/**
 * server_run_second - be one with types of its own, on SECOND_ROOT
 *
 * Return: exit code.
 */
int server_run_second(void)
{
	int fd;

	server_root = SECOND_ROOT;
	fd = zuf_open();
	if (fd < 0 || register_type(fd, SECOND_MEMNAME, ~0ULL)) {
		perror(server_root);
		return 1;
	}
	return serve_mounts(fd, 1);
}
