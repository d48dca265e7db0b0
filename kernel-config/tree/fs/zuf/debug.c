// SPDX-License-Identifier: GPL-2.0-only
/*
 * What operations cost, in debugfs: zuf/operations has counts and mean times for
 * each operation, zuf/latency a histogram for each CPU and each part of the way;
 * writing to the former clears both. zuf/pages has the pages of
 * applications that are in use now, zuf/noop does nothing, in the server.
 */

#include <linux/debugfs.h>
#include <linux/percpu.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include "zuf.h"
#include "trace.h"

#define NR_OPERATIONS	(ZUFS_OP_QUOTA + 1)
/* Powers of two from 1 us on; the last takes all that is slower. */
#define NR_BUCKETS	16

/**
 * struct operation_stats - one operation on one CPU
 * @count: how many ended
 * @errors: of them with an error
 * @ns: time of all of them, by part
 */
struct operation_stats {
	u64 count;
	u64 errors;
	u64 ns[ZUF_PHASES];
};

/**
 * struct cpu_stats - one CPU
 * @op: by operation
 * @buckets: how many spent up to 1, 2, 4, ... us in each part
 */
struct cpu_stats {
	struct operation_stats op[NR_OPERATIONS];
	u64 buckets[ZUF_PHASES][NR_BUCKETS];
};

static const char * const phase_names[ZUF_PHASES] = {
	[ZUF_QUEUED]	= "queued",
	[ZUF_SWITCH]	= "switch",
	[ZUF_SERVER]	= "server",
	[ZUF_BACK]	= "back",
};

static struct cpu_stats __percpu *stats;
static struct dentry *debug_dir;

DEFINE_PER_CPU(long [ZUF_PAGES_NR], zuf_page_counts);

/* Clocks of two CPUs may differ by a little. */
#define between(from, to)	max_t(s64, (to) - (from), 0)

/**
 * zuf_account - an operation has ended
 * @op: the operation
 * @err: how
 */
void zuf_account(const struct zuf_op *op, int err)
{
	unsigned int operation = op->hdr->operation, phase, bucket;
	const u64 *at = op->at;
	u64 ns[ZUF_PHASES] = {};
	struct cpu_stats *cpu;

	/* It came to the server and back: else there is nothing to measure. */
	if (at[ZUF_AT_REPLIED]) {
		ns[ZUF_BACK] = between(at[ZUF_AT_REPLIED], local_clock());
		ns[ZUF_SERVER] = between(at[ZUF_AT_GIVEN], at[ZUF_AT_REPLIED]);
		ns[ZUF_SWITCH] = between(at[ZUF_AT_TAKEN], at[ZUF_AT_GIVEN]);
		ns[op->at_once ? ZUF_SWITCH : ZUF_QUEUED] +=
			between(at[ZUF_AT_QUEUED], at[ZUF_AT_TAKEN]);
	}
	trace_zuf_done(op->hdr, err, ns);
	if (!stats || operation >= NR_OPERATIONS)
		return;
	cpu = get_cpu_ptr(stats);
	cpu->op[operation].count++;
	cpu->op[operation].errors += err != 0;
	for (phase = 0; phase < ZUF_PHASES; phase++) {
		bucket = min_t(unsigned int, fls64(ns[phase] >> 10),
			       NR_BUCKETS - 1);
		cpu->op[operation].ns[phase] += ns[phase];
		cpu->buckets[phase][bucket]++;
	}
	put_cpu_ptr(stats);
}

static void add_up(struct operation_stats *sum, unsigned int operation)
{
	const struct operation_stats *op;
	int cpu;

	for_each_possible_cpu(cpu) {
		op = &per_cpu_ptr(stats, cpu)->op[operation];
		sum->count += op->count;
		sum->errors += op->errors;
		for (unsigned int phase = 0; phase < ZUF_PHASES; phase++)
			sum->ns[phase] += op->ns[phase];
	}
}

static int operations_show(struct seq_file *seq, void *unused)
{
	unsigned int operation, phase;

	seq_puts(seq, "op count errors mean_ns queued_ns switch_ns server_ns back_ns\n");
	for (operation = 0; operation < NR_OPERATIONS; operation++) {
		struct operation_stats sum = {};
		u64 total = 0;

		add_up(&sum, operation);
		if (!sum.count)
			continue;
		for (phase = 0; phase < ZUF_PHASES; phase++)
			total += sum.ns[phase];
		seq_printf(seq, "%u %llu %llu %llu", operation, sum.count,
			   sum.errors, div64_u64(total, sum.count));
		for (phase = 0; phase < ZUF_PHASES; phase++)
			seq_printf(seq, " %llu",
				   div64_u64(sum.ns[phase], sum.count));
		seq_putc(seq, '\n');
	}
	return 0;
}

static int latency_show(struct seq_file *seq, void *unused)
{
	const struct cpu_stats *one;
	int cpu;

	seq_puts(seq, "cpu part <1us <2us <4us ... <16ms more\n");
	for_each_online_cpu(cpu) {
		one = per_cpu_ptr(stats, cpu);
		for (unsigned int i = 0; i < ZUF_PHASES; i++) {
			seq_printf(seq, "%d %s", cpu, phase_names[i]);
			for (unsigned int j = 0; j < NR_BUCKETS; j++)
				seq_printf(seq, " %llu", one->buckets[i][j]);
			seq_putc(seq, '\n');
		}
	}
	return 0;
}

static ssize_t operations_write(struct file *file, const char __user *text,
				size_t len, loff_t *pos)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(stats, cpu), 0, sizeof(*stats));
	return len;
}

DEFINE_SHOW_STORE_ATTRIBUTE(operations);
DEFINE_SHOW_ATTRIBUTE(latency);

static int pages_show(struct seq_file *seq, void *unused)
{
	long window = 0, pinned = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		window += per_cpu(zuf_page_counts[ZUF_PAGES_WINDOW], cpu);
		pinned += per_cpu(zuf_page_counts[ZUF_PAGES_PINNED], cpu);
	}
	seq_printf(seq, "window %ld\npinned %ld\n", window, pinned);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pages);

/* The number that is written: how many NOOPs to send to the last mount. */
static int noop_set(void *unused, u64 count)
{
	struct zuf_sb_info *sbi = zuf_last_mount();
	struct zufs_ioc_hdr hdr = {};
	int err = 0;

	if (!sbi)
		return -EIO;
	while (!err && count--) {
		err = zuf_call(d_inode(sbi->sb->s_root), ZUFS_OP_NOOP, &hdr,
			       sizeof(hdr), 0);
		if (fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
	}
	deactivate_super(sbi->sb);
	return err;
}
DEFINE_SIMPLE_ATTRIBUTE(noop_fops, NULL, noop_set, "%llu\n");

/* Without memory there are no figures; nothing else depends on them. */
void __init zuf_debug_start(void)
{
	debug_dir = debugfs_create_dir("zuf", NULL);
	debugfs_create_file("pages", 0400, debug_dir, NULL, &pages_fops);
	debugfs_create_file("noop", 0200, debug_dir, NULL, &noop_fops);
	stats = alloc_percpu(struct cpu_stats);
	if (!stats)
		return;
	debugfs_create_file("operations", 0600, debug_dir, NULL,
			    &operations_fops);
	debugfs_create_file("latency", 0400, debug_dir, NULL, &latency_fops);
}

void zuf_debug_stop(void)
{
	debugfs_remove(debug_dir);
	free_percpu(stats);
}
