// SPDX-License-Identifier: BSD-3-Clause

/*
 * A transaction of zpmfs: from what journal.ts staged to a log, and from the log to
 * the media. fs/zpmfs/FORMAT.md has the log, fs/zpmfs/staged-words.ts the groups.
 */
#include "addon.h"

#define BLOCK_WORDS 1024
#define GROUP_WORDS 64

/* Words of one block that were staged. */
struct group {
	uint32_t block;
	/* which words of the block: from part * GROUP_WORDS on */
	uint32_t part;
	/* a bit a word: staged */
	uint32_t mask[2];
	uint32_t words[GROUP_WORDS];
};

struct log {
	uint32_t magic;
	uint32_t length;
	uint32_t check[2];
	uint32_t sequence;
	uint32_t reserved[11];
	uint32_t records[];
};

#define HEADER_WORDS (sizeof(struct log) / sizeof(uint32_t))
/* A log of a single word, which reaches the media whole or not at all: it can go there at once. */
#define ONE_WORD (HEADER_WORDS + 3)

static const uint32_t check_seeds[2] = { 0x4a4f5552, 0x4e414c21 };

/* --- From the groups to the log --- */

/*
 * Neighbouring words, also of neighbouring groups, are one record; none crosses a
 * block. Returns the end of the records, NULL when they do not fit.
 */
static uint32_t *write_records(const struct group *group, size_t count,
			       uint32_t *to, const uint32_t *end)
{
	/* The last record, and the word of its block behind it: first one that there is not. */
	uint32_t *record = NULL;
	uint32_t next = BLOCK_WORDS;

	for (; count; count--, group++) {
		for (unsigned int half = 0; half < 2; half++) {
			uint32_t bits = group->mask[half];

			while (bits) {
				uint32_t low = __builtin_ctz(bits);
				uint32_t behind = ~(bits >> low);
				uint32_t run = behind ? __builtin_ctz(behind) : 32;
				uint32_t at = half * 32 + low;
				uint32_t word = group->part * GROUP_WORDS + at;
				bool more = word == next && record[0] == group->block;

				if (end - to < (ptrdiff_t)run + (more ? 0 : 2))
					return NULL;
				if (more) {
					record[1] += run;
				} else {
					record = to;
					*to++ = group->block;
					*to++ = word << 16 | run;
				}
				for (uint32_t i = 0; i < run; i++)
					*to++ = group->words[at + i];
				next = word + run;
				bits = run == 32 ? 0 : bits & ~(((1u << run) - 1) << low);
			}
		}
	}
	return to;
}

static uint32_t rotate(uint32_t value, unsigned int bits)
{
	return value << bits | value >> (32 - bits);
}

static uint32_t finish_check(uint32_t hash, uint32_t words)
{
	hash ^= words;
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

/* What checkWords() of format.ts computes, with both seeds in one go. */
static void check_words(const uint32_t *at, const uint32_t *end, uint32_t check[2])
{
	uint32_t low = check_seeds[0], high = check_seeds[1], words = end - at;

	for (; at < end; at++) {
		uint32_t value = rotate(*at * 0xcc9e2d51, 15) * 0x1b873593;

		low = rotate(low ^ value, 13) * 5 + 0xe6546b64;
		high = rotate(high ^ value, 13) * 5 + 0xe6546b64;
	}
	check[0] = finish_check(low, words);
	check[1] = finish_check(high, words);
}

/* Returns whether it fits into so many words. */
static bool write_log(struct log *log, size_t room, const struct group *groups, size_t count)
{
	uint32_t *start = (uint32_t *)log;
	uint32_t *end = write_records(groups, count, log->records, start + room);

	if (!end)
		return false;
	log->length = end - start;
	check_words(&log->sequence, end, log->check);
	return true;
}

/* The answer is the length of the log in words, 0 when it does not fit. */
OPERATION(addon_write_log)
{
	struct log *log = pointer(r[2]);

	r[0] = write_log(log, (size_t)r[3], pointer(r[0]), (size_t)r[1]) ? log->length : 0;
}

/* --- From the log to the media --- */

/* Each word as a whole, since the kernel may read it meanwhile. */
static void store_records(uint32_t *base, const uint32_t *at, const uint32_t *end)
{
	while (at < end) {
		volatile uint32_t *to = base + (size_t)at[0] * BLOCK_WORDS + (at[1] >> 16);
		uint32_t count = at[1] & 0xffff;

		at += 2;
		for (uint32_t i = 0; i < count; i++)
			to[i] = at[i];
		write_back((const void *)to, count * sizeof(*at));
		at += count;
	}
}

OPERATION(addon_store_records)
{
	const uint32_t *records = pointer(r[1]);

	store_records(pointer(r[0]), records, records + (size_t)r[2]);
}

/*
 * In whole cache lines, which go past the caches without being read first; what lies
 * behind the log's end means nothing. An empty log is one whose first line is zero.
 */
static void commit_log(uint32_t *base, char *slot, const struct log *log)
{
	size_t bytes = log->length * sizeof(uint32_t);

	copy_non_temporal(slot, (const char *)log,
			  (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
	fence();
	store_records(base, log->records, (const uint32_t *)log + log->length);
	fence();
	zero_non_temporal(slot, CACHE_LINE);
	fence();
}

/* The answer is that of addon_write_log(). */
OPERATION(addon_commit)
{
	struct log *log = pointer(r[2]);
	uint32_t *base = pointer(r[4]);

	if (r[6])
		fence();
	if (!write_log(log, (size_t)r[3], pointer(r[0]), (size_t)r[1])) {
		r[0] = 0;
		return;
	}
	if (log->length == ONE_WORD) {
		store_records(base, log->records, (const uint32_t *)log + ONE_WORD);
		fence();
	} else {
		commit_log(base, pointer(r[5]), log);
	}
	r[0] = log->length;
}
