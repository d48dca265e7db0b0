// SPDX-License-Identifier: BSD-3-Clause

import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import type { TestEngine } from '../runtime/testing/engine.ts';
import { useTestEngine } from '../runtime/testing/use-engine.ts';
import { TestLabs } from '../testing/test-lab.ts';

// The whole way once more with every tool and the VM in containers. The kernel comes from the cache, where it is the same
// whoever built it (kernel.integration.test.ts builds one in a container); the image's disk is made here.

const fileEngine = useTestEngine();
let engine: TestEngine;
let labs: TestLabs;
let ready = false;
let imageDirectory: string | undefined;

beforeEach(async (context) => {
  engine = fileEngine.orSkip(context);
  if (ready) return;
  ready = true;
  labs = await TestLabs.create({
    DOCKER_HOST: engine.address,
    ZUFS_LAB_RUNTIME: 'docker',
    // No other's, so that it is made here.
    ZUFS_LAB_IMAGE_SIZE: '1920M',
  });
  await labs.must('kernel', 'build');
});

afterAll(async () => {
  if (ready) await labs[Symbol.asyncDispose]();
  if (imageDirectory !== undefined) await rm(imageDirectory, { recursive: true });
});

/** Names of the containers that are there, running or not. */
const containers = async () =>
  (await engine.engine.docker.listContainers({ all: true })).flatMap(({ Names }) => Names);

test('an image is made, a VM boots and zpmfs is mounted, QEMU in a container of its own', async () => {
  const image = JSON.parse(await labs.must('image', 'build', '--json'));
  expect(image.hit).toBe(false);
  imageDirectory = dirname(image.disk);
  expect(await containers()).toEqual([]);
  const up = JSON.parse(await labs.must('up', '--json'));
  expect(up).toMatchObject({ booted: true, runtime: 'docker' });
  expect(await containers()).toHaveLength(1);
  expect(await labs.must('exec', '--', 'findmnt', '-n', '-t', 'zpmfs', '-o', 'SOURCE', '/mnt/test')).toBe(
    '/dev/pmem0\n',
  );
});

test('data, remount and fsck are as on the host', async () => {
  const { code, stdout } = await labs.run('smoke', '--json');
  const report = JSON.parse(stdout.toString());
  expect(report.steps.filter((step: { ok: boolean }) => !step.ok)).toEqual([]);
  expect(code).toBe(0);
});

test('the server stops and starts', async () => {
  await labs.must('exec', '--', 'umount', '-t', 'zpmfs', '-a');
  await labs.must('exec', '--', 'zus-service', 'stop');
  await labs.must('exec', '--', 'zus-service', 'start');
  await labs.must('exec', '--', 'mount', '-t', 'zpmfs', '/dev/pmem0', '/mnt/test');
});

test('down leaves no container', async () => {
  await labs.must('down');
  expect(await containers()).toEqual([]);
  expect(labs.runningPrograms()).toEqual([]);
});
