import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeNode } from '../testing/fake-node.js';
import { nodeTrees } from '../testing/node-trees.js';
import { orderCycle } from './verify-order.js';

const units = (after: Readonly<Record<string, readonly string[]>>) => {
  const node = new FakeNode(nodeTrees.kubeadm);
  const looked: string[] = [];
  const unit = async (name: string) => {
    looked.push(name);
    return { ...node.unitState(name), after: after[name] ?? [] };
  };
  return { systemd: { unit }, looked };
};

test('what starts before a unit may have an order of any kind', async () => {
  const { systemd, looked } = units({
    'ours.service': ['runtime.service', 'sysinit.target', 'system.slice'],
    'runtime.service': ['network.target', 'sysinit.target'],
    'kubelet.service': ['ours.service'],
  });
  assert.equal(await orderCycle(systemd, 'ours.service', 'kubelet.service'), undefined);
  assert.deepEqual(looked.toSorted(), [
    ...['network.target', 'ours.service', 'runtime.service', 'sysinit.target', 'system.slice'],
  ]);
});

test('a cycle is told in its order, the shortest where there are several', async () => {
  const { systemd } = units({
    'ours.service': ['runtime.service', 'network.target'],
    'network.target': ['plugin.service'],
    'plugin.service': ['runtime.service'],
    'runtime.service': ['kubelet.service'],
    'kubelet.service': ['ours.service'],
  });
  assert.deepEqual(await orderCycle(systemd, 'ours.service', 'kubelet.service'), [
    ...['ours.service', 'runtime.service', 'kubelet.service'],
  ]);
});

test('units in a cycle of their own are looked at once', async () => {
  const { systemd, looked } = units({
    'ours.service': ['one.service'],
    'one.service': ['two.service'],
    'two.service': ['one.service'],
  });
  assert.equal(await orderCycle(systemd, 'ours.service', 'kubelet.service'), undefined);
  assert.equal(looked.length, 3);
});
