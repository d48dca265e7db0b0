// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import type { Deployment } from '../remote/task-engine.ts';
import { labelOfRole } from '../runtime/labels.ts';
import { inImage } from './image.ts';
import { gatewayRole, runLabels } from './runs.ts';
import type { SwarmSettings } from './types.ts';

/** What the service of a run is made from. */
export interface ServiceOrder {
  readonly lab: string;
  readonly run: string;
  readonly tasks: number;
  /** Tasks that a node has room for at a time. */
  readonly perNode: number;
  /** Content-addressed: what is in it is what its tag says. */
  readonly image: string;
  /** Of the run: an overlay network, on which its gateway listens. */
  readonly network: string;
  readonly secret: { readonly id: string; readonly name: string };
  readonly deploy: Deployment;
  /** `--set` of the run's settings, for the task's own. */
  readonly settings: readonly string[];
}

const gateway = { host: 'gateway', port: 4000, socketFile: '/run/zufs-lab/run.sock' } as const;

/** Where the secret appears in a task. */
const tokenFile = 'zufs-lab-token';

/**
 * A replicated job: as many tasks as the run has shards, each of which runs to its end once. One that fails starts again, on any
 * node, and takes the place of a lost one. Labelled as a program of this process, so that whoever comes after a `kill -9` of it
 * knows that it is an orphan.
 */
export function taskService(order: ServiceOrder, settings: SwarmSettings): Docker.CreateServiceOptions {
  const { lab, run, tasks, image, network, secret, deploy } = order;
  const labels = runLabels(lab, run);
  return {
    Name: `zufs-lab-${run}`,
    Labels: labels,
    Mode: {
      ReplicatedJob: {
        TotalCompletions: tasks,
        MaxConcurrent: settings.concurrency === 0 ? tasks : Math.min(settings.concurrency, tasks),
      },
    },
    TaskTemplate: {
      ContainerSpec: {
        Image: image,
        Labels: labels,
        // The engine puts it in: a task calls its node by the name of its host.
        Hostname: '{{.Node.Hostname}}',
        Args: [
          `${inImage.package}/lab/bin/zufs-lab.js`,
          ...['--name', 'task', '--runtime', 'host'],
          ...order.settings.flatMap((setting) => ['--set', setting]),
          ...[
            'task',
            '--run',
            `${gateway.host}:${gateway.port}`,
            '--token-file',
            `/run/secrets/${tokenFile}`,
          ],
          ...['--artefacts', inImage.artefacts, '--deploy', deploy],
        ],
        Secrets: [
          {
            SecretID: secret.id,
            SecretName: secret.name,
            File: { Name: tokenFile, UID: '0', GID: '0', Mode: 0o400 },
          },
        ],
        // QEMU and the lab end by themselves when asked to.
        StopGracePeriod: 20e9,
      },
      Placement: {
        // In place of reservations: Swarm of Docker 20.10 rejects a job's tasks that fill a node by theirs, from the second service on,
        // until their attempts are used up.
        MaxReplicas: order.perNode,
        Constraints: Object.entries(settings.labels).map(([key, value]) => `node.labels.${key}==${value}`),
        Platforms: [{ OS: 'linux', Architecture: process.arch === 'x64' ? 'amd64' : process.arch }],
      },
      RestartPolicy: { Condition: 'on-failure', MaxAttempts: 1 },
      Networks: [{ Target: network }],
    },
  };
}

/** What the gateway's service is made from. */
export interface GatewayOrder extends Pick<ServiceOrder, 'lab' | 'run' | 'image' | 'network'> {
  /** The manager, on which the run listens. */
  readonly node: string;
  /** The run's, on that node. */
  readonly socketFile: string;
}

/**
 * The gateway of a run, as a service of one task on the node of the run. Not a container that is attached to the network: that has the
 * engine make the network on its node without waiting for the address that the node has to have in it first, which comes another
 * way. Where the address is later, as on a busy machine, the attachment is rejected without a word, and the start of the container
 * fails 20 s after ("attaching to network failed … context deadline exceeded"); seen with Docker 20.10, and the same in 28.
 * Tasks of services wait for the address. Nor can other containers join the network then.
 */
export function gatewayService(order: GatewayOrder): Docker.CreateServiceOptions {
  const labels = { ...runLabels(order.lab, order.run), [labelOfRole]: gatewayRole };
  return {
    Name: `zufs-lab-${order.run}-gateway`,
    Labels: labels,
    Mode: { Replicated: { Replicas: 1 } },
    TaskTemplate: {
      ContainerSpec: {
        Image: order.image,
        Labels: labels,
        Args: [
          `${inImage.package}/lab/remote/gateway-main.ts`,
          ...['0.0.0.0', `${gateway.port}`, gateway.socketFile],
        ],
        Mounts: [{ Type: 'bind', Source: order.socketFile, Target: gateway.socketFile }],
        // It has nothing to bring to an end.
        StopGracePeriod: 0,
      },
      Placement: { Constraints: [`node.id==${order.node}`] },
      Networks: [{ Target: order.network, Aliases: [gateway.host] }],
    },
    // By the address of its task: a virtual one needs IPVS in the nodes' kernels.
    EndpointSpec: { Mode: 'dnsrr' },
  };
}
