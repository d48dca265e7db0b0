// SPDX-License-Identifier: BSD-3-Clause

/** The command line of `zus`. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { CONST } from './abi/layout.ts';
import { fileSystemNames } from './fs/index.ts';
import { type LogLevel, logLevels } from './zt/log.ts';

export interface ServeSettings {
  readonly fs: readonly string[];
  readonly channels: number;
  /** The kernel may keep extents of files whose type allows it, and copy by itself. */
  readonly extentCache: boolean;
  readonly logLevel: LogLevel;
  readonly root: string;
  readonly control: string;
}

export interface ServeOptions {
  readonly command: 'serve';
  /** Configuration file (config.ts); null: none was named. */
  readonly config: string | null;
  /** What the command line says, which goes before what the file says. */
  readonly given: Partial<ServeSettings>;
}

export interface AskOptions {
  readonly command: 'status' | 'stats' | 'stop';
  readonly control: string;
  readonly format: 'json' | 'prometheus' | 'text';
}

export type Options = ServeOptions | AskOptions;

/** What the user asked for cannot be: say it and exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const defaultControl = '/run/zus.sock';
export const defaultRoot = '/sys/fs/zuf';

const defaults: ServeSettings = {
  fs: fileSystemNames,
  channels: 1,
  extentCache: true,
  logLevel: 'info',
  root: defaultRoot,
  control: defaultControl,
};

/** Settings in force, the later ones before the earlier. */
export function settle(...parts: readonly Partial<ServeSettings>[]): ServeSettings {
  return Object.assign({}, defaults, ...parts);
}

/** Returns null when help was asked for and printed. Throws `UsageError`. */
export function parseOptions(arguments_: readonly string[], print: (text: string) => void): Options | null {
  let parsed: Options | null = null;
  const program = createProgram(print, (options) => {
    parsed = options;
  });
  try {
    program.parse(arguments_, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return null;
    throw new UsageError(error.message.replace(/^error: /, ''));
  }
  return parsed;
}

function createProgram(print: (text: string) => void, found: (options: Options) => void): Command {
  const program = new Command('zus')
    .description(
      'Serve file systems to the zuf kernel module. Without a command it serves until it is stopped.',
    )
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  const control = () => new Option('--control <path>', 'control socket').default(defaultControl);

  program
    .command('serve', { isDefault: true })
    .description('serve until SIGTERM or SIGINT; a second signal leaves file systems mounted')
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .allowExcessArguments(false)
    .addOption(
      new Option('--fs <types>', `file systems, comma separated: ${fileSystemNames.join(', ')}`)
        .default([...fileSystemNames], fileSystemNames.join(','))
        .argParser(parseFileSystems),
    )
    .addOption(new Option('--channels <n>', 'server threads a CPU').default(1).argParser(parseChannels))
    .addOption(new Option('--no-extent-cache', 'have the server copy all data, to measure that'))
    .addOption(new Option('--log-level <level>', 'how much to log').choices(logLevels).default('info'))
    .addOption(new Option('--root <path>', 'where zuf-root is mounted').default(defaultRoot))
    .addOption(control())
    .addOption(
      new Option('--config <file>', 'YAML with the settings above; what the command line says goes first'),
    )
    .action((options: ServeSettings & { config?: string }, command: Command) => {
      const { config, ...settings } = options;
      const isGiven = ([name]: [string, unknown]) => command.getOptionValueSource(name) === 'cli';
      const given = Object.fromEntries(Object.entries(settings).filter(isGiven));
      found({ command: 'serve', config: config ?? null, given });
    });

  const asked: Readonly<Record<AskOptions['command'], string>> = {
    status: 'tell what the running server serves',
    stats: 'count and time the operations of the running server',
    stop: 'stop the running server as SIGTERM does',
  };
  for (const [name, description] of Object.entries(asked)) {
    program
      .command(name)
      .description(description)
      .exitOverride()
      .configureOutput({ writeOut: print, writeErr: () => {} })
      .allowExcessArguments(false)
      .addOption(control())
      .addOption(
        new Option('--format <format>', 'of the answer')
          .choices(['text', 'json', 'prometheus'])
          .default('text'),
      )
      .action((options: Omit<AskOptions, 'command'>) =>
        found({ command: name as AskOptions['command'], ...options }),
      );
  }
  return program;
}

function parseFileSystems(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  for (const name of names) {
    if (fileSystemNames.includes(name)) continue;
    throw new InvalidArgumentError(
      `There is no file system '${name}'; there are ${fileSystemNames.join(', ')}.`,
    );
  }
  if (new Set(names).size !== names.length) throw new InvalidArgumentError('A file system is named twice.');
  return names;
}

function parseChannels(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > CONST.ZUFS_MAX_ZT_CHANNELS) {
    throw new InvalidArgumentError(`It has to be 1 to ${CONST.ZUFS_MAX_ZT_CHANNELS}.`);
  }
  return value;
}
