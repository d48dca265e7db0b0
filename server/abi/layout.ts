// SPDX-License-Identifier: BSD-3-Clause

// Generated from zufs-abi.yaml by `npm run generate`: do not edit.
//
// One frozen object per structure: `SIZE`, and the byte offset of every member. Members of an embedded structure
// are there too, with the name of the embedding member in front (`zmi_zus_sbi`), except those of `hdr`, which is
// always at 0: use `zufs_ioc_hdr`.

export const ABI = Object.freeze({
  major: 1,
  minor: 0,
  page_size: 4096,
} as const);

/** Command numbers for ioctl(2). */
export const IOCTL = Object.freeze({
  ZU_IOC_REGISTER_FS: 0xc0585a0a,
  ZU_IOC_MOUNT: 0xc0685a0b,
  ZU_IOC_PRIVATE_MOUNT: 0xc0a85a0c,
  ZU_IOC_NUMA_MAP: 0xc0405a0d,
  ZU_IOC_GRAB_PMEM: 0xc7405a0e,
  ZU_IOC_INIT_THREAD: 0xc0205a0f,
  ZU_IOC_BREAK_ALL: 0xc0185a10,
  ZU_IOC_ALLOC_BUFFER: 0xc0205a11,
  ZU_IOC_WAIT_OPT: 0xc0185a12,
  ZU_IOC_IOMAP_EXEC: 0xc0485a13,
} as const);

export const CONST = Object.freeze({
  ZUS_API_MAP_MAX_PAGES: 1024,
  ZUS_API_MAP_MAX_SIZE: 4194304,
  ZUFS_MAX_ZT_CHANNELS: 4,
  ZUFS_LINK_MAX: 32000,
  ZUFS_MAX_SYMLINK: 4096,
  ZUFS_NAME_LEN: 255,
  ZUFS_MO_MAX: 512,
  ZUFS_INODE_SIZE: 128,
  ZUFS_ALLOC_ALIGN: 2097152,
  ZUFS_READAHEAD_PAGES: 8,
  EZUFS_RETRY: 531,
  MDT_SIZE: 4096,
  MD_DEV_MAX: 64,
  MD_MINORS_PER_MAJOR: 1024,
  MD_DEV_NUMA_SHIFT: 60,
  MDT_F_SHADOW: 1,
  MDT_F_POSIXACL: 2,
} as const);

/** `hdr.operation` on a server thread. */
export const OP = Object.freeze({
  ZUFS_OP_NULL: 0,
  ZUFS_OP_BREAK: 1,
  ZUFS_OP_STATFS: 2,
  ZUFS_OP_SHOW_OPTIONS: 3,
  ZUFS_OP_NEW_INODE: 4,
  ZUFS_OP_FREE_INODE: 5,
  ZUFS_OP_EVICT_INODE: 6,
  ZUFS_OP_LOOKUP: 7,
  ZUFS_OP_ADD_DENTRY: 8,
  ZUFS_OP_REMOVE_DENTRY: 9,
  ZUFS_OP_RENAME: 10,
  ZUFS_OP_READDIR: 11,
  ZUFS_OP_CLONE: 12,
  ZUFS_OP_COPY: 13,
  ZUFS_OP_READ: 14,
  ZUFS_OP_PRE_READ: 15,
  ZUFS_OP_WRITE: 16,
  ZUFS_OP_MMAP_CLOSE: 17,
  ZUFS_OP_SETATTR: 19,
  ZUFS_OP_SYNC: 20,
  ZUFS_OP_FALLOCATE: 21,
  ZUFS_OP_LLSEEK: 22,
  ZUFS_OP_IOCTL: 23,
  ZUFS_OP_XATTR_GET: 24,
  ZUFS_OP_XATTR_SET: 25,
  ZUFS_OP_XATTR_LIST: 27,
  ZUFS_OP_FIEMAP: 28,
  ZUFS_OP_GET_MULTY: 29,
  ZUFS_OP_PUT_MULTY: 30,
  ZUFS_OP_NOOP: 31,
  ZUFS_OP_QUOTA: 32,
} as const);

