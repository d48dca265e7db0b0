/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * The interface between the zuf kernel module and a zufs server.
 *
 * Generated from server/abi/zufs-abi.yaml: do not edit.
 *
 * All structures have the same layout in kernel and user space (x86-64, little
 * endian). A "cookie" is a number that the server chose and the kernel hands
 * back; a "dpp" is an offset into a pool of memory that both sides see, with
 * the number of the pool in its three low bits.
 */
#ifndef _UAPI_LINUX_ZUFS_API_H
#define _UAPI_LINUX_ZUFS_API_H

#include <linux/ioctl.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* glibc has the same struct statfs64; both cannot be there at once. */
#if defined(__KERNEL__) || !defined(_SYS_STATFS_H)
#include <asm/statfs.h>
#endif

#define ZUFS_ABI_MAJOR			1
#define ZUFS_ABI_MINOR			0
#define ZUFS_PAGE_SIZE			4096

#define ZUS_API_MAP_MAX_PAGES		1024	/* pages in the zero-copy window of a thread */
#define ZUS_API_MAP_MAX_SIZE		0x400000	/* bytes of the window; the command buffer is mapped at this offset */
#define ZUFS_MAX_ZT_CHANNELS		4
#define ZUFS_LINK_MAX			32000
#define ZUFS_MAX_SYMLINK		4096
#define ZUFS_NAME_LEN			255
#define ZUFS_MO_MAX			512	/* longest text of ZUFS_OP_SHOW_OPTIONS */
#define ZUFS_INODE_SIZE			128
#define ZUFS_ALLOC_ALIGN		0x200000	/* device sizes are rounded down to this */
#define ZUFS_READAHEAD_PAGES		8
#define EZUFS_RETRY			531	/* server asks to grow the ioctl buffer or to freeze, and to call again */
#define MDT_SIZE			4096
#define MD_DEV_MAX			64
#define MD_MINORS_PER_MAJOR		1024	/* md_dev_table.s_version is major * 1024 + minor */
#define MD_DEV_NUMA_SHIFT		60	/* md_dev_id.blocks: node above, 4 KiB blocks below */
#define MDT_F_SHADOW			1
#define MDT_F_POSIXACL			2

/* Dual-port pointer: pool number in the three low bits. */
typedef __u64 zu_dpp_t;

/* zufs_ioc_hdr.operation on a server thread */
enum zufs_operation {
	ZUFS_OP_NULL		= 0,
	ZUFS_OP_BREAK		= 1,
	ZUFS_OP_STATFS		= 2,
	ZUFS_OP_SHOW_OPTIONS	= 3,
	ZUFS_OP_NEW_INODE	= 4,
	ZUFS_OP_FREE_INODE	= 5,
	ZUFS_OP_EVICT_INODE	= 6,
	ZUFS_OP_LOOKUP		= 7,
	ZUFS_OP_ADD_DENTRY	= 8,
	ZUFS_OP_REMOVE_DENTRY	= 9,
	ZUFS_OP_RENAME		= 10,
	ZUFS_OP_READDIR		= 11,
	ZUFS_OP_CLONE		= 12,
	ZUFS_OP_COPY		= 13,
	ZUFS_OP_READ		= 14,
	ZUFS_OP_PRE_READ	= 15,
	ZUFS_OP_WRITE		= 16,
	ZUFS_OP_MMAP_CLOSE	= 17,
	ZUFS_OP_SETATTR		= 19,
	ZUFS_OP_SYNC		= 20,
	ZUFS_OP_FALLOCATE	= 21,
	ZUFS_OP_LLSEEK		= 22,
	ZUFS_OP_IOCTL		= 23,
	ZUFS_OP_XATTR_GET	= 24,
	ZUFS_OP_XATTR_SET	= 25,
	ZUFS_OP_XATTR_LIST	= 27,
	ZUFS_OP_FIEMAP		= 28,
	ZUFS_OP_GET_MULTY	= 29,
	ZUFS_OP_PUT_MULTY	= 30,
	ZUFS_OP_NOOP		= 31,
	ZUFS_OP_QUOTA		= 32,
};

