import assert from 'node:assert/strict';
import { test } from 'node:test';
import { succeeded } from './harness/command.js';
import { InstalledNode, imageEndpoint, startSurroundings } from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { openWorkspace } from './harness/workspace.js';

// Pod mode: the service runs as a container of the very kubelet that asks it.

test('pod mode: install, pull, again, update, reboot, uninstall', async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace);
  const n = await InstalledNode.start(around, {});
  const before = n.kubelet.disk();

  const early = await n.install('--mode', 'pod');
  assert.equal(early.code, 1, 'without the pod nothing is installed');
  assert.match(early.output, /the image service does not work/);
  assert.equal(n.kubelet.starts(), 1, 'kubelet was restarted for nothing');
  assert.deepEqual(n.disk(), before, 'nothing stays of a failed install');

  await n.startServicePod();
  await n.installed('--mode', 'pod');
  assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
  const pod = await n.kubelet.startPod(await around.newImage('private'));
  assert.deepEqual([pod?.pulled, pod?.through], [true, imageEndpoint], 'the private image was not pulled');

  const installed = n.disk();
  const pid = await n.kubelet.mainPid();
  assert.match((await n.installed('--mode', 'pod')).stdout, /nothing to do/);
  assert.deepEqual(n.disk(), installed, 'a second install changed the disk');

  await n.startServicePod('image-service-of-the-update');
  n.kubelet.removePod('image-service');
  assert.notEqual(await n.kubelet.startPod(await around.newImage('private')), undefined, 'after the update');
  assert.equal(await n.kubelet.mainPid(), pid, 'kubelet was restarted');

  // kubelet starts without us, starts our pod, and gets us back by the guard.
  await n.node.reboot();
  assert.equal(await n.kubelet.isHealthy(60_000), true, 'kubelet is not healthy after a reboot');
  assert.notEqual(await n.kubelet.startPod(await around.newImage('open')), undefined, 'after a reboot');
  assert.equal(await n.becomes(imageEndpoint, 150_000), true, 'the guard did not bring the endpoint back');
  assert.equal(await n.kubelet.isHealthy(30_000), true, 'kubelet is not healthy with the endpoint');
  assert.notEqual(await n.kubelet.startPod(await around.newImage('private')), undefined, 'with the endpoint');

  succeeded(await n.uninstall());
  n.kubelet.removePod('image-service-of-the-update');
  assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
  assert.equal(await n.kubelet.imageEndpoint(), undefined);
  assert.notEqual(
    await n.kubelet.startPod(await around.newImage('open')),
    undefined,
    'no pod can be started',
  );
});
