// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import ssh2 from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import { LabError } from '../errors.ts';
import { makeKeyPair } from '../vm/ssh-key.ts';
import { connectEngine, SilentEngineError } from './manager.ts';
import { byHand, type Environment, sshTarget } from './ssh-login.ts';
import { PlayedSwarm } from './testing/played-swarm.ts';
import { SshMachine, type SshMachineOptions, userWith } from './testing/ssh-machine.ts';

const key = makeKeyPair('client');
const other = makeKeyPair('other');
const ecdsa = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
const encrypted = ssh2.utils.generateKeyPairSync('ed25519', {
  passphrase: 'secret',
  cipher: 'aes256-ctr',
  rounds: 4,
});

async function machineWithEngine(options: Partial<SshMachineOptions> = {}): Promise<SshMachine> {
  const { socket } = await PlayedSwarm.open({});
  return await SshMachine.start({ authorized: [key.publicKey], engine: socket, ...options });
}

/** A user who knows the machine, and has this key of theirs. */
async function userKnowing(
  { knownAs, hostKeys }: SshMachine,
  files: Readonly<Record<string, string>> = { id_ed25519: key.privateKey },
): Promise<Environment> {
  return await userWith({ ...files, known_hosts: `${knownAs} ${hostKeys[0]}\n` });
}

/** The error that connecting ends with, which is one sentence with a hint. */
async function refusal(address: string, user: Environment, withinMs?: number): Promise<LabError> {
  const error: unknown = await connectEngine(address, user, withinMs).catch((thrown: unknown) => thrown);
  if (!(error instanceof LabError)) throw new Error('it is not refused as it should be', { cause: error });
  return error;
}

test('an engine is reached with a key file, as often as it is asked', async () => {
  const machine = await machineWithEngine();
  const engine = await connectEngine(machine.address, await userKnowing(machine));
  expect(await engine.version()).toEqual({ Version: '20.10' });
  expect((await engine.listNodes()).length).toBe(1);
  expect(machine.logins).toBe(3);
});

test('a key that needs a passphrase is passed over for one that needs none', async () => {
  const machine = await machineWithEngine({ authorized: [ecdsa.public] });
  const files = { id_ed25519: encrypted.private, id_ecdsa: ecdsa.private };
  await connectEngine(machine.address, await userKnowing(machine, files));
  expect(machine.logins).toBe(1);
});

test('the keys of the ssh agent are used, and those in files where it has none or is gone', async () => {
  const machine = await machineWithEngine();
  const user = await userKnowing(machine, {});
  const SSH_AUTH_SOCK = join(user.HOME ?? '', 'agent.sock');
  const agent = execa('ssh-agent', ['-D', '-a', SSH_AUTH_SOCK], { reject: false });
  onTestFinished(() => void agent.kill());
  const add = () => execa('ssh-add', ['-q', '-'], { env: { SSH_AUTH_SOCK }, input: key.privateKey });
  await expect.poll(() => add().then(() => 'added', String), { timeout: 10_000 }).toBe('added');
  await connectEngine(machine.address, { ...user, SSH_AUTH_SOCK });
  await execa('ssh-add', ['-qD'], { env: { SSH_AUTH_SOCK } });
  const withFile = await userKnowing(machine);
  await connectEngine(machine.address, { ...withFile, SSH_AUTH_SOCK });
  agent.kill();
  await agent;
  await connectEngine(machine.address, { ...withFile, SSH_AUTH_SOCK });
  expect(machine.logins).toBe(3);
});

test('a host is known by a hashed name, and by whichever of its keys known_hosts has', async () => {
  const machine = await machineWithEngine({ hostKeys: [other.privateKey, ecdsa.private] });
  const line = `${machine.knownAs} ${machine.hostKeys[1]}\n`;
  const user = await userWith({ id_ed25519: key.privateKey, known_hosts: line });
  await execa('ssh-keygen', ['-H', '-f', join(user.HOME ?? '', '.ssh/known_hosts')]);
  await connectEngine(machine.address, user);
  expect(machine.logins).toBe(1);
});

test.each([
  ['no known_hosts', () => ({})],
  ['another host', ({ hostKeys }: SshMachine) => ({ known_hosts: `[127.0.0.1]:1 ${hostKeys[0]}\n` })],
  [
    'only a certificate',
    ({ knownAs, hostKeys }: SshMachine) => ({
      known_hosts: `@cert-authority ${knownAs} ${hostKeys[0]}\n`,
    }),
  ],
])('a host that is not known is not logged in to: %s', async (_what, known) => {
  const machine = await machineWithEngine();
  const user = await userWith({ id_ed25519: key.privateKey, ...known(machine) });
  const { message, hint } = await refusal(machine.address, user);
  expect(message).toMatch(/^The host key of 127\.0\.0\.1 \(swarm\.engines\) is not in .*known_hosts\.$/);
  expect(hint).toContain(`\`ssh -p ${machine.port} tester@127.0.0.1 docker version\``);
  expect(machine.logins).toBe(0);
});

