// SPDX-License-Identifier: BSD-3-Clause

import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import getPort from 'get-port';
import { expect, onTestFinished, test, vi } from 'vitest';
import { runOwnCli } from '../testing/own-cli.ts';
import { scratchDirectory } from '../testing/scratch.ts';
import { writeArtefacts } from './artefacts-file.ts';
import { openGateway } from './gateway.ts';
import { TaskListener } from './join.ts';

// `zufs-lab task` that the run does not want: it ends before it boots anything, for its kernel and disk are not even there.

vi.setConfig({ testTimeout: 60_000 });

const host = '127.0.0.1';

async function task(port: number, token: string) {
  const directory = await scratchDirectory();
  const [artefacts, tokenFile] = [join(directory, 'artefacts.json'), join(directory, 'token')];
  await writeArtefacts(artefacts, {
    kernel: { key: 'k', bzImage: '/nowhere/bzImage', flavour: 'release' },
    image: { key: 'i', disk: '/nowhere/root.ext4', hostKey: '', hit: true },
  });
  await writeFile(tokenFile, `${token}\n`);
  const args = ['--runtime', 'host', 'task', '--run', `${host}:${port}`, '--token-file', tokenFile];
  const result = await runOwnCli([...args, '--artefacts', artefacts], { directory });
  const left = await readdir(join(directory, 'state', 'zufs-lab', 'default'));
  return { ...result, left: left.filter((name) => name !== 'logs') };
}

/** One sentence, exit 2, nothing left behind but its log. */
function ended(sentence: string) {
  return { code: 2, stdout: '', stderr: `zufs-lab: ${sentence}\n`, left: [] };
}

test('with another token', async () => {
  const [onJoined, onRefused] = [vi.fn(), vi.fn()];
  const listener = await TaskListener.open({ at: 'loopback', token: 'of the run', onJoined, onRefused });
  onTestFinished(() => listener[Symbol.asyncDispose]());
  expect(await task(listener.port, 'of another run')).toEqual(
    ended('The run did not let this task in: Its token is not that of the run.'),
  );
  expect([onJoined.mock.calls.length, onRefused.mock.calls.length]).toEqual([0, 1]);
});

test('whose run is gone from behind its gateway', async () => {
  const socketFile = join(await scratchDirectory(), 'run.sock');
  await using gateway = await openGateway({ host, port: await getPort({ host }), socketFile });
  expect(await task(gateway.port, 'of the run')).toEqual(
    ended(`The run's coordinator at ${host}:${gateway.port} does not answer.`),
  );
});
