import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TransientService } from '../contracts/node.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeNode, type ProcessFaults } from '../testing/fake-node.js';
import { nodeTrees } from '../testing/node-trees.js';
import { Installation } from './installation.js';
import { parseJournal } from './journal.js';
import type { Desired } from './node.js';

const stateDirectory = '/var/lib/kubelet-image-service';
const journal = `${stateDirectory}/journal.json`;
const dropIn = '/etc/systemd/system/kubelet.service.d/90-kubelet-image-service.conf';
const unit = 'kubelet.service';

const desired = (version: string): Desired => ({
  ...{ mode: 'host', socket: '/run/kubelet-image-service/image.sock', chain: false, allow: [] },
  ...{ configuration: new Map([['config.yaml', 'images: []\n']]), configurationName: 'config.yaml' },
  ...{ executable: `/image/${version}`, executableHash: '', version },
});

function newNode(): FakeNode {
  const node = new FakeNode(nodeTrees.kubeadm);
  for (const version of ['1', '2']) node.surroundings.set(`/image/${version}`, `executable ${version}`);
  node.onRollback = ([, , , name]) => installation(node).rollBack(name);
  return node;
}

function installation(node: FakeNode, faults: ProcessFaults = {}): Installation {
  const { files, systemd, kubelet, endpoint, clock } = node.process(faults);
  return new Installation({ files, systemd, kubelet, endpoint, clock, log: new FakeLog(), stateDirectory });
}

const hasFlag = (node: FakeNode) =>
  node.kubelet.argv.some((word) => word.startsWith('--image-service-endpoint='));

const hasEndpoint = (argv: readonly string[]) =>
  argv.some((word) => word.startsWith('--image-service-endpoint='));

describe('a journal that cannot be read', () => {
  for (const [what, spoil] of [
    ['is garbage', (node) => node.files.set(journal, { text: '{', mode: 0o600 })],
    ['is gone', (node) => node.files.delete(journal)],
  ] as readonly (readonly [string, (node: FakeNode) => unknown])[]) {
    test(`and ${what}: the timer frees kubelet of all that is ours`, async () => {
      const node = newNode();
      const act = () => void spoil(node);
      // While the installer hangs, with kubelet restarted and the timer armed.
      const hang = { call: 'kubelet.healthz', nth: 2, time: 275_000 };
      const meanwhile = { call: 'systemd.startTransient', act };
      const outcome = await installation(node, { hang, meanwhile }).install(desired('1'));
      assert.notEqual(outcome.verdict, 'installed');
      assert.equal(hasFlag(node), false);
      assert.equal(node.files.has(dropIn), false);
      assert.equal(node.kubelet.activeState, 'active');
      assert.equal((await installation(node).install(desired('1'))).verdict, 'installed');
      assert.equal(hasFlag(node), true);
    });
  }

  test('lines of others in the drop-in stay', async () => {
    const node = newNode();
    await installation(node).install(desired('1'));
    const theirs = '[Service]\nEnvironment=THEIRS=1\n';
    node.files.set(dropIn, { text: `${node.files.get(dropIn)?.text}${theirs}`, mode: 0o644 });
    node.files.set(journal, { text: '{', mode: 0o600 });
    assert.equal((await installation(node).rollBack(unit)).verdict, 'rolled back');
    assert.equal(node.files.get(dropIn)?.text, theirs);
    assert.equal(hasFlag(node), false);
  });

  test('is no reason to free a kubelet by hand, whose unit nobody named', async () => {
    const node = newNode();
    await installation(node).install(desired('1'));
    node.files.set(journal, { text: '{', mode: 0o600 });
    assert.equal((await installation(node).rollBack()).verdict, 'nothing to do');
    assert.equal(hasFlag(node), true);
  });
});

test('the timer is armed for longer than a run that fails by itself, and is repeated, but not for ever', async () => {
  const node = newNode();
  const armed: unknown[] = [];
  const act = () => void armed.push(...node.transients.values());
  await installation(node, { meanwhile: { call: 'kubelet.healthz', nth: 2, act } }).install(desired('1'));
  const [{ name, command, after, timeLimit, isRepeated } = {} as Partial<TransientService>] =
    armed as TransientService[];
  assert.deepEqual(
    { name, command, after, timeLimit, isRepeated },
    {
      ...{ name: 'kubelet-image-service-rollback.service', after: 210_000 },
      command: ['/opt/kubelet-image-service/bin/kubelet-image-service', 'roll-back', '--unit', unit],
      ...{ timeLimit: 900_000, isRepeated: true },
    },
  );
});

test('a run that has ended is not taken back, whoever names the unit', async () => {
  const node = newNode();
  await installation(node).install(desired('1'));
  const before = node.disk();
  assert.equal((await installation(node).rollBack(unit)).verdict, 'nothing to do');
  assert.deepEqual(node.disk(), before);
  assert.equal(node.starts, 2);
});

test('an update after which kubelet is ill with the earlier version, too: it is freed of us', async () => {
  const node = newNode();
  await installation(node).install(desired('1'));
  node.behaviour = (argv) => (hasEndpoint(argv) ? 'sick' : 'healthy');
  const moved: Desired = { ...desired('2'), socket: '/run/kubelet-image-service/other.sock' };
  const outcome = await installation(node).install(moved);
  assert.equal(outcome.verdict, 'failed');
  assert.match(outcome.reasons.join('; '), /freed of all that is ours, and is healthy/);
  assert.equal(hasFlag(node), false);
  assert.equal(node.healthz, undefined);
  assert.equal(node.files.has(dropIn), false);
});

test('a run that the timer took back counts for whoever tries again and again', async () => {
  const node = newNode();
  const hang = { call: 'kubelet.healthz', nth: 2, time: 275_000 };
  const attempt = () => installation(node, { hang }).install(desired('1'), { isPatient: true });
  assert.equal((await attempt()).verdict, 'rolled back');
  assert.equal(parseJournal(node.files.get(journal)?.text ?? '')?.failures?.count, 1);
  const { starts } = node;
  assert.match((await attempt()).reasons.join(), /tried again \d min from now/);
  assert.equal(node.starts, starts);
});

test('a run that was cut off counts, too', async () => {
  const node = newNode();
  node.behaviour = (argv) => (hasEndpoint(argv) ? 'sick' : 'healthy');
  const { files, systemd, kubelet, endpoint, clock } = node.process({});
  const parts = { files, systemd, kubelet, endpoint, clock, log: new FakeLog(), stateDirectory };
  const cut = new Installation({
    ...parts,
    systemd: {
      ...systemd,
      restart: (name) => (name === unit ? new Promise(() => {}) : systemd.restart(name)),
    },
  });
  void cut.install(desired('1'), { isPatient: true });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(parseJournal(node.files.get(journal)?.text ?? '')?.run?.phase, 'restart');
  await installation(node).repair();
  assert.equal(parseJournal(node.files.get(journal)?.text ?? '')?.failures?.count, 1);
});
