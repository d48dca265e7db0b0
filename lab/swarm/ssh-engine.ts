// SPDX-License-Identifier: BSD-3-Clause

import { Agent, type ClientRequestArgs } from 'node:http';
import type { Duplex } from 'node:stream';
import ssh2, { type AnyAuthMethod, type Client, type ClientChannel } from 'ssh2';
import { LabError } from '../errors.ts';
import {
  byHand,
  type Environment,
  findKnownHost,
  type KnownHost,
  knownAs,
  loginMethods,
  type SshTarget,
} from './ssh-login.ts';

/** What `docker -H ssh://…` runs on the other machine, too: a pipe to the engine there. */
const pipeCommand = 'docker system dial-stdio';
/** A machine that is lost while it works is noticed after as many intervals. */
const keepalive = { keepaliveInterval: 15_000, keepaliveCountMax: 4 };
/** Of what a program says on its standard error the last characters tell what went wrong. */
const keptCharacters = 500;

/** The types of Node want a stream with an error, too; it is not looked at. */
type OnSocket = (error: Error | null, stream?: Duplex) => void;

/**
 * Connects HTTP requests to the engine of another machine through SSH, each by a connection of its own. That
 * of docker-modem waits for ever when the connection closes before it has logged in, and ends the process when
 * the server starts no program.
 */
export class SshEngineAgent extends Agent {
  readonly #target: SshTarget;
  readonly #known: KnownHost;
  readonly #methods: readonly AnyAuthMethod[];
  readonly #loginMs: number;
  readonly #clients = new Set<Client>();
  #complaint = '';

  private constructor(
    target: SshTarget,
    known: KnownHost,
    methods: readonly AnyAuthMethod[],
    loginMs: number,
  ) {
    super();
    this.#target = target;
    this.#known = known;
    this.#methods = methods;
    this.#loginMs = loginMs;
  }

  /** Throws a `LabError` when the host is not known, or there is no key to log in with. Connects nowhere. */
  static async prepare(
    target: SshTarget,
    environment: Environment,
    loginMs: number,
  ): Promise<SshEngineAgent> {
    const known = await findKnownHost(target, environment);
    return new SshEngineAgent(target, known, await loginMethods(target, environment), loginMs);
  }

  /** What was last said on the other machine instead of an answer, e.g. that there is no docker. */
  get complaint(): string {
    return this.#complaint
      .trim()
      .replace(/\s*\n\s*/g, '; ')
      .replace(/\.$/, '');
  }

  override createConnection(
    _options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const done = callback as OnSocket | undefined;
    this.#open().then(
      (channel) => done?.(null, channel),
      (error: Error) => done?.(error),
    );
  }

  /** Ends the connections at once, whatever the other machine says to that. */
  override destroy(): void {
    for (const client of this.#clients) client.destroy();
    super.destroy();
  }

  /** Log in and start the pipe. What ssh2 makes of a refusal is turned into a `LabError`. */
  async #open(): Promise<ClientChannel> {
    const client = new ssh2.Client();
    this.#clients.add(client);
    const opened = Promise.withResolvers<ClientChannel>();
    const late = setTimeout(
      () => opened.reject(new Error(`no login within ${this.#loginMs / 1000} s`)),
      this.#loginMs,
    );
    client.on('error', (error) => this.#onError(error, opened.reject));
    client.on('close', () => {
      this.#clients.delete(client);
      opened.reject(new Error('the SSH connection was closed'));
    });
    client.on('ready', () =>
      client.exec(pipeCommand, (error, channel) => {
        if (error === undefined) opened.resolve(channel);
        else opened.reject(error);
      }),
    );
    try {
      this.#connect(client, opened.reject);
      const channel = await opened.promise;
      channel.stderr.on('data', (text: Buffer) => {
        this.#complaint = `${this.#complaint}${text}`.slice(-keptCharacters);
      });
      // The request hears of it as well; after its end nobody else does.
      channel.on('error', () => undefined);
      channel.once('close', () => client.end());
      return channel;
    } catch (error) {
      client.destroy();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  #connect(client: Client, refuse: (error: Error) => void): void {
    const { algorithms, trusted, revoked } = this.#known;
    const { host, port, user: username } = this.#target;
    client.connect({
      host,
      port,
      username,
      authHandler: [...this.#methods],
      // Taken out of the usual order and put before it.
      algorithms: { serverHostKey: { remove: [...algorithms], prepend: [...algorithms], append: [] } },
      hostVerifier: (key: Buffer) => {
        const right = !revoked.some((one) => one.equals(key)) && trusted.some((one) => one.equals(key));
        if (!right) refuse(this.#wrongKey());
        return right;
      },
      readyTimeout: this.#loginMs,
      ...keepalive,
    });
  }

  #onError(error: Error & { readonly level?: string }, refuse: (error: Error) => void): void {
    // An agent that is gone, or that does not sign: ssh2 goes on to the next key.
    if (error.level === 'agent') return;
    refuse(error.level === 'client-authentication' ? this.#refusedLogin(error) : error);
  }

  #wrongKey(): LabError {
    return new LabError(
      `${this.#target.host} (swarm.engines) shows another host key than known_hosts has: it was installed ` +
        'anew, or something else answers in its place.',
      {
        hint:
          `If it was, run \`ssh-keygen -R '${knownAs(this.#target)}'\`, ` +
          `then \`${byHand(this.#target)}\`.`,
      },
    );
  }

  #refusedLogin(cause: Error): LabError {
    const { host, user } = this.#target;
    return new LabError(
      `${host} (swarm.engines) does not let ${user} log in with a key of the ssh agent or of ~/.ssh.`,
      {
        cause,
        hint:
          `See what \`${byHand(this.#target)}\` says; a key that has a passphrase has to be in the agent ` +
          '(ssh-add).',
      },
    );
  }
}
