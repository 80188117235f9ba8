import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { tinyImage } from '../../src/testing/tiny-image.js';
import { failedWith, succeeded } from './harness/command.js';
import { startContainerd, writeHosts } from './harness/containerd.js';
import { startDockerRegistry } from './harness/docker-registry.js';
import { startDockerd } from './harness/dockerd.js';
import { refuseSecrets, upload } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { podman } from './harness/podman.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const password = 'wonder land';

// The harness itself: every client against docker-registry alone. What fails here says nothing about the proxy.
test('without the proxy', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'podman', 'buildah')) return;
  const workspace = await openWorkspace();
  t.after(async () => {
    await workspace.close();
    assert.ok(!existsSync(workspace.directory), '!existsSync(workspace.directory)');
    assert.ok(
      !readFileSync('/proc/self/mounts', 'utf8').includes(workspace.directory),
      "!readFileSync('/proc/self/mounts', 'utf8').includes(workspace.directory)",
    );
  });
  const open = await startDockerRegistry(workspace);
  const closed = await startDockerRegistry(workspace, { kind: 'htpasswd', users: { alice: password } });
  const image = writeOciLayout(workspace, 'tiny', tinyImage('hello'));
  await upload(workspace, image, `${open.host}/team/tiny:1`);
  await upload(workspace, image, `${closed.host}/team/tiny:1`, `alice:${password}`);

  await t.test('skopeo logs in and pulls', async () => {
    const client = skopeo(workspace);
    const tiny = `docker://${closed.host}/team/tiny:1`;
    failedWith(await client(['inspect', '--tls-verify=false', tiny]), /authentication required|unauthorized/);
    const login = ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', closed.host];
    failedWith(await client(login, 'wrong'), /invalid username|unauthorized/i);
    succeeded(await client(login, password));
    const inspected = succeeded(await client(['inspect', '--tls-verify=false', tiny]));
    assert.ok(inspected.stdout.includes(image.digest), 'inspected.stdout.includes(image.digest)');
  });

  await t.test('podman and buildah pull', async () => {
    const client = podman(workspace);
    const login = ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', closed.host];
    succeeded(await client.podman(login, password));
    succeeded(await client.podman(['pull', '--tls-verify=false', `${closed.host}/team/tiny:1`]));
    succeeded(
      await client.buildah(['pull', '--tls-verify=false', `${closed.host}/team/tiny@${image.digest}`]),
    );
  });

  await t.test('docker logs in, pulls and pushes', async () => {
    const { docker } = await startDockerd(workspace);
    const login = ['login', '-u', 'alice', '--password-stdin', closed.host];
    failedWith(await docker(login, { input: 'wrong' }), /unauthorized/i);
    succeeded(await docker(login, { input: password }));
    succeeded(await docker(['pull', `${closed.host}/team/tiny:1`]));
    succeeded(await docker(['tag', `${closed.host}/team/tiny:1`, `${closed.host}/team/other:2`]));
    succeeded(await docker(['push', `${closed.host}/team/other:2`]));
  });

  await t.test('containerd pulls, and from a mirror', async () => {
    const containerd = await startContainerd(workspace);
    succeeded(await containerd.pull(`${open.host}/team/tiny:1`, ['--plain-http']));
    const user = ['--plain-http', '--user', `alice:${password}`];
    succeeded(await containerd.pull(`${closed.host}/team/tiny:1`, user));
    const hosts = writeHosts(workspace, 'docker.io', open.url);
    succeeded(await containerd.pull('docker.io/team/tiny:1', ['--hosts-dir', hosts]));
    assert.ok(open.output().includes('ns=docker.io'), "open.output().includes('ns=docker.io')");
  });
});

test('secrets in an output are found', () => {
  const secrets = ['hunter2', Buffer.from('alice:hunter2').toString('base64')];
  const clean = '{"msg":"serving"}\n{"msg":"authorization: [secret]"}\n';
  refuseSecrets(clean, secrets);
  const token = ['eyJhbGciOiJFUzI1NiJ9', 'eyJzdWIiOiJhbGljZSJ9', 'c2lnbmF0dXJlLW9mLWl0'].join('.');
  for (const shown of ['password=hunter2', `Basic ${secrets[1]}`, `Bearer ${token}`]) {
    assert.throws(() => refuseSecrets(`${clean}{"msg":"${shown}"}\n`, secrets), /secrets in the output/);
  }
  assert.throws(() => refuseSecrets('', secrets), /wrote nothing/);
});
