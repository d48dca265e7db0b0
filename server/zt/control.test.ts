// SPDX-License-Identifier: BSD-3-Clause

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ask, ControlError, ControlSocket } from './control.ts';

const directory = mkdtempSync(join(tmpdir(), 'zus-control-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('the control socket', () => {
  it('answers what it knows and refuses the rest', async () => {
    const path = join(directory, 'a');
    await using _control = await ControlSocket.listen(path, {
      status: () => ({ mounts: [1] }),
      broken: () => {
        throw new Error('it broke');
      },
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await ask(path, 'status')).toEqual({ mounts: [1] });
    await expect(ask(path, 'nothing')).rejects.toThrow('unknown command "nothing"');
    await expect(ask(path, 'toString')).rejects.toThrow('unknown command');
    await expect(ask(path, 'broken')).rejects.toThrow('it broke');
  });

  it('survives clients that send rubbish, too much or nothing', async () => {
    const path = join(directory, 'b');
    await using _control = await ControlSocket.listen(path, { status: () => 'well' });
    const send = (text: string) =>
      new Promise<string>((resolve) => {
        let received = '';
        const socket = createConnection(path, () => socket.write(text));
        socket.on('data', (data) => {
          received += String(data);
        });
        socket.on('error', () => {});
        socket.on('close', () => resolve(received));
      });
    expect(await send('rubbish\n')).toContain('"ok":false');
    expect(await send('x'.repeat(10_000))).toBe('');
    const idle = createConnection(path);
    await new Promise((resolve) => idle.once('connect', resolve));
    expect(await ask(path, 'status')).toBe('well');
    idle.destroy();
  });

  it('takes over a path that a dead server left, not that of a live one', async () => {
    const path = join(directory, 'c');
    writeFileSync(path, '');
    await using _control = await ControlSocket.listen(path, {});
    await expect(ControlSocket.listen(path, {})).rejects.toThrow(ControlError);
  });

  it('says that no server answers', async () => {
    await expect(ask(join(directory, 'nobody'), 'status')).rejects.toThrow('no server answers');
  });
});
