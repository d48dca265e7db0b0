// SPDX-License-Identifier: BSD-3-Clause

/**
 * What the generated header and layout need beyond the numbers of `zufs-abi.yaml`: what each structure is for, which
 * members overlap, and which lie in a named inner structure. No number of the interface lives here.
 */

export interface StructAnnotation {
  /** One sentence, ends up in the comment above the structure. */
  readonly about: string;
  /** Short comment per member. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Members that overlap: each inner list is one alternative, in order of offset. */
  readonly union?: readonly (readonly string[])[];
  /** Members that form an inner structure of that name. */
  readonly groups?: Readonly<Record<string, readonly string[]>>;
}

/** Structures whose numbers the interface definition does not give. */
export const externalSizes: Readonly<Record<string, number>> = { statfs64: 120, zufs_ddbg_info: 16 };

/** struct statfs64 of x86-64 (asm-generic/statfs.h): offset and size of each member. The layout test asks the C compiler. */
export const statfs64: readonly (readonly [name: string, offset: number, size: number])[] = [
  ['f_type', 0, 8],
  ['f_bsize', 8, 8],
  ['f_blocks', 16, 8],
  ['f_bfree', 24, 8],
  ['f_bavail', 32, 8],
  ['f_files', 40, 8],
  ['f_ffree', 48, 8],
  ['f_fsid', 56, 8],
  ['f_namelen', 64, 8],
  ['f_frsize', 72, 8],
  ['f_flags', 80, 8],
  ['f_spare', 88, 32],
];

export const flagComments: Readonly<Record<string, string>> = {
  header: 'zufs_ioc_hdr.flags',
  mount_flags: 'zufs_parse_options.mount_flags',
  remount_flags: 'zufs_mount_info.remount_flags',
  fs_caps: 'zufs_mount_info.fs_caps',
  features: 'register_fs_info.notused announces, zufs_mount_info.__pad confirms',
  new_inode: 'zufs_ioc_new_inode.flags',
  evict: 'zufs_ioc_evict_inode.flags',
  sync: 'zufs_ioc_sync.flags',
  xattr: 'zufs_ioc_xattr.ioc_flags',
  xattr_type: 'zufs_ioc_xattr.type',
  ioctl_kflags: 'zufs_ioc_ioctl.kflags, set by the kernel',
  ioctl_uflags: 'zufs_ioc_ioctl.uflags, set by the server',
  io_ret: 'zufs_ioc_IO.ret_flags',
  io_rw: 'zufs_ioc_IO.rw of reads, writes and GET_MULTY',
  fallocate_truncate: 'zufs_ioc_IO.rw of ZUFS_OP_FALLOCATE: set the size, take back what is ahead',
  quota_command: 'zufs_ioc_quota.command',
  quota_state: 'zufs_ioc_quota.state',
  quota_fields: 'zufs_ioc_quota.fields, as QC_* of <linux/quota.h>',
  inode: 'zus_inode.i_flags above the seven low bits, which are S_* of the kernel',
};

export const constantComments: Readonly<Record<string, string>> = {
  ZUS_API_MAP_MAX_PAGES: 'pages in the zero-copy window of a thread',
  ZUS_API_MAP_MAX_SIZE: 'bytes of the window; the command buffer is mapped at this offset',
  ZUFS_MO_MAX: 'longest text of ZUFS_OP_SHOW_OPTIONS',
  ZUFS_ALLOC_ALIGN: 'device sizes are rounded down to this',
  EZUFS_RETRY: 'server asks to grow the ioctl buffer or to freeze, and to call again',
  MD_MINORS_PER_MAJOR: 'md_dev_table.s_version is major * 1024 + minor',
  MD_DEV_NUMA_SHIFT: 'md_dev_id.blocks: node above, 4 KiB blocks below',
};

const cookieOfInode = 'cookie of the inode';

