// SPDX-License-Identifier: BSD-3-Clause

import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { styleText } from 'node:util';
import { createLogUpdate } from 'log-update';
import type { Progress } from '../runtime/runtime.ts';
import type { Durations } from './durations.ts';
import { formatDuration, formatRunning, remainingMs } from './estimate.ts';

/** One step as the display keeps it. */
export interface Step {
  readonly title: string;
  readonly progress: Progress;
}

/** Shows what goes on: steps with their state, elapsed time and estimate; redrawn on a terminal, plain lines elsewhere. */
export interface Display extends Disposable {
  /** Progress of the command as a whole, outside of any step. */
  readonly progress: Progress;
  step<T>(title: string, parent: Step | undefined, body: (step: Step) => Promise<T>): Promise<T>;
}

export interface DisplayOptions {
  readonly stream: NodeJS.WriteStream;
  /** Show the output of programs. */
  readonly verbose: boolean;
  readonly durations: Durations;
  /** Everything, programs' output included, goes here; made at the first line. */
  readonly logFile: string;
}

export function createDisplay(options: DisplayOptions): Display {
  // Without a width (some serial consoles report 0) there is nothing to draw in.
  return new StepDisplay(
    options,
    options.stream.isTTY && options.stream.columns > 0
      ? new LiveScreen(options.stream)
      : new PlainScreen(options.stream),
  );
}

/** Plain lines say where a long step is this often at most. */
const plainUpdateMs = 10_000;
const redrawMs = 200;

interface StepState {
  readonly step: Step;
  readonly depth: number;
  readonly startedMs: number;
  expectedMs: number | undefined;
  text: string;
  fraction: number | undefined;
  lastPlainMs: number;
}

/** What differs between a terminal and a log. */
interface Screen {
  /** A line that stays. */
  line(text: string): void;
  /** The running steps, drawn anew. */
  redraw(running: readonly StepState[]): void;
  /** A step has something new to say of itself. */
  changed(state: StepState): void;
  close(): void;
}

class StepDisplay implements Display {
  readonly progress: Progress;
  readonly #options: DisplayOptions;
  readonly #screen: Screen;
  readonly #running: StepState[] = [];
  readonly #timer: NodeJS.Timeout;
  #log: number | undefined;

  constructor(options: DisplayOptions, screen: Screen) {
    this.#options = options;
    this.#screen = screen;
    this.progress = this.#progressOf(undefined);
    this.#timer = setInterval(() => this.#screen.redraw(this.#running), redrawMs).unref();
  }

  async step<T>(title: string, parent: Step | undefined, body: (step: Step) => Promise<T>): Promise<T> {
    const state = this.#begin(title, parent);
    try {
      const result = await body(state.step);
      const took = performance.now() - state.startedMs;
      this.#end(state, styleText('green', '✔', { stream: this.#options.stream }), took);
      await this.#options.durations.record(title, took);
      return result;
    } catch (error) {
      const took = performance.now() - state.startedMs;
      this.#end(state, styleText('red', '✖', { stream: this.#options.stream }), took);
      throw error;
    }
  }

  #begin(title: string, parent: Step | undefined): StepState {
    const parentState = this.#running.find((state) => state.step === parent);
    const state: StepState = {
      step: { title, progress: this.#progressOf(() => state) },
      depth: parentState === undefined ? 0 : parentState.depth + 1,
      startedMs: performance.now(),
      expectedMs: this.#options.durations.expected(title),
      text: '',
      fraction: undefined,
      lastPlainMs: performance.now(),
    };
    // Children are drawn right below their parent.
    const after = parentState === undefined ? this.#running.length - 1 : this.#running.indexOf(parentState);
    this.#running.splice(after + 1, 0, state);
    this.#toLog(`==> ${title}`);
    this.#screen.redraw(this.#running);
    return state;
  }

