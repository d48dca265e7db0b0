// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError } from 'commander';
import prettyBytes from 'pretty-bytes';
import { type CacheEntry, listCache, removeEntry } from '../../cache-clean.ts';
import { ExitCode } from '../../errors.ts';
import { runWithSettings } from '../run-command.ts';

const dayMs = 24 * 60 * 60 * 1000;

export function register(program: Command): void {
  const cache = program
    .command('cache')
    .description('built kernels, images and the like, which later runs find');

  cache
    .command('list')
    .description('what lies in the cache, how large, and when it was last used')
    .action((_options: unknown, command: Command) =>
      runWithSettings(command, async (context) => {
        const entries = await listCache(context.cacheRoot);
        context.print(entries, [...entries.map(line), total(entries, 'in', context.cacheRoot)].join('\n'));
        return ExitCode.ok;
      }),
    );

  cache
    .command('clean')
    .description('remove what has not been used for a while; it is built again when it is needed')
    .option('--unused-for <days>', 'remove what was not used for this many days', days, 14)
    .option('--all', 'remove every artefact')
    .option('--dry-run', 'only say what would be removed')
    .addHelpText(
      'after',
      '\nTrees that you put into the cache, and ccache (which keeps to its own limit), are left alone.',
    )
    .action((options: { unusedFor: number; all?: true; dryRun?: true }, command: Command) =>
      runWithSettings(command, async (context) => {
        const before = options.all ? Number.POSITIVE_INFINITY : Date.now() - options.unusedFor * dayMs;
        const removed: CacheEntry[] = [];
        for (const entry of await listCache(context.cacheRoot)) {
          context.signal.throwIfAborted();
          if (entry.lastUsed.getTime() > before) continue;
          if (options.dryRun || (await removeEntry(entry))) removed.push(entry);
          else context.progress.note(`${entry.kind}/${entry.key} is being built: left alone.`);
        }
        const summary = total(removed, options.dryRun ? 'would go from' : 'removed from', context.cacheRoot);
        context.print(removed, [...removed.map(line), summary].join('\n'));
        return ExitCode.ok;
      }),
    );
}

function line({ kind, key, bytes, lastUsed }: CacheEntry): string {
  const size = prettyBytes(bytes, { binary: true }).padStart(9);
  return `${size}  ${lastUsed.toISOString().slice(0, 16).replace('T', ' ')}  ${kind}/${key}`;
}

function total(entries: readonly CacheEntry[], what: string, root: string): string {
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  return `${prettyBytes(bytes, { binary: true })} (${entries.length} artefacts) ${what} ${root}`;
}

function days(value: string): number {
  const number = Number(value);
  if (value !== '' && number >= 0 && Number.isFinite(number)) return number;
  throw new InvalidArgumentError('A number of days.');
}
