import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeLog } from '../testing/fake-log.js';
import { FakeNode, type FakeProcess, type ProcessFaults } from '../testing/fake-node.js';
import { nodeTrees } from '../testing/node-trees.js';
import { runGuard } from './guard.js';
import { Installation } from './installation.js';
import { hashOf, parseJournal } from './journal.js';
import { countStart, holdLeft, parseStarts } from './kubelet-starts.js';
import { guardStateFile } from './names.js';
import type { Desired, InstallMode } from './node.js';
import { argumentsDirectory } from './own-files.js';
import type { NodePorts } from './ports.js';
import type { Outcome } from './result.js';

const stateDirectory = '/var/lib/kubelet-image-service';
const dropIn = '/etc/systemd/system/kubelet.service.d/90-kubelet-image-service.conf';
const executable = '/opt/kubelet-image-service/bin/kubelet-image-service';
const socket = '/run/kubelet-image-service/image.sock';
const modes: readonly InstallMode[] = ['host', 'pod', 'credential-provider'];

function desired(mode: InstallMode, version = '1'): Desired {
  return {
    ...{ mode, socket, allow: [], chain: false, version, configurationName: 'config.yaml' },
    configuration: new Map([['config.yaml', `# ${version}\nlisten: unix://${socket}\n`]]),
    executable: `/image/${version}`,
    executableHash: hashOf(`executable ${version}`),
  };
}

/** Without it a k3s starts its own runtime, and cannot ask an image service before. */
const otherRuntime = {
  '/etc/rancher/k3s/config.yaml': 'container-runtime-endpoint: unix:///run/containerd/containerd.sock\n',
};

function newNode(mode: InstallMode, tree: keyof typeof nodeTrees = 'kubeadm'): FakeNode {
  const node = new FakeNode({ ...nodeTrees[tree], ...(tree === 'k3s' && otherRuntime) });
  for (const version of ['1', '2']) node.surroundings.set(`/image/${version}`, `executable ${version}`);
  node.isPodServing = mode === 'pod';
  node.onStart = (text, now) => {
    const state = countStart(parseStarts(text), now);
    return { text: JSON.stringify(state), isHeld: holdLeft(state, now) > 0 };
  };
  node.onRollback = () => start(node).installation.rollBack();
  return node;
}

interface Started {
  readonly installation: Installation;
  readonly process: FakeProcess;
}

function start(node: FakeNode, faults: ProcessFaults = {}): Started {
  const process = node.process(faults);
  const { files, systemd, kubelet, endpoint, clock } = process;
  const parts = { files, systemd, kubelet, endpoint, clock, log: new FakeLog(), stateDirectory };
  return { installation: new Installation(parts), process };
}

const install = (node: FakeNode, mode: InstallMode, version?: string): Promise<Outcome> =>
  start(node).installation.install(desired(mode, version));
const uninstall = (node: FakeNode): Promise<Outcome> => start(node).installation.uninstall();

const hasFlag = (node: FakeNode) =>
  node.kubelet.argv.some((word) =>
    /^--image-service-endpoint=unix:|^--image-credential-provider-config=\/run/.test(word),
  );

const leftInRun = (node: FakeNode) =>
  [...node.files.keys()].filter((path) => path.startsWith('/run/kubelet-image-service'));

function assertVerdict(outcome: Outcome, ...expected: readonly Outcome['verdict'][]): void {
  assert.ok(expected.includes(outcome.verdict), `${outcome.verdict}: ${outcome.reasons.join('; ')}`);
}

/** The calls of a whole run, from the last one before it changes anything. */
async function callsOf(
  mode: InstallMode,
  prepare: (node: FakeNode) => Promise<unknown>,
  act: 'install' | 'uninstall',
  tree?: keyof typeof nodeTrees,
) {
  const node = newNode(mode, tree);
  await prepare(node);
  const { installation, process } = start(node);
  const outcome = await (act === 'install'
    ? installation.install(desired(mode, '2'))
    : installation.uninstall());
  assert.ok(['installed', 'uninstalled'].includes(outcome.verdict), outcome.reasons.join('; '));
  const first = Math.max(process.firstChange - 1, 1);
  return Array.from({ length: process.calls - first + 1 }, (_, at) => first + at);
}

const nothing = async () => undefined;
const installed = (mode: InstallMode) => (node: FakeNode) => install(node, mode);

