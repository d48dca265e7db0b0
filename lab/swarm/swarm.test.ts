// SPDX-License-Identifier: BSD-3-Clause

import { expect, test } from 'vitest';
import { isOrphan } from '../runtime/labels.ts';
import { DownNodes } from './nodes.ts';
import {
  requireManager,
  requireReached,
  requireRoomForGateway,
  tasksPerNode,
  usableNodes,
} from './requirements.ts';
import { gatewayService, type ServiceOrder, taskService } from './service.ts';
import type { SwarmNode, SwarmSettings } from './types.ts';

const gibibyte = 2 ** 30;
const settings: SwarmSettings = { cpus: 2, memory: 4 * gibibyte, labels: {}, concurrency: 0 };
const node: SwarmNode = {
  id: 'id-a',
  name: 'a',
  state: 'ready',
  availability: 'active',
  architecture: 'x86_64',
  cpus: 4,
  memory: 8 * gibibyte,
  labels: { kvm: 'true' },
};

test.each([
  [{}, 'The engine at unix:///x is in no swarm.'],
  [{ Swarm: { LocalNodeState: 'inactive' } }, 'The engine at unix:///x is in no swarm.'],
  [
    { Swarm: { LocalNodeState: 'active', ControlAvailable: false } },
    'The engine at unix:///x is a worker of its swarm, and only managers start services.',
  ],
])('an engine that cannot start services is refused in one sentence: %j', (info, sentence) => {
  expect(() => requireManager('unix:///x', info)).toThrow(sentence);
});

test('a manager is taken', () => {
  requireManager('unix:///x', { Swarm: { LocalNodeState: 'active', ControlAvailable: true } });
});

test('nodes that a task can be placed on', () => {
  const nodes = [
    node,
    { ...node, name: 'down', state: 'down' },
    { ...node, name: 'drained', availability: 'drain' },
    { ...node, name: 'arm', architecture: 'aarch64' },
    { ...node, name: 'small', cpus: 1 },
    { ...node, name: 'unlabelled', labels: {} },
  ];
  const found = (more: Partial<SwarmSettings>) => usableNodes(nodes, { ...settings, ...more }, 'x64');
  const names = (more: Partial<SwarmSettings>) => found(more).usable.map(({ name }) => name);
  expect(names({})).toEqual(['a', 'unlabelled']);
  expect(names({ labels: { kvm: 'true' } })).toEqual(['a']);
  expect(found({}).leftOut).toEqual([
    'down is down',
    'drained is drain',
    'arm is aarch64, and the image x86_64',
    'small has 1 CPUs and 8 GiB, and a task asks for 2 and 4 GiB',
  ]);
});

test.each<[Partial<SwarmNode>, Partial<SwarmSettings>, string]>([
  [{ state: 'down' }, {}, 'a is down'],
  [{ availability: 'drain' }, {}, 'a is drain'],
  [{ architecture: 'aarch64' }, {}, 'a is aarch64, and the image x86_64'],
  [{}, { labels: { kvm: 'false' } }, 'a has not the labels of swarm.labels'],
  [{}, { cpus: 16 }, 'a has 4 CPUs and 8 GiB, and a task asks for 16 and 4 GiB'],
  [{}, { memory: 16 * gibibyte }, 'a has 4 CPUs and 8 GiB, and a task asks for 2 and 16 GiB'],
])('no node that could take a task is one sentence: %j %j', (change, more, why) => {
  expect(() => usableNodes([{ ...node, ...change }], { ...settings, ...more }, 'x64')).toThrow(
    `No node of the swarm can take a task: ${why}.`,
  );
});

test.each([
  [[node], 2],
  [[node, { ...node, memory: 5 * gibibyte }], 1],
  [[{ ...node, cpus: 16, memory: 64 * gibibyte }], 8],
])('a node takes as many tasks as the smallest has room for: %#', (nodes, count) => {
  expect(tasksPerNode(nodes, settings)).toBe(count);
});

test('nodes whose engines do not get the image are named', () => {
  const nodes = [node, { ...node, id: 'id-b', name: 'b' }, { ...node, id: 'id-c', name: 'c' }];
  const engines = ['id-a', 'id-b', 'id-c'].map((NodeID) => ({ Swarm: { NodeID } }));
  requireReached(nodes, engines);
  expect(() => requireReached(nodes, [engines[0], {}])).toThrow(
    'The image of the tasks cannot be brought to b, c.',
  );
});

