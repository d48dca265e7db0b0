// SPDX-License-Identifier: BSD-3-Clause

import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { RunOptions } from './runtime.ts';

/** So many last lines say what went wrong. */
const tailLines = 30;

/** Takes the output of one program: kept whole, passed on by lines to the progress, and written to the log file. */
export class OutputCollector {
  readonly #progress: RunOptions['progress'];
  readonly #log: WriteStream | undefined;
  readonly #chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  readonly #partial = { stdout: '', stderr: '' };
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  readonly #tail: string[] = [];
  #logError: Error | undefined;

  constructor(options: Pick<RunOptions, 'progress' | 'logFile'>) {
    this.#progress = options.progress;
    if (options.logFile !== undefined) {
      this.#log = createWriteStream(options.logFile, { flags: 'a' });
      this.#log.on('error', (error) => {
        this.#logError ??= error;
      });
    }
  }

  write(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    this.#chunks[stream].push(chunk);
    if (this.#logError === undefined) this.#log?.write(chunk);
    const text = this.#partial[stream] + this.#decoders[stream].decode(chunk, { stream: true });
    // A carriage return redraws a line on a terminal; here each state of it is a line.
    const lines = text.split(/\r?\n|\r/);
    this.#partial[stream] = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
  }

  /** No more comes. Rejects when the log file could not be written. */
  async finish(): Promise<{ readonly stdout: string; readonly stderr: string; readonly tail: string }> {
    for (const stream of ['stdout', 'stderr'] as const) {
      if (this.#partial[stream] !== '') this.#line(this.#partial[stream]);
      this.#partial[stream] = '';
    }
    if (this.#log !== undefined && this.#logError === undefined) {
      this.#log.end();
      await finished(this.#log);
    }
    if (this.#logError !== undefined) throw this.#logError;
    const text = (stream: 'stdout' | 'stderr') => Buffer.concat(this.#chunks[stream]).toString('utf8');
    return { stdout: text('stdout'), stderr: text('stderr'), tail: this.#tail.join('\n') };
  }

  #line(line: string): void {
    this.#progress.output(line);
    this.#tail.push(line);
    if (this.#tail.length > tailLines) this.#tail.shift();
  }
}