/** Each mode, on a fresh node and over an earlier version. */
const starts = modes.flatMap((mode) => [
  { what: `${mode}, fresh`, mode, prepare: nothing },
  { what: `${mode}, an upgrade`, mode, prepare: installed(mode) },
]);

for (const mode of modes) {
  describe(`an installation in the mode ${mode}`, () => {
    test('is verified, changes nothing again, and leaves no trace', async () => {
      const node = newNode(mode);
      const before = node.disk();
      const outcome = await install(node, mode);
      assertVerdict(outcome, 'installed');
      assert.equal(hasFlag(node), true);
      assert.equal(node.starts, 2);
      assert.deepEqual(node.transients.size, 0);
      assert.equal(node.active.has('kubelet-image-service.service'), mode === 'host');
      assert.equal(node.active.has('kubelet-image-service-guard.timer'), mode !== 'credential-provider');

      const after = node.disk();
      const again = await install(node, mode);
      assertVerdict(again, 'nothing to do');
      assert.deepEqual(node.disk(), after);
      assert.equal(node.starts, 2);

      assertVerdict(await uninstall(node), 'uninstalled');
      assert.deepEqual(node.disk(), before);
      assert.equal(hasFlag(node), false);
      assert.equal(node.starts, 3);
      assert.equal(node.active.size, 0);
      assert.deepEqual(leftInRun(node), []);
      assertVerdict(await uninstall(node), 'nothing to do');
      assert.equal(node.starts, 3);
    });

    for (const tree of ['kind', 'k3s'] as const) {
      test(`works where ExecStart has to be repeated (${tree})`, async () => {
        const node = newNode(mode, tree);
        assertVerdict(await install(node, mode), 'installed');
        assert.equal(hasFlag(node), true);
        assertVerdict(await uninstall(node), 'uninstalled');
        assert.equal(hasFlag(node), false);
        assert.deepEqual(leftInRun(node), []);
      });
    }

    test('is taken away from a k3s, whichever call of the first attempt was its last', async () => {
      const prepare = (node: FakeNode) => install(node, mode);
      const calls = await callsOf(mode, prepare, 'uninstall', 'k3s');
      for (const call of calls) {
        const { node, before } = await killed(mode, prepare, 'uninstall', call, 'k3s');
        assertVerdict(await uninstall(node), 'uninstalled', 'nothing to do');
        assert.deepEqual(node.disk(), before, `after call ${call}`);
        assert.equal(hasFlag(node), false, `after call ${call}`);
        assert.deepEqual(leftInRun(node), [], `after call ${call}`);
      }
    });

    test('is upgraded, and put back to the earlier version where kubelet is not well with the new one', async () => {
      const node = newNode(mode);
      await install(node, mode);
      const before = node.disk();
      node.behaviour = () => (node.files.get(executable)?.text === 'executable 2' ? 'sick' : 'healthy');
      // A change that kubelet has to be restarted for.
      node.files.delete(dropIn);
      const outcome = await install(node, mode, '2');
      assertVerdict(outcome, 'rolled back');
      assert.match(outcome.reasons.join(), /healthz: 500/);
      const { [`${stateDirectory}/journal.json`]: _, [dropIn]: __, ...rest } = before;
      const { [`${stateDirectory}/journal.json`]: ___, ...left } = node.disk();
      assert.deepEqual(left, rest);
    });
  });
}

