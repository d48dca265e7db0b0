// SPDX-License-Identifier: BSD-3-Clause

/* Arguments and results of functions that JavaScript calls. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "addon.h"

napi_value throw_type_error(napi_env env, const char *message)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
	return NULL;
}

/* Throw an Error with errno, code and syscall, as Node's own functions do. */
napi_value throw_errno(napi_env env, const char *syscall, int error)
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

napi_value number(napi_env env, double value)
{
	napi_value result;

	CHECK(napi_create_double(env, value, &result));
	return result;
}

/*
 * Read `count` numbers into `numbers`; false with an exception pending if an
 * argument is missing or no number.
 */
bool arguments(napi_env env, napi_callback_info info, size_t count,
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