/* zufs_ioc_hdr.operation on the mount thread */
enum zufs_mount_operation {
	ZUFS_M_MOUNT		= 1,
	ZUFS_M_UMOUNT		= 2,
	ZUFS_M_REMOUNT		= 3,
	ZUFS_M_DDBG_RD		= 4,
	ZUFS_M_DDBG_WR		= 5,
};

/* bits 56 and up of an iom_e entry */
enum zufs_iom_type {
	IOM_NONE		= 0,
	IOM_T1_WRITE		= 1,
	IOM_T1_READ		= 2,
	IOM_T2_WRITE		= 3,
	IOM_T2_READ		= 4,
	IOM_T2_WRITE_LEN	= 5,
	IOM_T2_READ_LEN		= 6,
	IOM_T2_ZUSMEM_WRITE	= 7,
	IOM_T2_ZUSMEM_READ	= 8,
	IOM_UNMAP		= 9,
	IOM_WBINV		= 10,
	IOM_REPEAT		= 11,
};

/* zufs_ioc_hdr.flags */
#define ZUFS_H_INTR			0x1
#define ZUFS_H_HAS_PIGY_PUT		0x2

/* zufs_parse_options.mount_flags */
#define ZUFS_M_PEDANTIC			0x1
#define ZUFS_M_EPHEMERAL		0x2
#define ZUFS_M_SILENT			0x4
#define ZUFS_M_PRIVATE			0x8

/* zufs_mount_info.remount_flags */
#define ZUFS_REM_WAS_RO			0x1
#define ZUFS_REM_WILL_RO		0x2

/* zufs_mount_info.fs_caps */
#define ZUFS_FSC_ACL_ON			0x1
#define ZUFS_FSC_NIO_READS		0x2
#define ZUFS_FSC_NIO_WRITES		0x4
#define ZUFS_FSC_QUOTA			0x100

/* zufs_ioc_new_inode.flags */
#define ZI_TMPFILE			0x1

/* zufs_ioc_evict_inode.flags */
#define ZI_LOOKUP_RACE			0x1

/* zufs_ioc_sync.flags */
#define ZUFS_SF_DATASYNC		0x1
#define ZUFS_SF_DONTNEED		0x100

/* zufs_ioc_xattr.ioc_flags */
#define ZUFS_XATTR_SET_EMPTY		0x1
#define ZUFS_XATTR_TRUSTED		0x2

/* zufs_ioc_xattr.type */
#define X_F_SECURITY			0x1
#define X_F_SYSTEM			0x2
#define X_F_TRUSTED			0x3
#define X_F_USER			0x4

/* zufs_ioc_ioctl.kflags, set by the kernel */
#define ZUFS_IOC_FSFROZEN		0x1
#define ZUFS_IOC_CAP_ADMIN		0x2

/* zufs_ioc_ioctl.uflags, set by the server */
#define ZUFS_IOC_REALLOC		0x1
#define ZUFS_IOC_FREEZE_REQ		0x2

/* zufs_ioc_IO.ret_flags */
#define ZUFS_RET_NEW			0x2
#define ZUFS_RET_IOM_ALL_PMEM		0x4
#define ZUFS_RET_PUT_NOW		0x8
#define ZUFS_RET_LOCKED_PUT		0x10

/* zufs_ioc_IO.rw of reads, writes and GET_MULTY */
#define ZUFS_RW_WRITE			0x1
#define ZUFS_RW_MMAP			0x2
#define ZUFS_RW_RAND			0x10
#define ZUFS_RW_EVENTFD			0x100
#define ZUFS_RW_APPEND			0x200
#define ZUFS_RW_DIRECT			0x400
#define ZUFS_RW_HIPRI			0x800
#define ZUFS_RW_DSYNC			0x1000
#define ZUFS_RW_SYNC			0x2000
#define ZUFS_RW_NOWAIT			0x8000
#define ZUFS_RW_AHEAD			0x10000

/* zufs_ioc_IO.rw of ZUFS_OP_FALLOCATE: set the size, take back what is ahead */
#define ZUFS_FL_TRUNCATE		0x80000000
#define ZUFS_FL_DROP_AHEAD		0x40000000

