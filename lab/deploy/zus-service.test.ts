// SPDX-License-Identifier: BSD-3-Clause

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { packageRoot } from '../paths.ts';
import { scratchDirectory } from '../testing/scratch.ts';

/** The guest's program, on this machine: `zus` is what it starts, in words of a shell. */
async function service(zus: string) {
  const directory = await scratchDirectory();
  const paths = { log: join(directory, 'zus.log'), pid: join(directory, 'zus.pid') };
  const places: Readonly<Record<string, string>> = {
    '/var/log/zus.log': paths.log,
    '/run/zus.pid': paths.pid,
    '/usr/local/bin/node': '/bin/sh',
    '/opt/zus/zus.mjs': join(directory, 'zus'),
    'start_limit=60\n': 'start_limit=2\n',
  };
  const text = await readFile(join(packageRoot, 'vm-images/overlay/usr/sbin/zus-service'), 'utf8');
  const own = Object.entries(places).reduce((script, [from, to]) => {
    expect(script).toContain(from);
    return script.replaceAll(from, to);
  }, text);
  await writeFile(join(directory, 'zus-service'), own);
  await writeFile(join(directory, 'zus'), zus);
  const run = async (...args: readonly string[]) => {
    const { exitCode, stderr } = await execa('sh', [join(directory, 'zus-service'), ...args], {
      reject: false,
    });
    return { exitCode, stderr };
  };
  onTestFinished(async () => void (await run('stop')));
  return { run, ...paths };
}

const ready = 'echo "zus: ready"; exec sleep 60';

test('it returns once the server serves, which then runs on; what an earlier start said does not count', async () => {
  const { run, log } = await service(`sleep 0.5; echo "serves with $*"; ${ready}`);
  await writeFile(log, 'zus: ready\n');
  const from = performance.now();
  expect(await run('start', '--channels=1')).toEqual({ exitCode: 0, stderr: '' });
  expect(performance.now() - from).toBeGreaterThan(500);
  expect(await readFile(log, 'utf8')).toContain('serves with --channels=1\nzus: ready\n');
  expect((await run('status')).exitCode).toBe(0);
  expect(await run('start')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('runs already') });
  expect((await run('stop')).exitCode).toBe(0);
  expect((await run('status')).exitCode).toBe(1);
});

test('a server that ends: its exit code, and its last words', async () => {
  const { run, pid } = await service('echo "no such device"; exit 7');
  expect(await run('start')).toEqual({
    exitCode: 1,
    stderr: 'zus ended with code 7 before it was ready\nno such device',
  });
  await expect(readFile(pid)).rejects.toThrow('ENOENT');
});

test('a server that is not ready in time', async () => {
  const { run } = await service('echo "wait for it"; exec sleep 60');
  expect(await run('start')).toEqual({
    exitCode: 1,
    stderr: 'zus was not ready within 2 s\nwait for it',
  });
});

test('nothing that waited is left once it serves', async () => {
  const { run, log } = await service(ready);
  await run('start');
  await sleep(100);
  const { stdout } = await execa('pgrep', ['-f', `tail .*${log}`], { reject: false });
  expect(stdout).toBe('');
});
