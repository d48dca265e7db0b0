// SPDX-License-Identifier: BSD-3-Clause

import { CONST, md_dev_id, md_dev_table } from '../../abi/layout.ts';
import { FS_MAGIC, TWO_32, VERSION_MAJOR, VERSION_MINOR } from './format.ts';

/** crc16 as the interface definition says: reflected polynomial 0xA001, initial value 0xffff. */
export function crc16(bytes: Uint8Array, from: number, to: number): number {
  let crc = 0xffff;
  for (let index = from; index < to; index++) crc = (crc >>> 8) ^ CRC16[(crc ^ bytes[index]) & 0xff];
  return crc;
}

/** What a byte does to the sum. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  return crc;
});

const SUM_FROM = 2;
const SUM_TO = md_dev_table.s_start_dynamic;

export interface TableDevice {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** 4 KiB blocks. */
  readonly blocks: number;
  readonly node: number;
}

export interface DeviceTable {
  readonly uuid: Uint8Array;
  /** Which of `devices` the table was read from. */
  readonly index: number;
  readonly devices: readonly TableDevice[];
}

/** The table as it stands at the start of device number `index`. */
export function encodeDeviceTable(table: DeviceTable, nanoseconds: bigint): Uint8Array {
  const bytes = new Uint8Array(CONST.MDT_SIZE);
  const view = new DataView(bytes.buffer);
  const list = md_dev_table.s_dev_list;
  view.setUint16(md_dev_table.s_version, VERSION_MAJOR * CONST.MD_MINORS_PER_MAJOR + VERSION_MINOR, true);
  view.setUint32(md_dev_table.s_magic, FS_MAGIC, true);
  bytes.set(table.uuid, md_dev_table.s_uuid);
  view.setBigUint64(md_dev_table.s_flags, BigInt(CONST.MDT_F_POSIXACL), true);
  const total = table.devices.reduce((sum, device) => sum + device.blocks, 0);
  view.setBigUint64(md_dev_table.s_t1_blocks, BigInt(total), true);
  view.setUint16(md_dev_table.s_dev_list_id_index, table.index, true);
  view.setUint16(md_dev_table.s_dev_list_t1_count, table.devices.length, true);
  table.devices.forEach((device, index) => {
    const at = list + 8 + index * md_dev_id.SIZE;
    bytes.set(device.uuid, at + md_dev_id.uuid);
    const blocks = (BigInt(device.node) << BigInt(CONST.MD_DEV_NUMA_SHIFT)) | BigInt(device.blocks);
    view.setBigUint64(at + md_dev_id.blocks, blocks, true);
  });
  view.setBigUint64(md_dev_table.s_mtime, nanoseconds, true);
  view.setBigUint64(md_dev_table.s_wtime, nanoseconds, true);
  view.setUint16(md_dev_table.s_sum, crc16(bytes, SUM_FROM, SUM_TO), true);
  return bytes;
}

/** Read a table, or say in a few words why it is none. */
export function decodeDeviceTable(bytes: Uint8Array): DeviceTable | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(md_dev_table.s_magic, true) !== FS_MAGIC) return 'no zpmfs device table';
  if (view.getUint16(md_dev_table.s_sum, true) !== crc16(bytes, SUM_FROM, SUM_TO))
    return 'checksum of the device table is wrong';
  const version = view.getUint16(md_dev_table.s_version, true);
  if (Math.floor(version / CONST.MD_MINORS_PER_MAJOR) !== VERSION_MAJOR) {
    return `version ${Math.floor(version / CONST.MD_MINORS_PER_MAJOR)} of the format, known is ${VERSION_MAJOR}`;
  }
  const count = view.getUint16(md_dev_table.s_dev_list_t1_count, true);
  if (
    count === 0 ||
    count > CONST.MD_DEV_MAX ||
    view.getUint16(md_dev_table.s_dev_list_t2_count, true) !== 0
  ) {
    return 'device table lists an impossible number of devices';
  }
  const index = view.getUint16(md_dev_table.s_dev_list_id_index, true);
  if (index >= count) return 'device table has an index beyond its list';
  const devices: TableDevice[] = [];
  let total = 0;
  for (let device = 0; device < count; device++) {
    const at = md_dev_table.s_dev_list + 8 + device * md_dev_id.SIZE;
    const low = view.getUint32(at + md_dev_id.blocks, true);
    const high = view.getUint32(at + md_dev_id.blocks + 4, true);
    const blocks = low + (high & 0x0fffffff) * TWO_32;
    devices.push({ uuid: bytes.slice(at, at + 16), blocks, node: high >>> 28 });
    total += blocks;
  }
  const stated =
    view.getUint32(md_dev_table.s_t1_blocks, true) +
    view.getUint32(md_dev_table.s_t1_blocks + 4, true) * TWO_32;
  if (stated !== total || total > TWO_32) return 'sizes in the device table do not add up';
  return { uuid: bytes.slice(md_dev_table.s_uuid, md_dev_table.s_uuid + 16), index, devices };
}
