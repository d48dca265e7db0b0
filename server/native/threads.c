// SPDX-License-Identifier: BSD-3-Clause

/* The calling thread: its CPU, name and signals. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "addon.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

napi_value addon_bind_to_cpu(napi_env env, napi_callback_info info)
{
	cpu_set_t *set;
	size_t size;
	double cpu;
	int error;

	if (!arguments(env, info, 1, &cpu))
		return NULL;
	if (!(cpu >= 0 && cpu < 8192))
		return throw_errno(env, "sched_setaffinity", EINVAL);
	set = CPU_ALLOC((size_t)cpu + 1);
	if (!set)
		return throw_errno(env, "sched_setaffinity", ENOMEM);
	size = CPU_ALLOC_SIZE((size_t)cpu + 1);
	CPU_ZERO_S(size, set);
	CPU_SET_S((size_t)cpu, size, set);
	error = sched_setaffinity(0, size, set) ? errno : 0;
	CPU_FREE(set);
	if (error)
		return throw_errno(env, "sched_setaffinity", error);
	return NULL;
}

napi_value addon_current_cpu(napi_env env, napi_callback_info info)
{
	(void)info;
	return number(env, sched_getcpu());
}

napi_value addon_thread_id(napi_env env, napi_callback_info info)
{
	(void)info;
	return number(env, gettid());
}

napi_value addon_set_thread_name(napi_env env, napi_callback_info info)
{
	napi_value value;
	size_t count = 1;
	char name[16];

	CHECK(napi_get_cb_info(env, info, &count, &value, NULL, NULL));
	if (count < 1 ||
	    napi_get_value_string_utf8(env, value, name, sizeof(name), NULL) != napi_ok)
		return throw_type_error(env, "setThreadName(name)");
	if (prctl(PR_SET_NAME, name))
		return throw_errno(env, "prctl", errno);
	return NULL;
}

napi_value addon_set_io_flusher(napi_env env, napi_callback_info info)
{
	(void)info;
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		return throw_errno(env, "prctl", errno);
	return NULL;
}

/* All but those that the thread itself causes, and the profiler's. */
napi_value addon_block_signals(napi_env env, napi_callback_info info)
{
	sigset_t set;
	int error;

	(void)info;
	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGTRAP);
	sigdelset(&set, SIGABRT);
	sigdelset(&set, SIGPROF);
	error = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (error)
		return throw_errno(env, "pthread_sigmask", error);
	return NULL;
}
