// SPDX-License-Identifier: BSD-3-Clause

import type Docker from 'dockerode';
import { inImage } from './image.ts';
import { runLabels } from './runs.ts';
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
  /** Of the run: an attachable overlay network, on which its gateway listens. */
  readonly network: string;
  readonly gateway: { readonly host: string; readonly port: number };
  readonly secret: { readonly id: string; readonly name: string };
  readonly fileSystem: string;
  /** `--set` of the run's settings, for the task's own. */
  readonly settings: readonly string[];
}

/** Where the secret appears in a task. */
const tokenFile = 'zufs-lab-token';

/**
 * A replicated job: as many tasks as the run has shards, each of which runs to its end once. One that fails starts again, on any
 * node, and takes the place of a lost one. Labelled as a program of this process, so that whoever comes after a `kill -9` of it
 * knows that it is an orphan.
 */
export function taskService(order: ServiceOrder, settings: SwarmSettings): Docker.CreateServiceOptions {
  const { lab, run, tasks, image, network, gateway, secret, fileSystem } = order;
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
          ...['--artefacts', inImage.artefacts, '--fs', fileSystem],
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
