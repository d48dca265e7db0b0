// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server that answers a load of random operations with random bytes, wrong
 * lengths and blocks, takes its window away, leaves without an answer or dies.
 * Operations may fail in every way; the machine, and who waits, may not.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "load.h"
#include "store.h"

/*
 * Operations, and seconds, until a server is replaced by a fresh one, if it
 * lives so long. Lies have effects that last: in the end nothing is asked.
 */
#define LIFE		4000
#define LIFE_SECONDS	4
#define DIED		3	/* exit code */

static uint64_t life_number;

static struct random *dice(void)
{
	static __thread struct random random;
	static uint64_t threads;

	if (!random.state)
		random = random_stream((life_number << 8) +
				       __sync_add_and_fetch(&threads, 1));
	return &random;
}

/* A few bytes anywhere in the command, header included. */
static void spoil_bytes(struct zufs_ioc_hdr *hdr, unsigned int size)
{
	unsigned int n = 1 + random_below(dice(), 8);
	unsigned char *bytes = (void *)hdr;

	while (n--)
		bytes[random_below(dice(), size)] = random_next(dice());
}

/* Numbers that are likely to be taken for what they are not. */
static uint64_t odd_number(void)
{
	static const uint64_t numbers[] = {
		0, 1, ~0ULL, 1ULL << 63, (1ULL << 63) - 1, 4095, 4096, 65535,
		0x7fffffff, 0xffffffff, 1ULL << 40,
	};
	unsigned int n = sizeof(numbers) / sizeof(*numbers);

	return numbers[random_below(dice(), n)];
}

static void spoil_word(struct zufs_ioc_hdr *hdr, unsigned int size)
{
	__u64 *words = (void *)hdr;

	words[3 + random_below(dice(), size / 8 - 3)] = odd_number();
}

static void spoil_header(struct zufs_ioc_hdr *hdr)
{
	switch (random_below(dice(), 6)) {
	case 0:
		hdr->err = odd_number();
		break;
	case 1:
		hdr->err = -(int)random_below(dice(), 600);
		break;
	case 2:
		hdr->out_len = odd_number();
		break;
	case 3:
		hdr->out_start = odd_number();
		break;
	case 4:
		hdr->len = odd_number();
		break;
	default:
		random_fill(dice(), hdr, sizeof(*hdr));
	}
}

/* Blocks and inodes that are there, but not these. */
static void mix_up(struct zufs_ioc_hdr *hdr)
{
	struct zufs_ioc_IO *io = (void *)hdr;
	struct zufs_ioc_lookup *lookup = (void *)hdr;
	unsigned int i;

	if (hdr->operation == ZUFS_OP_GET_MULTY) {
		for (i = 0; i < io->ziom.iom_n && i < 13; i++)
			io->iom_e[i] = ((uint64_t)IOM_T1_READ << 56) |
				       (random_below(dice(), 2000) << 3);
	} else if (hdr->operation == ZUFS_OP_LOOKUP) {
		lookup->_zi = 4096 + 128 * random_below(dice(), 64);
		if (random_below(dice(), 2))
			lookup->zus_ii = (lookup->dir_ii & ~0xffffULL) +
					 random_below(dice(), 64);
	}
}

static void spoil_data(struct zt *zt, const struct zufs_ioc_hdr *hdr)
{
	if (hdr->operation != ZUFS_OP_READDIR &&
	    hdr->operation != ZUFS_OP_FIEMAP)
		return;
	/* Its length first: the pages behind it are not there. */
	if (hdr->len && hdr->len <= 16384 && !hdr->offset)
		random_fill(dice(), zt->window + random_below(dice(), hdr->len),
			    1);
}

/* What spoil_inode() has spoilt, for the thread to put right. */
static __thread struct zus_inode *spoilt, was;

/*
 * The inode in T1 itself, which both sides share. Until the thread's next
 * operation: with a directory that can not be read nothing would come any more.
 */
