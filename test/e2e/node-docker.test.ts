import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { failedWith, succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { InstalledNode, imageEndpoint, startSurroundings } from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { nodeOfNodes } from './harness/systemd-node.js';
import { openWorkspace } from './harness/workspace.js';

// A node whose runtime is a real Docker Engine: kubelet has cri-dockerd, which a stand-in takes the place of, as its
// runtime, and asks us for images.

const standIn = fileURLToPath(new URL('harness/cri-dockerd-stand-in.mjs', import.meta.url));
const runtime = '/run/cri-dockerd.sock';

test('host mode on Docker Engine: install, pull, again, uninstall', async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const [around, dockerd] = await Promise.all([startSurroundings(workspace), startDockerd(workspace)]);
  const n = await InstalledNode.start(around, {
    runtime,
    files: {
      '/usr/lib/systemd/system/cri-docker.service': `[Service]
ExecStart=${nodeOfNodes} ${standIn} ${dockerd.socket} ${runtime}
Restart=always
`,
    },
    units: ['cri-docker.service'],
  });
  const before = n.kubelet.disk();
  // So that there is something to compare.
  const early = await n.kubelet.startPod(await around.newImage('open'));
  assert.deepEqual([early?.pulled, early?.through], [true, `unix://${runtime}`], 'kubelet cannot pull');
  const pid = await n.kubelet.mainPid();

  const ofContainerd = JSON.parse(workspace.read('configuration/config.yaml')) as { images: unknown };
  failedWith(await n.install(), /ImageFsInfo names other filesystems than the container runtime itself/);
  assert.equal(await n.kubelet.mainPid(), pid, 'kubelet was restarted for another runtime');
  assert.deepEqual(n.disk(), before, 'something stays of an install in front of another runtime');

  workspace.file('docker-node/alice-password', workspace.read('configuration/alice-password'));
  const config = workspace.file(
    'docker-node/config.yaml',
    JSON.stringify({
      listen: imageEndpoint,
      runtime: { type: 'docker', endpoint: `unix://${dockerd.socket}` },
      images: ofContainerd.images,
    }),
  );
  const install = async () => {
    const { code, output } = await n.ours('install', '--config', config, '--executable', around.executable);
    assert.equal(code, 0, `${output}\n${await n.said()}`);
    return output;
  };
  await install();
  assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
  const image = await around.newImage('private');
  const pod = await n.kubelet.startPod(image);
  assert.deepEqual([pod?.pulled, pod?.through], [true, imageEndpoint], 'the private image was not pulled');
  succeeded(await dockerd.docker(['image', 'inspect', image]));
  assert.match(await install(), /nothing to do/);

  succeeded(await n.uninstall());
  assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
  assert.equal(await n.kubelet.imageEndpoint(), undefined);
  const last = await n.kubelet.startPod(await around.newImage('open'));
  assert.equal(last?.through, `unix://${runtime}`, 'no pod can be started');
});
