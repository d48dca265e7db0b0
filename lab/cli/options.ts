// SPDX-License-Identifier: BSD-3-Clause

import { type Command, InvalidArgumentError, Option } from 'commander';

/** Options that every command takes, before or after its name. */
export interface GlobalOptions {
  readonly name: string;
  readonly config?: string;
  readonly set: readonly string[];
  readonly runtime?: 'auto' | 'docker' | 'host';
  readonly verbose: boolean;
  readonly json: boolean;
  readonly color: boolean;
}

/** Goes into directory names, container labels and the guest's host name. */
const labName = /^[a-z0-9][a-z0-9-]{0,30}$/;

export function addGlobalOptions(program: Command): void {
  program
    .option('--name <name>', 'which lab: several live side by side', parseName, 'default')
    .option('--config <file>', 'your settings (default: lab.local.yaml beside lab.yaml, where it exists)')
    .option('--set <key=value>', 'one setting, e.g. vm.memory=6G; may be repeated', collect)
    .addOption(
      new Option('--runtime <kind>', 'where tools run; the same as --set runtime=…').choices([
        'auto',
        'docker',
        'host',
      ]),
    )
    .option('--verbose', 'output of every program that runs, and the causes of an error')
    .option('--json', 'the result as JSON on stdout')
    .option('--no-color', 'no colours (NO_COLOR does the same)');
}

/** As commander has them: what is not said is not there. */
type Given = Omit<GlobalOptions, 'set' | 'verbose' | 'json'> & Partial<GlobalOptions>;

/** The global options that a command was called with. */
export function globalOptions(command: Command): GlobalOptions {
  // The defaults are here, where --help does not list them: that nothing is set and nothing verbose goes without saying.
  return { set: [], verbose: false, json: false, ...command.optsWithGlobals<Given>() };
}

function parseName(value: string): string {
  if (labName.test(value)) return value;
  throw new InvalidArgumentError('Lower-case letters, digits and dashes, at most 31.');
}

function collect(value: string, previous: readonly string[] = []): string[] {
  if (!value.includes('=')) throw new InvalidArgumentError('Expected key=value.');
  return [...previous, value];
}
