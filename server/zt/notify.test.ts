// SPDX-License-Identifier: BSD-3-Clause

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildAddon } from '../native/build.ts';
import { loadAddon } from '../native/load.ts';
import { notify } from './notify.ts';

const addon = loadAddon(buildAddon());
const directory = mkdtempSync(join(tmpdir(), 'zus-notify-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** What systemd does: a datagram socket, of which it prints what arrives first. */
const LISTENER = `
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char text[1024];
	ssize_t length;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	(void)argc;
	strncpy(at.sun_path, argv[1], sizeof(at.sun_path) - 1);
	if (at.sun_path[0] == '@')
		at.sun_path[0] = 0;
	if (bind(fd, (struct sockaddr *)&at, offsetof(struct sockaddr_un, sun_path) + strlen(argv[1])))
		return 1;
	if (write(1, "listening\\n", 10) != 10)
		return 1;
	length = recv(fd, text, sizeof(text), 0);
	return length < 0 || write(1, text, length) != length;
}
`;
const listener = join(directory, 'listener');
writeFileSync(`${listener}.c`, LISTENER);
execFileSync('cc', ['-o', listener, `${listener}.c`]);

async function receive(socket: string, send: () => void): Promise<string> {
  const child = spawn(listener, [socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8');
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.stdout.on('data', (part: string) => {
    const wasSilent = text === '';
    text += part;
    if (wasSilent) send();
  });
  await closed;
  return text.replace('listening\n', '');
}

describe('sd_notify', () => {
  it.each([
    ['a path', join(directory, 'socket')],
    ['the abstract name space', `@zus-notify-${process.pid}`],
  ])('tells NOTIFY_SOCKET, %s, that the server is ready', async (_, socket) => {
    const text = await receive(socket, () => notify(addon, socket, 'READY', () => {}));
    expect(text.split('\n')).toEqual(['READY=1', `MAINPID=${process.pid}`, 'STATUS=serving', '']);
  });

  it('tells that it is stopping', async () => {
    const socket = join(directory, 'stopping');
    const text = await receive(socket, () => notify(addon, socket, 'STOPPING', () => {}));
    expect(text).toMatch(/^STOPPING=1\n/);
  });

  it('goes on without anybody who listens', () => {
    const lines: string[] = [];
    notify(addon, join(directory, 'nobody'), 'READY', (_level, message) => void lines.push(message));
    notify(addon, undefined, 'READY', (_level, message) => void lines.push(message));
    expect(lines).toEqual(['cannot tell NOTIFY_SOCKET']);
  });
});
