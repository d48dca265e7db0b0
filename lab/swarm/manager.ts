// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { LabError } from '../errors.ts';
import { findEngine, noEngineError } from '../runtime/engine.ts';
import { type EngineInfo, requireManager } from './requirements.ts';
import { SshEngineAgent } from './ssh-engine.ts';
import { byHand, type Environment, sshTarget } from './ssh-login.ts';

/** The engine of this machine, which has to be a manager of a swarm. Throws a `LabError` that says what it is instead. */
export async function findManager(): Promise<{ readonly manager: Docker; readonly address: string }> {
  const { engine, tried } = await findEngine(process.env);
  if (engine === undefined) throw noEngineError(tried);
  const { docker: manager, address } = engine;
  requireManager(address, (await manager.info()) as EngineInfo);
  return { manager, address };
}

/** An engine of `swarm.engines` that cannot be reached now, unlike one whose address or login is wrong. */
export class SilentEngineError extends LabError {
  /** Why, in a few words. */
  readonly reason: string;
  constructor(address: string, reason: string, options: { readonly cause: unknown; readonly hint?: string }) {
    super(
      `The engine at ${address} (swarm.engines) does not answer, so its node cannot get the image: ${reason}.`,
      options,
    );
    this.reason = reason;
  }
}

/** What logging in to another machine and an answer from its engine may take, each. */
const answerMs = 15_000;

/**
 * An engine of another node that answers. Throws a `SilentEngineError` with its address, or a `LabError` when
 * the address or what is needed to log in there is wrong. `environment` has the user's home directory and ssh
 * agent.
 */
export async function connectEngine(
  address: string,
  environment: Environment = process.env,
  withinMs: number = answerMs,
): Promise<Docker> {
  const target = sshTarget(address);
  if (target === undefined) return await answering(address, { socketPath: unixPath(address) }, { withinMs });
  const agent = await SshEngineAgent.prepare(target, environment, withinMs);
  // Names no machine: the agent knows where to. Its streams take no time limit (DOCKER_CLIENT_TIMEOUT).
  const where = { protocol: 'http', host: 'engine', port: 80, timeout: undefined, agent } as const;
  try {
    return await answering(address, where, {
      withinMs,
      complaint: () => agent.complaint,
      hint: `See what \`${byHand(target)}\` says.`,
    });
  } catch (error) {
    agent.destroy();
    throw error;
  }
}

/** An engine of `swarm.engines`. */
export interface OtherEngine {
  readonly address: string;
  readonly docker: Docker;
}

/** Those of `swarm.engines` that answer; each other one is noted. What is wrong in other ways is thrown. */
export async function answeringEngines(
  addresses: readonly string[],
  note: (line: string) => void,
  connect: (address: string) => Promise<Docker> = connectEngine,
): Promise<readonly OtherEngine[]> {
  return await connectEach(addresses, connect, (address, error) => {
    if (!(error instanceof SilentEngineError)) throw error;
    note(`The engine at ${address} (swarm.engines) is left out, as it does not answer: ${error.reason}.`);
  });
}

/** Those that can be reached, whatever is wrong with others: to tidy up, where what a node that is gone still has can wait. */
export async function reachableEngines(
  addresses: readonly string[],
  note: (line: string) => void = () => undefined,
): Promise<readonly Docker[]> {
  const engines = await connectEach(addresses, connectEngine, (_address, error) =>
    note(error instanceof Error ? error.message : String(error)),
  );
  return engines.map(({ docker }) => docker);
}

/** Without those for which `onError` has returned. */
async function connectEach(
  addresses: readonly string[],
  connect: (address: string) => Promise<Docker>,
  onError: (address: string, error: unknown) => void,
): Promise<readonly OtherEngine[]> {
  const engines = await Promise.all(
    addresses.map(async (address) => {
      try {
        return [{ address, docker: await connect(address) }];
      } catch (error) {
        onError(address, error);
        return [];
      }
    }),
  );
  return engines.flat();
}

function unixPath(address: string): string {
  const url = URL.parse(address);
  if (url?.protocol === 'unix:') return url.pathname;
  throw new LabError(`swarm.engines: ${address} is neither unix://… nor ssh://user@host[:port].`);
}

interface Asking {
  readonly withinMs: number;
  readonly hint?: string;
  /** What was said there instead of an answer; may be empty. */
  readonly complaint?: () => string;
}

async function answering(
  address: string,
  where: Docker.DockerOptions,
  { withinMs, hint, complaint = () => '' }: Asking,
): Promise<Docker> {
  const { default: DockerClient } = await import('dockerode');
  const docker = new DockerClient(where);
  const abortSignal = AbortSignal.timeout(withinMs);
  try {
    // Its types know of no options of this request.
    const asked: { version(options: { abortSignal: AbortSignal }): Promise<unknown> } = docker;
    await asked.version({ abortSignal });
  } catch (error) {
    if (error instanceof LabError) throw error;
    const late = abortSignal.aborted ? `no answer within ${withinMs / 1000} s` : '';
    const { message, code = '' } = error as NodeJS.ErrnoException;
    // Of a name with several addresses Node gives only the code.
    const reason = complaint() || late || message || code;
    throw new SilentEngineError(address, reason, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
  return docker;
}
