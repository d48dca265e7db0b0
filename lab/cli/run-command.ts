// SPDX-License-Identifier: BSD-3-Clause

import { join } from 'node:path';
import type { Command } from 'commander';
import { ArtefactDirectory } from '../cache-directory.ts';
import { loadConfig } from '../config/load.ts';
import type { LabContext, SettingsContext } from '../context.ts';
import { asLabError, describeError } from '../describe-error.ts';
import { ExitCode, InterruptedError, LabError } from '../errors.ts';
import { defaultCacheRoot, packageRoot, stateRoot } from '../paths.ts';
import { createDisplay, type Display, type Step } from '../progress/display.ts';
import { Durations } from '../progress/durations.ts';
import { chooseRuntime } from '../runtime/detect.ts';
import { sweepWorkDirectories } from '../work-directory.ts';
import { globalOptions } from './options.ts';

/**
 * Run the action of a command with everything it works with: settings loaded, runtime chosen, cache, progress, and a signal
 * that aborts on Ctrl-C. `body` returns the exit code; what it throws is printed as one or two sentences, exit code 2.
 */
export async function runCommand(
  command: Command,
  body: (context: LabContext) => Promise<number>,
): Promise<void> {
  await withSettings(command, async (settings, display) => {
    await sweepWorkDirectories(settings.cacheRoot);
    await using runtime = await chooseRuntime(settings);
    const cache = new ArtefactDirectory(settings.cacheRoot);
    const contextOf = (base: SettingsContext, current: Step | undefined): LabContext => ({
      ...base,
      runtime,
      cache,
      progress: current?.progress ?? display.progress,
      // On `this`, not on `base`: a context copied with other settings hands those down to its steps.
      async step(this: LabContext, title, inner) {
        return await display.step(title, current, (child) => inner(contextOf(this, child)));
      },
    });
    return await body(contextOf(settings, undefined));
  });
}

/** Like `runCommand`, for a command that needs the settings alone. */
export async function runWithSettings(
  command: Command,
  body: (context: SettingsContext) => Promise<number>,
): Promise<void> {
  await withSettings(command, body);
}

async function withSettings(
  command: Command,
  body: (context: SettingsContext, display: Display) => Promise<number>,
): Promise<void> {
  const options = globalOptions(command);
  if (!options.color) process.env.NO_COLOR = '1';
  using interrupt = catchSignals();
  try {
    const config = await loadConfig({
      packageRoot,
      userFile: options.config,
      environment: process.env,
      set: options.runtime === undefined ? options.set : [...options.set, `runtime=${options.runtime}`],
    });
    const stateDir = join(stateRoot(process.env), options.name);
    const cacheRoot = config.cacheDir === '' ? defaultCacheRoot(process.env) : config.cacheDir;
    using display = createDisplay({
      stream: process.stderr,
      verbose: options.verbose,
      durations: await Durations.load(join(cacheRoot, 'durations.json')),
      logFile: join(stateDir, 'logs', `${commandPath(command).join('-')}.log`),
    });
    interrupt.say = display.progress.note;
    const context: SettingsContext = {
      name: options.name,
      config,
      packageRoot,
      stateDir,
      cacheRoot,
      verbose: options.verbose,
      json: options.json,
      signal: interrupt.signal,
      progress: display.progress,
      print: (data, text) => {
        const output = options.json ? JSON.stringify(data, undefined, 2) : text;
        if (output !== '') process.stdout.write(`${output}\n`);
      },
    };
    process.exitCode = await body(context, display);
  } catch (error) {
    const shown = interrupt.signal.aborted ? new InterruptedError() : asLabError(error);
    if (interrupt.signal.aborted && process.stderr.isTTY) process.stderr.write(overWhatCtrlCPrints);
    process.stderr.write(describeError(shown, { verbose: options.verbose }));
    process.exitCode = shown instanceof LabError ? shown.exitCode : ExitCode.labFailed;
  }
}

/** `kernel build`, without the program's own name. */
function commandPath(command: Command): string[] {
  return command.parent === null ? [] : [...commandPath(command.parent), command.name()];
}

/** A terminal sends Ctrl-C to launcher and program alike, and the launcher passes it on: within this time it is one. */
const sameKeypressMs = 500;
/** What ends sooner than this need not say that it is ending. */
const sayMs = 300;

/** The terminal has put `^C` there. */
const overWhatCtrlCPrints = '\r\x1b[K';

interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
  /** How to say a line beside what else is shown. */
  say: (line: string) => void;
}

function catchSignals(): Interrupt {
  const controller = new AbortController();
  let first = 0;
  let saying: NodeJS.Timeout | undefined;
  const onSignal = (): void => {
    if (first === 0) {
      first = performance.now();
      saying = setTimeout(() => {
        interrupt.say('Interrupted: ending what was started (once more to leave at once).');
      }, sayMs);
      controller.abort(new InterruptedError());
    } else if (performance.now() - first > sameKeypressMs) {
      process.exit(ExitCode.interrupted);
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  const interrupt: Interrupt = {
    signal: controller.signal,
    say: (line) => process.stderr.write(`${line}\n`),
    [Symbol.dispose]: () => {
      clearTimeout(saying);
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
  return interrupt;
}