/* zufs_ioc_quota.command */
#define ZUFS_QUOTA_GET			0x1
#define ZUFS_QUOTA_GET_NEXT		0x2
#define ZUFS_QUOTA_SET			0x3
#define ZUFS_QUOTA_STATE		0x4
#define ZUFS_QUOTA_SET_INFO		0x5
#define ZUFS_QUOTA_ENABLE		0x6
#define ZUFS_QUOTA_DISABLE		0x7
#define ZUFS_QUOTA_CHOWN		0x8

/* zufs_ioc_quota.state */
#define ZUFS_QUOTA_ACCOUNTED		0x1
#define ZUFS_QUOTA_ENFORCED		0x2

/* zufs_ioc_quota.fields, as QC_* of <linux/quota.h> */
#define ZUFS_QUOTA_INODES_SOFT		0x1
#define ZUFS_QUOTA_INODES_HARD		0x2
#define ZUFS_QUOTA_SPACE_SOFT		0x4
#define ZUFS_QUOTA_SPACE_HARD		0x8
#define ZUFS_QUOTA_SPACE_TIMER		0x40
#define ZUFS_QUOTA_INODES_TIMER		0x80
#define ZUFS_QUOTA_SPACE_WARNS		0x200
#define ZUFS_QUOTA_INODES_WARNS		0x400

/* zus_inode.i_flags above the seven low bits, which are S_* of the kernel */
#define ZUFS_S_IMMUTABLE		0x800
#define ZUFS_S_NODUMP			0x1000

/* register_fs_info.notused announces, zufs_mount_info.__pad confirms */
#define ZUFS_FEATURE_EXTENT_CACHE	0x1
#define ZUFS_FEATURE_MEMORY_MOUNT	0x2
#define ZUFS_FEATURE_RIDERS		0x4
#define ZUFS_FEATURE_ALLOC_AHEAD	0x8

/**
 * struct zufs_ioc_hdr - starts every argument and every command
 * @err: 0 or -errno, set by whoever answers
 * @in_len: bytes of the structure meant for the server
 * @out_max: room for what comes back
 * @out_start: first byte that goes back to the caller
 * @out_len: bytes that go back to the caller
 * @operation: &enum zufs_operation or &enum zufs_mount_operation
 * @flags: ZUFS_H_*
 * @offset: first byte of the data in the window
 * @len: bytes of data in the window
 */
struct zufs_ioc_hdr {
	__s32 err;
	__u16 in_len;
	__u16 out_max;
	__u16 out_start;
	__u16 out_len;
	__u16 operation;
	__u16 flags;
	__u32 offset;
	__u32 len;
};

/**
 * struct register_fs_info - a mountable type that the server offers
 * @fsname: type name for mount(2), NUL terminated
 * @FS_magic: magic of the device table and of statfs
 * @FS_ver_major: a device table of another major is refused
 * @FS_ver_minor: minor version
 * @notused: feature bits announced by the server, 0 = none
 * @dt_offset: byte on a device where its table lies, ~0 without devices
 * @s_maxbytes: largest file size
 * @s_time_gran: granularity of times in nanoseconds
 * @def_mode: mode of the root directory when the server has none
 */
struct register_fs_info {
	char fsname[16];
	__u32 FS_magic;
	__u32 FS_ver_major;
	__u32 FS_ver_minor;
	__u32 notused;
	__u64 dt_offset;
	__u64 s_maxbytes;
	__u32 s_time_gran;
	__u32 def_mode;
};

/**
 * struct zufs_ioc_register_fs - ZU_IOC_REGISTER_FS: make a type mountable
 *   until the mount-thread file closes
 * @zus_zfi: cookie of the type, comes back in every mount of it
 */
struct zufs_ioc_register_fs {
	struct zufs_ioc_hdr hdr;
	__u64 zus_zfi;
	struct register_fs_info rfi;
};

/**
 * struct zufs_parse_options - mount options as the caller of mount(2) gave
 *   them
 * @mount_flags: ZUFS_M_*
 * @mount_options_len: without the terminating NUL
 * @mount_options: comma separated text
 */
