// SPDX-License-Identifier: BSD-3-Clause

/*
 * What the server needs of the machine and Node does not offer: ioctl, mmap as
 * ArrayBuffers, CPU binding, copies past the caches and cache-line write-back.
 * addon.ts says what each function does.
 *
 * Functions of the operation path take their arguments from `registers`, an
 * array of doubles that JavaScript sees as a Float64Array: a number above 2^31
 * given as an argument would have to be boxed on the JavaScript heap first.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <node_api.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define CACHE_LINE 64
#define REGISTERS 8

/* One per isolate. */
struct instance {
	double registers[REGISTERS];
};

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
static const char *write_back_name;

static void detect_write_back(void)
{
	unsigned int a, b, c, d;

	write_back_lines = write_back_clflush;
	write_back_name = "clflush";
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return;
	if (b & bit_CLWB) {
		write_back_lines = write_back_clwb;
		write_back_name = "clwb";
	} else if (b & bit_CLFLUSHOPT) {
		write_back_lines = write_back_clflushopt;
		write_back_name = "clflushopt";
	}
}

static void write_back(const void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;

	if (length)
		write_back_lines(start & ~(uintptr_t)(CACHE_LINE - 1), start + length);
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
static void copy_non_temporal(char *to, const char *from, size_t length)
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

static void zero_non_temporal(char *to, size_t length)
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

/* --- Records of words --- */

#define BLOCK_WORDS 1024

/* Each word as a whole, since the kernel may read it meanwhile. */
static void store_records(uint32_t *base, const uint32_t *at, size_t words)
{
	const uint32_t *end = at + words;

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

/* --- Arguments and results --- */

#define CHECK(call) do { if ((call) != napi_ok) return NULL; } while (0)

static napi_value throw_type_error(napi_env env, const char *message)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
	return NULL;
}

/* Throw an Error with errno, code and syscall, as Node's own functions do. */
static napi_value throw_errno(napi_env env, const char *syscall, int error)
{
	const char *name = strerrorname_np(error);
	napi_value code, message, object, value;
	char text[160];

	if (!name)
		name = "EUNKNOWN";
	snprintf(text, sizeof(text), "%s: %s, %s", name, strerror(error), syscall);
	CHECK(napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code));
	CHECK(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message));
	CHECK(napi_create_error(env, code, message, &object));
	CHECK(napi_create_int32(env, error, &value));
	CHECK(napi_set_named_property(env, object, "errno", value));
	CHECK(napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value));
	CHECK(napi_set_named_property(env, object, "syscall", value));
	napi_throw(env, object);
	return NULL;
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	CHECK(napi_create_double(env, value, &result));
	return result;
}

/*
 * Read `count` numbers into `numbers`; false with an exception pending if an
 * argument is missing or no number.
 */
static bool arguments(napi_env env, napi_callback_info info, size_t count,
		      double *numbers)
{
	napi_value values[4];
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != napi_ok)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (i >= given ||
		    napi_get_value_double(env, values[i], &numbers[i]) != napi_ok) {
			throw_type_error(env, "a number is expected");
			return false;
		}
	}
	return true;
}

static double *registers(napi_env env, napi_callback_info info)
{
	void *data = NULL;

	napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
	return ((struct instance *)data)->registers;
}

static void *pointer(double value)
{
	return (void *)(uintptr_t)value;
}

/* --- Operation path: arguments in the registers --- */

static napi_value addon_ioctl(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);
	napi_value result;
	int ret;

	ret = ioctl((int)r[0], (unsigned long)r[1], pointer(r[2]));
	CHECK(napi_create_int32(env, ret < 0 ? -errno : ret, &result));
	return result;
}

