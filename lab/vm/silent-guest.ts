// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { abortable } from './abortable.ts';
import { ConsoleLog, lastLines } from './console.ts';
import { connectUnix, monitorCommand } from './monitor.ts';
import { vmPaths } from './state.ts';

/** What a shell and its programs, or a QEMU, may take on a busy host. */
const answerMs = 30_000;
const pollMs = 100;
/** Made of two words by the shell, so that the echo of what was typed is not taken for its answer. */
const answered = 'lab-has-answered';
/** Short lines: the terminal edits no more than 4095 bytes of one. */
const questions = [
  'ip -brief address',
  "grep -c ':0016 00000000:0000 0A' /proc/net/tcp",
  'ps -eo pid,stat,wchan:20,args | grep -v "\\]$"',
  'head -n 3 /proc/loadavg /proc/uptime',
];

/** What each CPU does, and which tasks are blocked, with the kernel's title of each. */
const sysrqs = [
  { key: 'l', mark: 'Show backtrace of all active CPUs' },
  { key: 'w', mark: 'Show Blocked State' },
] as const;

/**
 * What is to be seen of a guest that runs but does not answer on SSH: whether its vCPUs run, and what a shell on the serial line
 * has to say of network, sshd and processes. Everything goes to the console's log as well; without a shell, also the
 * kernel's own list of what its CPUs do and which tasks are blocked. Never throws: it tells what it could not find out.
 */
export async function describeSilentGuest(stateDir: string): Promise<string> {
  const parts = [askQemu(stateDir), askShell(stateDir)];
  const told = await Promise.all(
    parts.map((part) => part.catch((error: unknown) => `Not to be had: ${String(error)}`)),
  );
  return told.join('\n');
}

const statusSchema = z.object({ status: z.string() });

async function askQemu(stateDir: string): Promise<string> {
  const { status } = statusSchema.parse(await askMonitor(stateDir, 'query-status'));
  const registers = await askMonitor(stateDir, 'human-monitor-command', {
    'command-line': 'info registers -a',
  });
  return [`QEMU says that the VM is ${status}.`, ...vcpuLines(String(registers))].join('\n');
}

/** Where each vCPU is, of what QEMU prints of its registers; addresses are those of the kernel's System.map. */
export function vcpuLines(registers: string): string[] {
  const blocks = registers.split(/^CPU#/m).slice(1);
  return blocks.map((block) => {
    const number = /^\d+/.exec(block)?.[0] ?? '?';
    const address = /\bRIP=([0-9a-f]+)/.exec(block)?.[1] ?? '?';
    const halted = /\bHLT=1/.test(block) ? ', waiting for an interrupt' : '';
    const interrupts = /\bRFL=([0-9a-f]+)/.exec(block)?.[1];
    const disabled =
      interrupts !== undefined && (Number.parseInt(interrupts, 16) & 0x200) === 0 ? ', interrupts off' : '';
    return `vCPU ${number}: at ${address}${halted}${disabled}`;
  });
}

/** One command to QEMU, which may hang as its guest does. */
async function askMonitor(stateDir: string, command: string, argument = {}): Promise<unknown> {
  const paths = vmPaths(stateDir);
  const asked = monitorCommand(join(paths.directory, paths.monitorSocket), command, argument);
  return await abortable(asked, AbortSignal.timeout(answerMs));
}

async function askShell(stateDir: string): Promise<string> {
  const paths = vmPaths(stateDir);
  const socket = await connectUnix(join(paths.directory, paths.consoleSocket));
  try {
    // What comes back is read from the log.
    socket.resume().on('error', () => undefined);
    const log = new ConsoleLog(paths.consoleLog);
    await log.read();
    const before = log.text.length;
    socket.write('\n');
    await sleep(pollMs);
    for (const line of [...questions, `echo lab-has"-answered"`]) socket.write(`${line}\n`);
    if (await appears(log, before, answered)) {
      socket.write('exit\n');
      return `A shell on the serial line answers:\n${lastLines(log.text.slice(before), 40)}`;
    }
    const silent = log.text.length;
    for (const { key, mark } of sysrqs) {
      await askMonitor(stateDir, 'chardev-send-break', { id: 'console' });
      socket.write(key);
      await appears(log, silent, mark);
      // Behind its title comes the list.
      await sleep(1000);
    }
    await log.read();
    const said = lastLines(log.text.slice(silent), 60);
    return `No shell answers on the serial line; asked what its CPUs do, the kernel says ${said === '' ? 'nothing.' : `\n${said}`}`;
  } finally {
    socket.destroy();
  }
}

async function appears(log: ConsoleLog, from: number, mark: string): Promise<boolean> {
  const deadline = performance.now() + answerMs;
  while (performance.now() < deadline) {
    await log.read();
    if (log.text.slice(from).includes(mark)) return true;
    await sleep(pollMs);
  }
  return false;
}
