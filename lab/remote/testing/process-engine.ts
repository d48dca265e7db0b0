// SPDX-License-Identifier: BSD-3-Clause

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../../errors.ts';
import type { Cli } from '../../testing/cli.ts';
import { scratchDirectory } from '../../testing/scratch.ts';
import type { TestLabs } from '../../testing/test-lab.ts';
import { writeArtefacts } from '../artefacts-file.ts';
import type { StartedTasks, TaskEngine, TaskOrder } from '../task-engine.ts';

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

  async start(
    _: unknown,
    { tasks, at, token, artefacts: { kernel, image }, deploy }: TaskOrder,
  ): Promise<StartedTasks> {
    if (!('port' in at)) throw new Error('The run does not listen on loopback.');
    const directory = await scratchDirectory();
    const [tokenFile, artefactsFile] = ['token', 'artefacts.json'].map((name) => join(directory, name));
    await writeArtefacts(artefactsFile, { kernel, image });
    await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
    for (let number = 1; number <= tasks; number += 1) {
      const node = `node-${number}`;
      this.tasks.push(
        this.#labs.start(
          ...['--name', node, ...this.#options, 'task', '--run', `127.0.0.1:${at.port}`],
          ...['--token-file', tokenFile, '--artefacts', artefactsFile, '--node', node, '--deploy', deploy],
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