test('a node that goes down is told once each time; of two with one name it cannot be told which', () => {
  const down = { ...node, state: 'down' };
  const other = { ...node, id: 'id-b', name: 'b' };
  const nodes = new DownNodes();
  expect(nodes.newAmong([node, other])).toEqual([]);
  expect(nodes.newAmong([down, other])).toEqual(['a']);
  expect(nodes.newAmong([down, other])).toEqual([]);
  // The manager did not answer.
  expect(nodes.newAmong([])).toEqual([]);
  expect(nodes.newAmong([down, other])).toEqual([]);
  expect(nodes.newAmong([node, other])).toEqual([]);
  expect(nodes.newAmong([down, { ...other, name: 'a' }])).toEqual([]);
  expect(nodes.newAmong([node, other])).toEqual([]);
  expect(nodes.newAmong([down, other])).toEqual(['a']);
});

test('a manager that takes no tasks cannot have the gateway of a run', () => {
  const drained = { ...node, availability: 'drain' };
  const info = (NodeID: string) => ({ Swarm: { NodeID } });
  expect(() => requireRoomForGateway([drained], info('id-a'))).toThrow(
    'The manager a is set to drain, and the gateway of a run is a task on it.',
  );
  requireRoomForGateway([node], info('id-a'));
  // Another node's is no matter.
  requireRoomForGateway([drained, { ...node, id: 'id-b' }], info('id-b'));
});

const order: ServiceOrder = {
  lab: 'default',
  run: '20260102-030405-zpmfs',
  tasks: 3,
  perNode: 2,
  image: 'zufs-lab-task:abc',
  network: 'n',
  secret: { id: 's', name: 'token' },
  deploy: 'mounts',
  settings: ['vm.cpus=1'],
};

test('the service of a run: one task a shard, no more at a time than is said, where and with what the settings say', () => {
  const { Mode, TaskTemplate } = taskService(order, { ...settings, labels: { kvm: 'true' }, concurrency: 2 });
  expect(Mode).toEqual({ ReplicatedJob: { TotalCompletions: 3, MaxConcurrent: 2 } });
  expect(taskService(order, settings).Mode?.ReplicatedJob?.MaxConcurrent).toBe(3);
  expect(TaskTemplate).toMatchObject({
    Placement: { Constraints: ['node.labels.kvm==true'], MaxReplicas: 2 },
  });
});

test('the token is in no argument, only in a secret that root alone reads; the service is known as an orphan after us', () => {
  const service = taskService(order, settings);
  expect(service.TaskTemplate).toMatchObject({
    ContainerSpec: { Secrets: [{ SecretID: 's', File: { UID: '0', Mode: 0o400 } }] },
  });
  expect(service.Labels?.['zufs-lab.run']).toBe(order.run);
  const owner = service.Labels?.['zufs-lab.owner'] ?? '';
  expect(isOrphan({ 'zufs-lab.owner': owner })).toBe(false);
  // The same pid, started at another time.
  expect(isOrphan({ 'zufs-lab.owner': owner.replace(/:\d+:/, ':1:') })).toBe(true);
});

test('the gateway of a run is a task on its own node, has its socket, and is found where tasks look for it', () => {
  const { TaskTemplate, EndpointSpec, Labels } = gatewayService({
    ...order,
    node: 'id-a',
    socketFile: '/state/run.sock',
  });
  const { ContainerSpec, Placement, Networks } = TaskTemplate as {
    readonly ContainerSpec: { readonly Args: readonly string[]; readonly Mounts: readonly unknown[] };
    readonly Placement: unknown;
    readonly Networks: readonly { readonly Target: string; readonly Aliases: readonly string[] }[];
  };
  expect(Placement).toEqual({ Constraints: ['node.id==id-a'] });
  expect(EndpointSpec).toEqual({ Mode: 'dnsrr' });
  const [, host, port, socket] = ContainerSpec.Args;
  expect(ContainerSpec.Mounts).toEqual([{ Type: 'bind', Source: '/state/run.sock', Target: socket }]);
  expect(host).toBe('0.0.0.0');
  expect(Networks).toEqual([{ Target: order.network, Aliases: ['gateway'] }]);
  const { ContainerSpec: task } = taskService(order, settings).TaskTemplate as {
    readonly ContainerSpec: { readonly Args: readonly string[] };
  };
  expect(task.Args).toContain(`gateway:${port}`);
  expect(Labels).toMatchObject({ 'zufs-lab.run': order.run, 'zufs-lab.role': 'gateway' });
});
