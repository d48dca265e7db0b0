// SPDX-License-Identifier: BSD-3-Clause

/* Files, mappings and sockets: set-up, where Node's own functions lack something. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon.h"

napi_value addon_open(napi_env env, napi_callback_info info)
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

napi_value addon_close(napi_env env, napi_callback_info info)
{
	double fd;

	if (!arguments(env, info, 1, &fd))
		return NULL;
	if (close((int)fd))
		return throw_errno(env, "close", errno);
	return NULL;
}

napi_value addon_mmap(napi_env env, napi_callback_info info)
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

napi_value addon_mmap_anonymous(napi_env env, napi_callback_info info)
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

napi_value addon_munmap(napi_env env, napi_callback_info info)
{
	double n[2];

	if (!arguments(env, info, 2, n))
		return NULL;
	if (munmap(pointer(n[0]), (size_t)n[1]))
		return throw_errno(env, "munmap", errno);
	return NULL;
}

napi_value addon_external(napi_env env, napi_callback_info info)
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
napi_value addon_address_of(napi_env env, napi_callback_info info)
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

napi_value addon_msync(napi_env env, napi_callback_info info)
{
	double n[2];

	if (!arguments(env, info, 2, n))
		return NULL;
	if (msync(pointer(n[0]), (size_t)n[1], MS_SYNC))
		return throw_errno(env, "msync", errno);
	return NULL;
}

napi_value addon_size_of(napi_env env, napi_callback_info info)
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

napi_value addon_try_lock(napi_env env, napi_callback_info info)
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

napi_value addon_send_datagram(napi_env env, napi_callback_info info)
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
