// SPDX-License-Identifier: BSD-3-Clause

import { createWriteStream } from 'node:fs';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import type { GuestExecOptions, GuestResult, Vm, VmHealth } from '../../lab/vm/vm.ts';

/** What a test plays as `check`: prints through the guest, leaves files in it, returns the exit code. */
export type PlayedCheck = (
  guest: FakeGuest,
  tests: readonly string[],
  signal: AbortSignal,
) => Promise<number>;

/** Verdict of one test as `check` prints and records it. */
type Played = { readonly test: string; readonly xml: string };

/** A guest without a VM: programs of the runner answer as they would, and `check` is played. */
export class FakeGuest implements Vm {
  readonly name = 'fake';
  readonly consoleLog: string;
  /** Files below the results directory. */
  readonly files = new Map<string, string>();
  /** Every program that was run. */
  readonly commands: (readonly string[])[] = [];
  readonly uploads: string[] = [];
  state: VmHealth = { state: 'running' };
  /** What end-test.sh answers. */
  endTest = 'ended\n';
  /** Its kernel looks for leaks. */
  kmemleak = false;
  /** What leaks-left.sh prints. */
  leaksLeft = '';
  /** Resolves once end-test.sh was called. */
  readonly ended: Promise<void>;
  readonly #markEnded: () => void;
  readonly #check: PlayedCheck;
  readonly #directory: string;
  readonly #recorded: Played[] = [];
  /** What check was given while it ran, each time. */
  readonly more: string[] = [];
  readonly #toPlay: string[] = [];
  #moreCame = Promise.withResolvers<void>();
  #print: (text: string) => void = () => undefined;

  private constructor(directory: string, check: PlayedCheck) {
    this.#directory = directory;
    this.#check = check;
    this.consoleLog = join(directory, 'console.log');
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#markEnded = resolve;
  }

  static async create(check: PlayedCheck): Promise<FakeGuest> {
    const directory = await scratchDirectory();
    const guest = new FakeGuest(directory, check);
    await writeFile(guest.consoleLog, 'Linux version 6.12\n');
    return guest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Print on the standard output of `check`. */
  print(text: string): void {
    this.#print(text);
  }

  start(test: string): void {
    this.#writeXml();
    this.print(`${test.padEnd(12)}       `);
  }

  pass(test: string): void {
    this.start(test);
    this.print(' 1s\n');
    this.#recorded.push({ test, xml: '' });
  }

  /** What `check` records of a test that passed. */
  record(test: string): void {
    this.#recorded.push({ test, xml: '' });
  }

  notrun(test: string, reason: string): void {
    this.start(test);
    this.print(`[not run] ${reason}\n`);
    this.#recorded.push({ test, xml: `<skipped message="${reason}" />` });
  }

  fail(test: string): void {
    this.start(test);
    this.failStarted(test);
  }

  /** The end of a failure whose start was printed. */
  failStarted(test: string): void {
    this.print(
      `- output mismatch (see /somewhere/${test}.out.bad)\n    --- tests/${test}.out\n    +++ other\n`,
    );
    this.files.set(`${test}.out.bad`, 'what was printed instead\n');
    this.#recorded.push({ test, xml: '<failure message="- output mismatch" type="TestFail" />' });
  }

  /** The end of `check`: its last report. */
  finish(): void {
    this.#writeXml();
    this.print('Ran: everything\n');
  }

  #writeXml(): void {
    const cases = this.#recorded.map(
      ({ test, xml }) => `<testcase classname="xfstests.global" name="${test}" time="1">${xml}</testcase>`,
    );
    this.files.set(
      'result.xml',
      `<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="xfstests">\n<properties><property name="FSTYP" value="zpmfs"/></properties>\n${cases.join('\n')}\n</testsuite>\n`,
    );
  }

  async exec(command: readonly string[], options: GuestExecOptions = {}): Promise<GuestResult> {
    options.signal?.throwIfAborted();
    this.commands.push(command);
    const [program, ...rest] = command;
    const script = program === 'bash' ? (rest[0]?.split('/').at(-1) ?? '') : '';
    switch (script || program) {
      case 'start-check.sh':
        return this.#playCheck(rest[3] !== '', rest.slice(4), options);
      case 'tee':
        if (rest.at(-1)?.endsWith('.more')) this.#added(options.input ?? '');
        return success('');
      case 'collect-state.sh':
        return success('every process and its stack\n');
      case 'end-test.sh':
        this.#markEnded();
        return success(this.endTest);
      case 'guest-facts.sh':
        return success(this.kmemleak ? '0\nkmemleak\n' : '');
      case 'leaks-left.sh':
        return success(this.leaksLeft);
      case 'pack-results.sh':
        await this.#packResults(rest[3]);
        return success('');
      case 'cat':
      case 'findmnt':
      case 'test':
        return { exitCode: 1, stdout: '', stderr: '' };
      default:
        return success('');
    }
  }

  /** What is added to the file of a check that takes more: a dot is the end. */
  #added(lines: string): void {
    this.more.push(lines.trim());
    this.#toPlay.push(...lines.trim().split('\n'));
    this.#moreCame.resolve();
  }

  /** Play check on its tests, and on those that it is given, each time as on so many at the start. */
  async #checkAll(more: boolean, tests: readonly string[], signal: AbortSignal): Promise<number> {
    let exitCode = await this.#check(this, tests, signal);
    while (more) {
      while (this.#toPlay.length === 0) {
        this.#moreCame = Promise.withResolvers();
        await this.#moreCame.promise;
      }
      const next = this.#toPlay.splice(0);
      const given = next.filter((line) => line !== '.');
      if (given.length > 0) exitCode = Math.max(exitCode, await this.#check(this, given, signal));
      if (next.includes('.')) break;
    }
    return exitCode;
  }

  async #playCheck(more: boolean, tests: readonly string[], options: GuestExecOptions): Promise<GuestResult> {
    let stdout = '';
    this.#print = (text) => {
      stdout += text;
      options.onStdout?.(text);
    };
    const signal = options.signal ?? new AbortController().signal;
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('the connection was closed')), { once: true });
    });
    const exitCode = await Promise.race([this.#checkAll(more, tests, signal), aborted]);
    return { exitCode, stdout, stderr: '' };
  }

  async #packResults(test: string | undefined): Promise<void> {
    const tar = pack();
    const written = pipeline(tar, createGzip(), createWriteStream(join(this.#directory, 'packed.tar.gz')));
    for (const [name, text] of this.files) {
      if (test === undefined || name.startsWith(`${test}.`)) tar.entry({ name: `./${name}` }, text);
    }
    tar.finalize();
    await written;
  }

  async upload(hostPath: string): Promise<void> {
    this.uploads.push(hostPath);
  }

  async download(_guestPath: string, hostPath: string): Promise<void> {
    await copyFile(join(this.#directory, 'packed.tar.gz'), hostPath);
  }

  async health(): Promise<VmHealth> {
    return this.state;
  }
}

function success(stdout: string): GuestResult {
  return { exitCode: 0, stdout, stderr: '' };
}
