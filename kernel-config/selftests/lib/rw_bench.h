/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What small reads and overwrites cost.
 */
#ifndef SELFTESTS_RW_BENCH_H
#define SELFTESTS_RW_BENCH_H

#include <stddef.h>

/* Nanoseconds for one call, 0 with errno set for an error. */
double rw_bench(const char *path, size_t file_size, int calls, int overwrite);

#endif
