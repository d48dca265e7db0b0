/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server in a process of its own and a file system that it serves.
 */
#ifndef SELFTESTS_FIXTURE_H
#define SELFTESTS_FIXTURE_H

#include <stddef.h>
#include <sys/types.h>
#include "ktap.h"
#include "server.h"

#define MNT		"/mnt/selftest"
#define MNT_SECOND	"/mnt/second"

extern pid_t server_pid;

/* Set-up and tear-down of a suite. */
int fixture_start(void);	/* server, fresh file system, mounted on MNT */
int fixture_stop(void);
void fixture_clean_up(void);
int fixture_prepare(void);	/* only zuf-root, control and mount points */

int server_start(void);
int server_stop(int sig);
int mount_pmem(const char *options);
int mount_memory(const char *target, const char *options);
int umount_soon(const char *target);

/* What the server answers from now on; honest() forgets wrong inodes as well. */
void lie(int how, int operation);
void honest(void);
int wait_hung(int count);

int write_file(const char *path, const void *data, size_t len);
void fill(char *data, size_t len, unsigned int seed);

/* Wait for a child for so many seconds. */
int wait_exit(pid_t pid, double limit, int *status);
/* A child that exits with 0 when its work went well, else with an errno. */
pid_t start_child(int (*work)(void *), void *arg);

#endif