struct zufs_parse_options {
	__u64 mount_flags;
	__u32 pedantic;
	__u32 mount_options_len;
	char mount_options[];
};

/**
 * struct zufs_mount_info - one mount, umount or remount
 * @zus_zfi: in: cookie of the type
 * @remount_flags: in: ZUFS_REM_*
 * @sb_id: in: number of the super block, for GRAB_PMEM
 * @num_cpu: in: online CPUs
 * @num_channels: in: channels a CPU
 * @__pad: in: feature bits in force
 * @zus_sbi: cookie of the super block; out of M_MOUNT
 * @zus_ii: out: cookie of the root inode
 * @_zi: out: dpp of the zus_inode of the root
 * @fs_caps: out: ZUFS_FSC_*
 * @s_blocksize_bits: out: 12
 */
struct zufs_mount_info {
	__u64 zus_zfi;
	__u64 remount_flags;
	__u64 sb_id;
	__u16 num_cpu;
	__u16 num_channels;
	__u32 __pad;
	__u64 zus_sbi;
	__u64 zus_ii;
	zu_dpp_t _zi;
	__u32 fs_caps;
	__u32 s_blocksize_bits;
	struct zufs_parse_options po;
};

/* ZUFS_M_DDBG_RD and ZUFS_M_DDBG_WR, which this kernel never sends. */
struct zufs_ddbg_info {
	__u64 reserved[2];
};

/**
 * struct zufs_ioc_mount - ZU_IOC_MOUNT: hand back the last answer and sleep
 *   until the next mount operation
 */
struct zufs_ioc_mount {
	struct zufs_ioc_hdr hdr;
	union {
		struct zufs_mount_info zmi;
		struct zufs_ddbg_info zdi;
	};
};

/**
 * struct zufs_ioc_mount_private - ZU_IOC_PRIVATE_MOUNT: a mount that only the
 *   server sees
 */
struct zufs_ioc_mount_private {
	struct zufs_ioc_hdr hdr;
	__u32 mount_fd;
	__u32 is_umount;
	struct register_fs_info rfi;
	struct zufs_mount_info zmi;
};

/**
 * struct zufs_cpu_set - CPUs of one node
 * @bits: bit n of the array is CPU n
 */
struct zufs_cpu_set {
	__u64 bits[16];
};

/**
 * struct zufs_ioc_numa_map - ZU_IOC_NUMA_MAP: nodes and CPUs of the machine;
 *   the caller passes a page
 * @cpu_set_per_node: possible_nodes of them
 */
struct zufs_ioc_numa_map {
	struct zufs_ioc_hdr hdr;
	__u32 possible_nodes;
	__u32 possible_cpus;
	__u32 online_nodes;
	__u32 online_cpus;
	__u32 max_cpu_per_node;
	__u8 nodes_not_symmetrical;
	__u8 __pad[19];
	struct zufs_cpu_set cpu_set_per_node[];
};

/**
 * struct md_dev_id - one device of a device table
 * @blocks: node << MD_DEV_NUMA_SHIFT | 4 KiB blocks
 */
struct md_dev_id {
	__u8 uuid[16];
	__le64 blocks;
};

/**
 * struct md_dev_list - all devices of a file system, T1 first
 * @id_index: place of the device that holds this copy
 */
struct md_dev_list {
	__le16 id_index;
	__le16 t1_count;
	__le16 t2_count;
	__le16 rmem_count;
	struct md_dev_id dev_ids[64];
	__u8 __gap0[56];
};

/**
 * struct md_dev_table - the device table at dt_offset of every device, little
 *   endian
 * @s_sum: crc16 over bytes 2 up to s_start_dynamic
 * @s_version: major * MD_MINORS_PER_MAJOR + minor
 * @s_flags: MDT_F_*
 * @s_start_dynamic: what follows is not in the checksum
 * @s_mtime: last mount, nanoseconds
 * @s_wtime: last write of this table, nanoseconds
 */
