// SPDX-License-Identifier: BSD-3-Clause

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import Docker from 'dockerode';
import { onTestFinished } from 'vitest';
import type { Labels } from '../../runtime/runtime.ts';
import { scratchDirectory } from '../../testing/scratch.ts';

/** All that a run has in the swarm, each thing of which bears its name. */
export interface PlayedRun {
  readonly labels: Labels;
  /** What is left of it; default: everything. */
  readonly has?: readonly Kind[];
  /** The swarm knows of none of it any more. */
  readonly forgotten?: true;
  readonly tasks?: readonly { readonly slot?: number; readonly state: string; readonly error?: string }[];
  /** What its tasks printed, by the number of the task in `tasks`, from 0. */
  readonly printed?: readonly { readonly task: number; readonly text: string }[];
}

interface Filters {
  readonly label?: readonly string[];
  readonly service?: readonly string[];
}

/** `exited` is the container of a task. */
type Kind = 'services' | 'gateways' | 'exited' | 'secrets' | 'networks';
const kinds: readonly Kind[] = ['services', 'gateways', 'exited', 'secrets', 'networks'];

/** What the engine calls a thing of a run: the name of the run, with this behind it. */
const endings: Readonly<Partial<Record<Kind, string>>> = { gateways: '-gateway', exited: '-exited' };
const ending = /-(gateway|exited)$/;

export const created = '2026-01-02T03:04:05.000000000Z';

/**
 * The manager of a swarm as far as its API is asked about runs. It refuses what Docker refuses: to remove a secret or a network that
 * is in use, and for a moment longer the network. One that only the engine still has it lists, too, but does not find.
 */
export class PlayedSwarm {
  readonly socket: string;
  /** `networks NAME`, in the order in which they went. */
  readonly removed: string[] = [];
  /** Of tasks, each made from the one before; a container has those in `usedImages`. */
  images: readonly string[] = [];
  usedImages: readonly string[] = [];
  readonly #runs: Readonly<Record<string, PlayedRun>>;
  readonly #there: Map<string, Set<Kind>>;
  readonly #askedFor = new Set<string>();

  private constructor(socket: string, runs: Readonly<Record<string, PlayedRun>>) {
    this.socket = socket;
    this.#runs = runs;
    this.#there = new Map(Object.entries(runs).map(([name, { has = kinds }]) => [name, new Set(has)]));
  }