  #end(state: StepState, mark: string, tookMs: number): void {
    this.#running.splice(this.#running.indexOf(state), 1);
    const line = `${'  '.repeat(state.depth)}${mark} ${state.step.title} (${formatDuration(tookMs)})`;
    this.#screen.line(line);
    this.#toLog(`<== ${state.step.title} (${formatDuration(tookMs)})`);
    this.#screen.redraw(this.#running);
  }

  #progressOf(state: (() => StepState) | undefined): Progress {
    return {
      update: (text) => {
        this.#toLog(text);
        if (state === undefined) return;
        state().text = text;
        this.#screen.changed(state());
      },
      expect: (milliseconds) => {
        if (state !== undefined) state().expectedMs = milliseconds;
      },
      fraction: (done) => {
        if (state === undefined) return;
        state().fraction = Math.min(1, Math.max(0, done));
        this.#screen.changed(state());
      },
      note: (line) => {
        this.#toLog(line);
        const depth = state === undefined ? 0 : state().depth + 1;
        this.#screen.line(`${'  '.repeat(depth)}${line}`);
      },
      output: (line) => {
        this.#toLog(`    ${line}`);
        if (this.#options.verbose)
          this.#screen.line(styleText('dim', `    ${line}`, { stream: this.#options.stream }));
      },
    };
  }

  #toLog(line: string): void {
    try {
      if (this.#log === undefined) {
        mkdirSync(dirname(this.#options.logFile), { recursive: true });
        this.#log = openSync(this.#options.logFile, 'w');
      }
      writeSync(this.#log, `${line}\n`);
    } catch {
      // Without room or right for the log the work itself still goes on; what is wrong shows there.
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#screen.close();
    if (this.#log !== undefined) closeSync(this.#log);
    this.#log = undefined;
  }
}

/** `text, 40 %, 3m 2s, about 4m left` */
function situation(state: StepState): string {
  const elapsed = performance.now() - state.startedMs;
  const left = remainingMs({ elapsedMs: elapsed, expectedMs: state.expectedMs, fraction: state.fraction });
  return [
    ...(state.text === '' ? [] : [state.text]),
    ...(state.fraction === undefined ? [] : [`${Math.floor(state.fraction * 100)} %`]),
    formatRunning(elapsed),
    ...(left === undefined || left < 1000 ? [] : [`about ${formatRunning(left)} left`]),
  ].join(', ');
}

class LiveScreen implements Screen {
  readonly #stream: NodeJS.WriteStream;
  readonly #update: ReturnType<typeof createLogUpdate>;
  #frame = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#update = createLogUpdate(stream);
  }

  line(text: string): void {
    this.#update.clear();
    this.#stream.write(`${text}\n`);
  }

  redraw(running: readonly StepState[]): void {
    if (running.length === 0) {
      this.#update.clear();
      return;
    }
    const spinner = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
    this.#frame = (this.#frame + 1) % spinner.length;
    const width = this.#stream.columns;
    const lines = running.map((state) => {
      const line = `${'  '.repeat(state.depth)}${spinner[this.#frame]} ${state.step.title}: ${situation(state)}`;
      // A line that wraps would be erased one row short at the next redraw.
      return line.length < width ? line : `${line.slice(0, width - 2)}…`;
    });
    this.#update(lines.join('\n'));
  }

  changed(): void {
    // The timer redraws soon enough.
  }

  close(): void {
    this.#update.clear();
    this.#update.done();
  }
}

class PlainScreen implements Screen {
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  line(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  redraw(running: readonly StepState[]): void {
    for (const state of running) this.changed(state);
  }

  changed(state: StepState): void {
    const now = performance.now();
    if (now - state.lastPlainMs < plainUpdateMs) return;
    state.lastPlainMs = now;
    this.line(`${'  '.repeat(state.depth)}… ${state.step.title}: ${situation(state)}`);
  }

  close(): void {
    // Nothing is left on the screen that would have to go.
  }
}
