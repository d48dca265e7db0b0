// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files by all the ways there are to get at one: io_uring, AIO, sendfile, loop
 * devices, exec; huge pages and MAP_SYNC; attributes beyond those of the inode;
 * and what the server is told of blocks that may move again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"

#define SIZE		(200 * 1024)
#define HUGE		(2UL << 20)

static char data[SIZE], back[SIZE];

static int open_filled(const char *path)
{
	fill(data, SIZE, 5);
	if (write_file(path, data, SIZE))
		return -1;
	return open(path, O_RDWR);
}

static uint64_t calls(int operation)
{
	return control->served_of[operation];
}

/* ---- io_uring ---- */

struct ring {
	int fd;
	struct io_uring_params p;
	char *queues;
	struct io_uring_sqe *sqes;
};

static int ring_open(struct ring *ring)
{
	size_t size;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 8, &ring->p);
	CHECK(ring->fd >= 0);
	CHECK(ring->p.features & IORING_FEAT_SINGLE_MMAP);
	size = ring->p.cq_off.cqes +
	       ring->p.cq_entries * sizeof(struct io_uring_cqe);
	ring->queues = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, ring->fd,
			    IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->p.sq_entries * sizeof(*ring->sqes),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring->fd, IORING_OFF_SQES);
	CHECK(ring->queues != MAP_FAILED && ring->sqes != MAP_FAILED);
	return PASS;
}

static volatile unsigned int *ring_word(struct ring *ring, unsigned int offset)
{
	return (volatile unsigned int *)(ring->queues + offset);
}

/* One operation, waited for. What it returned, or -errno. */
static int ring_do(struct ring *ring, int op, int fd, void *buf, size_t len,
		   off_t pos)
{
	unsigned int tail = *ring_word(ring, ring->p.sq_off.tail), slot, head;
	struct io_uring_cqe *cqes = (void *)(ring->queues + ring->p.cq_off.cqes);
	int result;

	slot = tail & *ring_word(ring, ring->p.sq_off.ring_mask);
	ring->sqes[slot] = (struct io_uring_sqe){
		.opcode = op, .fd = fd, .addr = (unsigned long)buf,
		.len = len, .off = pos,
	};
	ring_word(ring, ring->p.sq_off.array)[slot] = slot;
	__sync_synchronize();
	*ring_word(ring, ring->p.sq_off.tail) = tail + 1;
	__sync_synchronize();
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) != 1)
		return -errno;
	head = *ring_word(ring, ring->p.cq_off.head);
	result = cqes[head & *ring_word(ring, ring->p.cq_off.ring_mask)].res;
	__sync_synchronize();
	*ring_word(ring, ring->p.cq_off.head) = head + 1;
	return result;
}

static int test_io_uring(void)
{
	int fd = open_filled(MNT "/f"), pass;
	struct ring ring;

	CHECK(fd >= 0);
	CHECK_PASS(ring_open(&ring));
	/* The second time blocks may be known, and need no worker. */
	for (pass = 0; pass < 2; pass++) {
		memset(back, 0, SIZE);
		CHECK(ring_do(&ring, IORING_OP_READ, fd, back, SIZE, 0) == SIZE);
		CHECK(!memcmp(back, data, SIZE));
		fill(data + 5000, 9000, pass);
		CHECK(ring_do(&ring, IORING_OP_WRITE, fd, data + 5000, 9000,
			      5000) == 9000);
		CHECK(pread(fd, back, SIZE, 0) == SIZE);
		CHECK(!memcmp(back, data, SIZE));
		CHECK(ring_do(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0) == 0);
	}
	CHECK(ring_do(&ring, IORING_OP_READ, fd, back, 10, SIZE) == 0);
	CHECK(ring_do(&ring, IORING_OP_WRITE, fd, (void *)1, 10, 0) == -EFAULT);
	close(ring.fd);
	close(fd);
	return PASS;
}

/* The same with a kernel that knows blocks. */
static int test_io_uring_cached(void)
{
	CHECK_PASS(fixture_stop());
	control->features = ZUFS_FEATURE_EXTENT_CACHE;
	CHECK_PASS(fixture_start());
	CHECK_PASS(test_io_uring());
	CHECK_PASS(fixture_stop());
	control->features = 0;
	return fixture_start();
}

