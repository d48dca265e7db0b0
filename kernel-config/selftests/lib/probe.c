// SPDX-License-Identifier: GPL-2.0-only
/*
 * See probe.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "probe.h"

struct findings *found;
static void (*probe)(struct zt *zt, struct zufs_ioc_hdr *hdr);
static __thread sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

/* Number of the signal that a look at this address brings, 0 for none. */
int look(volatile char *at)
{
	int signal = sigsetjmp(fault, 1);

	if (!signal)
		(void)*at;
	return signal;
}

int store(volatile char *at, char value)
{
	int signal = sigsetjmp(fault, 1);

	if (!signal)
		*at = value;
	return signal;
}

static void run_probe(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	if (hdr->operation == ZUFS_OP_READ) {
		signal(SIGBUS, on_fault);
		signal(SIGSEGV, on_fault);
		probe(zt, hdr);
		found->done++;
	}
}

int probe_set_up(void)
{
	if (!found)
		found = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(found, 0, sizeof(*found));
	return fixture_prepare();
}

int bind_self(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* Mount with a server that runs this probe, and make a file of some pages. */
int serve_with(void (*what)(struct zt *zt, struct zufs_ioc_hdr *hdr))
{
	static char data[64 * PAGE];

	probe = what;
	server_hooks.before = run_probe;
	CHECK(!bind_self(0));
	CHECK_PASS(fixture_start());
	fill(data, sizeof(data), 5);
	CHECK(!write_file(MNT "/f", data, sizeof(data)));
	return PASS;
}

static char *page_aligned;

int read_pages(unsigned int pages)
{
	int fd = open(MNT "/f", O_RDONLY);
	ssize_t done;

	if (!page_aligned)
		page_aligned = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
				    -1, 0);
	CHECK(fd >= 0);
	done = pread(fd, page_aligned, pages * PAGE, 0);
	close(fd);
	CHECK(done == (ssize_t)(pages * PAGE));
	return PASS;
}

/* Flags of the VM_LOCAL_CPU mapping of the server, -1 when it has none. */
int vm_flags(char *flags, size_t size)
{
	static char text[1 << 18];
	char path[64], *at, *end;

	snprintf(path, sizeof(path), "/proc/%d/smaps", server_pid);
	if (read_text(path, text, sizeof(text)) <= 0)
		return -1;
	at = strstr(text, " lc ");
	if (!at)
		return -1;
	while (*at != '\n')
		at--;
	end = strchr(++at, '\n');
	snprintf(flags, size, "%.*s", (int)(end - at), at);
	return 0;
}
