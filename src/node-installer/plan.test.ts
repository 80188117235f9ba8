import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { type NodeTree, nodeTrees } from '../testing/node-trees.js';
import { TreeFiles } from '../testing/tree-files.js';
import type { Desired, InstallMode, Plan } from './node.js';
import { observe } from './observe.js';
import { blockOf } from './own-block.js';
import { planInstall, planUninstall } from './plan.js';
import { showPlan } from './show-plan.js';
import { readNode } from './snapshot.js';
import type { WrittenFile, WrittenRecord } from './written-record.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const executable = '/image/kubelet-image-service';
const secret = 'not-for-anybody';

function desired(mode: InstallMode, more: Partial<Desired> = {}): Desired {
  return {
    mode,
    socket: '/run/kubelet-image-service/image.sock',
    configuration: new Map([
      ['config.yaml', `password: ${secret}\n`],
      ['ca.pem', 'pem\n'],
    ]),
    configurationName: 'config.yaml',
    allow: [],
    chain: false,
    executable,
    executableHash: sha256(executable),
    version: '0.1.0',
    ...more,
  };
}

/** A node, and what was written to it. */
class Node {
  readonly files: TreeFiles;
  readonly before: Readonly<Record<string, string>>;
  #record: WrittenRecord = {};

  constructor(tree: NodeTree) {
    this.files = new TreeFiles(tree);
    this.before = this.files.texts();
  }

  get record(): WrittenRecord {
    return this.#record;
  }

