/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM zuf

#if !defined(_FS_ZUF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _FS_ZUF_TRACE_H

#include <linux/tracepoint.h>
#include <linux/zufs_api.h>

TRACE_EVENT(zuf_dispatch,
	TP_PROTO(const struct zufs_ioc_hdr *hdr),
	TP_ARGS(hdr),
	TP_STRUCT__entry(
		__field(u16, operation)
		__field(u16, in_len)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->operation = hdr->operation;
		__entry->in_len = hdr->in_len;
		__entry->len = hdr->len;
	),
	TP_printk("op %u in_len %u len %u", __entry->operation,
		  __entry->in_len, __entry->len)
);

TRACE_EVENT(zuf_done,
	TP_PROTO(const struct zufs_ioc_hdr *hdr, int err, u64 ns),
	TP_ARGS(hdr, err, ns),
	TP_STRUCT__entry(
		__field(u16, operation)
		__field(int, err)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->operation = hdr->operation;
		__entry->err = err;
		__entry->ns = ns;
	),
	TP_printk("op %u err %d after %llu ns", __entry->operation,
		  __entry->err, __entry->ns)
);

#endif /* _FS_ZUF_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
