// SPDX-License-Identifier: GPL-2.0-only
/*
 * VM_LOCAL_CPU: the window of a server's thread. Looked at from inside of the
 * server, while it has an operation.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "probe.h"

#define LOCAL_CPU	"/sys/module/zuf/parameters/local_cpu"
#define CORE		"/tmp/core"

/* ---- maps, unmaps ---- */

static void probe_touches(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	unsigned int pages = hdr->len / PAGE, i;

	for (i = 0; i < pages; i++) {
		found->value[0] += look(zt->window + i * PAGE) != 0;
		found->value[1] += store(zt->window + i * PAGE + 7, 'z') != 0;
	}
	/* What the last, larger operation had is gone, TLB included. */
	for (; i < WINDOW_PAGES; i++)
		found->value[2] += look(zt->window + i * PAGE) != SIGBUS;
}

static int touches(bool local)
{
	static const unsigned int pages[] = { 1, 40, 3, 64, 1 };
	char flags[256];
	unsigned int i;

	CHECK_PASS(serve_with(probe_touches));
	CHECK(vm_flags(flags, sizeof(flags)) == (local ? 0 : -1));
	for (i = 0; i < 5; i++) {
		CHECK_PASS(read_pages(pages[i]));
		CHECK(found->done == (int)i + 1);
		CHECK(!found->value[0] && !found->value[1]);
		CHECK(!found->value[2]);
	}
	return PASS;
}

static int test_touches(void)
{
	return touches(true);
}

/* The same with the ordinary mapping that it is measured against. */
static int test_switched_off(void)
{
	int verdict;

	CHECK(!write_text(LOCAL_CPU, "0"));
	verdict = touches(false);
	CHECK(!write_text(LOCAL_CPU, "1"));
	return verdict;
}

/* ---- other tasks, other CPUs ---- */

static struct zt *first_zt;

static void *look_from(void *arg)
{
	int cpu = (long)arg, i, wrong = 0;

	bind_self(cpu);
	for (i = 0; i < (int)WINDOW_PAGES; i += 31)
		wrong += look(first_zt->window + i * PAGE) != SIGBUS;
	found->value[cpu] = wrong;
	return NULL;
}

static void probe_from_others(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	pthread_t threads[2];
	long cpu;

	if (!first_zt) {
		first_zt = zt;
		return;
	}
	/* Another ZT has an operation; the window of the first is empty. */
	if (zt == first_zt)
		return;
	for (cpu = 0; cpu < 2; cpu++)
		pthread_create(&threads[cpu], NULL, look_from, (void *)cpu);
	for (cpu = 0; cpu < 2; cpu++)
		pthread_join(threads[cpu], NULL);
	found->value[2] = 1;
}

static int test_other_cpus(void)
{
	CHECK_PASS(serve_with(probe_from_others));
	CHECK_PASS(read_pages(64));
	CHECK(!bind_self(1));
	CHECK_PASS(read_pages(2));
	CHECK(found->value[2] == 1);
	CHECK(found->value[0] == 0 && found->value[1] == 0);
	return PASS;
}

static void probe_fork(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	int status = 0;
	pid_t pid = fork();

	/* Nor mapped by whom its file was handed down to. */
	if (!pid)
		_exit(look(zt->window) == SIGSEGV &&
		      look(zt->window + PAGE) == SIGSEGV &&
		      mmap(NULL, ZUS_API_MAP_MAX_SIZE, PROT_READ, MAP_SHARED,
			   zt->fd, 0) == MAP_FAILED && errno == EPERM ? 0 : 1);
	waitpid(pid, &status, 0);
	found->value[0] = status;
	/* And the parent has it still. */
	found->value[1] = look(zt->window);
}

static int test_fork(void)
{
	CHECK_PASS(serve_with(probe_fork));
	CHECK_PASS(read_pages(2));
	CHECK(found->done == 1 && found->value[0] == 0);
	CHECK(found->value[1] == 0);
	return PASS;
}

/* ---- what may not be done with it ---- */

static bool refused(long result, int error)
{
	return result == -1 && errno == error;
}

static void probe_refusals(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	char *w = zt->window;
	size_t size = ZUS_API_MAP_MAX_SIZE;
	volatile int *bad = found->value;

	bad[0] += !refused((long)mremap(w, size, 2 * size, MREMAP_MAYMOVE),
			   EINVAL);
	bad[0] += !refused((long)mremap(w, size, size / 2, 0), EINVAL);
	bad[0] += !refused((long)mremap(w, 0, size, MREMAP_MAYMOVE), EINVAL);
	bad[1] += !refused(munmap(w, PAGE), EINVAL);
	bad[1] += !refused(munmap(w + PAGE, size - PAGE), EINVAL);
	bad[1] += !refused((long)mmap(w + PAGE, PAGE, PROT_READ,
				      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
				      -1, 0), EINVAL);
	bad[2] += !refused(mprotect(w, size, PROT_READ), EACCES);
	bad[2] += !refused(mprotect(w, size, PROT_READ | PROT_EXEC), EACCES);
	bad[3] += !refused(madvise(w, size, MADV_DOFORK), EINVAL);
	bad[3] += !refused(madvise(w, size, MADV_DODUMP), EINVAL);
	bad[3] += !refused(madvise(w, size, MADV_DONTNEED), EINVAL);
	/* One window a channel, and of its size. */
	bad[4] += !refused((long)mmap(NULL, size, PROT_READ | PROT_WRITE,
				      MAP_SHARED, zt->fd, 0), EBUSY);
	bad[4] += !refused((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED, zt->fd, 0), EINVAL);
	bad[4] += !refused((long)mmap(NULL, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE, zt->fd, 0), EINVAL);
	/* mlock(2) leaves such mappings out, without an error. */
	mlock(w, size);
	bad[5] = look(w);
}

