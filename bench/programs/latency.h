/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>
#include <stdio.h>

/*
 * Counts of latencies in nanoseconds. Each power of two is divided into LATENCY_PARTS bins, so that a bin is at most
 * 1/LATENCY_PARTS of its value wide.
 */
#define LATENCY_PARTS 32
#define LATENCY_BINS (LATENCY_PARTS * 40)

struct latency {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t bin[LATENCY_BINS];
};

/* The same operation, `times` in a row, that took `ns` each. */
void latency_add(struct latency *latency, uint64_t ns, uint64_t times);
void latency_merge(struct latency *into, const struct latency *from);
/* A JSON object: the middle of each bin that is not empty, and its count. */
void latency_print(const struct latency *latency, FILE *out);

#endif
