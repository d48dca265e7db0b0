// SPDX-License-Identifier: BSD-3-Clause

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { type NoTestEngine, testEngineData } from '../../runtime/testing/engine.ts';
import { installForTests } from '../../testing/packages.ts';
import { testLabsVariable } from '../../testing/test-run.ts';
import { MachineEngine } from './machine-engine.ts';

/** Of the cable between the two: no network that a machine is likely to have. */
const addresses = { manager: '198.18.99.1', worker: '198.18.99.2' } as const;
const port = 2377;

/** A swarm of two engines, each on a machine of its own as far as it can see, and a third engine in no swarm. */
export class RealSwarm implements AsyncDisposable {
  readonly #directory: string;
  readonly #engines: MachineEngine[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Or why there is none. */
  static async start(): Promise<RealSwarm | NoTestEngine> {
    const why = await whyNoEngines();
    if (why !== undefined) return { skip: why };
    const swarm = new RealSwarm(await mkdtemp(join(process.env[testLabsVariable] ?? tmpdir(), 's-')));
    try {
      await swarm.#startEngines();
    } catch (error) {
      await swarm[Symbol.asyncDispose]();
      return { skip: `two container engines cannot be had here: ${(error as Error).message}` };
    }
    try {
      await swarm.#join();
      return swarm;
    } catch (error) {
      await swarm[Symbol.asyncDispose]();
      throw error;
    }
  }

  get manager(): MachineEngine {
    return this.#engines[0];
  }

  get worker(): MachineEngine {
    return this.#engines[1];
  }

  /** The engine that is in no swarm, once it is started. */
  get lone(): MachineEngine | undefined {
    return this.#engines[2];
  }

  /** Its machine says that it is of an older architecture. */
  async startLone(): Promise<MachineEngine> {
    if (this.lone !== undefined) return this.lone;
    const directory = join(this.#directory, 'lone');
    const engine = await MachineEngine.start({
      name: 'node-c',
      directory,
      dataRoot: join(directory, 'data'),
      through: ['setarch', 'i686'],
      arguments: ['--bridge=none', '--iptables=false', '--ip6tables=false'],
    });
    this.#engines.push(engine);
    return engine;
  }

  async #startEngines(): Promise<void> {
    const data = testEngineData();
    const nodes = [
      { name: 'node-a', dataRoot: data },
      { name: 'node-b', dataRoot: `${data}-b` },
    ];
    for (const { name, dataRoot } of nodes) {
      const directory = join(this.#directory, name);
      this.#engines.push(await MachineEngine.start({ name, directory, dataRoot }));
    }
  }

  async #join(): Promise<void> {
    const { manager, worker } = this;
    await manager.machine.connect(worker.machine, [addresses.manager, addresses.worker]);
    await manager.docker.swarmInit({
      AdvertiseAddr: addresses.manager,
      ListenAddr: `${addresses.manager}:${port}`,
    });
    const { JoinTokens: tokens } = (await manager.docker.swarmInspect()) as Tokens;
    await worker.docker.swarmJoin({
      AdvertiseAddr: addresses.worker,
      ListenAddr: `${addresses.worker}:${port}`,
      RemoteAddrs: [`${addresses.manager}:${port}`],
      JoinToken: tokens.Worker,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.#engines.reverse()) {
      await engine.removeOldImages().catch(() => undefined);
      await engine[Symbol.asyncDispose]();
    }
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Tokens {
  readonly JoinTokens: { readonly Worker: string };
}

async function whyNoEngines(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'starting container engines on networks of their own needs root';
  const { failed } = await execa('dockerd', ['--version'], { reject: false });
  // One that is there stays, whoever packaged it.
  return await installForTests('iproute2', ...(failed ? ['docker.io'] : []));
}