  async observe(wanted?: Desired) {
    return observe(await readNode(this.files, Object.keys(this.#record)), wanted);
  }

  async planned(wanted: Desired): Promise<Plan> {
    return planInstall(wanted, await this.observe(wanted), this.#record);
  }

  async install(wanted: Desired): Promise<Plan> {
    return this.apply(await this.planned(wanted));
  }

  async uninstall(): Promise<Plan> {
    return this.apply(planUninstall(await this.observe(), this.#record));
  }

  async edit(path: string, change: (text: string) => string): Promise<void> {
    const text = this.files.files.get(path);
    assert.ok(text, path);
    await this.files.write(path, change(text.text), text.mode);
  }

  async apply(plan: Plan): Promise<Plan> {
    for (const { path, after } of plan.changes) {
      const { [path]: _, ...rest } = this.#record;
      if (after === undefined) {
        await this.files.remove(path);
        this.#record = rest;
        continue;
      }
      await this.files.write(path, after.content, after.mode);
      this.#record = { ...rest, [path]: await this.#written(path) };
    }
    return plan;
  }

  async #written(path: string): Promise<WrittenFile> {
    const block = blockOf((await this.files.read(path)) ?? '');
    return { hash: (await this.files.hash(path)) ?? '', ...(block !== undefined && { block }) };
  }
}

const modes: readonly InstallMode[] = ['host', 'pod', 'credential-provider'];
const system = '/etc/systemd/system';
const dropIn = (unit: string) => `${system}/${unit}.d/90-kubelet-image-service.conf`;

describe('a plan', () => {
  for (const [name, tree] of Object.entries(nodeTrees)) {
    for (const mode of modes) {
      test(`${name}, ${mode}: once written there is nothing to do, and uninstalling leaves no byte`, async () => {
        const node = new Node(tree);
        const plan = await node.install(desired(mode));
        if (plan.verdict === 'refused') {
          assert.deepEqual(plan.changes, []);
          assert.ok(plan.reasons.length > 1, 'it says why');
          return;
        }
        assert.equal(plan.verdict, 'install');
        assert.deepEqual((await node.planned(desired(mode))).changes, []);
        assert.equal((await node.planned(desired(mode))).verdict, 'nothing to do');
        // A lost record is no reason to write anything.
        assert.deepEqual(planInstall(desired(mode), await node.observe(desired(mode)), {}).changes, []);
        assert.equal((await node.uninstall()).verdict, 'uninstall');
        assert.deepEqual(node.files.texts(), node.before);
        assert.deepEqual(node.record, {});
        assert.equal((await node.uninstall()).verdict, 'nothing to do');
      });

      for (const next of modes.filter((one) => one !== mode)) {
        test(`${name}: from ${mode} to ${next} is as ${next} from the start`, async () => {
          const [node, fresh] = [new Node(tree), new Node(tree)];
          await node.install(desired(mode));
          await node.install(desired(next));
          const plan = await fresh.install(desired(next));
          if (plan.verdict === 'refused') return;
          assert.deepEqual(node.files.texts(), fresh.files.texts());
          assert.deepEqual(node.record, fresh.record);
        });
      }
    }
  }

  test('host: what stands where, in which order, for whom', async () => {
    const plan = await new Node(nodeTrees['gke-cos']).install(desired('host', { allow: ['exec'] }));
    const at = '/home/kubernetes';
    assert.deepEqual(
      plan.changes.map(({ path, stage, after }) => [path, stage, after?.mode.toString(8)]),
      [
        [`${at}/bin/kubelet-image-service`, 'service', '755'],
        [`${at}/kubelet-image-service/config/config.yaml`, 'service', '600'],
        [`${at}/kubelet-image-service/config/ca.pem`, 'service', '600'],
        [`${system}/kubelet-image-service.service`, 'service', '644'],
        [`${system}/kubelet-image-service-guard.service`, 'service', '644'],
        [`${system}/kubelet-image-service-guard.timer`, 'service', '644'],
        [`${system}/kubelet-image-service-lost.service`, 'service', '644'],
        [dropIn('kubelet.service'), 'kubelet', '644'],
      ],
    );
  });

  test('pod, credential-provider: no service; and no configuration in a pod', async () => {
    const names = async (mode: InstallMode) =>
      (await new Node(nodeTrees.kubeadm).install(desired(mode))).changes.map(({ path }) =>
        path.replace(/.*\//, ''),
      );
    const guard = ['guard.service', 'guard.timer', 'lost.service'].map(
      (name) => `kubelet-image-service-${name}`,
    );
    const own = ['kubelet-image-service', '90-kubelet-image-service.conf'];
    assert.deepEqual(await names('pod'), [own[0], ...guard, own[1]]);
    assert.deepEqual(await names('credential-provider'), [own[0], 'config.yaml', 'ca.pem', own[1]]);
  });

  const marked = (lines: readonly string[]) =>
    [
      '# BEGIN kubelet-image-service (written by `kubelet-image-service install`; `uninstall` takes it away)',
      ...lines,
      '# END kubelet-image-service',
      '',
    ].join('\n');
  const env = '/run/kubelet-image-service-arguments/kubelet.env';
  const socket = 'unix:///run/kubelet-image-service/image.sock';

  async function textOf(tree: NodeTree, wanted: Desired, path: string): Promise<string | undefined> {
    const node = new Node(tree);
    await node.install(wanted);
    return node.files.read(path);
  }

  test('the drop-in: a variable is amended', async () => {
    const text = await textOf(nodeTrees['eks-al2023'], desired('host'), dropIn('kubelet.service'));
    const exe = '/opt/kubelet-image-service/bin/kubelet-image-service';
    assert.equal(
      text,
      marked([
        '[Unit]',
        'Wants=kubelet-image-service.service kubelet-image-service-guard.timer',
        'After=kubelet-image-service.service',
        '[Service]',
        'RuntimeDirectory=kubelet-image-service-arguments',
        `ExecStartPre=-${exe} kubelet-arguments --mode host --variable NODEADM_KUBELET_ARGS --endpoint ${socket} --write ${env}`,
        `EnvironmentFile=-${env}`,
      ]),
    );
  });

  test('the drop-in: k3s is repeated as it is, and its providers are added to', async () => {
    const wanted = desired('credential-provider', { allow: ['module', 'exec'] });
    const text = await textOf(nodeTrees['k3s-agent'], wanted, dropIn('k3s-agent.service'));
    const exe = '/opt/kubelet-image-service/bin/kubelet-image-service';
    const rancher = '/var/lib/rancher/credentialprovider';
    assert.equal(
      text,
      marked([
        '[Service]',
        'RuntimeDirectory=kubelet-image-service-arguments',
        `ExecStartPre=-${exe} kubelet-arguments --mode credential-provider --variable KUBELET_IMAGE_SERVICE_ARGUMENTS --provider-config ${rancher}/config.yaml --provider-bin-directory ${rancher}/bin --config /var/lib/kubelet-image-service/config/config.yaml --allow exec --allow module --write ${env}`,
        `EnvironmentFile=-${env}`,
        'ExecStart=',
        'ExecStart=/usr/local/bin/k3s \\',
        '    agent \\',
        ' $KUBELET_IMAGE_SERVICE_ARGUMENTS',
      ]),
    );
  });

  test('the service and its guard', async () => {
    const at = '/home/kubernetes';
    const wanted = desired('host', { allow: ['exec'] });
    const service = await textOf(nodeTrees['gke-cos'], wanted, `${system}/kubelet-image-service.service`);
    for (const line of [
      'Before=kubelet.service',
      'StartLimitIntervalSec=0',
      'Type=exec',
      `ExecStart=${at}/bin/kubelet-image-service serve --config ${at}/kubelet-image-service/config/config.yaml --allow exec`,
      `ExecStartPost=${at}/bin/kubelet-image-service probe --endpoint ${socket} --timeout 20s`,
      'Restart=always',
      'RestartSec=1',
      'OOMScoreAdjust=-999',
      'UMask=0077',
    ]) {
      assert.ok(service?.split('\n').includes(line), `${line} in ${service}`);
    }
    const guard = await textOf(nodeTrees['gke-cos'], wanted, `${system}/kubelet-image-service-guard.service`);
    const command = `ExecStart=${at}/bin/kubelet-image-service guard --unit kubelet.service --endpoint ${socket}`;
    assert.ok(guard?.split('\n').includes(command), guard);
  });

  for (const mode of ['host', 'pod'] as const) {
    test(`where the executable is lost (${mode}): kubelet is started without us, once`, async () => {
      const text = (name: string) => textOf(nodeTrees['gke-cos'], desired(mode), `${system}/${name}`);
      assert.equal(
        await text('kubelet-image-service-lost.service'),
        marked([
          '[Unit]',
          'Description=Start kubelet without its image service, whose executable is gone',
          'ConditionPathExists=!/home/kubernetes/bin/kubelet-image-service',
          `ConditionFileNotEmpty=${env}`,
          'StartLimitIntervalSec=0',
          '[Service]',
          'Type=oneshot',
          'ExecStart=systemctl try-restart kubelet.service',
        ]),
      );
      const guard = await text('kubelet-image-service-guard.service');
      assert.match(guard ?? '', /^OnFailure=kubelet-image-service-lost\.service$/m);
    });
  }

  test('a command with backslash at its very end, and words that mean something to systemd', async () => {
    const tree = {
      ...nodeTrees.minikube,
      [`${system}/kubelet.service.d/20-x.conf`]:
        '[Service]\nExecStart=\nExecStart=/var/lib/minikube/kubelet \\',
    };
    const text = await textOf(
      tree,
      desired('pod', { socket: '/run/a$b %c.sock' }),
      dropIn('kubelet.service'),
    );
    assert.match(
      text ?? '',
      /^ExecStart=\/var\/lib\/minikube\/kubelet \\\n {4}\$KUBELET_IMAGE_SERVICE_ARGUMENTS$/m,
    );
    assert.match(text ?? '', /--endpoint "unix:\/\/\/run\/a\$\$b %%c\.sock" --write/);
  });

  test('a directory of its own, and another one later', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host', { directory: '/srv/one' }));
    assert.ok(node.files.files.has('/srv/one/kubelet-image-service'), 'it is there');
    const plan = await node.install(desired('host', { directory: '/srv/two' }));
    const gone = plan.changes.find(({ path }) => path === '/srv/one/kubelet-image-service');
    // kubelet's unit names it until that has been changed.
    assert.deepEqual([gone?.after, gone], [undefined, plan.changes.at(-1)]);
    assert.equal(plan.changes.at(-2)?.path, dropIn('kubelet.service'));
    await node.uninstall();
    assert.deepEqual(node.files.texts(), node.before);
  });

  test('uninstalling: what kubelet reads goes first', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    const plan = await node.uninstall();
    assert.deepEqual(
      plan.changes.map(({ stage }) => stage),
      ['kubelet', ...new Array(7).fill('service')],
    );
    assert.equal(plan.changes[0]?.path, dropIn('kubelet.service'));
  });
});

describe('what the platform changes', () => {
  test('a command that is another one now is repeated anew', async () => {
    const node = new Node(nodeTrees.minikube);
    await node.install(desired('host'));
    await node.edit(`${system}/kubelet.service.d/10-kubeadm.conf`, (text) =>
      text.replaceAll('1.33.1', '1.34.0'),
    );
    const { changes } = await node.install(desired('host'));
    assert.deepEqual(
      changes.map(({ path, stage }) => [path, stage]),
      [[dropIn('kubelet.service'), 'kubelet']],
    );
    assert.match((await node.files.read(dropIn('kubelet.service'))) ?? '', /1\.34\.0/);
    assert.equal((await node.planned(desired('host'))).verdict, 'nothing to do');
  });

  test('/etc is lost, and the record is not: the same files again', async () => {
    const node = new Node(nodeTrees['gke-cos']);
    await node.install(desired('host'));
    const installed = node.files.texts();
    for (const path of node.files.files.keys()) {
      if (path.startsWith('/etc/') && !(path in node.before)) await node.files.remove(path);
    }
    await node.install(desired('host'));
    assert.deepEqual(node.files.texts(), installed);
  });

  test('a new executable or configuration changes nothing that kubelet reads', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    const configuration = new Map([['config.yaml', 'new\n']]);
    const wanted = desired('host', { executable: '/next', executableHash: sha256('/next'), configuration });
    const { changes } = await node.install(wanted);
    assert.deepEqual(
      changes.map(({ stage, after }) => [stage, after !== undefined]),
      [
        ['service', true],
        ['service', true],
        ['service', false],
      ],
    );
  });
});

describe('what somebody else changed', () => {
  const path = dropIn('kubelet.service');

  test('lines beside ours stay, at each step', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    await node.edit(path, (text) => `# mine\n${text}[Service]\nNice=-5`);
    assert.equal((await node.planned(desired('host'))).verdict, 'nothing to do');
    await node.install(desired('pod'));
    await node.uninstall();
    assert.equal(await node.files.read(path), '# mine\n[Service]\nNice=-5');
  });

  test('a file of theirs by our name is kept in ours', async () => {
    const tree = { ...nodeTrees.kubeadm, [path]: '[Service]\nNice=1' };
    const node = new Node(tree);
    await node.install(desired('host'));
    assert.match(
      (await node.files.read(path)) ?? '',
      /^# BEGIN[\s\S]*# END kubelet-image-service\n\[Service\]\nNice=1$/,
    );
    assert.equal((await node.planned(desired('host'))).verdict, 'nothing to do');
    await node.uninstall();
    assert.deepEqual(node.files.texts(), node.before);
  });

  test('our part edited: it stays as it is, and is told; uninstalling leaves what is theirs', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    await node.edit(path, (text) => text.replace('[Service]', '[Service]\nNice=-5'));
    const plan = await node.planned(desired('pod'));
    assert.deepEqual(plan.kept, [path]);
    assert.ok(!plan.changes.some((change) => change.path === path), 'it is not changed');
    assert.ok(
      plan.reasons.some((reason) => reason.startsWith(`${path} is not as we wrote it`)),
      'it is told',
    );
    await node.uninstall();
    assert.equal(await node.files.read(path), '[Service]\nNice=-5\n');
  });

  test('our part taken out of a file that is still there: it stays out', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    await node.edit(path, () => '# switched off for now\n');
    assert.deepEqual((await node.planned(desired('host'))).kept, [path]);
  });

  test('a copy of the configuration edited: it stays, also at the end', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    const copy = '/var/lib/kubelet-image-service/config/config.yaml';
    await node.edit(copy, () => 'mine\n');
    assert.deepEqual((await node.planned(desired('host'))).kept, [copy]);
    assert.deepEqual((await node.uninstall()).kept, [copy]);
    assert.deepEqual(node.files.texts(), { ...node.before, [copy]: 'mine\n' });
  });

