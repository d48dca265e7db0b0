// SPDX-License-Identifier: BSD-3-Clause

/* What the files of the addon share. addon.ts says what each function does. */
#ifndef ZUS_ADDON_H
#define ZUS_ADDON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <node_api.h>

#define REGISTERS 8

/*
 * Arguments and answers of the operation path. Each isolate has a thread of its
 * own, and what is a thread's is there without asking Node for it; nor, with
 * static TLS, the dynamic linker, which keeps some room for libraries that come later.
 */
extern _Thread_local double registers[REGISTERS]
	__attribute__((tls_model("initial-exec")));

/* A function of the operation path: its registers are `r`. */
#define OPERATION(name)						\
	static void name##_with(double *);			\
	napi_value name(napi_env env, napi_callback_info info)	\
	{							\
		(void)env;					\
		(void)info;					\
		name##_with(registers);				\
		return NULL;					\
	}							\
	static void name##_with(double *r __attribute__((unused)))

#define CHECK(call) do { if ((call) != napi_ok) return NULL; } while (0)

static inline void *pointer(double value)
{
	return (void *)(uintptr_t)value;
}

/* arguments.c */
napi_value throw_type_error(napi_env env, const char *message);
napi_value throw_errno(napi_env env, const char *syscall, int error);
napi_value number(napi_env env, double value);
bool arguments(napi_env env, napi_callback_info info, size_t count,
	       double *numbers);

#define CACHE_LINE 64

/* operations.c: pmem; detect_write_back() chooses write_back()'s instruction and returns its name */
const char *detect_write_back(void);
void write_back(const void *address, size_t length);
void copy_non_temporal(char *to, const char *from, size_t length);
void zero_non_temporal(char *to, size_t length);
void fence(void);

#define FUNCTION(name) \
	napi_value name(napi_env env, napi_callback_info info)

/* operations.c */
FUNCTION(addon_ioctl);
FUNCTION(addon_copy);
FUNCTION(addon_copy_padded);
FUNCTION(addon_copy_non_temporal);
FUNCTION(addon_zero_non_temporal);
FUNCTION(addon_zero);
FUNCTION(addon_write_back);
FUNCTION(addon_fence);
FUNCTION(addon_clock_realtime_coarse);
FUNCTION(addon_monotonic);
FUNCTION(addon_equal);
FUNCTION(addon_first_non_zero);
FUNCTION(addon_yield_cpu);

/* journal.c */
FUNCTION(addon_write_log);
FUNCTION(addon_store_records);
FUNCTION(addon_commit);

/* files.c */
FUNCTION(addon_open);
FUNCTION(addon_close);
FUNCTION(addon_mmap);
FUNCTION(addon_mmap_anonymous);
FUNCTION(addon_munmap);
FUNCTION(addon_external);
FUNCTION(addon_address_of);
FUNCTION(addon_msync);
FUNCTION(addon_size_of);
FUNCTION(addon_try_lock);
FUNCTION(addon_send_datagram);

/* threads.c */
FUNCTION(addon_bind_to_cpu);
FUNCTION(addon_current_cpu);
FUNCTION(addon_thread_id);
FUNCTION(addon_set_thread_name);
FUNCTION(addon_set_io_flusher);
FUNCTION(addon_block_signals);

#undef FUNCTION

#endif