static napi_value addon_copy(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	memcpy(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
	return NULL;
}

static napi_value addon_copy_non_temporal(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	copy_non_temporal(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
	return NULL;
}

static napi_value addon_zero_non_temporal(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	zero_non_temporal(pointer(r[0]), (size_t)r[1]);
	return NULL;
}

static napi_value addon_store_records(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	store_records(pointer(r[0]), pointer(r[1]), (size_t)r[2]);
	return NULL;
}

static napi_value addon_zero(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	memset(pointer(r[0]), 0, (size_t)r[1]);
	return NULL;
}

static napi_value addon_write_back(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);

	write_back(pointer(r[0]), (size_t)r[1]);
	return NULL;
}

static napi_value addon_fence(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	_mm_sfence();
	return NULL;
}

static napi_value addon_clock_realtime_coarse(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	*(uint64_t *)pointer(r[0]) = now.tv_sec * 1000000000ull + now.tv_nsec;
	return NULL;
}

/* The answer is a double in register 0: returned, it would be boxed. */
static napi_value addon_monotonic(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	r[0] = now.tv_sec * 1e9 + now.tv_nsec;
	return NULL;
}

static napi_value addon_equal(napi_env env, napi_callback_info info)
{
	double *r = registers(env, info);
	napi_value result;

	CHECK(napi_get_boolean(env, !memcmp(pointer(r[0]), pointer(r[1]),
					    (size_t)r[2]), &result));
	return result;
}

static napi_value addon_yield_cpu(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	sched_yield();
	return NULL;
}

/* --- Set-up path --- */

static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value values[3];
	size_t count = 3, length;
	char path[4096];
	double flags, mode;
	int fd;

	CHECK(napi_get_cb_info(env, info, &count, values, NULL, NULL));
	if (count < 3 ||
	    napi_get_value_string_utf8(env, values[0], path, sizeof(path), &length) != napi_ok ||
	    napi_get_value_double(env, values[1], &flags) != napi_ok ||
	    napi_get_value_double(env, values[2], &mode) != napi_ok)
		return throw_type_error(env, "open(path, flags, mode)");
	/* A longer path arrives cut short, which must not open something else. */
	if (length >= sizeof(path) - 1)
		return throw_errno(env, "open", ENAMETOOLONG);
	fd = open(path, (int)flags | O_CLOEXEC, (mode_t)mode);
	if (fd < 0)
		return throw_errno(env, "open", errno);
	return number(env, fd);
}

static napi_value addon_close(napi_env env, napi_callback_info info)
{
	double fd;

	if (!arguments(env, info, 1, &fd))
		return NULL;
	if (close((int)fd))
		return throw_errno(env, "close", errno);
	return NULL;
}

static napi_value addon_mmap(napi_env env, napi_callback_info info)
{
	napi_value values[4];
	size_t count = 4;
	double fd, offset, length;
	bool writable;
	void *address;

	CHECK(napi_get_cb_info(env, info, &count, values, NULL, NULL));
	if (count < 4 ||
	    napi_get_value_double(env, values[0], &fd) != napi_ok ||
	    napi_get_value_double(env, values[1], &offset) != napi_ok ||
	    napi_get_value_double(env, values[2], &length) != napi_ok ||
	    napi_get_value_bool(env, values[3], &writable) != napi_ok)
		return throw_type_error(env, "mmap(fd, offset, length, writable)");
	address = mmap(NULL, (size_t)length, PROT_READ | (writable ? PROT_WRITE : 0),
		       MAP_SHARED, (int)fd, (off_t)offset);
	if (address == MAP_FAILED)
		return throw_errno(env, "mmap", errno);
	return number(env, (double)(uintptr_t)address);
}

static napi_value addon_mmap_anonymous(napi_env env, napi_callback_info info)
{
	double length;
	void *address;

	if (!arguments(env, info, 1, &length))
		return NULL;
	address = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (address == MAP_FAILED)
		return throw_errno(env, "mmap", errno);
	return number(env, (double)(uintptr_t)address);
}

static napi_value addon_munmap(napi_env env, napi_callback_info info)
{
	double n[2];

	if (!arguments(env, info, 2, n))
		return NULL;
	if (munmap(pointer(n[0]), (size_t)n[1]))
		return throw_errno(env, "munmap", errno);
	return NULL;
}

static napi_value addon_external(napi_env env, napi_callback_info info)
{
	napi_value buffer;
	double n[2];

	if (!arguments(env, info, 2, n))
		return NULL;
	/* The memory belongs to whoever mapped it, so there is nothing to finalize. */
	CHECK(napi_create_external_arraybuffer(env, pointer(n[0]), (size_t)n[1],
					       NULL, NULL, &buffer));
	return buffer;
}

/* Takes a typed array, which works for SharedArrayBuffers too. */
static napi_value addon_address_of(napi_env env, napi_callback_info info)
{
	napi_value value;
	size_t count = 1;
	void *data;

	CHECK(napi_get_cb_info(env, info, &count, &value, NULL, NULL));
	if (count < 1 ||
	    napi_get_typedarray_info(env, value, NULL, NULL, &data, NULL, NULL) != napi_ok)
		return throw_type_error(env, "addressOf(typed array)");
	return number(env, (double)(uintptr_t)data);
}

static napi_value addon_msync(napi_env env, napi_callback_info info)
{
	double n[2];

	if (!arguments(env, info, 2, n))
		return NULL;
	if (msync(pointer(n[0]), (size_t)n[1], MS_SYNC))
		return throw_errno(env, "msync", errno);
	return NULL;
}

static napi_value addon_bind_to_cpu(napi_env env, napi_callback_info info)
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

static napi_value addon_current_cpu(napi_env env, napi_callback_info info)
{
	(void)info;
	return number(env, sched_getcpu());
}

static napi_value addon_thread_id(napi_env env, napi_callback_info info)
{
	(void)info;
	return number(env, gettid());
}