test.each([
  ['of the same type', ({ knownAs }: SshMachine) => `${knownAs} ${other.publicKey}\n`],
  ['of another type', ({ knownAs }: SshMachine) => `${knownAs} ${ecdsa.public}\n`],
  [
    'revoked',
    ({ knownAs, hostKeys }: SshMachine) => `@revoked ${knownAs} ${hostKeys[0]}\n${knownAs} ${hostKeys[0]}\n`,
  ],
])('a host that shows a wrong key is not logged in to: %s', async (_what, known) => {
  const machine = await machineWithEngine();
  const user = await userWith({ id_ed25519: key.privateKey, known_hosts: known(machine) });
  const error = await refusal(machine.address, user);
  expect(error).not.toBeInstanceOf(SilentEngineError);
  expect(error.message).toMatch(
    /^127\.0\.0\.1 \(swarm\.engines\) shows another host key than known_hosts has/,
  );
  expect(error.hint).toContain(`\`ssh-keygen -R '${machine.knownAs}'\``);
  expect(machine.logins).toBe(0);
});

test.each([[{}], [{ id_ed25519: encrypted.private }]])(
  'without a key there is no attempt: %#',
  async (files: Readonly<Record<string, string>>) => {
    const machine = await machineWithEngine();
    const { message, hint } = await refusal(machine.address, await userKnowing(machine, files));
    expect(message).toMatch(
      /^There is no key to log in to 127\.0\.0\.1 \(swarm\.engines\) with: no ssh agent, and in .*\/\.ssh none/,
    );
    expect(hint).toContain('ssh-add');
  },
);

test('a key that the machine does not take is a refused login', async () => {
  const machine = await machineWithEngine();
  const error = await refusal(machine.address, await userKnowing(machine, { id_ed25519: other.privateKey }));
  expect(error).not.toBeInstanceOf(SilentEngineError);
  expect(error.message).toBe(
    '127.0.0.1 (swarm.engines) does not let tester log in with a key of the ssh agent or of ~/.ssh.',
  );
  expect(error.hint).toContain('ssh-add');
});

test.each<[Partial<SshMachineOptions>, RegExp]>([
  [{ program: { complains: 'sh: 1: docker: not found\n' } }, /: sh: 1: docker: not found\.$/],
  [{ program: 'refused' }, /: Unable to exec\.$/],
  [{ program: 'silent' }, /: no answer within 1 s\.$/],
  [{ hangsUp: true }, /: the SSH connection was closed\.$/],
])('why a machine has no engine that answers is said: %j', async (options, sentence) => {
  const machine = await machineWithEngine(options);
  const error = await refusal(
    machine.address,
    await userKnowing(machine),
    options.program === 'silent' ? 1000 : 20_000,
  );
  expect(error).toBeInstanceOf(SilentEngineError);
  expect(error.message).toMatch(sentence);
  expect(error.hint).toContain('docker version');
});

test('neither a machine that says nothing nor one where nobody listens is waited for', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const user = await userWith({
    id_ed25519: key.privateKey,
    known_hosts: `[127.0.0.1]:${port} ${other.publicKey}\n`,
  });
  const address = `ssh://tester@127.0.0.1:${port}`;
  const error = await Promise.race([refusal(address, user, 200), sleep(5000)]);
  expect(error).toBeInstanceOf(SilentEngineError);
  expect(error?.message).toMatch(/: no (login|answer) within 0\.2 s\.$/);
  for (const socket of sockets) socket.destroy();
  silent.close();
  await once(silent, 'close');
  expect((await refusal(address, user)).message).toMatch(/does not answer.*ECONNREFUSED/);
});

test.each([
  ['ssh://root@Node-B', { user: 'root', host: 'node-b', port: 22 }, 'ssh root@node-b docker version'],
  ['ssh://a%40b@[::1]:2222/', { user: 'a@b', host: '::1', port: 2222 }, 'ssh -p 2222 a@b@::1 docker version'],
])('what an address says: %s', (address, target, command) => {
  expect(sshTarget(address)).toEqual(target);
  expect(byHand(target)).toBe(command);
});

test.each([
  'tcp://node-b:2375',
  'node-b',
  'ssh://',
  'ssh://root:secret@node-b',
  'ssh://node-b/run/docker.sock',
])('an address that is none is an error: %s', async (address) => {
  expect((await refusal(address, {})).message).toBe(
    `swarm.engines: ${address} is neither unix://… nor ssh://user@host[:port].`,
  );
});