static int test_refusals(void)
{
	char flags[256];
	int i;

	CHECK_PASS(serve_with(probe_refusals));
	CHECK_PASS(read_pages(2));
	CHECK(found->done == 1);
	for (i = 0; i < 6; i++) {
		if (found->value[i])
			ktap_note("refusals, group %d: %d are wrong", i,
				  found->value[i]);
		CHECK(!found->value[i]);
	}
	CHECK(!vm_flags(flags, sizeof(flags)));
	ktap_note("%s", flags);
	/* PFNs, I/O, no growing, no copying, no dumping; not locked. */
	CHECK(strstr(flags, " pf") && strstr(flags, " io") &&
	      strstr(flags, " de") && strstr(flags, " dc") &&
	      strstr(flags, " dd") && !strstr(flags, " lo"));
	CHECK_PASS(read_pages(5));
	return PASS;
}

/* ---- only the thread, only on its CPU ---- */

static void *wait_as_other(void *arg)
{
	struct zt *zt = arg;

	found->value[0] = ioctl(zt->fd, ZU_IOC_WAIT_OPT, zt->buffer) ? errno : 0;
	return NULL;
}

static void probe_other_thread(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	pthread_t thread;

	pthread_create(&thread, NULL, wait_as_other, zt);
	pthread_join(thread, NULL);
}

static int test_other_thread(void)
{
	CHECK_PASS(serve_with(probe_other_thread));
	CHECK_PASS(read_pages(2));
	CHECK(found->value[0] == EPERM);
	return PASS;
}

static void probe_leave_cpu(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	bind_self(!zt->cpu);
}

/* A thread that left its CPU is told to go; another channel serves. */
static int test_leaves_cpu(void)
{
	CHECK_PASS(serve_with(probe_leave_cpu));
	CHECK_PASS(read_pages(2));
	CHECK(!write_file(MNT "/g", "x", 1));
	CHECK(!access(MNT "/g", F_OK));
	return PASS;
}

/* The CPU of a thread goes, and comes back: the threads do, too. */
static int test_hotplug(void)
{
	int i;

	if (access("/sys/devices/system/cpu/cpu1/online", W_OK))
		return ktap_skip("CPU 1 can not be taken offline");
	CHECK_PASS(serve_with(probe_touches));
	for (i = 0; i < 3; i++) {
		CHECK(!cpu_online(1, 0));
		CHECK_PASS(read_pages(64));
		CHECK(!cpu_online(1, 1));
		CHECK_PASS(read_pages(3));
	}
	for (i = 0; i < 2000 && control->threads < 2 * options.channels; i++)
		usleep(1000);
	CHECK(control->threads == 2 * options.channels);
	CHECK(!bind_self(1));
	CHECK_PASS(read_pages(64));
	CHECK(!found->value[0] && !found->value[1] && !found->value[2]);
	return PASS;
}

/* ---- core dumps ---- */

static void probe_abort(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	found->value[0] = (unsigned long)zt->window >> 32;
	found->value[1] = (unsigned long)zt->window;
	abort();
}

/* Bytes that the core has of the mapping at an address, -1 for no core. */
static long bytes_in_core(const char *path, unsigned long address)
{
	int fd = open(path, O_RDONLY), i;
	long bytes = 0;
	Elf64_Phdr ph;
	Elf64_Ehdr eh;

	if (fd < 0)
		return -1;
	if (read(fd, &eh, sizeof(eh)) != sizeof(eh) || eh.e_type != ET_CORE)
		bytes = -1;
	for (i = 0; !bytes && i < eh.e_phnum; i++)
		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) ==
			    sizeof(ph) &&
		    ph.p_type == PT_LOAD && ph.p_vaddr <= address &&
		    address < ph.p_vaddr + ph.p_memsz)
			bytes += ph.p_filesz;
	close(fd);
	return bytes;
}

static int read_two_pages(void *unused)
{
	return read_pages(2);
}

static char dumped[1];	/* at the same address in the server */

static int test_core_dump(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned long window;
	int status;
	pid_t pid;

	CHECK(!write_text("/proc/sys/kernel/core_pattern", CORE));
	CHECK(!setrlimit(RLIMIT_CORE, &limit));
	unlink(CORE);
	CHECK_PASS(serve_with(probe_abort));
	/* Its read ends with the server. */
	pid = start_child(read_two_pages, NULL);
	CHECK(!wait_exit(pid, 20, &status));
	CHECK(waitpid(server_pid, &status, 0) == server_pid);
	server_pid = 0;
	CHECK(WIFSIGNALED(status) && WCOREDUMP(status));
	window = ((unsigned long)found->value[0] << 32) |
		 (unsigned int)found->value[1];
	CHECK(bytes_in_core(CORE, window) == 0);
	/* What is in it at all: the server's own data. */
	CHECK(bytes_in_core(CORE, (unsigned long)dumped) > 0);
	unlink(CORE);
	limit.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &limit);
	return PASS;
}

static int tear_down(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	server_hooks.before = NULL;
	return fixture_stop();
}

static const struct test tests[] = {
	{ "touches what is mapped, and nothing else", test_touches },
	{ "the same with zuf.local_cpu=0", test_switched_off },
	{ "other tasks on either CPU find nothing", test_other_cpus },
	{ "not inherited over fork", test_fork },
	{ "not moved, split, reprotected, dumped, mapped twice", test_refusals },
	{ "only its thread waits", test_other_thread },
	{ "a thread that leaves its CPU is sent home", test_leaves_cpu },
	{ "CPU hotplug", test_hotplug },
	{ "not in core dumps", test_core_dump },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = probe_set_up,
		.tear_down = tear_down,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
