import assert from 'node:assert/strict';
import { test } from 'node:test';
import { succeeded } from './harness/command.js';
import { imageWithUser, putImage } from './harness/cri-images.js';
import { startDockerRegistry } from './harness/docker-registry.js';
import { InstalledNode, type NodeSurroundings, startSurroundings } from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Credential-provider mode: kubelet runs the program for each pull, and shows real containerd what it says.

const ours = 'kubelet-image-service';
const merged = '/run/kubelet-image-service-arguments/credential-provider.yaml';
const inMode = ['--mode', 'credential-provider'] as const;

test('credential-provider mode', { concurrency: 2 }, async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace);

  const alone = t.test('on kubeadm: install, pull, again, changed, reboot, uninstall', async () => {
    const n = await InstalledNode.start(around, { name: 'alone' });
    const before = n.kubelet.disk();
    await expectRefused(n, around);

    await n.installed(...inMode);
    assert.equal(n.kubelet.starts(), 2, 'kubelet is restarted once');
    assert.equal(await n.kubelet.imageEndpoint(), undefined, 'kubelet has an endpoint');
    await expectPull(n, await around.newImage('private'));
    assert.notEqual(await n.kubelet.startPod(await around.newImage('open')), undefined, 'an open image');

    const installed = n.disk();
    const pid = await n.kubelet.mainPid();
    assert.match((await n.installed(...inMode)).stdout, /nothing to do/);
    assert.deepEqual(n.disk(), installed, 'a second install changed the disk');
    assert.equal(await n.kubelet.mainPid(), pid, 'a second install restarted kubelet');

    // Another rule: kubelet has to know of its images, and is verified with that.
    const { images } = JSON.parse(workspace.read('configuration/config.yaml')) as { images: object[] };
    const more = { match: 'docker.example.com/**', credentials: { type: 'anonymous' } };
    workspace.file('changed/alice-password', workspace.read('configuration/alice-password'));
    const changed = workspace.file('changed/config.yaml', JSON.stringify({ images: [...images, more] }));
    const again = await n.ours('install', ...inMode, '--config', changed, '--executable', around.executable);
    assert.match(succeeded(again).stdout, /install: installed/);
    assert.ok(n.node.read(merged).includes('docker.example.com'), 'kubelet does not know the new rule');
    assert.notEqual(await n.kubelet.mainPid(), pid, 'kubelet was not restarted with the new rule');

    await n.node.reboot();
    assert.equal(await n.kubelet.isHealthy(60_000), true, 'kubelet is not healthy after a reboot');
    await expectPull(n, await around.newImage('private'));

    succeeded(await n.uninstall());
    assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
    await expectRefused(n, around);
    assert.equal(await n.kubelet.isHealthy(1_000), true, 'kubelet is not healthy');
  });

  const beside = t.test("on GKE, beside the platform's own provider", async () => {
    const theirs = await startTheirs(workspace);
    const n = await InstalledNode.start(around, {
      ...{ name: 'beside', platform: 'gke-cos' },
      files: {
        [theirConfig]: theirs.config(theirs.host),
        [`${theirDirectory}/auth-provider-gcp`]: theirs.program,
        '/etc/default/kubelet': `KUBELET_OPTS="--v=2 --container-runtime-endpoint=unix://${around.containerd.socket} --image-credential-provider-config=${theirConfig} --image-credential-provider-bin-dir=${theirDirectory}"\n`,
      },
    });
    const before = n.kubelet.disk();
    await expectPull(n, await theirs.newImage(), 'auth-provider-gcp');

    await n.installed(...inMode);
    assert.deepEqual(providersOf(n), ['auth-provider-gcp', ours]);
    await expectPull(n, await theirs.newImage(), 'auth-provider-gcp');
    await expectPull(n, await around.newImage('private'));
    for (const path of [theirConfig, `${theirDirectory}/auth-provider-gcp`, '/etc/default/kubelet']) {
      assert.equal(n.disk().get(path), before.get(path), `${path} was changed`);
    }

    // What the platform changes counts at the next start.
    n.node.write(theirConfig, theirs.config('127.0.0.1:1'));
    await n.node.systemctl('restart', 'kubelet.service');
    const foreign = await n.kubelet.startPod(await theirs.newImage(), 2_000);
    assert.equal(foreign, undefined, 'their provider was asked for an image that is not theirs any more');
    await expectPull(n, await around.newImage('private'));
    // What kubelet alone understands, or nobody, is kubelet's: it runs with what the platform says, as without us.
    n.node.write(theirConfig, `${theirs.config(theirs.host)}---\n`);
    await n.node.systemctl('restart', 'kubelet.service');
    await expectPull(n, await theirs.newImage(), 'auth-provider-gcp');
    n.node.write(theirConfig, theirs.config(theirs.host));

    await n.installed(...inMode);
    assert.deepEqual(providersOf(n), ['auth-provider-gcp', ours]);

    succeeded(await n.uninstall());
    assert.deepEqual(n.kubelet.disk(), before, 'an uninstall leaves the disk as it was');
    assert.deepEqual(providersOf(n), ['auth-provider-gcp']);
    await expectPull(n, await theirs.newImage(), 'auth-provider-gcp');
    await expectRefused(n, around);
  });
  await Promise.all([alone, beside]);
});

