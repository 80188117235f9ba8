import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeLog } from '../testing/fake-log.js';
import { FakeNode, type ProcessFaults } from '../testing/fake-node.js';
import { nodeTrees } from '../testing/node-trees.js';
import { type GuardVerdict, readGuardState, runGuard } from './guard.js';
import { kubeletStartsFile } from './kubelet-starts.js';
import { dropInText } from './own-files.js';

const endpoint = 'unix:///run/kubelet-image-service/image.sock';
const executable = '/opt/kubelet-image-service/bin/kubelet-image-service';
const unit = 'kubelet.service';

/** @param isServing whether kubelet starts with our endpoint */
function newNode(isServing: boolean): FakeNode {
  const block = dropInText({
    ...{ mode: 'pod', executable, endpoint, config: '/x', credentialProvider: undefined, allow: [] },
    argumentsPath: { kind: 'amend', variable: 'KUBELET_EXTRA_ARGS' },
  });
  const node = new FakeNode({
    ...nodeTrees.kubeadm,
    [executable]: 'executable',
    [`/etc/systemd/system/${unit}.d/90-kubelet-image-service.conf`]: block,
  });
  node.isPodServing = isServing;
  node.startKubelet();
  node.starts = 0;
  return node;
}

const guard = (node: FakeNode, faults?: ProcessFaults): Promise<GuardVerdict> =>
  runGuard({ ...node.process(faults), log: new FakeLog() } as Parameters<typeof runGuard>[0], {
    unit,
    endpoint,
  });

const hasFlag = (node: FakeNode) => node.kubelet.argv.includes(`--image-service-endpoint=${endpoint}`);

/** Turns of the guard's timer until it does something. @returns minutes */
async function minutesUntil(node: FakeNode, verdict: GuardVerdict): Promise<number> {
  const begin = node.now;
  for (let turn = 0; turn < 400; turn++) {
    if ((await guard(node)) === verdict) return (node.now - begin) / 60_000;
    await node.pass(30_000);
  }
  return Number.POSITIVE_INFINITY;
}

describe('the guard', () => {
  test('leaves a kubelet alone whose endpoint answers', async () => {
    const node = newNode(true);
    assert.equal(await guard(node), 'fine');
    assert.equal(node.starts, 0);
  });

  test('restarts a kubelet without the endpoint, once that has failed for 30 s', async () => {
    const node = newNode(true);
    assert.equal(hasFlag(node), true);
    node.isPodServing = false;
    const begin = node.now;
    assert.equal(await guard(node), 'dropped');
    assert.ok(node.now - begin >= 30_000, `after ${node.now - begin} ms`);
    assert.equal(hasFlag(node), false);
    assert.equal(node.starts, 1);
  });

  test('leaves a kubelet alone whose runtime is down, until that answers', async () => {
    const node = newNode(true);
    node.isRuntimeDown = true;
    assert.equal(await guard(node), 'waiting');
    assert.equal(node.starts, 0);
    node.isRuntimeDown = false;
    node.isPodServing = false;
    assert.equal(await guard(node), 'dropped');
  });

  test('restarts a kubelet that waits for the endpoint at its start', async () => {
    const node = newNode(true);
    node.isPodServing = false;
    node.kubelet = { ...node.kubelet, activeState: 'activating' };
    assert.equal(await guard(node), 'dropped');
    assert.equal(hasFlag(node), false);
  });

  test('does nothing where the endpoint answers once in these 30 s', async () => {
    const node = newNode(true);
    node.isPodServing = false;
    const act = () => {
      node.isPodServing = true;
    };
    assert.equal(await guard(node, { meanwhile: { call: 'endpoint.answers', nth: 3, act } }), 'fine');
    assert.equal(node.starts, 0);
  });

  test('brings the endpoint back, at once where it was never dropped', async () => {
    const node = newNode(false);
    assert.equal(await guard(node), 'waiting');
    node.isPodServing = true;
    assert.equal(await guard(node), 'restored');
    assert.equal(hasFlag(node), true);
    assert.equal(node.starts, 1);
  });

  test('does not bring it back where it fails once in 30 s', async () => {
    const node = newNode(false);
    node.isPodServing = true;
    const act = () => {
      node.isPodServing = false;
    };
    assert.equal(await guard(node, { meanwhile: { call: 'endpoint.answers', nth: 3, act } }), 'waiting');
    assert.equal(node.starts, 0);
  });

  test('brings it back ever more seldom where it does not last', async () => {
    const node = newNode(true);
    const minutes: number[] = [];
    for (let round = 0; round < 6; round++) {
      node.isPodServing = false;
      assert.equal(await guard(node), 'dropped');
      node.isPodServing = true;
      minutes.push(Math.floor(await minutesUntil(node, 'restored')));
    }
    assert.deepEqual(minutes, [5, 10, 20, 40, 60, 60]);
  });

  test('begins anew after two calm hours', async () => {
    const node = newNode(true);
    for (let round = 0; round < 3; round++) {
      node.isPodServing = false;
      await guard(node);
      node.isPodServing = true;
      await minutesUntil(node, 'restored');
    }
    await node.pass(121 * 60_000);
    node.isPodServing = false;
    assert.equal(await guard(node), 'dropped');
    node.isPodServing = true;
    assert.equal(Math.floor(await minutesUntil(node, 'restored')), 5);
  });

  test('does not restart again and again a kubelet that does not take the flag', async () => {
    const node = newNode(false);
    node.isPodServing = true;
    node.files.delete(executable);
    const begin = node.now;
    while (node.now - begin < 3 * 60 * 60_000) {
      await guard(node);
      await node.pass(30_000);
    }
    assert.ok(node.starts >= 2 && node.starts <= 7, `${node.starts} restarts in three hours`);
  });

  const idle: readonly (readonly [what: string, prepare: (node: FakeNode) => void])[] = [
    ['an installer is at work', (node) => node.active.add('kubelet-image-service-install.service')],
    ['a rollback is at work', (node) => node.active.add('kubelet-image-service-rollback.service')],
    ['kubelet was stopped', (node) => node.stopKubelet()],
    [
      'kubelet is just being started, without the endpoint, which answers by now',
      (node) => {
        node.startKubelet();
        node.starts = 0;
        node.isPodServing = true;
        node.kubelet.activeState = 'activating';
      },
    ],
  ];
  for (const [what, prepare] of idle) {
    test(`does nothing where ${what}`, async () => {
      const node = newNode(true);
      node.isPodServing = false;
      prepare(node);
      assert.equal(await guard(node), 'waiting');
      assert.equal(node.starts, 0);
    });
  }

  test('does nothing where an installer has begun meanwhile', async () => {
    const node = newNode(true);
    node.isPodServing = false;
    const act = () => node.active.add('kubelet-image-service-install.service');
    assert.equal(await guard(node, { meanwhile: { call: 'endpoint.answers', nth: 4, act } }), 'waiting');
    assert.equal(node.starts, 0);
  });

  test('does not bring it back while kubelet is started without it, for it did not live with it', async () => {
    const node = newNode(false);
    node.isPodServing = true;
    const heldUntil = node.now + 10 * 60_000;
    node.files.set(kubeletStartsFile, { text: JSON.stringify({ starts: [], heldUntil }), mode: 0o600 });
    assert.equal(Math.floor(await minutesUntil(node, 'restored')), 10);
    assert.equal(node.starts, 1);
  });

  test('does nothing where our drop-in is gone', async () => {
    const node = newNode(false);
    node.files.delete(`/etc/systemd/system/${unit}.d/90-kubelet-image-service.conf`);
    node.reload();
    node.isPodServing = true;
    assert.equal(await guard(node), 'waiting');
    assert.equal(node.starts, 0);
  });

  test('drops a dead endpoint although it cannot remember it', async () => {
    const node = newNode(true);
    node.isPodServing = false;
    assert.equal(await guard(node, { isDiskFull: true }), 'dropped');
    assert.equal(hasFlag(node), false);
    assert.equal(await readGuardState(node.process()), undefined);
  });

  for (const isServing of [true, false]) {
    for (const when of ['before', 'after'] as const) {
      test(`leaves kubelet running whatever call fails (${isServing ? 'restore' : 'drop'}, ${when})`, async () => {
        for (let call = 1; call <= 30; call++) {
          const node = newNode(!isServing);
          node.isPodServing = isServing;
          await guard(node, { throwAt: { call, when } }).catch(() => undefined);
          assert.equal(node.kubelet.activeState, 'active', `call ${call}`);
        }
      });
    }
  }
});

