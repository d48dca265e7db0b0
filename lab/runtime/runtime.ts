// SPDX-License-Identifier: BSD-3-Clause

/**
 * Where the lab's tools run: on the host, or in containers. Paths are host paths in both: a container gets each mounted
 * at the same place, so that nothing has to be translated.
 */
export interface Runtime extends AsyncDisposable {
  readonly kind: 'host' | 'docker';

  /**
   * See to it that the tools of a tool set are there: Debian packages on the host (installed with root or sudo after one
   * announcing line, `MissingPrerequisiteError` naming the command without the right), a builder image in Docker.
   */
  prepare(tools: ToolSet, context: TaskContext): Promise<void>;

  /** Run one program to its end. Rejects with `CommandFailedError` unless `reject` is false; ends it when `signal` aborts. */
  run(command: readonly string[], options: RunOptions): Promise<RunResult>;

  /** Start a program that outlives this process (QEMU). Its labels find it again. */
  start(command: readonly string[], options: StartOptions): Promise<Background>;

  /** Every background program with these labels, running or ended but not removed. */
  find(labels: Labels): Promise<Background[]>;
}

/** Groups of tools a step needs. */
export type ToolSet =
  | 'kernel-build'
  | 'image-build'
  | 'vm'
  | 'server-build'
  | 'xfstests-build'
  | 'bench-build';

/** `zufs-lab.lab` = name of the lab, `zufs-lab.role` = what it is ('vm', 'build', 'engine-test'). */
export type Labels = Readonly<Record<string, string>>;

/** Handed down from the command line: how to say what goes on, and when to stop. */
export interface TaskContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Live progress of one step; a terminal redraws it, a log gets plain lines. */
export interface Progress {
  /** What the step is at, in a few words. */
  update(text: string): void;
  /** How many milliseconds it will take, by what is known of its parts: counts instead of what it took last time. */
  expect(milliseconds: number): void;
  /** How far it is, 0..1, where that is known. */
  fraction(done: number): void;
  /** A line worth keeping (announcements, choices made). */
  note(line: string): void;
  /** Output of a program, shown with --verbose and kept in the step's log. */
  output(line: string): void;
}

export interface RunOptions extends TaskContext {
  /** Working directory; it and `mounts` are what a container sees. */
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly Mount[];
  /** Where the tool comes from. */
  readonly tools: ToolSet;
  /** Run as root (image build, mounts): sudo on the host where needed, a container that may mount. */
  readonly root?: boolean;
  /**
   * The program needs the network and apt. A container has neither otherwise; with this it gets the host's network, and the
   * host's /etc/apt, keyrings, certificates and proxy variables to read.
   */
  readonly network?: boolean;
  /** Default true. */
  readonly reject?: boolean;
  /** All output goes to this file too. */
  readonly logFile?: string;
  readonly input?: string;
}

export interface Mount {
  readonly path: string;
  readonly writable: boolean;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly cwd: string;
  readonly labels: Labels;
  readonly mounts?: readonly Mount[];
  readonly tools: ToolSet;
  /** stdout and stderr go here. The file is there once start() has returned. */
  readonly logFile: string;
  /** Pass /dev/kvm through. */
  readonly kvm?: boolean;
  /** Ports on 127.0.0.1 of the host that reach the same port of the program. */
  readonly ports?: readonly number[];
}

/** A program that runs on its own. */
export interface Background {
  /** Pid on the host, or container id. */
  readonly id: string;
  readonly labels: Labels;
  running(): Promise<boolean>;
  /** Resolves once it has ended; `code` null when a signal ended it or it is not known. */
  wait(signal: AbortSignal): Promise<{ readonly code: number | null }>;
  /** SIGTERM, SIGKILL after `graceMs`; then remove every trace. Fine when it has already ended. */
  stop(graceMs?: number): Promise<void>;
}
