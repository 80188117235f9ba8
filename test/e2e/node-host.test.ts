import assert from 'node:assert/strict';
import { test } from 'node:test';
import { succeeded } from './harness/command.js';
import { dropIn, InstalledNode, imageEndpoint, startSurroundings } from './harness/installed-node.js';
import type { KubeletPlatform } from './harness/kubelet-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { openWorkspace } from './harness/workspace.js';

// Host mode on a node with a real systemd, in front of a real containerd; a stand-in for kubelet.

test('host mode', { concurrency: 2 }, async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace);

  const platforms: readonly KubeletPlatform[] = ['kubeadm', 'gke-cos'];
  const onPlatforms = platforms.map((platform) =>
    t.test(`on ${platform}: install, pull, again, reboot, uninstall`, async () => {
      const n = await InstalledNode.start(around, { name: platform, platform });
      const before = n.kubelet.disk();
      const starts = n.kubelet.starts();

      const planned = succeeded(
        await n.ours('plan', '--config', around.config, '--executable', around.executable),
      );
      assert.match(planned.stdout, /90-kubelet-image-service\.conf/);
      assert.deepEqual(n.kubelet.disk(), before, 'a plan changes nothing');

      await n.installed();
      assert.equal(n.kubelet.starts(), starts + 1, 'kubelet is restarted once');
      assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
      assert.equal(await n.kubelet.isHealthy(1_000), true, 'kubelet is not healthy');

      const image = await around.newImage('private');
      const pod = await n.kubelet.startPod(image);
      assert.deepEqual(
        [pod?.pulled, pod?.through],
        [true, imageEndpoint],
        'the private image was not pulled',
      );

      const installed = n.disk();
      const pid = await n.kubelet.mainPid();
      assert.match((await n.installed()).stdout, /nothing to do/);
      assert.deepEqual(n.disk(), installed, 'a second install changed the disk');
      assert.equal(await n.kubelet.mainPid(), pid, 'a second install restarted kubelet');

      await n.node.reboot();
      assert.equal(await n.kubelet.isHealthy(60_000), true, 'kubelet is not healthy after a reboot');
      assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint, 'after a reboot');
      assert.notEqual(
        await n.kubelet.startPod(await around.newImage('private')),
        undefined,
        'after a reboot',
      );

      succeeded(await n.uninstall());
      assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
      assert.equal(await n.kubelet.imageEndpoint(), undefined);
      assert.equal(await n.kubelet.isHealthy(1_000), true, 'kubelet is not healthy');
      assert.notEqual(
        await n.kubelet.startPod(await around.newImage('open')),
        undefined,
        'no pod can be started',
      );
    }),
  );

  const edited = t.test('what somebody else has changed meanwhile stays', async () => {
    const n = await InstalledNode.start(around, { name: 'edited' });
    const before = n.kubelet.disk();
    await n.installed();
    const settings = '/etc/default/kubelet';
    const setting = 'KUBELET_EXTRA_ARGS="--node-labels=example.com/pool=b"\n';
    n.node.write(settings, setting);
    const theirs = '# added by an administrator\n[Service]\nEnvironment=THEIRS=1\n';
    n.node.write(dropIn, `${n.node.read(dropIn)}${theirs}`);
    await n.node.systemctl('daemon-reload');

    assert.match((await n.installed()).stdout, /nothing to do/);
    assert.ok(n.node.read(dropIn).endsWith(theirs), 'a second install took their lines away');
    assert.equal(n.node.read(settings), setting);

    // Inside of ours: it is not ours to change any more.
    const changed = n.node
      .read(dropIn)
      .replace('After=kubelet-image-service.service', 'After=local-fs.target');
    n.node.write(dropIn, changed);
    await n.node.systemctl('daemon-reload');
    const again = await n.install();
    assert.match(again.output, /kept, for it is not as we wrote it: .*90-kubelet-image-service\.conf/);
    assert.equal(n.node.read(dropIn), changed);

    succeeded(await n.uninstall());
    const left = n.node.read(dropIn);
    assert.ok(left.includes(theirs), 'an uninstall took their lines away');
    assert.ok(left.includes('After=local-fs.target'), 'an uninstall took their line within ours away');
    assert.doesNotMatch(left, /ExecStartPre|EnvironmentFile/);
    n.node.remove(dropIn);
    n.node.write(settings, 'KUBELET_EXTRA_ARGS="--node-labels=example.com/pool=a,example.com/zone=b"\n');
    assert.deepEqual(n.kubelet.disk(), before, 'everything else is as it was');
    assert.equal(await n.kubelet.imageEndpoint(), undefined);
    assert.equal(await n.kubelet.isHealthy(10_000), true, 'kubelet is not healthy');
  });
  await Promise.all([...onPlatforms, edited]);
});