  test('a file beside the copies that nobody knows stays, at each step, and is told', async () => {
    const beside = '/var/lib/kubelet-image-service/config/notes.txt';
    const node = new Node({ ...nodeTrees.kubeadm, [beside]: 'mine\n' });
    for (const plan of [
      await node.install(desired('host')),
      await node.install(desired('pod')),
      await node.uninstall(),
    ]) {
      assert.deepEqual(plan.kept, [beside]);
      assert.ok(plan.reasons.includes(`${beside} is not as we wrote it, and stays as it is`), 'it is told');
    }
    assert.deepEqual(node.files.texts(), node.before);
  });

  test('what lies where nothing of ours ever was stays', async () => {
    const beside = '/var/lib/kubelet-image-service/config/notes.txt';
    const node = new Node({ ...nodeTrees.kubeadm, [beside]: 'mine\n' });
    assert.deepEqual((await node.uninstall()).kept, [beside]);
    assert.deepEqual(node.files.texts(), node.before);
  });

  test('an executable that is not ours is replaced, one that is gone is written', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    const own = '/opt/kubelet-image-service/bin/kubelet-image-service';
    for (const harm of [() => node.edit(own, () => 'half'), () => node.files.remove(own)]) {
      await harm();
      const plan = await node.install(desired('host'));
      assert.deepEqual(
        plan.changes.map((change) => change.path),
        [own],
      );
    }
    await node.edit(own, () => 'the one that uninstalls');
    await node.uninstall();
    assert.deepEqual(node.files.texts(), node.before);
  });

  test('permissions are set right, with nothing else', async () => {
    const node = new Node(nodeTrees.kubeadm);
    await node.install(desired('host'));
    const copy = '/var/lib/kubelet-image-service/config/ca.pem';
    await node.files.write(copy, 'pem\n', 0o644);
    const plan = await node.planned(desired('host'));
    const shown = showPlan(plan, await node.observe(desired('host')));
    assert.match(shown, /^change the mode of \S+ca\.pem from 0644 to 0600$/m);
    assert.equal(plan.changes.length, 1);
    await node.apply(plan);
    const timer = `${system}/kubelet-image-service-guard.timer`;
    await node.files.write(timer, (await node.files.read(timer)) ?? '', 0o600);
    const { changes } = await node.planned(desired('host'));
    assert.deepEqual(
      changes.map((change) => [change.path, change.after?.mode]),
      [[timer, 0o644]],
    );
  });
});

