import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyImage } from '../../src/testing/tiny-image.js';
import { startDockerHub } from '../clouds/harness/docker-hub.js';
import { secretsIn } from '../clouds/harness/front-secrets.js';
import { startGhcr } from '../clouds/harness/ghcr.js';
import { startGitlab } from '../clouds/harness/gitlab.js';
import { startHarbor } from '../clouds/harness/harbor.js';
import { startJfrog } from '../clouds/harness/jfrog.js';
import { startQuay } from '../clouds/harness/quay.js';
import { passwordCloud, startClouds } from './harness/clouds.js';
import { acr, ecr, ecrPublic, google } from './harness/clouds-by-identity.js';
import { succeeded } from './harness/command.js';
import { writeHtpasswd } from './harness/docker-registry.js';
import { startDockerd } from './harness/dockerd.js';
import { refuseSecrets } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { proxyAddress, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const clouds = [
  passwordCloud('hub', 'docker.io', 'acme-ci', startDockerHub),
  passwordCloud('quay', 'quay.io', 'acme+ci', startQuay),
  passwordCloud('ghcr', 'ghcr.io', 'acme-ci', startGhcr),
  passwordCloud('gitlab', 'registry.gitlab.com', 'gitlab+deploy-token-1', startGitlab),
  passwordCloud('harbor', 'harbor.example.com', 'robot$acme+ci', startHarbor),
  passwordCloud('jfrog', 'acme.jfrog.io', 'ci@acme.example', startJfrog),
  google,
  ecr,
  ecrPublic,
  acr,
];

test('real clients, and every registry by its own name', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { world, storage, upstreams, routes, env, secrets, leaks } = await startClouds(workspace, clouds);
  const password = 'w0nderland';
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password });
  const configuration = {
    ...{ upstreams, routes },
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:alice'], repositories: ['**'], actions: ['pull', 'push'] }],
    log: { level: 'debug' },
  };
  const [proxy, { docker }] = await Promise.all([
    startProxy(workspace, await proxyAddress(), configuration, { env }),
    startDockerd(workspace),
  ]);
  const { host } = proxy;
  const copier = skopeo(workspace);
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', host], { input: password }));
  const login = ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', host];
  succeeded(await copier(login, password));

  for (const { name } of clouds) {
    await t.test(`${name}: skopeo pushes and pulls, docker pulls and pushes`, async () => {
      const image = writeOciLayout(workspace, name, tinyImage(`${name} sends its regards\n`));
      const pushed = `${host}/${name}/app:1`;
      const layout = `oci:${image.directory}:latest`;
      succeeded(await copier(['copy', '--all', '--dest-tls-verify=false', layout, `docker://${pushed}`]));
      assert.equal(await digestAt(storage.host, `acme/${name}/app`, '1'), image.digest);
      const target = `dir:${workspace.path(`pulled-${name}`)}`;
      succeeded(await copier(['copy', '--all', '--src-tls-verify=false', `docker://${pushed}`, target]));
      const { stdout } = succeeded(await docker(['pull', pushed]));
      assert.ok(stdout.includes(image.digest), stdout);
      const again = `${host}/${name}/again:1`;
      succeeded(await docker(['tag', pushed, again]));
      const digest = /digest: (sha256:\w+)/.exec(succeeded(await docker(['push', again])).stdout)?.[1];
      assert.ok(digest !== undefined, 'docker push names the digest');
      assert.equal(await digestAt(storage.host, `acme/${name}/again`, '1'), digest);
    });
  }

  await t.test('no secret is at another host, nor in the output of the proxy', () => {
    const known = secrets();
    assert.ok(known.length >= clouds.length, `${known.length} secrets`);
    assert.deepEqual(leaks(), []);
    assert.deepEqual(world.unknownNames, []);
    refuseSecrets(proxy.output(), [password]);
    assert.deepEqual(secretsIn(proxy.output(), known), []);
  });
});

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** What the storage has, past every front. */
async function digestAt(storage: string, repository: string, tag: string): Promise<string | null> {
  const url = `http://${storage}/v2/${repository}/manifests/${tag}`;
  const answer = await fetch(url, { method: 'HEAD', headers: { accept: manifestTypes } });
  return answer.headers.get('docker-content-digest');
}