describe('a process that is killed', () => {
  for (const { what, mode, prepare } of starts) {
    test(`after any call of an install, is repaired by the next (${what})`, async () => {
      const calls = await callsOf(mode, prepare, 'install');
      for (const call of calls) {
        const { node, before } = await killed(mode, prepare, 'install', call);
        assertVerdict(await install(node, mode, '2'), 'installed', 'nothing to do');
        assert.equal(hasFlag(node), true, `after call ${call}`);
        assertVerdict(await uninstall(node), 'uninstalled');
        assert.deepEqual(node.disk(), before, `after call ${call}`);
      }
    });

    test(`after any call of an install, is taken away by uninstall (${what})`, async () => {
      const calls = await callsOf(mode, prepare, 'install');
      for (const call of calls) {
        const { node, before } = await killed(mode, prepare, 'install', call);
        assertVerdict(await uninstall(node), 'uninstalled', 'nothing to do');
        assert.deepEqual(node.disk(), before, `after call ${call}`);
        assert.equal(hasFlag(node), false, `after call ${call}`);
        assert.equal(node.kubelet.activeState, 'active', `after call ${call}`);
      }
    });

    test(`after any call of an install, is taken back by the timer (${what})`, async () => {
      const calls = await callsOf(mode, prepare, 'install');
      for (const call of calls) {
        const { node } = await killed(mode, prepare, 'install', call);
        const isArmed = node.transients.size > 0;
        await node.pass(300_000);
        assert.equal(node.kubelet.activeState, 'active', `after call ${call}`);
        const journal = parseJournal(node.files.get(`${stateDirectory}/journal.json`)?.text ?? '');
        if (isArmed) assert.equal(journal?.run, undefined, `after call ${call}`);
        assertVerdict(await install(node, mode, '2'), 'installed', 'nothing to do');
      }
    });
  }

  for (const mode of modes) {
    test(`after any call of an uninstall, is gone on with (${mode})`, async () => {
      const calls = await callsOf(mode, installed(mode), 'uninstall');
      for (const call of calls) {
        const one = await killed(mode, installed(mode), 'uninstall', call);
        assertVerdict(await uninstall(one.node), 'uninstalled', 'nothing to do');
        assert.deepEqual(one.node.disk(), one.before, `after call ${call}`);
        assert.equal(hasFlag(one.node), false, `after call ${call}`);
        assert.deepEqual(leftInRun(one.node), [], `after call ${call}`);
        const other = await killed(mode, installed(mode), 'uninstall', call);
        assertVerdict(await install(other.node, mode), 'installed', 'nothing to do');
        assert.equal(hasFlag(other.node), true, `after call ${call}`);
      }
    });
  }
});

async function killed(
  mode: InstallMode,
  prepare: (node: FakeNode) => Promise<unknown>,
  act: 'install' | 'uninstall',
  call: number,
  tree?: keyof typeof nodeTrees,
): Promise<{ readonly node: FakeNode; readonly before: ReturnType<FakeNode['disk']> }> {
  const node = newNode(mode, tree);
  const before = node.disk();
  await prepare(node);
  const { installation, process } = start(node, { dieAfter: call });
  const work = act === 'install' ? installation.install(desired(mode, '2')) : installation.uninstall();
  await Promise.race([work, process.died]);
  return { node, before };
}

describe('a call that fails', () => {
  for (const { what, mode, prepare } of starts) {
    for (const when of ['before', 'after'] as const) {
      test(`${when} its work, whichever it is, leaves kubelet running (install, ${what})`, async () => {
        const calls = await callsOf(mode, prepare, 'install');
        for (const call of calls) {
          const node = newNode(mode);
          await prepare(node);
          const hadDropIn = node.files.has(dropIn);
          const { installation } = start(node, { throwAt: { call, when } });
          const outcome = await installation.install(desired(mode, '2'));
          const told = `call ${call}: ${outcome.verdict}: ${outcome.reasons.join('; ')}`;
          assert.equal(node.kubelet.activeState, 'active', told);
          if (outcome.verdict !== 'installed') {
            assert.equal(node.files.has(dropIn), hadDropIn, told);
            assert.ok(outcome.reasons.length > 0, told);
          }
          await node.pass(300_000);
          assert.equal(node.kubelet.activeState, 'active', told);
          assertVerdict(await install(node, mode, '2'), 'installed', 'nothing to do');
          assert.equal(hasFlag(node), true, told);
        }
      });
    }
  }

  for (const mode of modes) {
    for (const when of ['before', 'after'] as const) {
      test(`${when} its work, whichever it is, leaves kubelet running (uninstall, ${mode})`, async () => {
        const calls = await callsOf(mode, installed(mode), 'uninstall');
        for (const call of calls) {
          const node = newNode(mode);
          const before = node.disk();
          await install(node, mode);
          await start(node, { throwAt: { call, when } }).installation.uninstall();
          assert.equal(node.kubelet.activeState, 'active', `call ${call}`);
          assertVerdict(await uninstall(node), 'uninstalled', 'nothing to do');
          assert.deepEqual(node.disk(), before, `call ${call}`);
        }
      });
    }
  }

  test('a restart that only stops kubelet: it is started again', async () => {
    const node = newNode('pod');
    // A guard that runs: its timer is not restarted.
    await install(node, 'pod');
    const { installation } = start(node, { isRestartCutOff: true });
    assertVerdict(await installation.uninstall(), 'failed');
    assert.equal(node.kubelet.activeState, 'active');
    assert.equal(hasFlag(node), false);
    const again = newNode('credential-provider');
    const other = start(again, { isRestartCutOff: true });
    assertVerdict(await other.installation.install(desired('credential-provider')), 'rolled back', 'failed');
    assert.equal(again.kubelet.activeState, 'active');
    assert.equal(hasFlag(again), false);
  });

  test('a full disk changes nothing', async () => {
    const node = newNode('host');
    const before = node.disk();
    const { installation } = start(node, { isDiskFull: true });
    const outcome = await installation.install(desired('host'));
    assertVerdict(outcome, 'rolled back', 'failed');
    assert.match(outcome.reasons.join(), /ENOSPC/);
    assert.deepEqual(node.disk(), before);
    assert.equal(node.starts, 1);
  });
});