/** `hdr.operation` on the mount thread. */
export const MOUNT_OP = Object.freeze({
  ZUFS_M_MOUNT: 1,
  ZUFS_M_UMOUNT: 2,
  ZUFS_M_REMOUNT: 3,
  ZUFS_M_DDBG_RD: 4,
  ZUFS_M_DDBG_WR: 5,
} as const);

/** Bits 56 and up of an `iom_e` entry. */
export const IOM = Object.freeze({
  IOM_NONE: 0,
  IOM_T1_WRITE: 1,
  IOM_T1_READ: 2,
  IOM_T2_WRITE: 3,
  IOM_T2_READ: 4,
  IOM_T2_WRITE_LEN: 5,
  IOM_T2_READ_LEN: 6,
  IOM_T2_ZUSMEM_WRITE: 7,
  IOM_T2_ZUSMEM_READ: 8,
  IOM_UNMAP: 9,
  IOM_WBINV: 10,
  IOM_REPEAT: 11,
} as const);

/** All flag bits; their names say which field they belong to. */
export const FLAG = Object.freeze({
  ZUFS_H_INTR: 0x1,
  ZUFS_H_HAS_PIGY_PUT: 0x2,
  ZUFS_M_PEDANTIC: 0x1,
  ZUFS_M_EPHEMERAL: 0x2,
  ZUFS_M_SILENT: 0x4,
  ZUFS_M_PRIVATE: 0x8,
  ZUFS_REM_WAS_RO: 0x1,
  ZUFS_REM_WILL_RO: 0x2,
  ZUFS_FSC_ACL_ON: 0x1,
  ZUFS_FSC_NIO_READS: 0x2,
  ZUFS_FSC_NIO_WRITES: 0x4,
  ZUFS_FSC_QUOTA: 0x100,
  ZI_TMPFILE: 0x1,
  ZI_LOOKUP_RACE: 0x1,
  ZUFS_SF_DATASYNC: 0x1,
  ZUFS_SF_DONTNEED: 0x100,
  ZUFS_XATTR_SET_EMPTY: 0x1,
  ZUFS_XATTR_TRUSTED: 0x2,
  X_F_SECURITY: 0x1,
  X_F_SYSTEM: 0x2,
  X_F_TRUSTED: 0x3,
  X_F_USER: 0x4,
  ZUFS_IOC_FSFROZEN: 0x1,
  ZUFS_IOC_CAP_ADMIN: 0x2,
  ZUFS_IOC_REALLOC: 0x1,
  ZUFS_IOC_FREEZE_REQ: 0x2,
  ZUFS_RET_NEW: 0x2,
  ZUFS_RET_IOM_ALL_PMEM: 0x4,
  ZUFS_RET_PUT_NOW: 0x8,
  ZUFS_RET_LOCKED_PUT: 0x10,
  ZUFS_RW_WRITE: 0x1,
  ZUFS_RW_MMAP: 0x2,
  ZUFS_RW_RAND: 0x10,
  ZUFS_RW_EVENTFD: 0x100,
  ZUFS_RW_APPEND: 0x200,
  ZUFS_RW_DIRECT: 0x400,
  ZUFS_RW_HIPRI: 0x800,
  ZUFS_RW_DSYNC: 0x1000,
  ZUFS_RW_SYNC: 0x2000,
  ZUFS_RW_NOWAIT: 0x8000,
  ZUFS_RW_AHEAD: 0x10000,
  ZUFS_FL_TRUNCATE: 0x80000000,
  ZUFS_FL_DROP_AHEAD: 0x40000000,
  ZUFS_QUOTA_GET: 0x1,
  ZUFS_QUOTA_GET_NEXT: 0x2,
  ZUFS_QUOTA_SET: 0x3,
  ZUFS_QUOTA_STATE: 0x4,
  ZUFS_QUOTA_SET_INFO: 0x5,
  ZUFS_QUOTA_ENABLE: 0x6,
  ZUFS_QUOTA_DISABLE: 0x7,
  ZUFS_QUOTA_CHOWN: 0x8,
  ZUFS_QUOTA_ACCOUNTED: 0x1,
  ZUFS_QUOTA_ENFORCED: 0x2,
  ZUFS_QUOTA_INODES_SOFT: 0x1,
  ZUFS_QUOTA_INODES_HARD: 0x2,
  ZUFS_QUOTA_SPACE_SOFT: 0x4,
  ZUFS_QUOTA_SPACE_HARD: 0x8,
  ZUFS_QUOTA_SPACE_TIMER: 0x40,
  ZUFS_QUOTA_INODES_TIMER: 0x80,
  ZUFS_QUOTA_SPACE_WARNS: 0x200,
  ZUFS_QUOTA_INODES_WARNS: 0x400,
  ZUFS_S_IMMUTABLE: 0x800,
  ZUFS_S_NODUMP: 0x1000,
  ZUFS_FEATURE_EXTENT_CACHE: 0x1,
  ZUFS_FEATURE_MEMORY_MOUNT: 0x2,
  ZUFS_FEATURE_RIDERS: 0x4,
  ZUFS_FEATURE_ALLOC_AHEAD: 0x8,
} as const);

