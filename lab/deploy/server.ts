// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabContext } from '../context.ts';
import { vmPaths } from '../vm/state.ts';
import type { Vm } from '../vm/vm.ts';
import { unmountAll } from './filesystem.ts';
import { mustRun } from './guest-command.ts';

/** Where the server lies in the guest, and what it prints there. */
export const guestServerDirectory = '/opt/zus';
export const guestServerLog = '/var/log/zus.log';
const keyName = '.key';

export interface DeployedServer {
  /** Hash of the bundle. */
  readonly key: string;
  /** False when this very server was running already. */
  readonly started: boolean;
}

/**
 * Bundle `server/`, bring it to the guest and start it, unless it runs there already. A server that runs from another bundle
 * is stopped first, and what is mounted from it unmounted. `bundled`: where that was begun before there was a VM.
 */
export async function deployServer(
  context: LabContext,
  vm: Vm,
  bundled: Promise<string> = bundleForGuest(context),
): Promise<DeployedServer> {
  const { signal, progress } = context;
  progress.update('bundling the server');
  const directory = bundleDirectory(context);
  // The guest, which takes a good part of a second for each, is asked while the host bundles.
  const [bundleKey, deployed, { exitCode: status }] = await Promise.all([
    bundled,
    deployedServer(vm, signal),
    vm.exec(['zus-service', 'status'], { signal }),
  ]);
  const key = `${bundleKey} ${serverArguments(context).join(' ')}`;
  const running = status === 0;
  if (running && deployed === key) return { key, started: false };
  if (running) {
    // Its file systems go with it.
    for (const type of context.config.server.filesystems) await unmountAll(vm, type, signal);
    await stopServer(vm, signal);
  }
  progress.update('copying the server to the guest');
  await mustRun(vm, 'The server could not be replaced', ['rm', '-rf', guestServerDirectory], { signal });
  // Of a server that did not start it says nothing wrong: what does not run is replaced.
  await writeFile(join(directory, keyName), `${key}\n`);
  await vm.upload(directory, guestServerDirectory, context);
  progress.update('starting zus');
  await startServer(context, vm);
  return { key, started: true };
}

function bundleDirectory({ stateDir }: LabContext): string {
  return join(stateDir, 'zus');
}

/** Bundle the server for `deployServer`, in an empty directory of the lab; gives the hash of what is in it then. */
export async function bundleForGuest(context: LabContext): Promise<string> {
  const { cache } = context;
  const directory = bundleDirectory(context);
  await mkdir(directory, { recursive: true });
  // Loaded when needed: the bundler is large, and most commands bundle nothing.
  const { bundleServer } = await import('../../server/bundle.ts');
  await bundleServer(directory);
  return cache.hashFiles([directory]);
}

/** Hash and arguments of the server that was brought to the guest last; '' when none was. */
export async function deployedServer(vm: Vm, signal: AbortSignal): Promise<string> {
  return (await vm.exec(['cat', `${guestServerDirectory}/${keyName}`], { signal })).stdout.trim();
}

/** Start the deployed server with the settings' arguments; returns once it serves. Its log comes to the host when it does not. */
export async function startServer(context: LabContext, vm: Vm): Promise<void> {
  try {
    await mustRun(vm, 'The server did not start', ['zus-service', 'start', ...serverArguments(context)], {
      signal: context.signal,
    });
  } catch (error) {
    await collectServerLog(context, vm);
    throw error;
  }
}

/** Stop the server; returns once it has ended. */
export async function stopServer(vm: Vm, signal: AbortSignal): Promise<void> {
  await mustRun(vm, 'The server did not stop', ['zus-service', 'stop'], { signal });
}

function serverArguments({ config: { server } }: LabContext): string[] {
  return [
    `--fs=${server.filesystems.join(',')}`,
    `--channels=${server.channels}`,
    ...(server.extentCache ? [] : ['--no-extent-cache']),
    `--log-level=${server.logLevel}`,
  ];
}

/** Where the server's log lies on the host once it was collected. */
export function collectedServerLog(stateDir: string): string {
  return join(vmPaths(stateDir).directory, 'zus.log');
}

/** Copy the server's log to the host, as far as the guest still answers. */
export async function collectServerLog(context: LabContext, vm: Vm): Promise<void> {
  try {
    await vm.download(guestServerLog, collectedServerLog(context.stateDir), context);
  } catch (error) {
    // What went wrong before is what the user has to hear of.
    context.progress.output(
      `The server's log cannot be copied: ${error instanceof Error ? error.message : error}`,
    );
  }
}