describe('an installation that does not work', () => {
  const withFlag = (argv: readonly string[]) =>
    argv.some((word) => word.startsWith('--image-service-endpoint'));
  const rows: readonly (readonly [
    what: string,
    prepare: (node: FakeNode) => void,
    why: RegExp,
    starts: number,
  ])[] = [
    [
      'the service does not answer',
      (node) => {
        node.isServiceBroken = true;
      },
      /the image service does not work: connection refused/,
      1,
    ],
    [
      'kubelet crashes with it',
      (node) => {
        node.behaviour = (argv) => (withFlag(argv) ? 'crashes' : 'healthy');
      },
      /ends again and again/,
      6,
    ],
    [
      'kubelet is sick with it',
      (node) => {
        node.behaviour = (argv) => (withFlag(argv) ? 'sick' : 'healthy');
      },
      /healthz: 500 after 60 s/,
      3,
    ],
    [
      'kubelet was sick before',
      (node) => {
        node.behaviour = () => 'sick';
        node.startKubelet();
      },
      /not healthy before anything was changed/,
      2,
    ],
    ['kubelet does not run', (node) => node.stopKubelet(), /expected a kubelet that runs/, 1],
  ];
  for (const [what, prepare, why, expectedStarts] of rows) {
    test(`is taken back: ${what}`, async () => {
      const node = newNode('host');
      prepare(node);
      const before = node.disk();
      const outcome = await install(node, 'host');
      assertVerdict(outcome, 'rolled back');
      assert.match(outcome.reasons.join('; '), why);
      assert.equal(node.starts, expectedStarts);
      assert.equal(hasFlag(node), false);
      assert.deepEqual([...node.active], []);
      assert.equal(node.transients.size, 0);
      assert.deepEqual(
        leftInRun(node).filter((path) => path.startsWith(argumentsDirectory)),
        [],
      );
      const { [`${stateDirectory}/journal.json`]: _, ...left } = node.disk();
      assert.deepEqual(left, before);
      assertVerdict(await uninstall(node), 'nothing to do');
      assert.deepEqual(node.disk(), before);
    });
  }

  test('is tried again by a patient caller only after a while, ever more seldom', async () => {
    const node = newNode('host');
    node.behaviour = (argv) => (withFlag(argv) ? 'sick' : 'healthy');
    const attempt = () => start(node).installation.install(desired('host'), { isPatient: true });
    const attempts: number[] = [];
    const begin = node.now;
    while (node.now - begin < 3 * 60 * 60_000) {
      const startsBefore = node.starts;
      await attempt();
      if (node.starts > startsBefore) attempts.push(Math.round((node.now - begin) / 60_000));
      await node.pass(60_000);
    }
    assert.ok(attempts.length >= 4 && attempts.length <= 7, `attempts at ${attempts.join(' ')}`);
  });
});