struct md_dev_table {
	__le16 s_sum;
	__le16 s_version;
	__le32 s_magic;
	__u8 s_uuid[16];
	__le64 s_flags;
	__le64 s_t1_blocks;
	__le64 s_t2_blocks;
	__u8 __gap0[16];
	struct md_dev_list s_dev_list;
	union {
		__DECLARE_FLEX_ARRAY(char, s_start_dynamic);
		__le64 s_mtime;
	};
	__le64 s_wtime;
	__u8 __gap1[48];
};

/**
 * struct zufs_ioc_pmem - ZU_IOC_GRAB_PMEM: device table of a mount; mmap of
 *   the file then maps its T1
 * @sb_id: in: from zufs_mount_info
 * @mdt: out
 */
struct zufs_ioc_pmem {
	struct zufs_ioc_hdr hdr;
	__u64 sb_id;
	__u8 __gap0[32];
	struct md_dev_table mdt;
	__u32 dev_index;
	__u32 ___pad;
	__u8 __gap1[56];
};

/**
 * struct zufs_ioc_init - ZU_IOC_INIT_THREAD: make the file the channel of the
 *   current CPU
 * @channel_no: in
 * @max_command: in: bytes of the command buffer
 */
struct zufs_ioc_init {
	struct zufs_ioc_hdr hdr;
	__u32 channel_no;
	__u32 max_command;
};

/**
 * struct zufs_ioc_break_all - ZU_IOC_BREAK_ALL: every waiting thread returns
 *   with ZUFS_OP_BREAK
 */
struct zufs_ioc_break_all {
	struct zufs_ioc_hdr hdr;
};

/**
 * struct zufs_ioc_alloc_buffer - ZU_IOC_ALLOC_BUFFER: a buffer that kernel and
 *   server share
 * @pool_no: out: pool number for its dpps
 */
struct zufs_ioc_alloc_buffer {
	struct zufs_ioc_hdr hdr;
	__u64 sb_id;
	__u64 zus_sbi;
	__u32 max_size;
	__u32 init_size;
	__u16 pool_no;
	__u16 flags;
	__u32 reserved;
};

/**
 * struct zufs_ioc_wait_operation - ZU_IOC_WAIT_OPT: complete the operation in
 *   the command buffer and sleep for the next
 * @opt_buff: the command
 */
struct zufs_ioc_wait_operation {
	struct zufs_ioc_hdr hdr;
	char opt_buff[];
};

/**
 * struct zus_inode - an inode in persistent memory, read and written in place
 *   by both sides
 * @i_flags: S_* and ZUFS_S_*
 * @i_size: bytes; of a symlink, length of its target
 * @a: for the file system
 * @i_blocks: 4 KiB blocks
 * @i_mtime: nanoseconds since the epoch, signed, as all times
 * @i_xattr: for the file system
 * @i_rdev: new_encode_dev()
 * @i_symlink: target of up to 32 bytes, no NUL
 * @i_sym_dpp: dpp of a longer target
 * @dir_root: for the file system
 * @parent: for the file system
 */
struct zus_inode {
	__le16 i_flags;
	__le16 i_mode;
	__le32 i_nlink;
	__le64 i_size;
	__le64 a[2];
	__le64 i_blocks;
	__le64 i_mtime;
	__le64 i_ctime;
	__le64 i_atime;
	__le64 i_ino;
	__le32 i_uid;
	__le32 i_gid;
	__le64 i_xattr;
	__le64 i_generation;
	union {
		__le32 i_rdev;
		__u8 i_symlink[32];
		__le64 i_sym_dpp;
		struct {
			__le64 dir_root;
			__le64 parent;
		};
	};
};

/**
 * struct zufs_str - a name, not NUL terminated
 */
struct zufs_str {
	__u8 len;
	char name[255];
};

/**
 * struct zufs_ioc_mount_options - ZUFS_OP_SHOW_OPTIONS
 * @buf: out: text, hdr.out_len long
 */
struct zufs_ioc_mount_options {
	struct zufs_ioc_hdr hdr;
	__u64 zus_sbi;
	char buf[];
};

/**
 * struct zufs_ioc_statfs - ZUFS_OP_STATFS
 * @statfs_out: out
 */