/* ---- AIO ---- */

static int aio_do(aio_context_t ctx, int op, int fd, void *buf, size_t len,
		  off_t pos)
{
	struct iocb iocb = { .aio_lio_opcode = op, .aio_fildes = fd,
			     .aio_buf = (unsigned long)buf, .aio_nbytes = len,
			     .aio_offset = pos };
	struct iocb *iocbs[] = { &iocb };
	struct io_event event;

	if (syscall(SYS_io_submit, ctx, 1, iocbs) != 1 ||
	    syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
		return -errno;
	return event.res;
}

static int test_aio(void)
{
	int fd = open_filled(MNT "/f");
	aio_context_t ctx = 0;

	CHECK(fd >= 0);
	CHECK(!syscall(SYS_io_setup, 8, &ctx));
	CHECK(aio_do(ctx, IOCB_CMD_PREAD, fd, back, SIZE, 0) == SIZE);
	CHECK(!memcmp(back, data, SIZE));
	CHECK(aio_do(ctx, IOCB_CMD_PWRITE, fd, "aio", 3, 77777) == 3);
	memcpy(data + 77777, "aio", 3);
	CHECK(aio_do(ctx, IOCB_CMD_FSYNC, fd, NULL, 0, 0) == 0);
	CHECK(pread(fd, back, SIZE, 0) == SIZE && !memcmp(back, data, SIZE));
	CHECK(!syscall(SYS_io_destroy, ctx));
	close(fd);
	return PASS;
}

/* ---- from inside of the kernel ---- */

static int test_sendfile(void)
{
	int from = open_filled(MNT "/f"), to, done = 0;
	ssize_t n;

	to = open(MNT "/g", O_RDWR | O_CREAT, 0600);
	CHECK(from >= 0 && to >= 0);
	while (done < SIZE) {
		n = sendfile(to, from, NULL, SIZE - done);
		CHECK(n > 0);
		done += n;
	}
	CHECK(pread(to, back, SIZE, 0) == SIZE && !memcmp(back, data, SIZE));
	close(from);
	close(to);
	return PASS;
}

static int attach_loop(int file)
{
	char path[32];
	int control_fd = open("/dev/loop-control", O_RDWR), number, fd;

	number = ioctl(control_fd, LOOP_CTL_GET_FREE);
	close(control_fd);
	if (number < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, O_RDWR);
	if (fd >= 0 && ioctl(fd, LOOP_SET_FD, file)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Its pages come as bio_vecs, from a kernel thread. */
static int test_loop(void)
{
	int file = open_filled(MNT "/f"), loop = attach_loop(file);

	CHECK(file >= 0 && loop >= 0);
	CHECK(pread(loop, back, SIZE, 0) == SIZE && !memcmp(back, data, SIZE));
	fill(data + 8192, 40960, 9);
	CHECK(pwrite(loop, data + 8192, 40960, 8192) == 40960);
	CHECK(!fsync(loop));
	CHECK(pread(file, back, SIZE, 0) == SIZE && !memcmp(back, data, SIZE));
	CHECK(!ioctl(loop, LOOP_CLR_FD));
	close(loop);
	close(file);
	return PASS;
}

static int copy_program(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0755);
	ssize_t n;

	CHECK(in >= 0 && out >= 0);
	while ((n = read(in, back, SIZE)) > 0)
		CHECK(write(out, back, n) == n);
	close(in);
	close(out);
	return PASS;
}

/* The kernel reads its head, and maps the rest. */
static int test_exec(void)
{
	int status;
	pid_t pid;

	CHECK_PASS(copy_program("/bin/busybox", MNT "/busybox"));
	pid = fork();
	if (!pid) {
		execl(MNT "/busybox", "sh", "-c", "exit 42", NULL);
		_exit(1);
	}
	CHECK(!wait_exit(pid, 60, &status));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	return PASS;
}

/* ---- mappings ---- */

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/*
 * The server hands out blocks one behind the other: a first file that ends
 * where a huge page begins, and one behind it.
 */
static int test_huge_pages(void)
{
	unsigned long first = 1 + 8192 * sizeof(struct zus_inode) / 4096, i;
	int filler = open(MNT "/filler", O_RDWR | O_CREAT, 0600), fd;
	uint64_t granted;
	long faults;
	char *p;

	CHECK(!fallocate(filler, 0, 0, (512 - first % 512) * 4096));
	fd = open(MNT "/huge", O_RDWR | O_CREAT, 0600);
	CHECK(!fallocate(fd, 0, 0, 2 * HUGE));
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && !((unsigned long)p % HUGE));
	granted = control->granted;
	faults = minor_faults();
	for (i = 0; i < 2 * HUGE; i += 4096)
		p[i] = 'h';
	faults = minor_faults() - faults;
	ktap_note("%lu pages touched: %ld faults, %d questions", 2 * HUGE / 4096,
		  faults, (int)(control->granted - granted));
	CHECK(faults <= 8);
	CHECK(control->granted - granted <= 8);
	CHECK(pread(fd, back, 8192, HUGE - 4096) == 8192);
	CHECK(back[0] == 'h' && !back[1] && back[4096] == 'h');
	/* A hole in the middle takes the huge page, and only that. */
	CHECK(!fallocate(fd, 3 /* punch, keep size */, HUGE + 8192, 4096));
	CHECK(p[HUGE + 8192] == 0 && p[HUGE + 4096] == 'h' && p[0] == 'h');
	munmap(p, 2 * HUGE);
	close(fd);
	close(filler);
	return PASS;
}

/* What is stored is persistent once its cache lines are: the map is. */
static int test_map_sync(void)
{
	int fd = open(MNT "/f", O_RDWR | O_CREAT, 0600);
	uint64_t syncs;
	char *p;

	CHECK(!ftruncate(fd, 8192));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
		 MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(p[0] == 0);
	syncs = calls(ZUFS_OP_SYNC);
	p[0] = 's';
	CHECK(calls(ZUFS_OP_SYNC) == syncs + 1);
	p[1] = 't';
	CHECK(calls(ZUFS_OP_SYNC) == syncs + 1);
	CHECK(pread(fd, back, 2, 0) == 2 && !memcmp(back, "st", 2));
	/* A block that write(2) allocated, which nobody has synced. */
	CHECK(pwrite(fd, "w", 1, 4096) == 1);
	syncs = calls(ZUFS_OP_SYNC);
	p[4097] = 'x';
	CHECK(calls(ZUFS_OP_SYNC) == syncs + 1);
	munmap(p, 8192);
	close(fd);

	CHECK(!mount_memory(MNT_SECOND, "size=4M"));
	fd = open(MNT_SECOND "/f", O_RDWR | O_CREAT, 0600);
	CHECK(!ftruncate(fd, 4096));
	CHECK_ERR((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			     MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0), EOPNOTSUPP);
	close(fd);
	CHECK(!umount_soon(MNT_SECOND));
	return PASS;
}

/* The server copies to new blocks: what is mapped of the old ones is not seen. */
static int test_copy_under_mapping(void)
{
	int from = open_filled(MNT "/f"), to = open_filled(MNT "/g");
	off_t in = 4096, out = 8192;
	char *p;

	CHECK(from >= 0 && to >= 0);
	fill(back, SIZE, 77);
	CHECK(pwrite(from, back, SIZE, 0) == SIZE);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, to, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, data, SIZE));
	CHECK(copy_file_range(from, &in, to, &out, 65536, 0) == 65536);
	memcpy(data + 8192, back + 4096, 65536);
	CHECK(!memcmp(p, data, SIZE));
	CHECK(pread(to, back, SIZE, 0) == SIZE && !memcmp(back, data, SIZE));
	munmap(p, SIZE);
	close(from);
	close(to);
	return PASS;
}