describe('a kubelet that cannot live with our arguments, though it did', () => {
  const minute = 60_000;
  const patient = (node: FakeNode, mode: InstallMode, version?: string) =>
    start(node).installation.install(desired(mode, version), { isPatient: true });

  /** It is of another version from now on, and ends at once where it has our arguments. */
  async function changed(mode: InstallMode, tree?: keyof typeof nodeTrees) {
    const node = newNode(mode, tree);
    await install(node, mode);
    const given: number[] = [];
    node.behaviour = (argv) => {
      if (!argv.some((word) => /^--image-(?:service|credential)/.test(word))) return 'healthy';
      given.push(node.now);
      return 'crashes';
    };
    node.startKubelet();
    for (let turn = 0; turn < 20; turn++) await node.pass(10_000);
    return { node, given };
  }

  for (const mode of modes) {
    for (const tree of ['kubeadm', 'k3s'] as const) {
      test(`ends as one that runs without them (${mode}, ${tree})`, async () => {
        const { node, given } = await changed(mode, tree);
        assert.equal(node.kubelet.activeState, 'active');
        assert.equal(hasFlag(node), false);
        // Beside the one of the installation itself.
        assert.equal(given.length, 3);
      });
    }

    test(`is left alone for half an hour by whoever installs again and again (${mode})`, async () => {
      const { node, given } = await changed(mode);
      const { starts: before } = node;
      for (const version of ['1', '1', '2']) {
        const outcome = await patient(node, mode, version);
        assertVerdict(outcome, 'failed');
        assert.match(outcome.reasons.join(), /again and again/);
        await node.pass(5 * minute);
      }
      assert.equal(node.starts, before);
      await node.pass(20 * minute);
      assertVerdict(await patient(node, mode), 'rolled back');
      assert.ok(given.length > 3, 'it was tried again');
      for (let turn = 0; turn < 20; turn++) await node.pass(10_000);
      assert.equal(node.kubelet.activeState, 'active');
      assert.equal(hasFlag(node), false);
    });

    test(`has them again when it was mended and somebody installs by hand (${mode})`, async () => {
      const { node } = await changed(mode);
      node.behaviour = () => 'healthy';
      assertVerdict(await install(node, mode), 'installed');
      assert.equal(hasFlag(node), true);
    });
  }
});

test('a kubelet that did not live with our endpoint has it again from the guard, after half an hour', async () => {
  const node = newNode('host');
  await install(node, 'host');
  // Whoever starts it.
  for (let turn = 0; turn < 4; turn++) node.startKubelet();
  assert.equal(hasFlag(node), false);
  const begin = node.now;
  const guard = () => {
    const options = { unit: 'kubelet.service', endpoint: `unix://${socket}` };
    return runGuard({ ...start(node).process, log: new FakeLog() } as NodePorts, options);
  };
  let verdict = await guard();
  for (let turn = 0; turn < 100 && verdict === 'waiting'; turn++) {
    await node.pass(30_000);
    verdict = await guard();
  }
  assert.equal(verdict, 'restored');
  assert.equal(hasFlag(node), true);
  assert.ok(node.now - begin >= 30 * 60_000, `after ${(node.now - begin) / 60_000} min`);
});

describe('a changed configuration', () => {
  const mode = 'credential-provider';
  const config = `${stateDirectory}/config/config.yaml`;
  const another = { ...desired(mode), configuration: new Map([['config.yaml', 'images: []\n']]) };

  test('of a credential provider counts at once, verified', async () => {
    const node = newNode(mode);
    await install(node, mode);
    const { starts: before } = node;
    assertVerdict(await start(node).installation.install(another), 'installed');
    assert.equal(node.starts, before + 1);
    assertVerdict(await start(node).installation.install(another), 'nothing to do');
    assert.equal(node.starts, before + 1);
  });

  test('of a credential provider that kubelet does not start with is put back', async () => {
    const node = newNode(mode);
    await install(node, mode);
    const present = node.files.get(config)?.text;
    node.behaviour = () => (node.files.get(config)?.text === present ? 'healthy' : 'crashes');
    assertVerdict(await start(node).installation.install(another), 'rolled back');
    assert.equal(node.files.get(config)?.text, present);
    assert.equal(node.kubelet.activeState, 'active');
    assert.equal(node.transients.size, 0);
  });

  test('of a service does not restart kubelet', async () => {
    const node = newNode('host');
    await install(node, 'host');
    const { starts: before } = node;
    assertVerdict(await start(node).installation.install({ ...another, mode: 'host' }), 'installed');
    assert.equal(node.starts, before);
  });
});