struct zufs_ioc_statfs {
	struct zufs_ioc_hdr hdr;
	__u64 zus_sbi;
	struct statfs64 statfs_out;
};

/**
 * struct zufs_ioc_quota - ZUFS_OP_QUOTA, to mounts with ZUFS_FSC_QUOTA
 * @zus_sbi: cookie of the mount
 * @zus_ii: CHOWN: cookie of the inode
 * @command: ZUFS_QUOTA_GET and others
 * @type: USRQUOTA, GRPQUOTA or PRJQUOTA
 * @id: of the owner; GET_NEXT: out as well; CHOWN: the new user
 * @gid: CHOWN: the new group
 * @fields: SET, SET_INFO: which of those below count; CHOWN:
 *   ZUFS_IOC_CAP_ADMIN of who may go beyond limits
 * @state: out of STATE, in of ENABLE and DISABLE
 * @space_hard: limit, in bytes; 0: none
 * @space_soft: limit that may be exceeded for a time, in bytes; 0: none
 * @inodes_hard: limit; 0: none
 * @inodes_soft: limit that may be exceeded for a time; 0: none
 * @space: out: bytes in use
 * @inodes: out: inodes in use
 * @inodes_timer: when the soft limit becomes hard, in seconds since the epoch,
 *   0: it is not exceeded; STATE, SET_INFO: seconds that it may be
 * @space_timer: as inodes_timer
 * @inodes_warns: warnings given; nothing is done with them
 * @space_warns: as inodes_warns
 * @ids: out of STATE: owners known
 */
struct zufs_ioc_quota {
	struct zufs_ioc_hdr hdr;
	__u64 zus_sbi;
	__u64 zus_ii;
	__u32 command;
	__u32 type;
	__u32 id;
	__u32 gid;
	__u32 fields;
	__u32 state;
	__u64 space_hard;
	__u64 space_soft;
	__u64 inodes_hard;
	__u64 inodes_soft;
	__u64 space;
	__u64 inodes;
	__u64 inodes_timer;
	__u64 space_timer;
	__u32 inodes_warns;
	__u32 space_warns;
	__u32 ids;
	__u32 pad;
};

/**
 * struct zufs_ioc_new_inode - ZUFS_OP_NEW_INODE: create an inode and, but for
 *   a tmpfile, its name
 * @zi: in: template of the inode
 * @dir_ii: in: cookie of the directory
 * @str: in: name
 * @flags: in: ZI_*
 * @_zi: out: dpp of the zus_inode
 * @zus_ii: out: cookie
 */
struct zufs_ioc_new_inode {
	struct zufs_ioc_hdr hdr;
	struct zus_inode zi;
	__u64 dir_ii;
	struct zufs_str str;
	__u64 flags;
	zu_dpp_t _zi;
	__u64 zus_ii;
};

/**
 * struct zufs_ioc_evict_inode - ZUFS_OP_EVICT_INODE and ZUFS_OP_FREE_INODE
 * @zus_ii: cookie of the inode
 * @flags: in: ZI_LOOKUP_RACE
 */
struct zufs_ioc_evict_inode {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 flags;
};

/**
 * struct zufs_ioc_lookup - ZUFS_OP_LOOKUP
 * @dir_ii: in: cookie of the directory
 * @str: in: name
 * @_zi: out: dpp of the zus_inode
 * @zus_ii: out: cookie
 */
struct zufs_ioc_lookup {
	struct zufs_ioc_hdr hdr;
	__u64 dir_ii;
	struct zufs_str str;
	zu_dpp_t _zi;
	__u64 zus_ii;
};

/**
 * struct zufs_ioc_dentry - ZUFS_OP_ADD_DENTRY and ZUFS_OP_REMOVE_DENTRY
 * @zus_ii: cookie of the inode
 * @zus_dir_ii: cookie of the directory
 */
struct zufs_ioc_dentry {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 zus_dir_ii;
	struct zufs_str str;
	__u64 ino;
};

/**
 * struct zufs_ioc_rename - ZUFS_OP_RENAME
 * @new_zus_ii: cookie of what the new name now is, or 0
 * @time: ctime of what changes
 * @flags: RENAME_*
 */