/* Each GET_MULTY has its PUT_MULTY in the end, most of them for free. */
static int test_puts(void)
{
	int fd = open_filled(MNT "/f"), i;
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	for (i = 0; i < SIZE; i += 4096)
		p[i]++;
	CHECK(!fsync(fd));
	CHECK(control->granted > 10);
	CHECK(control->rode_of[ZUFS_OP_PUT_MULTY] > control->granted * 8 / 10);
	/* With the sync, what was the last of this file went. */
	CHECK(control->granted == calls(ZUFS_OP_PUT_MULTY));
	munmap(p, SIZE);
	close(fd);
	return PASS;
}

/* ---- attributes ---- */

static int test_flags(void)
{
	int fd = open(MNT "/f", O_RDWR | O_CREAT, 0600), flags;
	struct fsxattr fsx;

	/* What the inode itself has room for. */
	CHECK(!ioctl(fd, FS_IOC_GETFLAGS, &flags) && !flags);
	flags = FS_IMMUTABLE_FL | FS_NOATIME_FL;
	CHECK(!ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	honest();
	CHECK_ERR(open(MNT "/f", O_RDWR), EPERM);
	fd = open(MNT "/f", O_RDONLY);
	CHECK(!ioctl(fd, FS_IOC_GETFLAGS, &flags));
	CHECK(flags == (FS_IMMUTABLE_FL | FS_NOATIME_FL));
	flags = 0;
	CHECK(!ioctl(fd, FS_IOC_SETFLAGS, &flags));
	/* And what it has not. */
	CHECK(!ioctl(fd, FS_IOC_FSGETXATTR, &fsx) && !fsx.fsx_projid);
	fsx.fsx_projid = 42;
	CHECK_ERR(ioctl(fd, FS_IOC_FSSETXATTR, &fsx), EOPNOTSUPP);
	close(fd);
	return PASS;
}

static int test_fsx(void)
{
	int fd = open(MNT "/f", O_RDWR | O_CREAT, 0600), flags;
	struct fsxattr fsx;
	struct statx stx;

	control->knows_fsx = 1;
	CHECK(!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx));
	CHECK(stx.stx_attributes_mask & STATX_ATTR_NODUMP);
	CHECK(!(stx.stx_attributes & STATX_ATTR_NODUMP));
	CHECK(!ioctl(fd, FS_IOC_FSGETXATTR, &fsx));
	fsx.fsx_projid = 42;
	fsx.fsx_extsize = 8192;
	fsx.fsx_xflags = FS_XFLAG_NODUMP | FS_XFLAG_EXTSIZE | FS_XFLAG_APPEND;
	CHECK(!ioctl(fd, FS_IOC_FSSETXATTR, &fsx));
	memset(&fsx, 0, sizeof(fsx));
	CHECK(!ioctl(fd, FS_IOC_FSGETXATTR, &fsx));
	CHECK(fsx.fsx_projid == 42 && fsx.fsx_extsize == 8192);
	CHECK(fsx.fsx_xflags ==
	      (FS_XFLAG_NODUMP | FS_XFLAG_EXTSIZE | FS_XFLAG_APPEND));
	/* The kernel goes by them as well. */
	CHECK(!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx));
	CHECK(stx.stx_attributes & STATX_ATTR_NODUMP);
	CHECK(stx.stx_attributes & STATX_ATTR_APPEND);
	CHECK_ERR(open(MNT "/f", O_RDWR), EPERM);
	control->knows_fsx = 0;
	CHECK(!ioctl(fd, FS_IOC_GETFLAGS, &flags));
	CHECK(flags == FS_APPEND_FL);
	close(fd);
	return PASS;
}

static const struct test tests[] = {
	{ "io_uring", test_io_uring },
	{ "io_uring, where blocks are known", test_io_uring_cached },
	{ "AIO", test_aio },
	{ "sendfile", test_sendfile },
	{ "a loop device", test_loop },
	{ "a program is run", test_exec },
	{ "huge pages", test_huge_pages },
	{ "MAP_SYNC", test_map_sync },
	{ "copy_file_range under a mapping", test_copy_under_mapping },
	{ "PUT_MULTY rides along", test_puts },
	{ "flags of the inode", test_flags },
	{ "project and other attributes of the server", test_fsx },
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