describe('an endpoint that the guard has dropped', () => {
  /** The guard has restarted kubelet without it just now, and it answers again. */
  async function dropped(state: string) {
    const node = newNode('host');
    await install(node, 'host');
    node.isServiceBroken = true;
    node.startKubelet();
    node.isServiceBroken = false;
    node.files.set(guardStateFile, { text: state, mode: 0o600 });
    return { node, before: node.starts };
  }
  const state = (last: string, at: number) => JSON.stringify({ restarts: 2, at, last });
  const { now } = newNode('host');
  const minute = 60_000;

  for (const [what, text, isLeft] of [
    ['a minute ago is left to it', state('dropped', now - minute), true],
    ['longer ago than its delay is brought back', state('dropped', now - 11 * minute), false],
    ['and brought back, and that is gone again, is brought back', state('restored', now - minute), false],
    ['in a way that cannot be read is brought back', '{', false],
  ] as const) {
    test(`${what} by whoever installs again and again`, async () => {
      const { node, before } = await dropped(text);
      node.active.delete('kubelet-image-service-guard.timer');
      const outcome = await start(node).installation.install(desired('host'), { isPatient: true });
      assertVerdict(outcome, isLeft ? 'failed' : 'installed');
      if (isLeft) assert.match(outcome.reasons.join(), /the guard brings it back/);
      assert.equal(node.starts, isLeft ? before : before + 1);
      assert.equal(hasFlag(node), !isLeft);
      assert.ok(node.active.has('kubelet-image-service-guard.timer'), 'the guard is at work');
    });
  }

  test('is brought back by hand', async () => {
    const { node } = await dropped(state('dropped', now));
    assertVerdict(await install(node, 'host'), 'installed');
    assert.equal(hasFlag(node), true);
  });

  test('is brought back with a change', async () => {
    const { node } = await dropped(state('dropped', now));
    const outcome = await start(node).installation.install(desired('host', '2'), { isPatient: true });
    assertVerdict(outcome, 'installed');
    assert.equal(hasFlag(node), true);
  });
});

describe('others', () => {
  test('who edit the drop-in keep their lines at uninstall', async () => {
    const node = newNode('host');
    const before = node.disk();
    await install(node, 'host');
    const file = node.files.get(dropIn);
    assert.ok(file, 'the drop-in is there');
    file.text += '[Service]\nNice=-5\n';
    node.reload();
    assertVerdict(await install(node, 'host'), 'nothing to do');
    assertVerdict(await uninstall(node), 'uninstalled');
    const { [dropIn]: left, ...rest } = node.disk();
    assert.equal(left, '644 [Service]\nNice=-5\n');
    assert.deepEqual(rest, before);
  });

  test('who edit the drop-in during a run that fails keep their lines', async () => {
    const node = newNode('host');
    node.behaviour = (argv) => (argv.some((word) => word.includes('image-service')) ? 'sick' : 'healthy');
    const act = () => {
      const file = node.files.get(dropIn);
      if (file !== undefined) file.text += 'Nice=-5\n';
    };
    const { installation } = start(node, { meanwhile: { call: 'systemd.restart kubelet.service', act } });
    assertVerdict(await installation.install(desired('host')), 'rolled back');
    assert.equal(node.files.get(dropIn)?.text, 'Nice=-5\n');
    assert.equal(hasFlag(node), false);
  });

  test('a platform that rewrites the unit: the next run follows', async () => {
    const node = newNode('host', 'kind');
    node.files.set('/etc/systemd/system/kubelet.service.d/10-kubeadm.conf', {
      text: '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --v=1\n',
      mode: 0o644,
    });
    node.reload();
    node.startKubelet();
    assertVerdict(await install(node, 'host'), 'installed');
    node.files.set('/etc/systemd/system/kubelet.service.d/10-kubeadm.conf', {
      text: '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --v=4\n',
      mode: 0o644,
    });
    assertVerdict(await install(node, 'host'), 'installed');
    assert.ok(node.kubelet.argv.includes('--v=4'), node.kubelet.argv.join(' '));
    assert.equal(hasFlag(node), true);
  });

  test('a reboot that loses /etc: all is written again', async () => {
    const node = newNode('host');
    await install(node, 'host');
    node.reboot((path) => path.includes('kubelet-image-service') && path.startsWith('/etc/'));
    assert.equal(node.kubelet.activeState, 'active');
    assert.equal(hasFlag(node), false);
    assertVerdict(await install(node, 'host'), 'installed');
    assert.equal(hasFlag(node), true);
  });

  test('a reboot in the middle of a run is repaired', async () => {
    const calls = await callsOf('host', nothing, 'install');
    for (const call of calls) {
      const { node } = await killed('host', nothing, 'install', call);
      node.reboot();
      assert.equal(node.kubelet.activeState, 'active', `after call ${call}`);
      assertVerdict(await install(node, 'host', '2'), 'installed', 'nothing to do');
    }
  });
});