export const zufs_ioc_hdr = Object.freeze({
  SIZE: 24,
  err: 0,
  in_len: 4,
  out_max: 6,
  out_start: 8,
  out_len: 10,
  operation: 12,
  flags: 14,
  offset: 16,
  len: 20,
} as const);

export const register_fs_info = Object.freeze({
  SIZE: 56,
  fsname: 0,
  FS_magic: 16,
  FS_ver_major: 20,
  FS_ver_minor: 24,
  notused: 28,
  dt_offset: 32,
  s_maxbytes: 40,
  s_time_gran: 48,
  def_mode: 52,
} as const);

export const zufs_ioc_register_fs = Object.freeze({
  SIZE: 88,
  hdr: 0,
  zus_zfi: 24,
  rfi: 32,
  rfi_fsname: 32,
  rfi_FS_magic: 48,
  rfi_FS_ver_major: 52,
  rfi_FS_ver_minor: 56,
  rfi_notused: 60,
  rfi_dt_offset: 64,
  rfi_s_maxbytes: 72,
  rfi_s_time_gran: 80,
  rfi_def_mode: 84,
} as const);

export const zufs_parse_options = Object.freeze({
  SIZE: 16,
  mount_flags: 0,
  pedantic: 8,
  mount_options_len: 12,
  mount_options: 16,
} as const);

export const zufs_mount_info = Object.freeze({
  SIZE: 80,
  zus_zfi: 0,
  remount_flags: 8,
  sb_id: 16,
  num_cpu: 24,
  num_channels: 26,
  __pad: 28,
  zus_sbi: 32,
  zus_ii: 40,
  _zi: 48,
  fs_caps: 56,
  s_blocksize_bits: 60,
  po: 64,
  po_mount_flags: 64,
  po_pedantic: 72,
  po_mount_options_len: 76,
  po_mount_options: 80,
} as const);

export const zufs_ioc_mount = Object.freeze({
  SIZE: 104,
  hdr: 0,
  zmi: 24,
  zmi_zus_zfi: 24,
  zmi_remount_flags: 32,
  zmi_sb_id: 40,
  zmi_num_cpu: 48,
  zmi_num_channels: 50,
  zmi___pad: 52,
  zmi_zus_sbi: 56,
  zmi_zus_ii: 64,
  zmi__zi: 72,
  zmi_fs_caps: 80,
  zmi_s_blocksize_bits: 84,
  zmi_po: 88,
  zmi_po_mount_flags: 88,
  zmi_po_pedantic: 96,
  zmi_po_mount_options_len: 100,
  zmi_po_mount_options: 104,
  zdi: 24,
} as const);

