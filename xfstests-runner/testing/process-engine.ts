// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../../lab/errors.ts';
import { writeArtefacts } from '../../lab/remote/artefacts-file.ts';
import type { Cli } from '../../lab/testing/cli.ts';
import { scratchDirectory } from '../../lab/testing/scratch.ts';
import type { TestLabs } from '../../lab/testing/test-lab.ts';
import type { StartedTasks, TaskEngine, TaskOrder } from '../elsewhere.ts';

/** Tasks that are processes of this machine, each as if it were alone on its own. */
export class ProcessEngine implements TaskEngine {
  readonly reaches = 'loopback';
  readonly tasks: Cli[] = [];
  readonly #labs: TestLabs;
  readonly #options: readonly string[];

  constructor(labs: TestLabs, options: readonly string[] = []) {
    this.#labs = labs;
    this.#options = options;
  }

  async start(_: unknown, { tasks, at, token, artefacts, fileSystem }: TaskOrder): Promise<StartedTasks> {
    if (!('port' in at)) throw new Error('The run does not listen on loopback.');
    const directory = await scratchDirectory();
    const [tokenFile, artefactsFile] = ['token', 'artefacts.json'].map((name) => join(directory, name));
    await writeArtefacts(artefactsFile, artefacts);
    await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
    for (let number = 1; number <= tasks; number += 1) {
      const node = `node-${number}`;
      this.tasks.push(
        this.#labs.start(
          ...['--name', node, ...this.#options, 'task', '--run', `127.0.0.1:${at.port}`],
          ...['--token-file', tokenFile, '--artefacts', artefactsFile, '--fs', fileSystem, '--node', node],
        ),
      );
    }
    const ended = Promise.all(this.tasks.map((task) => task.end()));
    return {
      failed: ended.then(() => new LabError('Every task has ended.')),
      [Symbol.asyncDispose]: async () => {
        for (const task of this.tasks) task.process.kill('SIGTERM');
        await ended;
      },
    };
  }
}