export const structs: Readonly<Record<string, StructAnnotation>> = {
  zufs_ioc_hdr: {
    about: 'starts every argument and every command',
    fields: {
      err: '0 or -errno, set by whoever answers',
      in_len: 'bytes of the structure meant for the server',
      out_max: 'room for what comes back',
      out_start: 'first byte that goes back to the caller',
      out_len: 'bytes that go back to the caller',
      operation: '&enum zufs_operation or &enum zufs_mount_operation',
      flags: 'ZUFS_H_*',
      offset: 'first byte of the data in the window',
      len: 'bytes of data in the window',
    },
  },
  register_fs_info: {
    about: 'a mountable type that the server offers',
    fields: {
      fsname: 'type name for mount(2), NUL terminated',
      FS_magic: 'magic of the device table and of statfs',
      FS_ver_major: 'a device table of another major is refused',
      FS_ver_minor: 'minor version',
      notused: 'feature bits announced by the server, 0 = none',
      dt_offset: 'byte on a device where its table lies, ~0 without devices',
      s_maxbytes: 'largest file size',
      s_time_gran: 'granularity of times in nanoseconds',
      def_mode: 'mode of the root directory when the server has none',
    },
  },
  zufs_ioc_register_fs: {
    about: 'ZU_IOC_REGISTER_FS: make a type mountable until the mount-thread file closes',
    fields: { zus_zfi: 'cookie of the type, comes back in every mount of it' },
  },
  zufs_parse_options: {
    about: 'mount options as the caller of mount(2) gave them',
    fields: {
      mount_flags: 'ZUFS_M_*',
      mount_options_len: 'without the terminating NUL',
      mount_options: 'comma separated text',
    },
  },
  zufs_mount_info: {
    about: 'one mount, umount or remount',
    fields: {
      zus_zfi: 'in: cookie of the type',
      remount_flags: 'in: ZUFS_REM_*',
      sb_id: 'in: number of the super block, for GRAB_PMEM',
      num_cpu: 'in: online CPUs',
      num_channels: 'in: channels a CPU',
      __pad: 'in: feature bits in force',
      zus_sbi: 'cookie of the super block; out of M_MOUNT',
      zus_ii: 'out: cookie of the root inode',
      _zi: 'out: dpp of the zus_inode of the root',
      fs_caps: 'out: ZUFS_FSC_*',
      s_blocksize_bits: 'out: 12',
    },
  },
  zufs_ioc_mount: {
    about: 'ZU_IOC_MOUNT: hand back the last answer and sleep until the next mount operation',
    union: [['zmi'], ['zdi']],
  },
  zufs_ioc_mount_private: { about: 'ZU_IOC_PRIVATE_MOUNT: a mount that only the server sees' },
  zufs_cpu_set: { about: 'CPUs of one node', fields: { bits: 'bit n of the array is CPU n' } },
  zufs_ioc_numa_map: {
    about: 'ZU_IOC_NUMA_MAP: nodes and CPUs of the machine; the caller passes a page',
    fields: { cpu_set_per_node: 'possible_nodes of them' },
  },
  md_dev_id: {
    about: 'one device of a device table',
    fields: { blocks: 'node << MD_DEV_NUMA_SHIFT | 4 KiB blocks' },
  },
  md_dev_list: {
    about: 'all devices of a file system, T1 first',
    fields: { id_index: 'place of the device that holds this copy' },
  },
  md_dev_table: {
    about: 'the device table at dt_offset of every device, little endian',
    fields: {
      s_sum: 'crc16 over bytes 2 up to s_start_dynamic',
      s_version: 'major * MD_MINORS_PER_MAJOR + minor',
      s_flags: 'MDT_F_*',
      s_start_dynamic: 'what follows is not in the checksum',
      s_mtime: 'last mount, nanoseconds',
      s_wtime: 'last write of this table, nanoseconds',
    },
    union: [['s_start_dynamic'], ['s_mtime']],
  },
  zufs_ioc_pmem: {
    about: 'ZU_IOC_GRAB_PMEM: device table of a mount; mmap of the file then maps its T1',
    fields: { sb_id: 'in: from zufs_mount_info', mdt: 'out' },
  },
  zufs_ioc_init: {
    about: 'ZU_IOC_INIT_THREAD: make the file the channel of the current CPU',
    fields: { channel_no: 'in', max_command: 'in: bytes of the command buffer' },
  },
  zufs_ioc_break_all: { about: 'ZU_IOC_BREAK_ALL: every waiting thread returns with ZUFS_OP_BREAK' },
  zufs_ioc_alloc_buffer: {
    about: 'ZU_IOC_ALLOC_BUFFER: a buffer that kernel and server share',
    fields: { pool_no: 'out: pool number for its dpps' },
  },
  zufs_ioc_wait_operation: {
    about: 'ZU_IOC_WAIT_OPT: complete the operation in the command buffer and sleep for the next',
    fields: { opt_buff: 'the command' },
  },
  zus_inode: {
    about: 'an inode in persistent memory, read and written in place by both sides',
    fields: {
      i_flags: 'S_* and ZUFS_S_*',
      i_size: 'bytes; of a symlink, length of its target',
      a: 'for the file system',
      i_blocks: '4 KiB blocks',
      i_mtime: 'nanoseconds since the epoch, signed, as all times',
      i_xattr: 'for the file system',
      i_rdev: 'new_encode_dev()',
      i_symlink: 'target of up to 32 bytes, no NUL',
      i_sym_dpp: 'dpp of a longer target',
      dir_root: 'for the file system',
      parent: 'for the file system',
    },
    union: [['i_rdev'], ['i_symlink'], ['i_sym_dpp'], ['dir_root', 'parent']],
  },
  zufs_str: { about: 'a name, not NUL terminated' },
  zufs_ioc_mount_options: { about: 'ZUFS_OP_SHOW_OPTIONS', fields: { buf: 'out: text, hdr.out_len long' } },
  zufs_ioc_quota: {
    about: 'ZUFS_OP_QUOTA, to mounts with ZUFS_FSC_QUOTA',
    fields: {
      zus_sbi: 'cookie of the mount',
      zus_ii: 'CHOWN: cookie of the inode',
      command: 'ZUFS_QUOTA_GET and others',
      type: 'USRQUOTA, GRPQUOTA or PRJQUOTA',
      id: 'of the owner; GET_NEXT: out as well; CHOWN: the new user',
      gid: 'CHOWN: the new group',
      fields:
        'SET, SET_INFO: which of those below count; CHOWN: ZUFS_IOC_CAP_ADMIN of who may go beyond limits',
      state: 'out of STATE, in of ENABLE and DISABLE',
      space_hard: 'limit, in bytes; 0: none',
      space_soft: 'limit that may be exceeded for a time, in bytes; 0: none',
      inodes_hard: 'limit; 0: none',
      inodes_soft: 'limit that may be exceeded for a time; 0: none',
      space: 'out: bytes in use',
      inodes: 'out: inodes in use',
      inodes_timer:
        'when the soft limit becomes hard, in seconds since the epoch, 0: it is not exceeded; STATE, SET_INFO: seconds that it may be',
      space_timer: 'as inodes_timer',
      inodes_warns: 'warnings given; nothing is done with them',
      space_warns: 'as inodes_warns',
      ids: 'out of STATE: owners known',
    },
  },
  zufs_ioc_statfs: { about: 'ZUFS_OP_STATFS', fields: { statfs_out: 'out' } },
  zufs_ioc_new_inode: {
    about: 'ZUFS_OP_NEW_INODE: create an inode and, but for a tmpfile, its name',
    fields: {
      zi: 'in: template of the inode',
      dir_ii: 'in: cookie of the directory',
      str: 'in: name',
      flags: 'in: ZI_*',
      _zi: 'out: dpp of the zus_inode',
      zus_ii: 'out: cookie',
    },
  },
  zufs_ioc_evict_inode: {
    about: 'ZUFS_OP_EVICT_INODE and ZUFS_OP_FREE_INODE',
    fields: { zus_ii: cookieOfInode, flags: 'in: ZI_LOOKUP_RACE' },
  },
  zufs_ioc_lookup: {
    about: 'ZUFS_OP_LOOKUP',
    fields: {
      dir_ii: 'in: cookie of the directory',
      str: 'in: name',
      _zi: 'out: dpp of the zus_inode',
      zus_ii: 'out: cookie',
    },
  },
  zufs_ioc_dentry: {
    about: 'ZUFS_OP_ADD_DENTRY and ZUFS_OP_REMOVE_DENTRY',
    fields: { zus_ii: cookieOfInode, zus_dir_ii: 'cookie of the directory' },
  },
  zufs_ioc_rename: {
    about: 'ZUFS_OP_RENAME',
    fields: {
      new_zus_ii: 'cookie of what the new name now is, or 0',
      time: 'ctime of what changes',
      flags: 'RENAME_*',
    },
  },
  zufs_ioc_readdir: {
    about: 'ZUFS_OP_READDIR: fill the window with struct zufs_dir_entry',
    fields: { pos: 'in: where to continue', more: 'out: the window filled up' },
  },
  zufs_dir_entry: {
    about: 'one record of ZUFS_OP_READDIR, padded to 8 bytes',
    fields: {
      type: 'DT_*',
      pos: 'position behind this entry',
      zstr: 'only zstr.len bytes of the name are there',
    },
  },
  zufs_ioc_mmap_close: { about: 'ZUFS_OP_MMAP_CLOSE', fields: { zus_ii: cookieOfInode } },
  zufs_ioc_attr: {
    about: 'ZUFS_OP_SETATTR',
    fields: { zus_ii: cookieOfInode, zuf_attr: 'STATX_* of what is already changed in the zus_inode' },
  },
  zufs_ioc_sync: {
    about: 'ZUFS_OP_SYNC',
    fields: { zus_ii: cookieOfInode, flags: 'ZUFS_SF_*', write_unmapped: 'out' },
  },
  zufs_ioc_clone: {
    about: 'ZUFS_OP_CLONE and ZUFS_OP_COPY',
    fields: { len_up: 'len, rounded up at the end of the file' },
  },
  zufs_ioc_seek: { about: 'ZUFS_OP_LLSEEK', fields: { whence: 'SEEK_DATA or SEEK_HOLE' } },
  zufs_ioc_ioctl: {
    about: 'ZUFS_OP_IOCTL',
    fields: {
      time: 'in: now',
      cmd: 'in: ioctl command',
      kflags: 'in: ZUFS_IOC_FSFROZEN, ZUFS_IOC_CAP_ADMIN',
      out_start: 'what goes back to the caller',
      uflags: 'out, with -EZUFS_RETRY: ZUFS_IOC_REALLOC, ZUFS_IOC_FREEZE_REQ',
      new_size: 'out, with -EZUFS_RETRY',
      arg: 'in and out: what the caller points at',
    },
    union: [['out_start'], ['uflags', 'new_size'], ['arg']],
  },
  zufs_ioc_xattr: {
    about: 'ZUFS_OP_XATTR_GET, ZUFS_OP_XATTR_SET and ZUFS_OP_XATTR_LIST',
    fields: {
      flags: 'XATTR_CREATE, XATTR_REPLACE',
      type: 'X_F_*: the prefix of the name',
      name_len: 'NUL included',
      ioc_flags: 'ZUFS_XATTR_*',
      user_buf_size: 'in: size of the value or of the room; out: size',
      buf: 'name, NUL, value',
    },
  },
  zufs_ioc_fiemap: { about: 'ZUFS_OP_FIEMAP: the window holds the struct fiemap_extent array' },
  zufs_iomap: {
    about: 'a list of block mappings',
    fields: {
      iom_max: 'room for entries',
      iom_n: 'entries in use',
      iom_e: '&enum zufs_iom_type << 56 | block dpp',
    },
  },
  zufs_ioc_iomap_exec: { about: 'ZU_IOC_IOMAP_EXEC: copies between T1, T2 and shared buffers' },
  zufs_ioc_IO: {
    about: 'ZUFS_OP_READ, WRITE, PRE_READ, GET_MULTY, PUT_MULTY and FALLOCATE',
    fields: {
      zus_ii: cookieOfInode,
      filepos: 'first byte in the file',
      rw: 'ZUFS_RW_*; of FALLOCATE the mode of fallocate(2) or ZUFS_FL_*',
      ret_flags: 'out: ZUFS_RET_*',
      pool: 'pool of the dpps',
      cookie: 'for the server, from GET to PUT',
      start: 'read-ahead state of the file',
      offset: 'out: what a write asks to unmap from applications',
      last_pos: 'out: position behind the last byte done; in: end of a FALLOCATE',
      iom_e: 'the entries of ziom; more may follow',
    },
    groups: { ra: ['start', 'prev_pos', 'ra_pages', 'ra_pad'], wr_unmap: ['offset', 'len'] },
  },
};
