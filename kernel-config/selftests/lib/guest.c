// SPDX-License-Identifier: GPL-2.0-only
/*
 * See guest.h.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "guest.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t len = strlen(text), done;

	if (fd < 0)
		return -1;
	done = write(fd, text, len);
	close(fd);
	return done == len ? 0 : -1;
}

/**
 * read_text - all of a small file
 * @path: which
 * @text: where to
 * @size: room there, for a NUL as well
 *
 * Return: bytes without the NUL, -1 with errno set.
 */
ssize_t read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t done, total = 0;

	if (fd < 0)
		return -1;
	while ((done = read(fd, text + total, size - 1 - total)) > 0)
		total += done;
	close(fd);
	text[total] = 0;
	return done < 0 ? -1 : total;
}

int log_lines(const char *text)
{
	static char log[1 << 20];
	int n = syscall(SYS_syslog, 3, log, sizeof(log) - 1), lines = 0;
	char *at = log;

	if (n < 0)
		return -1;
	log[n] = 0;
	while ((at = strstr(at, text))) {
		lines++;
		at++;
	}
	return lines;
}

uint64_t interrupts(const char *label)
{
	static char text[1 << 16];
	uint64_t sum = 0;
	char *at, *end;

	if (read_text("/proc/interrupts", text, sizeof(text)) < 0)
		return 0;
	at = strstr(text, label);
	if (!at)
		return 0;
	at = strchr(at, ':') + 1;
	for (;;) {
		unsigned long long n = strtoull(at, &end, 10);

		if (end == at)
			return sum;
		sum += n;
		at = end;
	}
}

/* ---- what must not stay behind ---- */

static int held(char *text, size_t size)
{
	const char *at = text;

	if (read_text(ZUF_DEBUG "/pages", text, size) < 0)
		return -1;
	while (*at && !isdigit(*at))
		at++;
	while (*at) {
		if (strtoull(at, (char **)&at, 10))
			return 1;
		while (*at && !isdigit(*at))
			at++;
	}
	return 0;
}

int nothing_held(void)
{
	char text[256] = "no file " ZUF_DEBUG "/pages";
	int i, some = 1;

	for (i = 0; i < 200 && some > 0; i++) {
		some = held(text, sizeof(text));
		if (some > 0)
			usleep(10000);
	}
	if (some)
		ktap_note("%s", text);
	CHECK(!some);
	return PASS;
}

static int stuck(char *who, size_t size)
{
	char path[64], text[512], *at;
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	int found = 0;

	while ((entry = readdir(proc))) {
		if (!isdigit(entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/stat", entry->d_name);
		if (read_text(path, text, sizeof(text)) <= 0)
			continue;
		at = strrchr(text, ')');
		if (at && at[2] == 'D') {
			snprintf(who, size, "%.200s", text);
			found++;
		}
	}
	closedir(proc);
	return found;
}

int nobody_stuck(void)
{
	char who[256] = "";
	int i, found = 1;

	for (i = 0; i < 300 && found; i++) {
		found = stuck(who, sizeof(who));
		if (found)
			usleep(10000);
	}
	if (found)
		ktap_note("in D: %s", who);
	CHECK(!found);
	return PASS;
}

int nothing_leaked(void)
{
	static char text[1 << 14];
	char *line;
	int i;

	if (access(KMEMLEAK, F_OK))
		return ktap_skip("this kernel has no kmemleak");
	/* Only what two scans do not find, and is 5 s old, counts. */
	for (i = 0; i < 2; i++) {
		sleep(6);
		CHECK(!write_text(KMEMLEAK, "scan"));
	}
	CHECK(read_text(KMEMLEAK, text, sizeof(text)) >= 0);
	if (!text[0])
		return PASS;
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		ktap_note("%s", line);
	CHECK(!"kmemleak is silent");
	return PASS;
}

long long asked(int operation)
{
	long long count = 0, n;
	char line[200];
	FILE *file;
	int op;

	file = fopen(ZUF_DEBUG "/operations", "r");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%d %lld", &op, &n) == 2 && op == operation)
			count = n;
	fclose(file);
	return count;
}

int cpu_online(int cpu, int online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return write_text(path, online ? "1" : "0");
}
