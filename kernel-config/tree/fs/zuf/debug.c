// SPDX-License-Identifier: GPL-2.0-only
/*
 * What operations cost: counts and a histogram of their duration, by CPU, in
 * debugfs. Reading zuf/operations shows the sums, writing to it clears them.
 */

#include <linux/debugfs.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include "zuf.h"

#define NR_OPERATIONS	(ZUFS_OP_NOOP + 1)
/* Powers of two from 1 us on; the last takes all that is slower. */
#define NR_BUCKETS	16

/**
 * struct operation_stats - one operation on one CPU
 * @count: how many ended
 * @errors: of them with an error
 * @ns: time of all of them
 * @buckets: how many took up to 1, 2, 4, ... us
 */
struct operation_stats {
	u64 count;
	u64 errors;
	u64 ns;
	u64 buckets[NR_BUCKETS];
};

struct cpu_stats {
	struct operation_stats op[NR_OPERATIONS];
};

static struct cpu_stats __percpu *stats;
static struct dentry *debug_dir;

/**
 * zuf_account - an operation has ended
 * @operation: ZUFS_OP_*
 * @err: how
 * @ns: after how long
 */
void zuf_account(unsigned int operation, int err, u64 ns)
{
	unsigned int bucket = min_t(unsigned int, fls64(ns >> 10),
				    NR_BUCKETS - 1);
	struct operation_stats *op;

	if (!stats || operation >= NR_OPERATIONS)
		return;
	op = &get_cpu_ptr(stats)->op[operation];
	op->count++;
	op->errors += err != 0;
	op->ns += ns;
	op->buckets[bucket]++;
	put_cpu_ptr(stats);
}

static void add_up(struct operation_stats *sum, unsigned int operation)
{
	const struct operation_stats *op;
	unsigned int i;
	int cpu;

	for_each_possible_cpu(cpu) {
		op = &per_cpu_ptr(stats, cpu)->op[operation];
		sum->count += op->count;
		sum->errors += op->errors;
		sum->ns += op->ns;
		for (i = 0; i < NR_BUCKETS; i++)
			sum->buckets[i] += op->buckets[i];
	}
}

static int operations_show(struct seq_file *seq, void *unused)
{
	struct operation_stats sum;
	unsigned int operation, i;

	seq_puts(seq, "op count errors mean_ns <1us <2us <4us ... <16ms more\n");
	for (operation = 0; operation < NR_OPERATIONS; operation++) {
		memset(&sum, 0, sizeof(sum));
		add_up(&sum, operation);
		if (!sum.count)
			continue;
		seq_printf(seq, "%u %llu %llu %llu", operation, sum.count,
			   sum.errors, div64_u64(sum.ns, sum.count));
		for (i = 0; i < NR_BUCKETS; i++)
			seq_printf(seq, " %llu", sum.buckets[i]);
		seq_putc(seq, '\n');
	}
	return 0;
}

static int operations_open(struct inode *inode, struct file *file)
{
	return single_open(file, operations_show, NULL);
}

static ssize_t operations_write(struct file *file, const char __user *text,
				size_t len, loff_t *pos)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(stats, cpu), 0, sizeof(*stats));
	return len;
}

static const struct file_operations operations_fops = {
	.open		= operations_open,
	.read		= seq_read,
	.write		= operations_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

/* Without memory there are no figures; nothing else depends on them. */
void __init zuf_debug_start(void)
{
	stats = alloc_percpu(struct cpu_stats);
	if (!stats)
		return;
	debug_dir = debugfs_create_dir("zuf", NULL);
	debugfs_create_file("operations", 0600, debug_dir, NULL,
			    &operations_fops);
}
