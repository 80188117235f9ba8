import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type NodeTree, nodeTrees } from '../testing/node-trees.js';
import { TreeFiles } from '../testing/tree-files.js';
import type { Desired, InstallMode, Plan } from './node.js';
import { observe } from './observe.js';
import { unitNames } from './own-files.js';
import { planInstall } from './plan.js';
import { readNode } from './snapshot.js';

const isThere = spawnSync('systemd-analyze', ['--version']).status === 0;
const skip = isThere ? false : 'systemd-analyze is not there';

function desired(mode: InstallMode): Desired {
  const configuration = new Map([['config.yaml', '']]);
  return {
    ...{ mode, socket: '/run/a b/$c%n.sock', configuration, configurationName: 'config.yaml' },
    ...{ allow: ['exec'], chain: false, executable: '/x', executableHash: 'x', version: '0.1.0' },
  };
}

/** Programs that the units of the trees start: systemd looks whether they are there. */
const programs = [
  ...[
    '/bin/sh',
    '/bin/bash',
    '/sbin/iptables',
    '/usr/bin/kubelet',
    '/usr/local/bin/kubelet',
    '/usr/local/bin/k3s',
    '/usr/bin/systemctl',
  ],
  ...['/usr/local/bin/rke2', '/home/kubernetes/bin/kubelet', '/var/lib/minikube/binaries/v1.33.1/kubelet'],
];
const targets = ['basic', 'network-online', 'shutdown', 'sysinit'];

function writeTree(t: TestContext, tree: NodeTree, { changes }: Plan): string {
  const root = mkdtempSync(join(tmpdir(), 'units-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (path: string, text: string, mode: number) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    chmodSync(join(root, path), mode);
  };
  for (const [path, text] of Object.entries(tree)) {
    if (path.includes('/systemd/') && typeof text === 'string') write(path, text, 0o644);
  }
  for (const program of programs) write(program, '#!/bin/sh\n', 0o755);
  for (const target of targets) write(`/usr/lib/systemd/system/${target}.target`, '[Unit]\n', 0o644);
  for (const { path, after } of changes) {
    if (after) write(path, typeof after.content === 'string' ? after.content : '#!/bin/sh\n', after.mode);
  }
  return root;
}

function verify(root: string, units: readonly string[]): string {
  const options = { encoding: 'utf8', timeout: 60_000 } as const;
  const { status, stdout, stderr } = spawnSync(
    'systemd-analyze',
    ['--man=no', `--root=${root}`, 'verify', ...units],
    options,
  );
  return status === 0 ? `${stdout}${stderr}` : `exit ${status}: ${stdout}${stderr}`;
}

describe('systemd understands what is written', { skip }, () => {
  for (const [name, tree] of Object.entries(nodeTrees)) {
    test(name, async (t) => {
      for (const mode of ['host', 'pod', 'credential-provider'] as const) {
        const observed = observe(await readNode(new TreeFiles(tree)), desired(mode));
        const plan = planInstall(desired(mode), observed, {});
        if (plan.verdict === 'refused') continue;
        const own = Object.values(unitNames).filter((unit) =>
          plan.changes.some(({ path }) => path.endsWith(unit)),
        );
        const root = writeTree(t, tree, plan);
        assert.equal(verify(root, [observed.kubelet?.unit ?? '', ...own]), '', mode);
      }
    });
  }

  test('it tells what it does not understand', async (t) => {
    const tree = {
      ...nodeTrees.kubeadm,
      '/etc/systemd/system/kubelet.service.d/20-x.conf': '[Service]\nNoSuch=1\n',
    };
    const root = writeTree(t, tree, { verdict: 'install', reasons: [], changes: [], kept: [] });
    assert.match(verify(root, ['kubelet.service']), /NoSuch/);
  });
});
