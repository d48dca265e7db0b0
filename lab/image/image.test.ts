// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseOsRelease } from '../os-release.ts';
import { packageRoot } from '../paths.ts';
import { imagePackages } from './packages.ts';
import { releaseFor, sourcesFrom } from './sources.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'zufs-image-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function list(text: string): Promise<string> {
  const file = join(directory, 'packages.yaml');
  await writeFile(file, text);
  return file;
}

test("the image's own list is well formed, and the settings' packages join it once", async () => {
  const own = await imagePackages(join(packageRoot, 'vm-images/packages.yaml'), []);
  expect(own).toContain('openssh-server');
  const more = await imagePackages(join(packageRoot, 'vm-images/packages.yaml'), ['acl', 'vim-tiny']);
  expect(more).toEqual([...own, 'vim-tiny'].sort());
});

test('a package without a reason is refused', async () => {
  await expect(imagePackages(await list('acl: ""\n'), [])).rejects.toThrow('packages.yaml');
});

test("a setting that is no package's name is refused, since it would become an option of mmdebstrap", async () => {
  await expect(imagePackages(await list('acl: x\n'), ['--help'])).rejects.toThrow("'--help' is not a Debian");
});

test("the guest gets the machine's release", () => {
  const releaseFrom = (text: string) => releaseFor(parseOsRelease(text));
  expect(releaseFrom('ID=debian\nVERSION_CODENAME=bookworm\n')).toBe('bookworm');
  expect(releaseFrom('ID="ubuntu"\nVERSION_CODENAME="noble"\n')).toBe('noble');
  expect(releaseFrom('ID=linuxmint\nVERSION_CODENAME=wilma\n')).toBe('stable');
  expect(releaseFrom('ID=debian\n')).toBe('stable');
  expect(releaseFrom('')).toBe('stable');
});

test("apt's set-up becomes sources: this release, its updates, and no third party", () => {
  const targets = [
    'http://mirror.test/debian/|bookworm|main|Debian',
    'http://mirror.test/debian/|bookworm|contrib|Debian',
    'http://mirror.test/debian/|bookworm-backports|main|Debian',
    'https://mirror.test/security/|bookworm-security|main|$(ORIGIN)',
    'https://other.test/tool/|bookworm|main|Vendor',
    'https://other.test/tool/|bookworm|stable|$(ORIGIN)',
    'cdrom://disc/|bookworm|main|Debian',
    '',
  ].join('\n');
  expect(sourcesFrom(targets, 'bookworm')).toEqual([
    'deb http://mirror.test/debian/ bookworm main contrib',
    'deb https://mirror.test/security/ bookworm-security main',
  ]);
});