static napi_value addon_set_thread_name(napi_env env, napi_callback_info info)
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

static napi_value addon_set_io_flusher(napi_env env, napi_callback_info info)
{
	(void)info;
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		return throw_errno(env, "prctl", errno);
	return NULL;
}

/* All but those that the thread itself causes, and the profiler's. */
static napi_value addon_block_signals(napi_env env, napi_callback_info info)
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

static napi_value addon_size_of(napi_env env, napi_callback_info info)
{
	struct stat status;
	uint64_t bytes;
	double fd;

	if (!arguments(env, info, 1, &fd))
		return NULL;
	if (fstat((int)fd, &status))
		return throw_errno(env, "fstat", errno);
	if (!S_ISBLK(status.st_mode))
		return number(env, (double)status.st_size);
	if (ioctl((int)fd, BLKGETSIZE64, &bytes))
		return throw_errno(env, "ioctl", errno);
	return number(env, (double)bytes);
}

static napi_value addon_try_lock(napi_env env, napi_callback_info info)
{
	napi_value result;
	double fd;
	int ret;

	if (!arguments(env, info, 1, &fd))
		return NULL;
	ret = flock((int)fd, LOCK_EX | LOCK_NB);
	if (ret && errno != EWOULDBLOCK)
		return throw_errno(env, "flock", errno);
	CHECK(napi_get_boolean(env, !ret, &result));
	return result;
}

static napi_value addon_send_datagram(napi_env env, napi_callback_info info)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	napi_value values[2];
	size_t count = 2, path_length, length;
	char text[1024];
	int fd, error;
	ssize_t sent;

	CHECK(napi_get_cb_info(env, info, &count, values, NULL, NULL));
	if (count < 2 ||
	    napi_get_value_string_utf8(env, values[0], to.sun_path, sizeof(to.sun_path),
				       &path_length) != napi_ok ||
	    napi_get_value_string_utf8(env, values[1], text, sizeof(text), &length) != napi_ok)
		return throw_type_error(env, "sendDatagram(path, text)");
	/* The abstract name space is written with an @ in front. */
	if (to.sun_path[0] == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return throw_errno(env, "socket", errno);
	sent = sendto(fd, text, length, 0, (struct sockaddr *)&to,
		      offsetof(struct sockaddr_un, sun_path) + path_length);
	error = errno;
	close(fd);
	if (sent < 0)
		return throw_errno(env, "sendto", error);
	return NULL;
}

/* --- Module --- */

static const struct {
	const char *name;
	napi_callback function;
} functions[] = {
	{ "ioctl", addon_ioctl },
	{ "copy", addon_copy },
	{ "copyNonTemporal", addon_copy_non_temporal },
	{ "zeroNonTemporal", addon_zero_non_temporal },
	{ "storeRecords", addon_store_records },
	{ "zero", addon_zero },
	{ "writeBack", addon_write_back },
	{ "fence", addon_fence },
	{ "clockRealtimeCoarse", addon_clock_realtime_coarse },
	{ "monotonic", addon_monotonic },
	{ "equal", addon_equal },
	{ "yieldCpu", addon_yield_cpu },
	{ "open", addon_open },
	{ "close", addon_close },
	{ "mmap", addon_mmap },
	{ "mmapAnonymous", addon_mmap_anonymous },
	{ "munmap", addon_munmap },
	{ "external", addon_external },
	{ "addressOf", addon_address_of },
	{ "msync", addon_msync },
	{ "bindToCpu", addon_bind_to_cpu },
	{ "currentCpu", addon_current_cpu },
	{ "threadId", addon_thread_id },
	{ "setThreadName", addon_set_thread_name },
	{ "setIoFlusher", addon_set_io_flusher },
	{ "blockSignals", addon_block_signals },
	{ "sizeOf", addon_size_of },
	{ "tryLock", addon_try_lock },
	{ "sendDatagram", addon_send_datagram },
};

static void free_instance(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	free(data);
}

NAPI_MODULE_INIT()
{
	struct instance *instance = calloc(1, sizeof(*instance));
	napi_value value;

	if (!instance)
		return throw_errno(env, "calloc", ENOMEM);
	CHECK(napi_set_instance_data(env, instance, free_instance, NULL));
	detect_write_back();
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		CHECK(napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH,
					   functions[i].function, instance, &value));
		CHECK(napi_set_named_property(env, exports, functions[i].name, value));
	}
	CHECK(napi_create_external_arraybuffer(env, instance->registers,
					       sizeof(instance->registers),
					       NULL, NULL, &value));
	CHECK(napi_set_named_property(env, exports, "registers", value));
	CHECK(napi_create_string_utf8(env, write_back_name, NAPI_AUTO_LENGTH, &value));
	CHECK(napi_set_named_property(env, exports, "writeBackInstruction", value));
	return exports;
}
