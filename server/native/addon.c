// SPDX-License-Identifier: BSD-3-Clause

/*
 * What the server needs of the machine and Node does not offer: ioctl, mmap as
 * ArrayBuffers, CPU binding, copies past the caches and cache-line write-back.
 */
#include "addon.h"

static const struct {
	const char *name;
	napi_callback function;
} functions[] = {
	{ "ioctl", addon_ioctl },
	{ "copy", addon_copy },
	{ "copyPadded", addon_copy_padded },
	{ "copyNonTemporal", addon_copy_non_temporal },
	{ "zeroNonTemporal", addon_zero_non_temporal },
	{ "writeLog", addon_write_log },
	{ "storeRecords", addon_store_records },
	{ "commit", addon_commit },
	{ "zero", addon_zero },
	{ "writeBack", addon_write_back },
	{ "fence", addon_fence },
	{ "clockRealtimeCoarse", addon_clock_realtime_coarse },
	{ "monotonic", addon_monotonic },
	{ "equal", addon_equal },
	{ "firstNonZero", addon_first_non_zero },
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

NAPI_MODULE_INIT()
{
	const char *write_back_name;
	napi_value value;

	/* To the same value by all isolates, before any function can be called. */
	write_back_name = detect_write_back();
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		CHECK(napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH,
					   functions[i].function, NULL, &value));
		CHECK(napi_set_named_property(env, exports, functions[i].name, value));
	}
	CHECK(napi_create_external_arraybuffer(env, registers, sizeof(registers),
					       NULL, NULL, &value));
	CHECK(napi_set_named_property(env, exports, "registers", value));
	CHECK(napi_create_string_utf8(env, write_back_name, NAPI_AUTO_LENGTH, &value));
	CHECK(napi_set_named_property(env, exports, "writeBackInstruction", value));
	return exports;
}
