/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM zuf

#if !defined(_FS_ZUF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _FS_ZUF_TRACE_H

#include <linux/tracepoint.h>
#include "zuf.h"

/* An application queues an operation. */
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

/* A thread of the server takes it, and brings it back. */
DECLARE_EVENT_CLASS(zuf_served,
	TP_PROTO(int cpu, unsigned int channel, const struct zuf_op *op),
	TP_ARGS(cpu, channel, op),
	TP_STRUCT__entry(
		__field(int, cpu)
		__field(unsigned int, channel)
		__field(pid_t, pid)
		__field(u16, operation)
		__field(unsigned int, nr_pages)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->cpu = cpu;
		__entry->channel = channel;
		__entry->pid = op->task->pid;
		__entry->operation = op->hdr->operation;
		__entry->nr_pages = op->nr_pages;
		__entry->err = op->err;
	),
	TP_printk("cpu %d channel %u op %u of %d pages %u err %d", __entry->cpu,
		  __entry->channel, __entry->operation, __entry->pid,
		  __entry->nr_pages, __entry->err)
);

DEFINE_EVENT(zuf_served, zuf_start,
	TP_PROTO(int cpu, unsigned int channel, const struct zuf_op *op),
	TP_ARGS(cpu, channel, op)
);

DEFINE_EVENT(zuf_served, zuf_reply,
	TP_PROTO(int cpu, unsigned int channel, const struct zuf_op *op),
	TP_ARGS(cpu, channel, op)
);

/* The application goes on. */
TRACE_EVENT(zuf_done,
	TP_PROTO(const struct zufs_ioc_hdr *hdr, int err, const u64 *ns),
	TP_ARGS(hdr, err, ns),
	TP_STRUCT__entry(
		__field(u16, operation)
		__field(int, err)
		__array(u64, ns, ZUF_PHASES)
	),
	TP_fast_assign(
		__entry->operation = hdr->operation;
		__entry->err = err;
		memcpy(__entry->ns, ns, sizeof(__entry->ns));
	),
	TP_printk("op %u err %d queued %llu switch %llu server %llu back %llu ns",
		  __entry->operation, __entry->err, __entry->ns[ZUF_QUEUED],
		  __entry->ns[ZUF_SWITCH], __entry->ns[ZUF_SERVER],
		  __entry->ns[ZUF_BACK])
);

#endif /* _FS_ZUF_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
