#!/usr/bin/env node
// SPDX-License-Identifier: BSD-3-Clause

// Starts the command line under the Node that this package pins. `npx` and npm scripts put node_modules/.bin first, so
// `node` is that one already; called by its path under the machine's own Node, it starts the pinned one in its place.
// Plain JavaScript that old Nodes understand: they cannot read the TypeScript files.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const pinned = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).dependencies
  .node;
const major = (version) => Number(version.split('.')[0]);

if (major(process.versions.node) >= major(pinned)) {
  // Compiled code, types stripped, is kept below the system's directory for temporary files: half the time to start.
  (await import('node:module')).enableCompileCache();
  const { main } = await import('../cli/main.ts');
  await main(process.argv.slice(2));
} else {
  const binary = new URL('../../node_modules/node/bin/node', import.meta.url).pathname;
  if (!existsSync(binary)) {
    process.stderr.write('zufs-lab: the pinned Node is missing: run `npm ci` in the checkout first.\n');
    process.exit(2);
  }
  const child = spawn(binary, [new URL(import.meta.url).pathname, ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`zufs-lab: ${binary} does not start: ${error.message}\n`);
    process.exit(2);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