/** @param provider by whose credential it has to be pulled */
async function expectPull(n: InstalledNode, image: string, provider = ours): Promise<void> {
  const pod = await n.kubelet.startPod(image, 20_000);
  if (pod?.pulled && pod.by === provider) return;
  const said = JSON.stringify(n.kubelet.notes().slice(-6));
  assert.fail(`${image} was not pulled by ${provider}: ${said}\n${await n.node.journal('kubelet.service')}`);
}

/** Nobody has a credential for it. */
async function expectRefused(n: InstalledNode, around: NodeSurroundings): Promise<void> {
  const pod = await n.kubelet.startPod(await around.newImage('private'), 2_000);
  assert.equal(pod, undefined, 'a private image was pulled without us');
}

/** Those that kubelet knows since its last start. */
function providersOf(n: InstalledNode): readonly string[] | undefined {
  return n.kubelet.notes().findLast(({ event }) => event === 'registered credential providers')?.names;
}

const theirConfig = '/etc/srv/kubernetes/cri_auth_config.yaml';
/** Where our executable goes, too. */
const theirDirectory = '/home/kubernetes/bin';
const theirPassword = 'of-the-platform';

/** A provider as Google's nodes have one, with a registry that it knows. */
async function startTheirs(workspace: Workspace) {
  const registry = await startDockerRegistry(workspace, { kind: 'htpasswd', users: { node: theirPassword } });
  const answer = {
    ...{ kind: 'CredentialProviderResponse', apiVersion: 'credentialprovider.kubelet.k8s.io/v1' },
    ...{ cacheKeyType: 'Registry', cacheDuration: '1m' },
    auth: { [registry.host]: { username: 'node', password: theirPassword } },
  };
  let images = 0;
  return {
    host: registry.host,
    /** @param host whose images it is asked for */
    config: (host: string) => `# written by the platform at each boot
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
  - name: auth-provider-gcp
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    matchImages:
    - "${host}"
    - "*.gcr.io"
    args:
    - get-credentials
    - --v=3
    env: [{ name: KEEP, value: "on" }]
    defaultCacheDuration: 1m
`,
    // As kubelet starts it: with these arguments, this environment, and a question.
    program: `#!/bin/sh
[ "$*:$KEEP" = get-credentials\\ --v=3:on ] && grep -q '"image":"${registry.host}/' && echo '${JSON.stringify(answer)}'
`,
    newImage: async () => {
      const name = `theirs/image-${++images}`;
      const store = { url: registry.url, credentials: `node:${theirPassword}` };
      await putImage(store, name, ['1'], imageWithUser(name));
      return `${registry.host}/${name}:1`;
    },
  };
}
