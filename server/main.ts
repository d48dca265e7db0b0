// SPDX-License-Identifier: BSD-3-Clause

/** The main thread: options, zuf-root, the server, signals, control socket. Returns the exit code. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { loadFileSystems } from './fs/index.ts';
import { findAddon } from './native/find.ts';
import { type AskOptions, parseOptions, type ServeOptions, settle, UsageError } from './options.ts';
import { ask, ControlError, ControlSocket } from './zt/control.ts';
import { createLog, type Log } from './zt/log.ts';
import { metricsText, operationMetrics, prometheusText } from './zt/metrics.ts';
import { notify } from './zt/notify.ts';
import { Server, type ServerStatus, StartError } from './zt/server.ts';
import type { OperationTotals } from './zt/statistics.ts';

/** Stopped in order; something failed; could not start. */
export const EXIT = { OK: 0, FAILED: 1, CANNOT_START: 2 } as const;

export async function main(arguments_: readonly string[], entry: URL): Promise<number> {
  try {
    const options = parseOptions(arguments_, (text) => void process.stdout.write(text));
    if (options === null) return EXIT.OK;
    if (options.command !== 'serve') return await askServer(options);
    return await serve(options, entry);
  } catch (error) {
    if (error instanceof UsageError || error instanceof StartError || error instanceof ControlError) {
      process.stderr.write(`zus: ${error.message}\n`);
      return EXIT.CANNOT_START;
    }
    throw error;
  }
}

async function serve({ config, given }: ServeOptions, entry: URL): Promise<number> {
  // Loaded only when there is a file to read.
  const file = config === null ? {} : (await import('./config.ts')).readConfig(config);
  const options = settle(file, given);
  const log = createLog({ level: options.logLevel, thread: 'main' });
  log('debug', 'loaded', { milliseconds: Math.round(performance.now()) });
  mountRoot(options.root, log);
  // Before anything is registered that the other server would have to answer for.
  await ControlSocket.assertFree(options.control);
  const server = await Server.start({
    entry,
    addon: await findAddon(entry),
    root: options.root,
    fileSystems: options.fs,
    load: loadFileSystems,
    channels: options.channels,
    extentCache: options.extentCache,
    logLevel: options.logLevel,
    log,
  });
  const { NOTIFY_SOCKET } = process.env;
  const stop = () => {
    notify(server.addon, NOTIFY_SOCKET, 'STOPPING', log);
    server.stop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await using _control = await listen(options.control, server, stop);
  // Readiness, for people, scripts and systemd.
  process.stdout.write('zus: ready\n');
  notify(server.addon, NOTIFY_SOCKET, 'READY', log);
  server.warmUp();
  log('debug', 'ready', { milliseconds: Math.round(performance.now()) });
  const code = await server.done;
  log('info', 'stopped', { code });
  if (server.hung) process.kill(process.pid, 'SIGKILL');
  process.off('SIGTERM', stop);
  process.off('SIGINT', stop);
  return code;
}

async function listen(path: string, server: Server, stop: () => void): Promise<ControlSocket> {
  try {
    return await ControlSocket.listen(path, {
      status: () => server.status,
      stats: () => server.statistics,
      stop: () => {
        // The answer goes out before the socket does.
        setImmediate(stop);
        return null;
      },
    });
  } catch (error) {
    server.stop();
    await server.done;
    throw error;
  }
}

/** zuf-root has to be mounted; if the module is there and nobody has done it, do it. */
function mountRoot(root: string, log: Log): void {
  if (!existsSync(root) || !statSync(root).isDirectory()) {
    throw new StartError(`there is no directory ${root}: load the kernel module with 'modprobe zuf'`);
  }
  if (isMounted(root)) return;
  try {
    // The lab has it mounted: then this large module is not needed.
    const { execFileSync } = process.getBuiltinModule('node:child_process');
    execFileSync('mount', ['-t', 'zuf', 'zuf', root], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
  } catch (error) {
    const detail = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new StartError(`cannot mount zuf on ${root}: ${detail.split('\n')[0]}`);
  }
  log('info', 'mounted zuf-root', { root });
}

function isMounted(root: string): boolean {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.some((line) => {
    const [, directory, type] = line.split(' ');
    return type === 'zuf' && directory === root;
  });
}

async function askServer(options: AskOptions): Promise<number> {
  const result = await ask(options.control, options.command);
  process.stdout.write(format(options, result));
  return EXIT.OK;
}

function format(options: AskOptions, result: unknown): string {
  if (options.command === 'stop') return '';
  if (options.command === 'stats') {
    const totals = result as OperationTotals[];
    if (options.format === 'prometheus') return prometheusText(totals);
    const metrics = operationMetrics(totals);
    return options.format === 'json' ? `${JSON.stringify(metrics, null, 2)}\n` : metricsText(metrics);
  }
  if (options.format !== 'text') return `${JSON.stringify(result, null, 2)}\n`;
  const status = result as ServerStatus;
  const mounts = status.mounts.map(
    ({ slot, fileSystem, bytes }) => `  ${slot}: ${fileSystem}, ${bytes} bytes\n`,
  );
  return [
    `zus ${status.pid}, up ${status.uptimeSeconds} s${status.stopping ? ', stopping' : ''}\n`,
    `file systems: ${status.fileSystems.join(', ')}\n`,
    `threads: ${status.threads.serving} serving of ${status.threads.wanted}\n`,
    `mounts: ${status.mounts.length}\n`,
    ...mounts,
  ].join('');
}
