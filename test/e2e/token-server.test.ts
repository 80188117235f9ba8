import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyImage } from '../../src/testing/tiny-image.js';
import { failedWith, succeeded } from './harness/command.js';
import { startDockerRegistry, writeHtpasswd } from './harness/docker-registry.js';
import { startDockerd } from './harness/dockerd.js';
import { freePort } from './harness/free-port.js';
import { upload } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { proxyAddress, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;
const password = 'w0nder+land';

// A registry that trusts our tokens (distribution, "Token Authentication Specification"), used by clients directly,
// and again behind the proxy.
test('docker-registry with our token endpoint', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const address = await proxyAddress();
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password, bob: password, robot: password });
  workspace.file('proxy/robot-password', password);
  const credentials = { type: 'static', username: 'robot', password: { file: 'robot-password' } };
  const everything = { repositories: ['**'], actions: ['pull', 'push'], services: [host] };
  const proxy = await startProxy(workspace, address, {
    upstreams: { behind: { url: `http://${host}`, credentials, realm: `${address.url}/token` } },
    routes: [{ prefix: '', upstream: 'behind' }],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [
      { names: ['local:alice', 'local:robot'], ...everything },
      { names: ['local:bob'], repositories: ['team/**'], actions: ['pull'], services: [host] },
      { names: ['local:alice'], repositories: ['**'], actions: ['pull'] },
    ],
    token: { keys: { directory: 'keys' }, services: [host] },
    log: { level: 'debug' },
  });
  const rootCertificates = await (await fetch(`${proxy.url}/token/ca.pem`)).text();
  const auth = {
    kind: 'token',
    realm: `${proxy.url}/token`,
    service: host,
    issuer: proxy.url,
    rootCertificates,
  } as const;
  const registry = await startDockerRegistry(workspace, auth, port);
  const image = writeOciLayout(workspace, 'tiny', tinyImage('hello'));

  await t.test('publishes the keys', async () => {
    assert.match(rootCertificates, /^-----BEGIN CERTIFICATE-----/);
    const { keys } = (await (await fetch(`${proxy.url}/token/jwks.json`)).json()) as { keys: object[] };
    assert.ok(keys.length > 0, 'keys.length > 0');
    for (const key of keys) assert.ok(!('d' in key) && 'kid' in key, 'a public key with its id');
  });

  await t.test('skopeo pushes and pulls', async () => {
    await upload(workspace, image, `${registry.host}/team/tiny:1`, `alice:${password}`);
    const inspect = ['inspect', '--tls-verify=false', `docker://${registry.host}/team/tiny:1`];
    succeeded(await skopeo(workspace)([...inspect, '--creds', `bob:${password}`]));
    failedWith(await skopeo(workspace)([...inspect, '--creds', 'bob:wrong']), refused);
    failedWith(await skopeo(workspace)([...inspect, '--no-creds']), refused);
  });

  await t.test('a rule for pulling does not let push', async () => {
    const copy = ['copy', '--dest-tls-verify=false', '--dest-creds', `bob:${password}`];
    const target = `docker://${registry.host}/team/tiny:2`;
    failedWith(await skopeo(workspace)([...copy, `oci:${image.directory}:latest`, target]), refused);
  });

  await t.test('docker logs in, pulls and pushes', async () => {
    const { docker } = await startDockerd(workspace);
    const login = ['login', '-u', 'alice', '--password-stdin', registry.host];
    failedWith(await docker(login, { input: 'wrong' }), /unauthorized/i);
    succeeded(await docker(login, { input: password }));
    succeeded(await docker(['pull', `${registry.host}/team/tiny:1`]));
    succeeded(await docker(['tag', `${registry.host}/team/tiny:1`, `${registry.host}/other/tiny:1`]));
    succeeded(await docker(['push', `${registry.host}/other/tiny:1`]));
  });

  await t.test('the proxy itself pulls from it', async () => {
    const inspect = ['inspect', '--tls-verify=false', '--creds', `alice:${password}`];
    const inspected = succeeded(await skopeo(workspace)([...inspect, `docker://${proxy.host}/team/tiny:1`]));
    assert.equal(JSON.parse(inspected.stdout).Digest, image.digest);
  });

  await t.test('a token for the one host opens nothing on the other', async () => {
    const basic = Buffer.from(`alice:${password}`).toString('base64');
    const scope = 'repository:team/tiny:pull';
    const tokenFor = async (service: string) => {
      const url = `${proxy.url}/token?${new URLSearchParams({ service, scope })}`;
      const response = await fetch(url, { headers: { authorization: `Basic ${basic}` } });
      return ((await response.json()) as { token: string }).token;
    };
    const manifest = async (base: string, token: string) => {
      const headers = {
        authorization: `Bearer ${token}`,
        accept: 'application/vnd.oci.image.index.v1+json',
      };
      return (await fetch(`${base}/v2/team/tiny/manifests/1`, { headers })).status;
    };
    const forProxy = await tokenFor(proxy.host);
    const forRegistry = await tokenFor(registry.host);
    assert.equal(await manifest(proxy.url, forProxy), 200);
    assert.equal(await manifest(proxy.url, forRegistry), 401);
    assert.equal(await manifest(registry.url, forRegistry), 200);
    assert.equal(await manifest(registry.url, forProxy), 401);
  });
});
