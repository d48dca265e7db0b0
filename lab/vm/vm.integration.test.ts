// SPDX-License-Identifier: BSD-3-Clause

import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../testing/cli.ts';
import { pathWithout } from '../testing/path-without.ts';
import { TestLabs, tinyGuest } from '../testing/test-lab.ts';

let labs: TestLabs;
beforeAll(async () => {
  labs = await TestLabs.create();
});
afterAll(() => labs[Symbol.asyncDispose]());

const runningPrograms = () => labs.runningPrograms();

describe('a lab that is up', () => {
  let secondsToMount: number;
  beforeAll(async () => {
    await labs.build();
    const started = performance.now();
    await labs.must('up');
    secondsToMount = (performance.now() - started) / 1000;
  });

  test('with kernel and image in the cache it is mounted within 60 s', () => {
    process.stdout.write(`mounted after ${secondsToMount.toFixed(1)} s\n`);
    expect(secondsToMount).toBeLessThan(60);
  });

  const inGuest = (...command: string[]) => labs.must('exec', '--', ...command);

  test('its guest has two nodes and four pmem devices, two a node', async () => {
    expect(await inGuest('numactl', '-H')).toMatch(/^available: 2 nodes/m);
    expect((await inGuest('sh', '-c', 'ls /dev/pmem*')).trim().split('\n')).toEqual([
      '/dev/pmem0',
      '/dev/pmem1',
      '/dev/pmem2',
      '/dev/pmem3',
    ]);
    expect(await inGuest('sh', '-c', 'cat /sys/block/pmem*/device/numa_node')).toSatisfy(
      (nodes: string) => nodes.split('\n').sort().join('') === '0011',
    );
    expect(await inGuest('sh', '-c', 'cat /sys/block/pmem*/queue/dax')).toBe('1\n1\n1\n1\n');
  });

  test('the test file system is mounted, over devices of both nodes', async () => {
    expect(await inGuest('findmnt', '-n', '-t', 'zpmfs', '-o', 'SOURCE,FSTYPE', '/mnt/test')).toMatch(
      /^\/dev\/pmem0\s+zpmfs$/m,
    );
    const bytes = Number(await inGuest('stat', '-f', '-c', '%b', '/mnt/test')) * 4096;
    expect(bytes).toBeGreaterThan(1.5 * 2 ** 30);
  });

  test.each([
    ['0', ['true'], 0],
    ['its own', ['sh', '-c', 'exit 7'], 7],
    ['127 for a program that is not there', ['no-such-program'], 127],
    ['128 and the number of the signal that ended it', ['sh', '-c', 'kill -TERM $$'], 143],
    ['the same through a process that was replaced', ['perl', '-e', 'kill KILL => $$'], 137],
  ])('exec gives the exit code: %s', async (_what, command, code) => {
    expect((await labs.run('exec', '--', ...command)).code).toBe(code);
  });

  test('exec passes input and output byte for byte, and keeps stderr apart', async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7 + (at >> 8)) & 0xff));
    const result = await runCli(['exec', '--', 'sh', '-c', 'echo aside >&2; cat'], {
      env: labs.env,
      stdin: bytes,
    });
    expect(result.code).toBe(0);
    expect(result.stdout.equals(bytes)).toBe(true);
    expect(result.stderr).toMatch(/^aside$/m);
  });

  test('Ctrl-C ends what exec runs', async () => {
    const cli = labs.start('exec', '--', 'sh', '-c', 'echo begun >&2; exec sleep 4321');
    await cli.says(/begun/);
    cli.process.kill('SIGINT');
    expect((await cli.end()).code).toBe(130);
    expect((await labs.run('exec', '--', 'pgrep', '-f', 'sleep 4321')).code).toBe(1);
  });

  test('status tells where it answers and what is mounted', async () => {
    const status = JSON.parse(await labs.must('status', '--json'));
    expect(status).toMatchObject({ name: 'default', state: 'running' });
    expect(status.mounts.map((mount: { target: string }) => mount.target)).toContain('/mnt/test');
    expect(await labs.must('status')).toMatch(/default: up\n.*since/);
  });

  test('the guest was ready within 5 s of its own time', async () => {
    const { vm } = JSON.parse(await labs.must('status', '--json'));
    process.stdout.write(`guest ready after ${vm.readyAfter} s\n`);
    // The machine may be busy with other things, which under emulation is the guest's time too.
    expect(vm.readyAfter).toBeLessThan(10);
  });

  test('data outlives a remount and a restart of the server', async () => {
    await inGuest('dd', 'if=/dev/urandom', 'of=/mnt/test/data', 'bs=1M', 'count=8', 'status=none');
    const hash = await inGuest('sha256sum', '/mnt/test/data');
    await inGuest('umount', '/mnt/test');
    await inGuest('mount', '-t', 'zpmfs', '/dev/pmem0', '/mnt/test');
    expect(await inGuest('sha256sum', '/mnt/test/data')).toBe(hash);

    await inGuest('umount', '-t', 'zpmfs', '-a');
    await inGuest('zus-service', 'stop');
    expect((await labs.run('exec', '--', 'mount', '-t', 'zpmfs', '/dev/pmem0', '/mnt/test')).code).not.toBe(
      0,
    );
    await inGuest('zus-service', 'start');
    await inGuest('mount', '-t', 'zpmfs', '/dev/pmem0', '/mnt/test');
    expect(await inGuest('sha256sum', '/mnt/test/data')).toBe(hash);
    await inGuest('rm', '/mnt/test/data');
  });

  test('up again takes what runs, and mounts what is missing', async () => {
    await labs.run('exec', '--', 'umount', '/mnt/test');
    const again = JSON.parse(await labs.must('up', '--json'));
    expect(again.booted).toBe(false);
    expect(again.mounts.map((mount: { target: string }) => mount.target)).toContain('/mnt/test');
  });

  test('the smoke run passes', async () => {
    const { code, stdout } = await labs.run('smoke', '--json');
    const report = JSON.parse(stdout.toString());
    expect(report.steps.filter((step: { ok: boolean }) => !step.ok)).toEqual([]);
    expect(report.steps.length).toBeGreaterThan(15);
    expect(code).toBe(0);
  });

  test('run without an xfstests tree: the smoke run takes its place, and the verdict says so', async () => {
    const { code, stdout, stderr } = await labs.run('run', '--set', 'xfstests.ref=no-such-ref');
    expect(stderr).toMatch(/There is no xfstests tree.* The lab's own smoke run takes its place\.$/m);
    expect(stderr).toMatch(/The lab stays up: npx zufs-lab ssh, and npx zufs-lab down to end it\.$/m);
    expect(stdout.toString()).toMatch(/No xfstests were run: there is no tree of them\.\n$/);
    expect(code).toBe(0);
  });

  test('logs and console show what was said', async () => {
    expect(await labs.must('logs')).toMatch(/^zus: ready$/m);
    expect(await labs.must('logs', 'kernel')).toMatch(/Linux version/);
    expect(await labs.must('console', '--no-follow')).toMatch(/zufs-guest: ready after/);
  });

  test('a second lab runs beside it, and each is ended by its own name', async () => {
    await labs.must('up', '--no-server', '--name', 'second', ...tinyGuest);
    expect(await labs.must('exec', '--name', 'second', '--', 'hostname')).toBe('second\n');
    expect(await inGuest('hostname')).toBe('default\n');
    expect(runningPrograms()).toHaveLength(2);
    expect(await labs.run('logs', '--name', 'second')).toMatchObject({
      code: 2,
      stderr:
        "zufs-lab: No server has been started in the lab 'second', so it has no log. zufs-lab up starts it.\n",
    });
    await labs.must('down', '--name', 'second');
    expect(runningPrograms()).toHaveLength(1);
    expect(await inGuest('hostname')).toBe('default\n');
  });

  test('a guest that panics is told from one that is down', async () => {
    const crash = await labs.run('exec', '--', 'sh', '-c', 'echo c > /proc/sysrq-trigger; sleep 60');
    expect(crash.code).toBe(2);
    expect(crash.stderr).toMatch(/kernel panicked: sysrq triggered crash/);
    expect(crash.stderr).toMatch(/ {2}\| .*Kernel panic - not syncing/);
    const status = await labs.run('status');
    expect(status.code).toBe(2);
    expect(status.stdout.toString()).toMatch(/^default: panicked/);
    await labs.must('down');
    expect(runningPrograms()).toEqual([]);
    const exec = await labs.run('exec', '--', 'true');
    expect(exec.code).toBe(2);
    expect(exec.stderr).toMatch(/The lab 'default' is not up\. Start it with: zufs-lab up/);
  });
});

