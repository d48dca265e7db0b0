// SPDX-License-Identifier: BSD-3-Clause

import { open, readFile } from 'node:fs/promises';

/** What the console says of the guest's state. */
export interface ConsoleState {
  /** Guest time from the kernel's start to init's ready line, in seconds; undefined before that line. */
  readonly readyAfter: number | undefined;
  /** The kernel's panic message. */
  readonly panic: string | undefined;
  /** The kernel has printed something, so the accelerator works. */
  readonly kernelStarted: boolean;
}

/**
 * A line that the guest's init says. It goes through the kernel's log, whose lines come whole: what a program writes to the
 * console itself may have a message of the kernel in its middle.
 */
export function lineOfInit(what: string): RegExp {
  return new RegExp(`(?:^|\\] )zufs-guest: ${what}\\s*$`, 'm');
}

const readyLine = lineOfInit('ready after (\\d+(?:\\.\\d+)?) s');
const panicLine = /Kernel panic - not syncing: (.*?)\s*$/m;
/** Not tied to a line's start: the firmware leaves escape sequences before it. */
const firstKernelLine = /\bLinux version \d/;

export function scanConsole(text: string): ConsoleState {
  const ready = readyLine.exec(text);
  return {
    readyAfter: ready === null ? undefined : Number(ready[1]),
    panic: panicLine.exec(text)?.[1],
    kernelStarted: firstKernelLine.test(text),
  };
}

/** The last lines of the console, without the firmware's escape sequences. */
export function lastLines(text: string, count = 15): string {
  const lines = text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
    .replaceAll(/\x1b(?:\[[0-9;?=]*[A-Za-z]|.)/g, '')
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
  return lines.slice(-count).join('\n');
}

/** The lines of a panic, from its message on, or the last lines when that is nearer. */
export function panicLines(text: string, count = 15): string {
  const at = panicLine.exec(text)?.index;
  if (at === undefined) return lastLines(text, count);
  const lineStart = text.lastIndexOf('\n', at) + 1;
  return lastLines(text.slice(0, lineStart), Math.floor(count / 3))
    .concat('\n', text.slice(lineStart).split(/\r?\n/).slice(0, count).join('\n'))
    .trim();
}

/** The whole of a console log; '' while there is none. */
export async function readConsole(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
}

/** A console log that grows; each `read` gives what came since the last. */
export class ConsoleLog {
  readonly path: string;
  #offset: number;
  #text = '';

  /** `offset`: where to begin, for a log that holds an earlier boot. */
  constructor(path: string, offset = 0) {
    this.path = path;
    this.#offset = offset;
  }

  /** All read so far. */
  get text(): string {
    return this.#text;
  }

  get kernelStarted(): boolean {
    return scanConsole(this.#text).kernelStarted;
  }

  /** New output, '' when there is none (or no file yet). */
  async read(): Promise<string> {
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(this.path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
    try {
      const { size } = await file.stat();
      if (size <= this.#offset) return '';
      const buffer = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#offset);
      this.#offset += bytesRead;
      // The console is ASCII but for what programs print; a character cut in two shows as two marks at worst.
      const fresh = buffer.toString('utf8', 0, bytesRead);
      this.#text += fresh;
      return fresh;
    } finally {
      await file.close();
    }
  }
}