export const zufs_ioc_mount_private = Object.freeze({
  SIZE: 168,
  hdr: 0,
  mount_fd: 24,
  is_umount: 28,
  rfi: 32,
  rfi_fsname: 32,
  rfi_FS_magic: 48,
  rfi_FS_ver_major: 52,
  rfi_FS_ver_minor: 56,
  rfi_notused: 60,
  rfi_dt_offset: 64,
  rfi_s_maxbytes: 72,
  rfi_s_time_gran: 80,
  rfi_def_mode: 84,
  zmi: 88,
  zmi_zus_zfi: 88,
  zmi_remount_flags: 96,
  zmi_sb_id: 104,
  zmi_num_cpu: 112,
  zmi_num_channels: 114,
  zmi___pad: 116,
  zmi_zus_sbi: 120,
  zmi_zus_ii: 128,
  zmi__zi: 136,
  zmi_fs_caps: 144,
  zmi_s_blocksize_bits: 148,
  zmi_po: 152,
  zmi_po_mount_flags: 152,
  zmi_po_pedantic: 160,
  zmi_po_mount_options_len: 164,
  zmi_po_mount_options: 168,
} as const);

export const zufs_cpu_set = Object.freeze({
  SIZE: 128,
  bits: 0,
} as const);

export const zufs_ioc_numa_map = Object.freeze({
  SIZE: 64,
  hdr: 0,
  possible_nodes: 24,
  possible_cpus: 28,
  online_nodes: 32,
  online_cpus: 36,
  max_cpu_per_node: 40,
  nodes_not_symmetrical: 44,
  __pad: 45,
  cpu_set_per_node: 64,
} as const);

export const md_dev_id = Object.freeze({
  SIZE: 24,
  uuid: 0,
  blocks: 16,
} as const);

export const md_dev_list = Object.freeze({
  SIZE: 1600,
  id_index: 0,
  t1_count: 2,
  t2_count: 4,
  rmem_count: 6,
  dev_ids: 8,
} as const);

export const md_dev_table = Object.freeze({
  SIZE: 1728,
  s_sum: 0,
  s_version: 2,
  s_magic: 4,
  s_uuid: 8,
  s_flags: 24,
  s_t1_blocks: 32,
  s_t2_blocks: 40,
  s_dev_list: 64,
  s_dev_list_id_index: 64,
  s_dev_list_t1_count: 66,
  s_dev_list_t2_count: 68,
  s_dev_list_rmem_count: 70,
  s_dev_list_dev_ids: 72,
  s_start_dynamic: 1664,
  s_mtime: 1664,
  s_wtime: 1672,
} as const);

export const zufs_ioc_pmem = Object.freeze({
  SIZE: 1856,
  hdr: 0,
  sb_id: 24,
  mdt: 64,
  mdt_s_sum: 64,
  mdt_s_version: 66,
  mdt_s_magic: 68,
  mdt_s_uuid: 72,
  mdt_s_flags: 88,
  mdt_s_t1_blocks: 96,
  mdt_s_t2_blocks: 104,
  mdt_s_dev_list: 128,
  mdt_s_dev_list_id_index: 128,
  mdt_s_dev_list_t1_count: 130,
  mdt_s_dev_list_t2_count: 132,
  mdt_s_dev_list_rmem_count: 134,
  mdt_s_dev_list_dev_ids: 136,
  mdt_s_start_dynamic: 1728,
  mdt_s_mtime: 1728,
  mdt_s_wtime: 1736,
  dev_index: 1792,
  ___pad: 1796,
} as const);

export const zufs_ioc_init = Object.freeze({
  SIZE: 32,
  hdr: 0,
  channel_no: 24,
  max_command: 28,
} as const);

export const zufs_ioc_break_all = Object.freeze({
  SIZE: 24,
  hdr: 0,
} as const);

export const zufs_ioc_alloc_buffer = Object.freeze({
  SIZE: 56,
  hdr: 0,
  sb_id: 24,
  zus_sbi: 32,
  max_size: 40,
  init_size: 44,
  pool_no: 48,
  flags: 50,
  reserved: 52,
} as const);

export const zufs_ioc_wait_operation = Object.freeze({
  SIZE: 24,
  hdr: 0,
  opt_buff: 24,
} as const);

