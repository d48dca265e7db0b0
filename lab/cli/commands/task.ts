// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ExitCode } from '../../errors.ts';
import { readArtefacts } from '../../remote/artefacts-file.ts';
import { runTask } from '../../remote/task.ts';
import { type Deployment, deployments } from '../../remote/task-engine.ts';
import { runCommand } from '../run-command.ts';

interface Options {
  readonly run: { readonly host: string; readonly port: number };
  readonly tokenFile: string;
  readonly artefacts: string;
  readonly deploy: Deployment;
  readonly node?: string;
}

export function register(program: Command): void {
  program
    .command('task')
    .description('what an engine starts for each shard of a run: boot a lab, and let the run use its VM')
    .requiredOption('--run <host:port>', 'where the run listens', addressOf)
    .requiredOption('--token-file <file>', "the run's token")
    .requiredOption('--artefacts <file>', 'kernel and image, as the run wrote it')
    .addOption(
      new Option('--deploy <what>', 'what the VM has when the run gets it')
        .choices(deployments)
        .default('nothing'),
    )
    .option('--node <name>', 'the machine (default: its host name)')
    .action(({ run, tokenFile, artefacts, deploy, node }: Options, command: Command) =>
      runCommand(command, async (context) => {
        const token = (await readFile(tokenFile, 'utf8')).trim();
        await runTask(context, {
          run,
          token,
          task: context.name,
          deploy,
          artefacts: await readArtefacts(artefacts),
          ...(node === undefined ? {} : { node }),
        });
        return ExitCode.ok;
      }),
    );
}

function addressOf(value: string): Options['run'] {
  const at = value.lastIndexOf(':');
  const port = Number(value.slice(at + 1));
  if (at > 0 && Number.isInteger(port) && port > 0) return { host: value.slice(0, at), port };
  throw new InvalidArgumentError('An address such as 10.0.1.2:4000.');
}