describe('a plan for people', () => {
  test('diffs of units, and never what a configuration says', async () => {
    const node = new Node(nodeTrees.kubeadm);
    const first = showPlan(await node.planned(desired('host')), await node.observe(desired('host')));
    await node.install(desired('host'));
    const configuration = new Map([['config.yaml', `password: ${secret}2\n`]]);
    const next = desired('host', { configuration, socket: '/run/other.sock' });
    const second = showPlan(await node.planned(next), await node.observe(next));
    const gone = showPlan(planUninstall(await node.observe(), node.record), await node.observe());
    for (const shown of [first, second, gone]) assert.ok(!shown.includes(secret), shown);
    assert.match(
      first,
      /^verdict: install\n {2}kubeadm: kubelet\.service \(process 880\), arguments by \$KUBELET_EXTRA_ARGS\n/,
    );
    assert.match(first, /^write \S+config\.yaml \(26 bytes, sha256 [0-9a-f]{12}, mode 0600\)$/m);
    assert.match(first, /^--- \/dev\/null\n\+\+\+ \/etc\/systemd\/system\/kubelet\.service\.d\/90-/m);
    assert.match(second, /^replace \S+config\.yaml \(sha256 [0-9a-f]{12} by 27 bytes, /m);
    assert.match(second, /^-ExecStartPre=.*\n\+ExecStartPre=.*other\.sock/m);
    assert.match(second, /^remove \S+ca\.pem \(sha256 [0-9a-f]{12}\)$/m);
    assert.match(gone, /^verdict: uninstall\n/);
    assert.match(gone, /^\+\+\+ \/dev\/null$/m);
  });

  test('a refusal', async () => {
    const node = new Node(nodeTrees.talos);
    const shown = showPlan(await node.planned(desired('host')), await node.observe(desired('host')));
    assert.match(shown, /^verdict: refused\n {2}Talos Linux\n {2}Talos Linux: its system is read-only/);
  });
});