describe('a kubelet that does not start', () => {
  const unitFile = (program: string) => `[Service]\nExecStart=${program} --node-ip=10.0.0.1\n`;
  const place = '/usr/lib/systemd/system/kubelet.service';
  const dropIn = `/etc/systemd/system/${unit}.d/90-kubelet-image-service.conf`;

  /** An update of the platform has put kubelet somewhere else. @param repeated what our drop-in has of it */
  function updated(repeated: string): FakeNode {
    const block = dropInText({
      ...{ mode: 'host', executable, endpoint, config: '/x', credentialProvider: undefined, allow: [] },
      argumentsPath: {
        ...{ kind: 're-emit', variable: 'KUBELET_IMAGE_SERVICE_ARGUMENTS' },
        execStart: `${repeated} --node-ip=10.0.0.1`,
      },
    });
    const tree = {
      ...nodeTrees.kubeadm,
      [executable]: 'executable',
      [place]: unitFile('/opt/bin/kubelet'),
      [dropIn]: block,
    };
    const node = new FakeNode(
      Object.fromEntries(Object.entries(tree).filter(([path]) => !path.includes('10-kubeadm'))),
    );
    node.active.add('kubelet-image-service.service');
    node.behaviour = ([program]) => (program === '/opt/bin/kubelet' ? 'healthy' : 'crashes');
    node.startKubelet();
    return node;
  }

  test('for our drop-in repeats an earlier command: ours is taken out', async () => {
    const node = updated('/usr/bin/kubelet');
    assert.equal(node.kubelet.activeState, 'activating');
    assert.equal(await guard(node), 'freed');
    assert.equal(node.kubelet.activeState, 'active');
    assert.equal(hasFlag(node), false);
    assert.equal(node.files.has(dropIn), false);
  });

  test('though our drop-in repeats the command as it is: that is none of our business', async () => {
    const node = updated('/opt/bin/kubelet');
    node.behaviour = () => 'crashes';
    node.startKubelet();
    assert.equal(await guard(node), 'waiting');
    assert.equal(node.files.has(dropIn), true);
  });

  test('and whose arguments are amended: no command of ours can be old', async () => {
    const node = newNode(true);
    node.behaviour = () => 'crashes';
    node.startKubelet();
    assert.equal(await guard(node), 'waiting');
    assert.equal(node.files.has(dropIn), true);
  });
});