static void spoil_inode(struct zufs_ioc_hdr *hdr)
{
	struct zufs_ioc_lookup *lookup = (void *)hdr;

	if (hdr->operation != ZUFS_OP_LOOKUP || hdr->err)
		return;
	spoilt = zi_of(mount_of(lookup->zus_ii), number_of(lookup->zus_ii));
	was = *spoilt;
	random_fill(dice(), (char *)spoilt + random_below(dice(), 120), 8);
}

static void put_right(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	if (spoilt)
		*spoilt = was;
	spoilt = NULL;
}

static bool act(struct zt *zt, struct zufs_ioc_hdr *hdr)
{
	unsigned int size = hdr->in_len < 256 ? 256 : hdr->in_len;

	switch (random_below(dice(), 1000)) {
	case 0:
		_exit(DIED);
	case 1 ... 4:
		return true;
	case 5 ... 8:
		munmap(zt->window, ZUS_API_MAP_MAX_SIZE);
		zt->window = MAP_FAILED;
		return random_below(dice(), 2);
	case 9:
		/* The thread is gone, its file is not. */
		pthread_exit(NULL);
	case 10 ... 99:
		spoil_bytes(hdr, size);
		break;
	case 100 ... 149:
		spoil_word(hdr, size);
		break;
	case 150 ... 219:
		spoil_header(hdr);
		break;
	case 220 ... 289:
		mix_up(hdr);
		break;
	case 290 ... 339:
		spoil_data(zt, hdr);
		break;
	case 340 ... 379:
		spoil_inode(hdr);
		break;
	case 380 ... 389:
		random_fill(dice(), hdr, size);
		break;
	}
	return false;
}

/* ---- the other side ---- */

static struct load load = { .dir = MNT, .tasks = 6 };

/* One server from start to end. */
static int one_life(uint64_t operations)
{
	int status;
	double end;

	life_number++;
	control->features = life_number % 2 ? 0 : ALL_FEATURES;
	CHECK(!server_mkfs(options.devices, options.nr_devices));
	control->served = 0;
	CHECK_PASS(server_start());
	CHECK(!mount_pmem(NULL));
	CHECK_PASS(load_start(&load));
	end = seconds() + LIFE_SECONDS;
	while (control->served < operations && seconds() < end) {
		if (waitpid(server_pid, &status, WNOHANG) == server_pid) {
			server_pid = 0;
			break;
		}
		usleep(2000);
	}
	CHECK_PASS(load_stop(&load));
	CHECK_PASS(server_stop(SIGKILL));
	CHECK(!umount_soon(MNT));
	CHECK_PASS(nothing_held());
	return PASS;
}

static int test_fuzzed(void)
{
	uint64_t total = count(6000, 200000), done = 0, said = 0;

	server_hooks.before = put_right;
	server_hooks.after = act;
	while (done < total) {
		CHECK_PASS(one_life(LIFE));
		done += control->served;
		if (done - said >= 20000) {
			ktap_note("%llu operations", (unsigned long long)done);
			said = done;
		}
	}
	ktap_note("%llu operations of %llu servers", (unsigned long long)done,
		  (unsigned long long)life_number);
	CHECK_PASS(nobody_stuck());
	return PASS;
}

static int test_afterwards(void)
{
	struct load honest_load = { .dir = MNT, .tasks = 4, .operations = 300,
				    .strict = true };

	server_hooks.before = NULL;
	server_hooks.after = NULL;
	CHECK_PASS(fixture_start());
	CHECK_PASS(load_run(&honest_load, 120));
	CHECK(!umount(MNT));
	return PASS;
}

static const struct test tests[] = {
	{ "random answers to a random load", test_fuzzed },
	{ "an honest server afterwards", test_afterwards },
	{ "nothing is leaked", nothing_leaked },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = fixture_prepare,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	/* Threads of it get lost on purpose. */
	options.channels = 2;
	return ktap_main(argc, argv, &suite);
}