describe('a boot that fails', () => {
  /** `up` with kernel arguments, its code and what it said. */
  const boot = (...more: string[]) => labs.run('up', '--no-server', '--name', 'bad', ...tinyGuest, ...more);
  const withKernel = (text: string, ...more: string[]) =>
    boot('--set', `vm.kernelArguments=${text}`, ...more);

  test.each([
    ['no root device', 'root=/dev/nonexistent', /panicked while booting: VFS: Unable to mount root fs/],
    ['an init that ends', 'init=/bin/false', /panicked while booting: Attempted to kill init/],
  ])('guest panic: %s', async (_what, argument, message) => {
    const { code, stderr } = await withKernel(argument);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/ {2}\| .*Kernel panic - not syncing/);
    expect(stderr).toContain(join(labs.stateRoot, 'bad/vm/console.log'));
    expect(runningPrograms()).toEqual([]);
  });

  test('a guest that never gets ready', async () => {
    const { code, stderr } = await withKernel('init=/usr/bin/sleep -- 1000', '--set', 'vm.bootTimeout=10');
    expect(code).toBe(2);
    expect(stderr).toMatch(/The guest was not ready within 10 s/);
    expect(stderr).toMatch(/raise vm\.bootTimeout/);
    expect(runningPrograms()).toEqual([]);
  });

  test('a guest whose SSH never comes up', async () => {
    const noSshd = 'init=/bin/sh -- -c "echo zufs-guest: ready after 1 s >/dev/kmsg; exec sleep 1000"';
    const { code, stderr } = await withKernel(noSshd, '--set', 'vm.bootTimeout=25');
    expect(code).toBe(2);
    expect(stderr).toMatch(/The guest is up, but its SSH on 127\.0\.0\.1:\d+ cannot be used/);
    expect(stderr).toMatch(/QEMU says that the VM is running\.\nvCPU 0: at [0-9a-f]{16}/);
    // Of the list of CPUs and of blocked tasks that SysRq prints.
    expect(stderr).toMatch(
      /No shell answers on the serial line.*kernel says \n[\s\S]*sysrq: Show Blocked State/,
    );
    expect(runningPrograms()).toEqual([]);
  });

  test('an sshd that has ended: a shell on the serial line tells of it', async () => {
    await labs.must('up', '--no-server', '--name', 'bad', ...tinyGuest);
    await labs.run('exec', '--name', 'bad', '--', 'pkill', 'sshd');
    const { code, stderr } = await labs.run('exec', '--name', 'bad', '--', 'true');
    await labs.must('down', '--name', 'bad');
    expect(code).toBe(2);
    expect(stderr).toMatch(/The guest of the lab 'bad' runs, but its SSH does not answer/);
    expect(stderr).toMatch(
      /A shell on the serial line answers:\n[\s\S]*eth0 +UP +10\.0\.2\.15[\s\S]*zufs-init/,
    );
  });

  test('a port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    try {
      const { port } = server.address() as { port: number };
      const { code, stderr } = await boot('--set', `vm.sshPort=${port}`);
      expect(code).toBe(2);
      expect(stderr).toMatch(new RegExp(`Port ${port} on 127\\.0\\.0\\.1 is taken.*vm\\.sshPort`));
    } finally {
      server.close();
    }
    expect(runningPrograms()).toEqual([]);
  });

  test('QEMU that is missing', async () => {
    // A PATH with all that the lab needs until it starts QEMU.
    const { code, stderr } = await runCli(
      [
        'up',
        '--no-server',
        '--name',
        'bad',
        '--runtime',
        'host',
        '--set',
        'vm.accelerator=tcg',
        ...tinyGuest,
      ],
      { env: { ...labs.env, PATH: await pathWithout('qemu-system-x86_64') } },
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/qemu-system-x86_64 is not installed/);
    expect(stderr).toMatch(/zufs-lab doctor/);
  });

  test('afterwards the caches still serve', async () => {
    await labs.must('up', '--no-server', '--name', 'bad', ...tinyGuest);
    await labs.must('down', '--name', 'bad');
  });
});
