// SPDX-License-Identifier: BSD-3-Clause

import { ToolError } from './block-devices.ts';
import { printError } from './output.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** A size as people write it: 64M, 2G, 1048576. */
export function parseSize(text: string, failureCode: number): number {
  const match = /^(\d+)([KMGT]?)(i?B)?$/i.exec(text);
  const bytes = match === null ? 0 : Number(match[1]) * UNITS[match[2].toUpperCase()];
  if (bytes <= 0 || !Number.isSafeInteger(bytes))
    throw new ToolError(`"${text}" is not a size, as 64M is`, failureCode);
  return bytes;
}

export function formatSize(bytes: number): string {
  let unit = 0;
  while (bytes >= 1024 ** (unit + 1) && unit < 4) unit++;
  return `${Number((bytes / 1024 ** unit).toFixed(2))} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

export function parseUuid(text: string, failureCode: number): Uint8Array {
  const digits = text.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(digits)) throw new ToolError(`"${text}" is not a UUID`, failureCode);
  return new Uint8Array(Buffer.from(digits, 'hex'));
}

export function formatUuid(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes).toString('hex');
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20),
  ].join('-');
}

/** Run a tool: its exit code, with a sentence on standard error when it failed. */
export function runTool(name: string, action: () => number): number {
  try {
    return action();
  } catch (error) {
    if (error instanceof ToolError) {
      printError(`${name}: ${error.message}\n`);
      return error.exitCode;
    }
    throw error;
  }
}