describe('the rollback timer', () => {
  const hangs: readonly (readonly [what: string, hang: NonNullable<ProcessFaults['hang']>])[] = [
    ['when kubelet is restarted', { call: 'systemd.restart kubelet.service', time: 275_000 }],
    // The first one is before anything was changed.
    ['when kubelet is asked for its health', { call: 'kubelet.healthz', nth: 2, time: 275_000 }],
    ['when the timer is stopped', { call: 'systemd.stop', time: 275_000 }],
  ];
  for (const [what, hang] of hangs) {
    test(`fires while the installer hangs ${what}, and the installer notices`, async () => {
      const node = newNode('host');
      const before = node.disk();
      const outcome = await start(node, { hang }).installation.install(desired('host'));
      assertVerdict(outcome, 'rolled back');
      assert.equal(hasFlag(node), false);
      assert.equal(node.kubelet.activeState, 'active');
      const { [`${stateDirectory}/journal.json`]: _, ...left } = node.disk();
      assert.deepEqual(left, before);
      assertVerdict(await install(node, 'host'), 'installed');
    });
  }

  test('has nothing to do after a run that has ended', async () => {
    const node = newNode('host');
    await install(node, 'host');
    const before = node.disk();
    assertVerdict(await start(node).installation.rollBack(), 'nothing to do');
    assert.deepEqual(node.disk(), before);
  });
});

for (const mode of modes) {
  for (const tree of ['kubeadm', 'kind', 'k3s'] as const) {
    test(`a lost journal, and lines of others in all of our units: ours go, theirs stay (${mode}, ${tree})`, async () => {
      const node = newNode(mode, tree);
      const before = node.disk();
      await install(node, mode);
      node.files.delete(`${stateDirectory}/journal.json`);
      const expected = { ...before };
      for (const [path, file] of node.files) {
        if (!path.startsWith('/etc/systemd/system/') || !file.text.includes('# BEGIN kubelet-image'))
          continue;
        file.text = file.text.replace('# END', '# theirs\n# END');
        expected[path] = '644 # theirs\n';
      }
      node.reload();
      assertVerdict(await uninstall(node), 'uninstalled');
      assert.equal(hasFlag(node), false);
      assert.deepEqual(node.disk(), expected);
      assert.deepEqual([...node.active], []);
      assert.deepEqual(leftInRun(node), []);
      assertVerdict(await uninstall(node), 'nothing to do');
    });
  }
}

test('a runtime that waits for kubelet: nothing is changed, and the cycle is told', async () => {
  const waiting = '[Unit]\nAfter=kubelet.service\n[Service]\nExecStart=/usr/bin/containerd\n';
  const node = newNode('host');
  node.files.set('/etc/systemd/system/containerd.service', { text: waiting, mode: 0o644 });
  node.reload();
  const before = node.disk();
  const outcome = await install(node, 'host');
  assertVerdict(outcome, 'rolled back');
  assert.match(
    outcome.reasons.join(),
    /before itself: kubelet-image-service\.service after containerd\.service after kubelet\.service/,
  );
  node.files.delete(`${stateDirectory}/journal.json`); // what failed is remembered
  assert.deepEqual(node.disk(), before);
  assert.equal(node.starts, 1);
});

test('an executable that was there already is taken away with the rest', async () => {
  const node = newNode('host');
  const before = node.disk();
  node.files.set(executable, { text: 'executable 1', mode: 0o755 });
  assertVerdict(await install(node, 'host'), 'installed');
  const journal = parseJournal(node.files.get(`${stateDirectory}/journal.json`)?.text ?? '');
  assert.ok(journal?.record[executable], 'the record has the executable');
  assertVerdict(await uninstall(node), 'uninstalled');
  assert.deepEqual(node.disk(), before);
});

test('a change of the mode stops what the earlier one needed, after kubelet has left it', async () => {
  const node = newNode('host');
  const before = node.disk();
  await install(node, 'host');
  assertVerdict(await install(node, 'credential-provider'), 'installed');
  assert.deepEqual([...node.active], []);
  assert.ok(
    node.kubelet.argv.every((word) => !word.startsWith('--image-service-endpoint')),
    'no endpoint',
  );
  assertVerdict(await uninstall(node), 'uninstalled');
  assert.deepEqual(node.disk(), before);
});