export const zus_inode = Object.freeze({
  SIZE: 128,
  i_flags: 0,
  i_mode: 2,
  i_nlink: 4,
  i_size: 8,
  a: 16,
  i_blocks: 32,
  i_mtime: 40,
  i_ctime: 48,
  i_atime: 56,
  i_ino: 64,
  i_uid: 72,
  i_gid: 76,
  i_xattr: 80,
  i_generation: 88,
  i_rdev: 96,
  i_symlink: 96,
  i_sym_dpp: 96,
  dir_root: 96,
  parent: 104,
} as const);

export const zufs_str = Object.freeze({
  SIZE: 256,
  len: 0,
  name: 1,
} as const);

export const zufs_ioc_mount_options = Object.freeze({
  SIZE: 32,
  hdr: 0,
  zus_sbi: 24,
  buf: 32,
} as const);

export const zufs_ioc_statfs = Object.freeze({
  SIZE: 152,
  hdr: 0,
  zus_sbi: 24,
  statfs_out: 32,
  statfs_out_f_type: 32,
  statfs_out_f_bsize: 40,
  statfs_out_f_blocks: 48,
  statfs_out_f_bfree: 56,
  statfs_out_f_bavail: 64,
  statfs_out_f_files: 72,
  statfs_out_f_ffree: 80,
  statfs_out_f_fsid: 88,
  statfs_out_f_namelen: 96,
  statfs_out_f_frsize: 104,
  statfs_out_f_flags: 112,
  statfs_out_f_spare: 120,
} as const);

export const zufs_ioc_quota = Object.freeze({
  SIZE: 144,
  hdr: 0,
  zus_sbi: 24,
  zus_ii: 32,
  command: 40,
  type: 44,
  id: 48,
  gid: 52,
  fields: 56,
  state: 60,
  space_hard: 64,
  space_soft: 72,
  inodes_hard: 80,
  inodes_soft: 88,
  space: 96,
  inodes: 104,
  inodes_timer: 112,
  space_timer: 120,
  inodes_warns: 128,
  space_warns: 132,
  ids: 136,
  pad: 140,
} as const);

export const zufs_ioc_new_inode = Object.freeze({
  SIZE: 440,
  hdr: 0,
  zi: 24,
  zi_i_flags: 24,
  zi_i_mode: 26,
  zi_i_nlink: 28,
  zi_i_size: 32,
  zi_a: 40,
  zi_i_blocks: 56,
  zi_i_mtime: 64,
  zi_i_ctime: 72,
  zi_i_atime: 80,
  zi_i_ino: 88,
  zi_i_uid: 96,
  zi_i_gid: 100,
  zi_i_xattr: 104,
  zi_i_generation: 112,
  zi_i_rdev: 120,
  zi_i_symlink: 120,
  zi_i_sym_dpp: 120,
  zi_dir_root: 120,
  zi_parent: 128,
  dir_ii: 152,
  str: 160,
  str_len: 160,
  str_name: 161,
  flags: 416,
  _zi: 424,
  zus_ii: 432,
} as const);

export const zufs_ioc_evict_inode = Object.freeze({
  SIZE: 40,
  hdr: 0,
  zus_ii: 24,
  flags: 32,
} as const);

export const zufs_ioc_lookup = Object.freeze({
  SIZE: 304,
  hdr: 0,
  dir_ii: 24,
  str: 32,
  str_len: 32,
  str_name: 33,
  _zi: 288,
  zus_ii: 296,
} as const);

export const zufs_ioc_dentry = Object.freeze({
  SIZE: 304,
  hdr: 0,
  zus_ii: 24,
  zus_dir_ii: 32,
  str: 40,
  str_len: 40,
  str_name: 41,
  ino: 296,
} as const);

export const zufs_ioc_rename = Object.freeze({
  SIZE: 584,
  hdr: 0,
  old_dir_ii: 24,
  new_dir_ii: 32,
  old_zus_ii: 40,
  new_zus_ii: 48,
  old_d_str: 56,
  old_d_str_len: 56,
  old_d_str_name: 57,
  new_d_str: 312,
  new_d_str_len: 312,
  new_d_str_name: 313,
  time: 568,
  flags: 576,
} as const);

