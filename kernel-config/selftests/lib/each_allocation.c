// SPDX-License-Identifier: GPL-2.0-only
/*
 * See each_allocation.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "each_allocation.h"
#include "guest.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUG		"/sys/kernel/debug/"
/* No operation allocates more often. */
#define MOST		2000

static int nth_fd = -1;

/* Where the code of a function lies, as /proc/kallsyms has it. */
static bool find_code(const char *function, uint64_t *start, uint64_t *end)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	uint64_t address;
	char name[512];

	*start = *end = 0;
	/* Sorted by address. */
	while (symbols && !*end &&
	       fscanf(symbols, "%" SCNx64 " %*c %511s%*[^\n]", &address, name) == 2) {
		if (*start && address > *start)
			*end = address;
		if (!strcmp(name, function))
			*start = address;
	}
	if (symbols)
		fclose(symbols);
	return *end;
}

/*
 * What kmemleak allocates for itself does not fail: it complains of a failure with
 * a lock held that the console must not be used under, for lockdep to see, and
 * none of it is an allocation of zuf.
 */
static int spare_kmemleak(void)
{
	uint64_t start, end;
	char text[32];

	if (!find_code("kmemleak_scan_area", &start, &end))
		return 0;
	snprintf(text, sizeof(text), "0x%" PRIx64, start);
	if (write_text(DEBUG "failslab/reject-start", text))
		return -1;
	snprintf(text, sizeof(text), "0x%" PRIx64, end);
	return write_text(DEBUG "failslab/reject-end", text);
}

/**
 * failures_possible - have allocations fail that may sleep, too
 *
 * Return: 0, or -1 when the kernel has no fault injection.
 */
int failures_possible(void)
{
	static const char *const attributes[] = { "failslab", "fail_page_alloc" };
	char path[64];
	int i;

	if (nth_fd >= 0)
		return 0;

	for (i = 0; i < 2; i++) {
		/* Allocations that may sleep fail, too, and without a stack. */
		snprintf(path, sizeof(path), DEBUG "%s/ignore-gfp-wait",
			 attributes[i]);
		if (write_text(path, "N"))
			return -1;
		snprintf(path, sizeof(path), DEBUG "%s/verbose", attributes[i]);
		if (write_text(path, "0"))
			return -1;
	}
	if (write_text(DEBUG "fail_page_alloc/ignore-gfp-highmem", "N") ||
	    write_text(DEBUG "fail_page_alloc/min-order", "0"))
		return -1;
	if (spare_kmemleak())
		return -1;
	/* Memory of this process that is not there yet would fail as well. */
	if (mlockall(MCL_CURRENT))
		return -1;
	nth_fd = open(FAIL_NTH, O_RDWR);
	return nth_fd < 0 ? -1 : 0;
}

static bool fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return pwrite(nth_fd, text, len, 0) == len;
}

/*
 * True when that many failures were not reached. Copies from and to user space
 * may be among them, so that asking is what reaches the last.
 */
static bool not_reached(void)
{
	char text[16] = "";

	if (pread(nth_fd, text, sizeof(text) - 1, 0) < 0)
		return true;
	return atoi(text) > 0;
}

static bool no_failures(void)
{
	return fail_nth(0) || fail_nth(0);
}

static int try_nth(const struct site *site, unsigned int n, bool *reached)
{
	int ret, err;

	CHECK(!site->prepare || !site->prepare());
	CHECK(fail_nth(n));
	errno = 0;
	ret = site->run();
	err = errno;
	*reached = !not_reached();
	CHECK(no_failures());
	if (ret && err != ENOMEM && err != EFAULT && err != EIO) {
		ktap_note("%s: allocation %u: %s", site->what, n, strerror(err));
		return FAIL;
	}
	if (ret && !*reached) {
		ktap_note("%s: fails by itself: %s", site->what, strerror(err));
		return FAIL;
	}
	CHECK(ret || !site->undo || !site->undo());
	/* Whatever it was, it leaves nothing in the way. */
	CHECK(!site->prepare || !site->prepare());
	CHECK(!site->run());
	CHECK(!site->undo || !site->undo());
	return PASS;
}

static int each_allocation(const struct site *site, unsigned int *total)
{
	bool reached = true;
	unsigned int n;

	for (n = 1; reached; n++) {
		CHECK(n < MOST);
		CHECK_PASS(try_nth(site, n, &reached));
	}
	ktap_note("%s: %u allocations failed", site->what, n - 2);
	*total += n - 2;
	return PASS;
}

/**
 * fail_each_allocation - each allocation of each operation fails once
 * @site: the operations, ends with one without a name
 */
int fail_each_allocation(const struct site *site)
{
	unsigned int total = 0;

	for (; site->what; site++)
		CHECK_PASS(each_allocation(site, &total));
	/* None at all would mean that nothing was injected. */
	CHECK(total);
	return PASS;
}
