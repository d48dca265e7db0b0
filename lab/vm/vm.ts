// SPDX-License-Identifier: BSD-3-Clause

import type { TaskContext } from '../runtime/runtime.ts';

/** A VM that is up and answers on SSH. */
export interface Vm {
  readonly name: string;
  /** Console output so far and to come, as a file on the host. */
  readonly consoleLog: string;
  /** Run a program in the guest. Exit codes come back, whatever they are; a dead VM or connection rejects (see `VmFailure`). */
  exec(command: readonly string[], options?: GuestExecOptions): Promise<GuestResult>;
  /** Copy a file or a directory tree to / from the guest. */
  upload(hostPath: string, guestPath: string, context: TaskContext): Promise<void>;
  download(guestPath: string, hostPath: string, context: TaskContext): Promise<void>;
  /** What happened to the VM, if something did. */
  health(): Promise<VmHealth>;
}

export interface GuestExecOptions {
  readonly signal?: AbortSignal;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (chunk: string) => void;
  readonly onStderr?: (chunk: string) => void;
  readonly input?: string;
}

export interface GuestResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type VmHealth =
  | { readonly state: 'running' }
  | { readonly state: 'panicked'; readonly consoleTail: string }
  | { readonly state: 'qemu-ended'; readonly code: number | null; readonly consoleTail: string }
  | { readonly state: 'unreachable'; readonly consoleTail: string }
  /** It was on another machine, which is gone, or whose task is. */
  | { readonly state: 'node-lost'; readonly node: string; readonly consoleTail: string };