export const zufs_ioc_readdir = Object.freeze({
  SIZE: 48,
  hdr: 0,
  dir_ii: 24,
  pos: 32,
  more: 40,
} as const);

export const zufs_dir_entry = Object.freeze({
  SIZE: 272,
  ino: 0,
  type: 8,
  pos: 9,
  zstr: 16,
  zstr_len: 16,
  zstr_name: 17,
} as const);

export const zufs_ioc_mmap_close = Object.freeze({
  SIZE: 40,
  hdr: 0,
  zus_ii: 24,
  rw: 32,
} as const);

export const zufs_ioc_attr = Object.freeze({
  SIZE: 40,
  hdr: 0,
  zus_ii: 24,
  zuf_attr: 32,
  pad: 36,
} as const);

export const zufs_ioc_sync = Object.freeze({
  SIZE: 64,
  hdr: 0,
  zus_ii: 24,
  offset: 32,
  length: 40,
  flags: 48,
  write_unmapped: 56,
} as const);

export const zufs_ioc_clone = Object.freeze({
  SIZE: 72,
  hdr: 0,
  src_zus_ii: 24,
  dst_zus_ii: 32,
  pos_in: 40,
  pos_out: 48,
  len: 56,
  len_up: 64,
} as const);

export const zufs_ioc_seek = Object.freeze({
  SIZE: 56,
  hdr: 0,
  zus_ii: 24,
  offset_in: 32,
  whence: 40,
  pad: 44,
  offset_out: 48,
} as const);

export const zufs_ioc_ioctl = Object.freeze({
  SIZE: 56,
  hdr: 0,
  zus_ii: 24,
  time: 32,
  cmd: 40,
  kflags: 44,
  out_start: 48,
  uflags: 48,
  new_size: 52,
  arg: 48,
} as const);

export const zufs_ioc_xattr = Object.freeze({
  SIZE: 48,
  hdr: 0,
  zus_ii: 24,
  flags: 32,
  type: 36,
  name_len: 40,
  ioc_flags: 42,
  user_buf_size: 44,
  buf: 48,
} as const);

export const zufs_ioc_fiemap = Object.freeze({
  SIZE: 64,
  hdr: 0,
  zus_ii: 24,
  start: 32,
  length: 40,
  flags: 48,
  extents_max: 52,
  extents_mapped: 56,
  pad: 60,
} as const);

export const zufs_iomap = Object.freeze({
  SIZE: 16,
  iomb: 0,
  iom_max: 8,
  iom_n: 12,
  iom_e: 16,
} as const);

export const zufs_ioc_iomap_exec = Object.freeze({
  SIZE: 72,
  hdr: 0,
  sb_id: 24,
  zus_sbi: 32,
  zt_iocontext: 40,
  wait_for_done: 48,
  __pad: 52,
  ziom: 56,
  ziom_iomb: 56,
  ziom_iom_max: 64,
  ziom_iom_n: 68,
  ziom_iom_e: 72,
} as const);

export const zufs_ioc_IO = Object.freeze({
  SIZE: 224,
  hdr: 0,
  zus_ii: 24,
  filepos: 32,
  rw: 40,
  ret_flags: 48,
  pool: 52,
  cookie: 56,
  ra_start: 64,
  ra_prev_pos: 72,
  ra_ra_pages: 80,
  ra_ra_pad: 84,
  wr_unmap_offset: 88,
  wr_unmap_len: 92,
  last_pos: 96,
  ziom: 104,
  ziom_iomb: 104,
  ziom_iom_max: 112,
  ziom_iom_n: 116,
  ziom_iom_e: 120,
  iom_e: 120,
} as const);

export const statfs64 = Object.freeze({
  SIZE: 120,
  f_type: 0,
  f_bsize: 8,
  f_blocks: 16,
  f_bfree: 24,
  f_bavail: 32,
  f_files: 40,
  f_ffree: 48,
  f_fsid: 56,
  f_namelen: 64,
  f_frsize: 72,
  f_flags: 80,
  f_spare: 88,
} as const);
