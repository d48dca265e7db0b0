// SPDX-License-Identifier: BSD-3-Clause

import { readFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import querystring from 'node:querystring';
import { execa } from 'execa';
import ssh2, { type AnyAuthMethod, type ServerHostKeyAlgorithm } from 'ssh2';
import { LabError, MissingPrerequisiteError } from '../errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What `ssh://user@host:port` says. */
export interface SshTarget {
  readonly user: string;
  readonly host: string;
  readonly port: number;
}

/** Keys that known_hosts has for a host. */
export interface KnownHost {
  readonly trusted: readonly Buffer[];
  /** Marked as never to be trusted again. */
  readonly revoked: readonly Buffer[];
  /** Of the trusted ones, to be asked for first: of the keys of a server the one asked for is shown. */
  readonly algorithms: readonly ServerHostKeyAlgorithm[];
}

/** Undefined when the address says more than that, such as a password, or something else. */
export function sshTarget(address: string): SshTarget | undefined {
  const url = URL.parse(address);
  if (url?.protocol !== 'ssh:' || url.hostname === '' || url.password !== '') return undefined;
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') return undefined;
  return {
    user: url.username === '' ? userInfo().username : querystring.unescape(url.username),
    // In brackets an IPv6 address; OpenSSH looks names up in small letters.
    host: url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase(),
    port: url.port === '' ? 22 : Number(url.port),
  };
}

/** What to run by hand to see whether it works, and to be asked about the host key. */
export function byHand({ user, host, port }: SshTarget): string {
  return `ssh ${port === 22 ? '' : `-p ${port} `}${user}@${host} docker version`;
}

/** The name under which known_hosts has a host. */
export function knownAs({ host, port }: SshTarget): string {
  return port === 22 ? host : `[${host}]:${port}`;
}

/** What known_hosts has of a host, by OpenSSH's own program: names in it may be hashed, or patterns. */
export async function findKnownHost(target: SshTarget, environment: Environment): Promise<KnownHost> {
  const file = join(sshDirectory(environment), 'known_hosts');
  const { stdout, code } = await execa('ssh-keygen', ['-F', knownAs(target), '-f', file], {
    reject: false,
    stdin: 'ignore',
  });
  if (code === 'ENOENT') {
    throw new MissingPrerequisiteError('ssh-keygen, which looks up host keys, is not installed.', {
      hint: 'Install OpenSSH (sudo apt-get install openssh-client).',
    });
  }
  const known = knownHost(stdout);
  if (known.trusted.length > 0) return known;
  throw new LabError(`The host key of ${target.host} (swarm.engines) is not in ${file}.`, {
    hint: `Log in once by hand, which asks whether it is the right one: \`${byHand(target)}\`.`,
  });
}

/** The types of host keys, and the algorithms that a key of one can be used with, the best first. */
const algorithmsOf: Readonly<Record<string, readonly ServerHostKeyAlgorithm[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
};

/** From lines `[@marker] names type key`. Certificates (@cert-authority) are none that ssh2 knows. */
function knownHost(lines: string): KnownHost {
  const entries = lines
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(/\s+/))
    .map((words) => (words[0].startsWith('@') ? words : ['', ...words]))
    .map(([marker, , type = '', key = '']) => ({ marker, type, key: Buffer.from(key, 'base64') }));
  const marked = (wanted: string) => entries.filter(({ marker }) => marker === wanted);
  const types = new Set(marked('').map(({ type }) => type));
  return {
    trusted: marked('').map(({ key }) => key),
    revoked: marked('@revoked').map(({ key }) => key),
    algorithms: [...types].flatMap((type) => algorithmsOf[type] ?? []),
  };
}

const keyFiles: readonly string[] = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** What to log in with, as `ssh` does: keys of the user's agent, then those in files without a passphrase. */
export async function loginMethods(
  target: SshTarget,
  environment: Environment,
): Promise<readonly AnyAuthMethod[]> {
  const { user: username } = target;
  const { SSH_AUTH_SOCK: agent = '' } = environment;
  const directory = sshDirectory(environment);
  const keys = await Promise.all(keyFiles.map((name) => usableKey(join(directory, name))));
  const methods: AnyAuthMethod[] = agent === '' ? [] : [{ type: 'agent', username, agent }];
  methods.push(...keys.flat().map((key): AnyAuthMethod => ({ type: 'publickey', username, key })));
  if (methods.length > 0) return methods;
  throw new LabError(
    `There is no key to log in to ${target.host} (swarm.engines) with: no ssh agent, and in ${directory} ` +
      `none of ${keyFiles.join(', ')} without a passphrase.`,
    { hint: `Give a key to an agent (eval $(ssh-agent); ssh-add), and try it: \`${byHand(target)}\`.` },
  );
}

/** None when the file is missing, unreadable or encrypted: then it is as good as not there. */
async function usableKey(file: string): Promise<readonly string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text === '' || ssh2.utils.parseKey(text) instanceof Error ? [] : [text];
}

function sshDirectory({ HOME: home }: Environment): string {
  return join(home ?? homedir(), '.ssh');
}
