// SPDX-License-Identifier: BSD-3-Clause

/*
 * The operation path. Functions take their arguments from `registers`, an array
 * of doubles that JavaScript sees as a Float64Array, and leave their answer, if
 * they have one, in register 0: a number above 2^31 given as an argument would
 * have to be boxed on the JavaScript heap first.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "addon.h"

_Thread_local double registers[REGISTERS];

/* --- Cache lines --- */

static void write_back_clflush(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clflush((void *)line);
}

__attribute__((target("clflushopt")))
static void write_back_clflushopt(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clflushopt((void *)line);
}

__attribute__((target("clwb")))
static void write_back_clwb(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clwb((void *)line);
}

/* Set once, before any function can be called, and to the same value by all. */
static void (*write_back_lines)(uintptr_t line, uintptr_t end);

const char *detect_write_back(void)
{
	unsigned int a, b, c, d;

	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		if (b & bit_CLWB) {
			write_back_lines = write_back_clwb;
			return "clwb";
		}
		if (b & bit_CLFLUSHOPT) {
			write_back_lines = write_back_clflushopt;
			return "clflushopt";
		}
	}
	write_back_lines = write_back_clflush;
	return "clflush";
}

void write_back(const void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;

	if (length)
		write_back_lines(start & ~(uintptr_t)(CACHE_LINE - 1), start + length);
}

void fence(void)
{
	_mm_sfence();
}

/* --- Copies past the caches --- */

static size_t minimum(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * The stores that go past the caches are aligned 16 bytes; what lies before and
 * behind goes through the cache and is written back.
 */
void copy_non_temporal(char *to, const char *from, size_t length)
{
	size_t head = minimum(-(uintptr_t)to & 15, length);

	if (head) {
		memcpy(to, from, head);
		write_back(to, head);
		to += head;
		from += head;
		length -= head;
	}
	for (; length >= 64; length -= 64, to += 64, from += 64) {
		__m128i a = _mm_loadu_si128((const __m128i *)from);
		__m128i b = _mm_loadu_si128((const __m128i *)(from + 16));
		__m128i c = _mm_loadu_si128((const __m128i *)(from + 32));
		__m128i d = _mm_loadu_si128((const __m128i *)(from + 48));

		_mm_stream_si128((__m128i *)to, a);
		_mm_stream_si128((__m128i *)(to + 16), b);
		_mm_stream_si128((__m128i *)(to + 32), c);
		_mm_stream_si128((__m128i *)(to + 48), d);
	}
	for (; length >= 16; length -= 16, to += 16, from += 16)
		_mm_stream_si128((__m128i *)to,
				 _mm_loadu_si128((const __m128i *)from));
	if (length) {
		memcpy(to, from, length);
		write_back(to, length);
	}
}

void zero_non_temporal(char *to, size_t length)
{
	size_t head = minimum(-(uintptr_t)to & 15, length);
	const __m128i zero = _mm_setzero_si128();

	if (head) {
		memset(to, 0, head);
		write_back(to, head);
		to += head;
		length -= head;
	}
	for (; length >= 16; length -= 16, to += 16)
		_mm_stream_si128((__m128i *)to, zero);
	if (length) {
		memset(to, 0, length);
		write_back(to, length);
	}
}

/* --- Functions --- */

OPERATION(addon_ioctl)
{
	int ret = ioctl((int)r[0], (unsigned long)r[1], pointer(r[2]));

	r[0] = ret < 0 ? -errno : ret;
}

OPERATION(addon_copy)
{
	memcpy(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
}

OPERATION(addon_copy_padded)
{
	size_t length = (size_t)r[2];
	char *to = pointer(r[0]);

	if (length)
		memcpy(to, pointer(r[1]), length);
	memset(to + length, 0, (size_t)r[3] - length);
}

OPERATION(addon_copy_non_temporal)
{
	copy_non_temporal(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
}

OPERATION(addon_zero_non_temporal)
{
	zero_non_temporal(pointer(r[0]), (size_t)r[1]);
}

OPERATION(addon_zero)
{
	memset(pointer(r[0]), 0, (size_t)r[1]);
}

OPERATION(addon_write_back)
{
	write_back(pointer(r[0]), (size_t)r[1]);
}

OPERATION(addon_fence)
{
	fence();
}

OPERATION(addon_clock_realtime_coarse)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	*(uint64_t *)pointer(r[0]) = now.tv_sec * 1000000000ull + now.tv_nsec;
}

OPERATION(addon_monotonic)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	r[0] = now.tv_sec * 1e9 + now.tv_nsec;
}

OPERATION(addon_equal)
{
	r[0] = !memcmp(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
}

OPERATION(addon_first_non_zero)
{
	const char *bytes = pointer(r[0]);
	size_t length = (size_t)r[1], at = 0;
	uint64_t word = 0;

	while (length - at >= sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		if (word)
			break;
		at += sizeof(word);
	}
	while (at < length && !bytes[at])
		at++;
	r[0] = at;
}

OPERATION(addon_yield_cpu)
{
	sched_yield();
}
