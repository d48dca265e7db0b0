// SPDX-License-Identifier: BSD-3-Clause
#include "latency.h"

#include <inttypes.h>

static unsigned int bin_of(uint64_t ns)
{
	unsigned int shift, bin;

	if (ns < LATENCY_PARTS)
		return ns;
	/* So that what is left is LATENCY_PARTS to 2 * LATENCY_PARTS - 1. */
	shift = 63 - __builtin_clzll(ns) - __builtin_ctz(LATENCY_PARTS);
	bin = (shift << __builtin_ctz(LATENCY_PARTS)) + (ns >> shift);
	return bin < LATENCY_BINS ? bin : LATENCY_BINS - 1;
}

static uint64_t middle_of(unsigned int bin)
{
	unsigned int shift;
	uint64_t first;

	if (bin < 2 * LATENCY_PARTS)
		return bin;
	shift = bin / LATENCY_PARTS - 1;
	first = (uint64_t)(bin - shift * LATENCY_PARTS) << shift;
	return first + ((1ull << shift) >> 1);
}

void latency_add(struct latency *latency, uint64_t ns, uint64_t times)
{
	latency->count += times;
	latency->sum_ns += ns * times;
	latency->bin[bin_of(ns)] += times;
}

void latency_merge(struct latency *into, const struct latency *from)
{
	unsigned int bin;

	into->count += from->count;
	into->sum_ns += from->sum_ns;
	for (bin = 0; bin < LATENCY_BINS; bin++)
		into->bin[bin] += from->bin[bin];
}

void latency_print(const struct latency *latency, FILE *out)
{
	const char *comma = "";
	unsigned int bin;

	fputc('{', out);
	for (bin = 0; bin < LATENCY_BINS; bin++) {
		if (!latency->bin[bin])
			continue;
		fprintf(out, "%s\"%" PRIu64 "\":%" PRIu64, comma, middle_of(bin), latency->bin[bin]);
		comma = ",";
	}
	fputc('}', out);
}
