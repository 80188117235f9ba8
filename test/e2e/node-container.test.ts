import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import { requireProgram } from '../../src/testing/programs.js';
import { manifests, manifestsFor, render } from '../deploy/kustomize.js';
import { workloadsOf } from '../deploy/promises.js';
import { InstalledNode, imageEndpoint, startSurroundings } from './harness/installed-node.js';
import { NodeContainer } from './harness/node-container.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

// The DaemonSet's way: installed from a container that has what the manifests of deploy/kubernetes mount, and no more.

/** By the folder of an overlay: the pod of the DaemonSet that installs. @returns undefined where it was skipped */
async function installersOf<K extends string>(
  t: TestContext,
  overlays: readonly K[],
): Promise<Readonly<Record<K, IPodSpec>> | undefined> {
  const kubectl = requireProgram(t, 'kubectl', 'kubernetes-client');
  if (kubectl === undefined) return undefined;
  const from = await manifestsFor(kubectl);
  t.after(() => void (from !== manifests && rmSync(from, { recursive: true, force: true })));
  const pods = overlays.map(async (name) => {
    const all = workloadsOf(await render(kubectl, join(from, 'image-service/overlays', name)));
    const found = all.find(({ metadata }) => metadata.name === 'kubelet-image-service');
    return [name, found?.spec.template.spec ?? assert.fail(`${name} has no installer`)] as const;
  });
  return Object.fromEntries(await Promise.all(pods)) as Record<K, IPodSpec>;
}

const readyTime = 120_000;

test('installed by the DaemonSet', { concurrency: 2 }, async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const pods = await installersOf(t, [
    'kubeadm/host',
    'kubeadm/uninstall',
    'gke/credential-provider',
    'gke/uninstall',
  ]);
  if (pods === undefined) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace);
  const { executable, registry } = around;
  const config = workspace.read('configuration/config.yaml');
  const password = workspace.read('configuration/alice-password');
  const more = ['--executable', '/opt/kubelet-image-service/bin/kubelet-image-service'];

  async function becomesReady(n: InstalledNode, container: NodeContainer): Promise<void> {
    const file = `${container.volume('ready')}/ready`;
    if (await waitFor(() => n.node.exists(file), readyTime)) return;
    assert.fail(`it did not become ready:\n${await container.output()}\n${await n.said()}`);
  }
  const pulls = async (n: InstalledNode, time = 20_000) =>
    (await n.kubelet.startPod(await around.newImage('private'), time))?.pulled ?? false;

  const onKubeadm = t.test('host mode on kubeadm: installed, changed, stopped, removed', async () => {
    const n = await InstalledNode.start(around, { name: 'kubeadm' });
    const before = n.kubelet.disk();
    const [pod, removal] = [pods['kubeadm/host'], pods['kubeadm/uninstall']];
    // A configuration that is fine, and has a password that is not.
    const files = { 'config.yaml': config, 'alice-password': 'of-yesterday' };
    const container = await NodeContainer.start(n.node, { name: 'installer', pod, executable, files, more });
    await becomesReady(n, container);
    assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
    assert.equal(await pulls(n, 2_000), false, 'a pull with a wrong password');

    const pid = await n.kubelet.mainPid();
    container.project('configuration', { ...files, 'alice-password': password });
    assert.equal(await pulls(n, 60_000), true, 'the changed configuration does not count');
    assert.equal(await n.kubelet.mainPid(), pid, 'a changed configuration restarted kubelet');
    assert.ok(n.node.exists(`${container.volume('ready')}/ready`), 'it is not ready any more');

    const installed = n.disk();
    assert.equal(await container.stop(), 0, await container.output());
    assert.deepEqual(n.disk(), installed, 'SIGTERM changed the disk');
    assert.equal(await n.kubelet.mainPid(), pid, 'SIGTERM restarted kubelet');
    assert.equal(await pulls(n), true, 'without the container');

    const remover = await NodeContainer.start(n.node, { name: 'remover', pod: removal, executable, more });
    await becomesReady(n, remover);
    assert.deepEqual(n.kubelet.disk(), before, 'the disk is as it was');
    assert.equal(await n.kubelet.imageEndpoint(), undefined);
    assert.equal(await n.kubelet.isHealthy(5_000), true, 'kubelet is not healthy');
    assert.equal(await remover.stop(), 0, await remover.output());
    assert.deepEqual(n.kubelet.disk(), before, 'the disk is as it was, after SIGTERM');
  });

  const onGke = t.test('credential-provider mode on GKE: installed, /etc lost, removed', async () => {
    const n = await InstalledNode.start(around, { name: 'gke', platform: 'gke-cos' });
    const before = n.kubelet.disk();
    const pod = pods['gke/credential-provider'];
    const { images } = JSON.parse(config) as { images: unknown };
    const files = { 'config.yaml': JSON.stringify({ images }), 'alice-password': password };
    const options = { pod, executable, files, more };
    const container = await NodeContainer.start(n.node, { name: 'installer', ...options });
    await becomesReady(n, container);
    assert.equal(await pulls(n), true, `a private image of ${registry.host}`);

    await n.node.reboot({ etcLost: true });
    assert.equal(await n.kubelet.isHealthy(60_000), true, 'kubelet is not healthy after a reboot');
    assert.equal(await pulls(n, 2_000), false, 'without our drop-in');
    const next = await NodeContainer.start(n.node, { name: 'installer', ...options });
    await becomesReady(n, next);
    assert.equal(await pulls(n), true, 'after a reboot');
    assert.equal(await next.stop(), 0, await next.output());

    const remover = { name: 'remover', pod: pods['gke/uninstall'], executable, more };
    await becomesReady(n, await NodeContainer.start(n.node, remover));
    assert.deepEqual(n.kubelet.disk(), before, 'the disk is as it was');
    assert.equal(await pulls(n, 2_000), false, 'a private image, when we are gone');
  });
  await Promise.all([onKubeadm, onGke]);
});
