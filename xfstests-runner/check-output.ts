// SPDX-License-Identifier: BSD-3-Clause

/** What `check` printed about one test. */
export interface PrintedVerdict {
  readonly status: 'passed' | 'failed' | 'notrun' | 'expunged';
  /** Its own words, one line; '' when it passed. */
  readonly reason: string;
}

export interface CheckOutputEvents {
  started(test: string): void;
  finished(test: string, verdict: PrintedVerdict): void;
}

/**
 * Reads the standard output of `check` as it comes. A test begins with its name at the start of a line; what follows up to
 * the next name belongs to it. A pass and a notrun end with that line; a failure is known to be complete only when
 * the next test starts or `check` ends, since explanations follow it.
 *
 * Only names out of `tests`, and of those that are expected later, count, and each only once, so that a test that prints a name confuses nobody.
 */
export class CheckOutput {
  readonly #waiting: Set<string>;
  readonly #events: CheckOutputEvents;
  #line = '';
  #current: { readonly test: string; readonly lines: string[] } | undefined;

  constructor(tests: readonly string[], events: CheckOutputEvents) {
    this.#waiting = new Set(tests);
    this.#events = events;
  }

  /** Tests that `check` was given since. */
  expect(tests: readonly string[]): void {
    for (const test of tests) this.#waiting.add(test);
  }

  push(chunk: string): void {
    for (const piece of chunk.split(/(?<=\n)/)) {
      this.#line += piece;
      this.#recogniseStart();
      if (!this.#line.endsWith('\n')) continue;
      this.#endOfLine(this.#line.slice(0, -1));
      this.#line = '';
    }
  }

  /** `check` has ended: what is still open has no verdict, unless it was seen to fail. */
  end(): void {
    if (this.#line !== '') this.#endOfLine(this.#line);
    this.#line = '';
    this.#closeFailed();
  }

  /** The name comes without a line's end, long before the verdict: look at the line as it grows. */
  #recogniseStart(): void {
    const name = /^([\w-]+\/\d{3}\S*)\s/.exec(this.#line)?.[1];
    if (name === undefined || !this.#waiting.has(name)) return;
    this.#closeFailed();
    this.#waiting.delete(name);
    this.#current = { test: name, lines: [] };
    this.#line = this.#line.slice(name.length);
    this.#events.started(name);
  }

  #endOfLine(line: string): void {
    if (this.#current === undefined) return;
    this.#current.lines.push(line);
    if (this.#current.lines.length > 1) return;
    const verdict = printedVerdict([line]);
    if (verdict !== undefined && verdict.status !== 'failed') this.#close(verdict);
  }

  #closeFailed(): void {
    if (this.#current === undefined) return;
    const verdict = printedVerdict(this.#current.lines);
    if (verdict?.status === 'failed') this.#close(verdict);
    else this.#current = undefined;
  }

  #close(verdict: PrintedVerdict): void {
    const test = this.#current?.test;
    this.#current = undefined;
    if (test !== undefined) this.#events.finished(test, verdict);
  }
}

/** Words with which `check` says that something was wrong; any of them outweighs a time at the end of the line. */
const FAILURE =
  /\[failed, exit status \d+\]|output mismatch|\[dumped core\]|_check_dmesg:|_check_\w+: .*inconsistent|no qualified output|filesystem .* is inconsistent|kmemleak/;

function printedVerdict(lines: readonly string[]): PrintedVerdict | undefined {
  const failure = lines.find((line) => FAILURE.test(line));
  if (failure !== undefined) return { status: 'failed', reason: failureReason(failure, lines) };
  const first = lines[0] ?? '';
  const notrun = /\[not run\]\s*(.*)$/.exec(first);
  if (notrun !== null) return { status: 'notrun', reason: notrun[1] ?? '' };
  if (first.includes('[expunged]')) return { status: 'expunged', reason: 'expunged' };
  if (/\s\d+s$/.test(first)) return { status: 'passed', reason: '' };
  return undefined;
}

/** Longest piece of a difference that goes into a reason. */
const DIFFERENCE_LENGTH = 120;

/**
 * The line without the previous run's time and without the guest's path of the file that explains it; then the first line
 * that the test printed and should not have.
 */
function failureReason(failure: string, lines: readonly string[]): string {
  const words = failure
    .replace(/^\s*(\d+s \.\.\.)?\s*/, '')
    .replace(/\s*\(see \S+( for details)?\)/, '')
    .replace(/^- /, '')
    .trim();
  const difference = lines
    .find((line) => /^ {4}\+(?!\+\+ )/.test(line))
    ?.slice(5)
    .trim();
  return difference === undefined ? words : `${words}: ${difference.slice(0, DIFFERENCE_LENGTH)}`;
}