  /** `runs`: by name. */
  static async open(runs: Readonly<Record<string, PlayedRun>>): Promise<PlayedSwarm> {
    const swarm = new PlayedSwarm(join(await scratchDirectory(), 'engine.sock'), runs);
    const server = createServer((request, response) => swarm.#answer(request, response));
    server.listen(swarm.socket);
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return swarm;
  }

  get manager(): Docker {
    return new Docker({ socketPath: this.socket });
  }

  #answer({ method, url = '' }: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(url, 'http://engine');
    const [path, id, what] = pathname.slice(1).split('/');
    const kind =
      path === 'containers' ? 'exited' : path === 'services' && ending.test(id ?? '') ? 'gateways' : path;
    if (what === 'logs') {
      response.end(this.#logs(id));
      return;
    }
    const filters = JSON.parse(searchParams.get('filters') ?? '{}') as Filters;
    const [status, body] =
      method === 'DELETE'
        ? path === 'images'
          ? this.#removeImage(decodeURIComponent(id))
          : this.#remove(kind as Kind, id.replace(ending, ''))
        : what === 'json'
          ? [this.#has(id, kind as Kind) ? 200 : 404, {}]
          : [200, this.#tell(kind, filters)];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }

  #tell(kind: string, { label = [], service = [] }: Filters): unknown {
    switch (kind) {
      case 'version':
        return { Version: '20.10' };
      case 'info':
        return { Name: 'node-a', Swarm: { LocalNodeState: 'active', ControlAvailable: true } };
      case 'images':
        return label.includes('zufs-lab.image=task')
          ? this.images.map((name) =>
              name.startsWith('sha256:')
                ? { Id: name, RepoTags: null }
                : { Id: `id of ${name}`, RepoTags: [name] },
            )
          : [];
      case 'nodes':
        return [
          {
            ID: 'n1',
            Spec: { Availability: 'active' },
            Description: {
              Hostname: 'node-a',
              Platform: { Architecture: 'x86_64' },
              Resources: { NanoCPUs: 2e9, MemoryBytes: 2 ** 32 },
            },
            Status: { State: 'ready' },
          },
        ];
      case 'tasks':
        return this.#tasks(service[0] ?? '');
      case 'services':
        return [...this.#list('services', label), ...this.#list('gateways', label)];
      default:
        return this.#list(kind as Kind, label);
    }
  }

  #has(run: string, kind: Kind): boolean {
    return this.#there.get(run)?.has(kind) === true;
  }

  #list(kind: Kind, wanted: readonly string[]): readonly unknown[] {
    return Object.entries(this.#runs)
      .filter(([name, { labels }]) => this.#has(name, kind) && wanted.every((label) => label in labels))
      .map(([name, { labels: ofRun }]) => {
        const id = `${name}${endings[kind] ?? ''}`;
        const labels = kind === 'gateways' ? { ...ofRun, 'zufs-lab.role': 'gateway' } : ofRun;
        return {
          ...{ ID: id, CreatedAt: created, Spec: { Labels: labels } },
          ...{ Id: id, Labels: labels },
          Created: kind === 'networks' ? created : Date.parse(created) / 1000,
        };
      });
  }

  #tasks(run: string): unknown {
    return (this.#runs[run]?.tasks ?? []).map(({ slot, state, error }, at) => ({
      ID: `${run}task${at}`,
      CreatedAt: created.replace(':05.', `:0${6 + at}.`),
      ...(slot === undefined ? {} : { Slot: slot }),
      NodeID: state === 'pending' ? '' : 'n1',
      Status: { State: state, Timestamp: created, ...(error === undefined ? {} : { Err: error }) },
    }));
  }

  /** Frames of eight bytes and a line, standard output and error by turns. */
  #logs(run: string): Buffer {
    const frames = (this.#runs[run]?.printed ?? []).map(({ task, text }, at) => {
      const details = `com.docker.swarm.node.id=n1,com.docker.swarm.service.id=${run},com.docker.swarm.task.id=${run}task${task}`;
      const line = Buffer.from(`${details} ${text}\n`);
      const head = Buffer.alloc(8);
      head.writeUInt8(1 + (at % 2), 0);
      head.writeUInt32BE(line.length, 4);
      return Buffer.concat([head, line]);
    });
    return Buffer.concat(frames);
  }

  #removeImage(name: string): [number, unknown] {
    const at = this.images.indexOf(name);
    if (at === -1) return [404, { message: 'no such image' }];
    if (at < this.images.length - 1 || this.usedImages.includes(name)) return [409, { message: 'in use' }];
    this.images = this.images.slice(0, at);
    this.removed.push(`images ${name}`);
    return [200, []];
  }

  #remove(kind: Kind, id: string): [number, unknown] {
    if (!this.#has(id, kind)) return [404, { message: 'not found' }];
    if (this.#runs[id]?.forgotten) return [500, { message: `network ${id} not found` }];
    const users: Readonly<Record<Kind, readonly Kind[]>> = {
      ...{ services: [], gateways: [], exited: ['services'], secrets: ['services'] },
      networks: ['services', 'exited', 'gateways'],
    };
    if (users[kind].some((user) => this.#has(id, user))) return [409, { message: 'in use' }];
    if (kind === 'networks' && !this.#askedFor.has(id)) {
      this.#askedFor.add(id);
      return [403, { message: 'has active endpoints' }];
    }
    this.#there.get(id)?.delete(kind);
    this.removed.push(`${kind} ${id}`);
    return [200, {}];
  }
}
