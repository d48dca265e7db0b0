// SPDX-License-Identifier: BSD-3-Clause

/**
 * `npm run bundle`: everything of the server that a guest needs, in one directory that runs with nothing but a `node`
 * binary: `zus.mjs` (the main thread) with the parts that it loads when it needs them, `thread.cjs` (all other threads),
 * `addon.node`, and the tools. Those that xfstests calls hundreds of times are CommonJS: Node is up sooner without the loader of
 * modules.
 */

import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { buildAddon } from './native/build.ts';

const server = fileURLToPath(new URL('.', import.meta.url));
const defaultDirectory = fileURLToPath(new URL('../build/zus/', import.meta.url));

/** Tools whose module exports `main(arguments): number`, the exit code. */
const tools = {
  'mkfs.zpmfs': 'tools/mkfs.ts',
  'fsck.zpmfs': 'tools/fsck.ts',
  'dump.zpmfs': 'tools/dump.ts',
};

/** Packages in CommonJS want `require`, which a module has not; all that is left for them to require is Node's own. */
const banner = [
  '#!/usr/bin/env node',
  '// SPDX-License-Identifier: BSD-3-Clause',
  'const require = (name) => process.getBuiltinModule(name);',
].join('\n');

export interface Bundle {
  readonly directory: string;
  /** File names in it. */
  readonly files: readonly string[];
}

export async function bundleServer(directory: string = defaultDirectory): Promise<Bundle> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const programs = [
    {
      name: 'zus',
      source: `import { main } from './main.ts';
        process.exitCode = await main(process.argv.slice(2), new URL('thread.cjs', import.meta.url));`,
    },
    {
      name: 'zus-kill-test',
      source: `import { main } from './testing/kill-test.ts'; process.exitCode = await main(process.argv.slice(2));`,
    },
  ];
  for (const { name, source } of programs) await bundleProgram(source, directory, name);
  await bundleThread(directory);
  for (const [name, source] of Object.entries(tools)) await bundleTool(source, directory, name);
  copyFileSync(buildAddon(), join(directory, 'addon.node'));
  return { directory: resolve(directory), files: readdirSync(directory).sort() };
}

/** One file and no ECMAScript module: a thread starts fastest from that, and there are many. */
async function bundleThread(directory: string): Promise<void> {
  await build({
    entryPoints: [join(server, 'thread.ts')],
    outfile: join(directory, 'thread.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'cjs',
    legalComments: 'inline',
    banner: { js: '// SPDX-License-Identifier: BSD-3-Clause' },
    logLevel: 'warning',
  });
}

/** Little to read and nothing to resolve; names stay, for the traces of errors. */
async function bundleTool(source: string, outdir: string, name: string): Promise<void> {
  const outfile = join(outdir, `${name}.cjs`);
  await build({
    stdin: {
      contents: `import { main } from './${source}'; process.exitCode = main(process.argv.slice(2));`,
      resolveDir: server,
      loader: 'ts',
    },
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'cjs',
    minifyWhitespace: true,
    minifySyntax: true,
    // Tables of numbers that a tool does not use stay out.
    pure: ['Object.freeze'],
    legalComments: 'inline',
    banner: { js: '#!/usr/bin/env node\n// SPDX-License-Identifier: BSD-3-Clause' },
    define: { 'import.meta.main': 'false' },
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
}

async function bundleProgram(source: string, outdir: string, name: string): Promise<void> {
  await build({
    stdin: { contents: source, resolveDir: server, loader: 'ts' },
    outdir,
    entryNames: name,
    // What is imported at run time only is a file of its own: the many threads of the server never read it.
    splitting: true,
    chunkNames: `${name}-[hash]`,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    legalComments: 'inline',
    banner: { js: banner },
    // A module that is also a script must not take the bundle for its own call.
    define: { 'import.meta.main': 'false' },
    logLevel: 'warning',
  });
  chmodSync(join(outdir, `${name}.mjs`), 0o755);
}

if (import.meta.main) {
  const { directory, files } = await bundleServer(process.argv[2]);
  for (const file of files) process.stdout.write(`${join(directory, file)}\n`);
}