struct zufs_ioc_rename {
	struct zufs_ioc_hdr hdr;
	__u64 old_dir_ii;
	__u64 new_dir_ii;
	__u64 old_zus_ii;
	__u64 new_zus_ii;
	struct zufs_str old_d_str;
	struct zufs_str new_d_str;
	__u64 time;
	__u64 flags;
};

/**
 * struct zufs_ioc_readdir - ZUFS_OP_READDIR: fill the window with struct
 *   zufs_dir_entry
 * @pos: in: where to continue
 * @more: out: the window filled up
 */
struct zufs_ioc_readdir {
	struct zufs_ioc_hdr hdr;
	__u64 dir_ii;
	__u64 pos;
	__u8 more;
	__u8 __gap0[7];
};

/**
 * struct zufs_dir_entry - one record of ZUFS_OP_READDIR, padded to 8 bytes
 * @type: DT_*
 * @pos: position behind this entry
 * @zstr: only zstr.len bytes of the name are there
 */
struct zufs_dir_entry {
	__le64 ino;
	unsigned int type:8;
	__u64 pos:56;
	struct zufs_str zstr;
};

/**
 * struct zufs_ioc_mmap_close - ZUFS_OP_MMAP_CLOSE
 * @zus_ii: cookie of the inode
 */
struct zufs_ioc_mmap_close {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 rw;
};

/**
 * struct zufs_ioc_attr - ZUFS_OP_SETATTR
 * @zus_ii: cookie of the inode
 * @zuf_attr: STATX_* of what is already changed in the zus_inode
 */
struct zufs_ioc_attr {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u32 zuf_attr;
	__u32 pad;
};

/**
 * struct zufs_ioc_sync - ZUFS_OP_SYNC
 * @zus_ii: cookie of the inode
 * @flags: ZUFS_SF_*
 * @write_unmapped: out
 */
struct zufs_ioc_sync {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 offset;
	__u64 length;
	__u64 flags;
	__u64 write_unmapped;
};

/**
 * struct zufs_ioc_clone - ZUFS_OP_CLONE and ZUFS_OP_COPY
 * @len_up: len, rounded up at the end of the file
 */
struct zufs_ioc_clone {
	struct zufs_ioc_hdr hdr;
	__u64 src_zus_ii;
	__u64 dst_zus_ii;
	__u64 pos_in;
	__u64 pos_out;
	__u64 len;
	__u64 len_up;
};

/**
 * struct zufs_ioc_seek - ZUFS_OP_LLSEEK
 * @whence: SEEK_DATA or SEEK_HOLE
 */
struct zufs_ioc_seek {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 offset_in;
	__u32 whence;
	__u32 pad;
	__u64 offset_out;
};

/**
 * struct zufs_ioc_ioctl - ZUFS_OP_IOCTL
 * @time: in: now
 * @cmd: in: ioctl command
 * @kflags: in: ZUFS_IOC_FSFROZEN, ZUFS_IOC_CAP_ADMIN
 * @out_start: what goes back to the caller
 * @uflags: out, with -EZUFS_RETRY: ZUFS_IOC_REALLOC, ZUFS_IOC_FREEZE_REQ
 * @new_size: out, with -EZUFS_RETRY
 * @arg: in and out: what the caller points at
 */
struct zufs_ioc_ioctl {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 time;
	__u32 cmd;
	__u32 kflags;
	union {
		__DECLARE_FLEX_ARRAY(char, out_start);
		struct {
			__u32 uflags;
			__u32 new_size;
		};
		__DECLARE_FLEX_ARRAY(char, arg);
	};
};

/**
 * struct zufs_ioc_xattr - ZUFS_OP_XATTR_GET, ZUFS_OP_XATTR_SET and
 *   ZUFS_OP_XATTR_LIST
 * @flags: XATTR_CREATE, XATTR_REPLACE
 * @type: X_F_*: the prefix of the name
 * @name_len: NUL included
 * @ioc_flags: ZUFS_XATTR_*
 * @user_buf_size: in: size of the value or of the room; out: size
 * @buf: name, NUL, value
 */
struct zufs_ioc_xattr {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u32 flags;
	__u32 type;
	__u16 name_len;
	__u16 ioc_flags;
	__u32 user_buf_size;
	char buf[];
};

/**
 * struct zufs_ioc_fiemap - ZUFS_OP_FIEMAP: the window holds the struct
 *   fiemap_extent array
 */
struct zufs_ioc_fiemap {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 start;
	__u64 length;
	__u32 flags;
	__u32 extents_max;
	__u32 extents_mapped;
	__u32 pad;
};

/**
 * struct zufs_iomap - a list of block mappings
 * @iom_max: room for entries
 * @iom_n: entries in use
 * @iom_e: &enum zufs_iom_type << 56 | block dpp
 */
struct zufs_iomap {
	__u64 iomb;
	__u32 iom_max;
	__u32 iom_n;
	__u64 iom_e[];
};

/**
 * struct zufs_ioc_iomap_exec - ZU_IOC_IOMAP_EXEC: copies between T1, T2 and
 *   shared buffers
 */
struct zufs_ioc_iomap_exec {
	struct zufs_ioc_hdr hdr;
	__u64 sb_id;
	__u64 zus_sbi;
	__u64 zt_iocontext;
	__u32 wait_for_done;
	__u32 __pad;
	struct zufs_iomap ziom;
};

/**
 * struct zufs_ioc_IO - ZUFS_OP_READ, WRITE, PRE_READ, GET_MULTY, PUT_MULTY and
 *   FALLOCATE
 * @zus_ii: cookie of the inode
 * @filepos: first byte in the file
 * @rw: ZUFS_RW_*; of FALLOCATE the mode of fallocate(2) or ZUFS_FL_*
 * @ret_flags: out: ZUFS_RET_*
 * @pool: pool of the dpps
 * @cookie: for the server, from GET to PUT
 * @ra.start: read-ahead state of the file
 * @wr_unmap.offset: out: what a write asks to unmap from applications
 * @last_pos: out: position behind the last byte done; in: end of a FALLOCATE
 * @iom_e: the entries of ziom; more may follow
 */
struct zufs_ioc_IO {
	struct zufs_ioc_hdr hdr;
	__u64 zus_ii;
	__u64 filepos;
	__u64 rw;
	__u32 ret_flags;
	__u32 pool;
	__u64 cookie;
	struct {
		__u64 start;
		__u64 prev_pos;
		__u32 ra_pages;
		__u32 ra_pad;
	} ra;
	struct {
		__u32 offset;
		__u32 len;
	} wr_unmap;
	__u64 last_pos;
	struct zufs_iomap ziom;
	__u64 iom_e[13];
};

#define ZU_IOC_REGISTER_FS		_IOWR('Z', 10, struct zufs_ioc_register_fs)
#define ZU_IOC_MOUNT			_IOWR('Z', 11, struct zufs_ioc_mount)
#define ZU_IOC_PRIVATE_MOUNT		_IOWR('Z', 12, struct zufs_ioc_mount_private)
#define ZU_IOC_NUMA_MAP			_IOWR('Z', 13, struct zufs_ioc_numa_map)
#define ZU_IOC_GRAB_PMEM		_IOWR('Z', 14, struct zufs_ioc_pmem)
#define ZU_IOC_INIT_THREAD		_IOWR('Z', 15, struct zufs_ioc_init)
#define ZU_IOC_BREAK_ALL		_IOWR('Z', 16, struct zufs_ioc_break_all)
/*
 * Takes struct zufs_ioc_alloc_buffer; the size in the
 * number is that of another structure, and stays so.
 */
#define ZU_IOC_ALLOC_BUFFER		_IOWR('Z', 17, struct zufs_ioc_init)
#define ZU_IOC_WAIT_OPT			_IOWR('Z', 18, struct zufs_ioc_wait_operation)
#define ZU_IOC_IOMAP_EXEC		_IOWR('Z', 19, struct zufs_ioc_iomap_exec)

#endif /* _UAPI_LINUX_ZUFS_API_H */
