import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { driver } from '../../src/credential-sources/gcp-identity.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { basic, bearer, claimsOf, type Front, sharedScope, startFront } from '../harness/index.js';
import { type GceMetadata, startGceMetadata } from './harness/gce-metadata.js';
import { type GoogleIdentity, startGoogleIdentity, virtualMachine } from './harness/google-identity.js';
import { googleAccounts } from './harness/google-token-endpoint-accounts.js';
import { startWorld, type World } from './harness/world.js';

// A machine with nothing but its identity, its metadata server, Google's keys, and the proxy.

const registry = parseRegistryHost('docker.test');
const path = '/token?service=docker.test&scope=repository:apps/web:pull,push';
const email = 'vm@acme.iam.gserviceaccount.com';

describe('a machine of Google Cloud at a proxy', () => {
  const scope = sharedScope();
  let world: World;
  let google: GoogleIdentity;
  let metadata: GceMetadata;
  let front: Front;

  before(async () => {
    world = await startWorld();
    scope.after(() => world.close());
    google = startGoogleIdentity(world);
    metadata = await startGceMetadata(googleAccounts(), google);
    scope.after(() => metadata.close());
    process.env.GCE_METADATA_HOST = metadata.host;
    scope.after(() => void delete process.env.GCE_METADATA_HOST);
    const server = `ca: world.pem, proxy: "${world.proxyUrl}"`;
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
trustedProxies: [127.0.0.1/32]
rememberLogins: { accepted: 0s, refused: 0s }
verifiers:
  - { id: build, type: gcp-identity, projects: [acme-build], audiences: [docker.test], ${server} }
  - { id: shop, type: gcp-identity, projects: [acme-shop], audiences: [shop.docker.test], ${server} }
  - id: people
    type: oidc
    issuer: https://accounts.google.com
    audiences: [docker.test]
    requiredClaims: { hd: acme.example }
    usernameClaim: email
    ca: world.pem
    proxy: "${world.proxyUrl}"
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { names: ["build:*"], attributes: { zone: europe-west1-b }, repositories: ["apps/**"], actions: [pull] }
  - names: ["shop:*"]
    when: 'principal.attributes.serviceAccount == "${email}" && principal.attributes.projectId == "acme-shop"'
    repositories: ["apps/**"]
    actions: [push]
`,
      { files: { 'world.pem': world.authority } },
    );
  });
  beforeEach(() => {
    metadata.machine = virtualMachine;
  });

  /** @returns the principal and what it was granted, or the status */
  async function login(authorization: string, from = '192.0.2.1'): Promise<string> {
    const answer = await front.send(path, { headers: { authorization, 'x-forwarded-for': from } });
    if (answer.status !== 200) return String(answer.status);
    const { sub, access } = claimsOf((JSON.parse(answer.text) as { token: string }).token);
    return [sub, ...access.map(({ name, actions }) => `${name}:${actions}`)].join(' ');
  }

  /** What docker would send, as the machine's source gives it. */
  async function identity(settings: object = {}): Promise<string> {
    const source = await driver.open(driver.config.parse(settings), {
      ...{ id: 'gce', baseDirectory: '/', clock: new FakeClock(Date.now()) },
      ...{ log: new FakeLog(), metrics: new FakeMetrics() },
    });
    const credential = await source.credentialFor({ registry }, { signal: new AbortController().signal });
    await source.close();
    assert.ok(credential?.kind === 'basic', 'no user and password');
    return basic(credential.username, credential.password.reveal());
  }

  test('logs in with its identity, and pulls what the rules say', async () => {
    const shown = await identity();
    for (let i = 0; i < 3; i++) {
      assert.equal(await login(shown), 'build:acme-build/europe-west1-b/builder-1 apps/web:pull');
    }
    assert.equal(google.given.length > 0 && front.log().includes(google.given.at(-1) ?? ''), false);
  });

  test('may show the bare token, too', async () => {
    const token = google.fullToken('docker.test', virtualMachine, email);
    for (const shown of [bearer(token), basic('_gcp', token)]) {
      assert.equal(await login(shown), 'build:acme-build/europe-west1-b/builder-1 apps/web:pull');
    }
  });

  test('of another project is refused, and the log says which', async () => {
    metadata.machine = { ...virtualMachine, projectId: 'mallory', projectNumber: 666, instanceName: 'm-1' };
    assert.equal(await login(await identity()), '401');
    await front.logLine(({ reason, verifier }) => {
      const says =
        /the project mallory is not one of `projects` \(the instance m-1 of the project mallory \(666\)\)/;
      return verifier === 'build' && says.test(String(reason));
    });
  });

  test('is judged by the verifier of its audience', async () => {
    metadata.machine = { ...virtualMachine, projectId: 'acme-shop', instanceName: 'shop-1' };
    const shown = await identity({ audience: 'shop.docker.test' });
    assert.equal(await login(shown), 'shop:acme-shop/europe-west1-b/shop-1 apps/web:push');
    assert.equal(await login(await identity({ audience: 'gcr.io' })), '401');
  });

  test('cannot be played by who has seen its token, from elsewhere', async () => {
    const shown = await identity();
    assert.match(await login(shown), /^build:/);
    assert.equal(await login(shown, '198.51.100.7'), '401');
    await front.logLine(({ reason }) => /builder-1 .*was bound to 192\.0\.2\.1/.test(String(reason)));
    assert.match(await login(shown), /^build:/);
  });

  test('is not locked out by others behind its address', async () => {
    metadata.machine = { ...virtualMachine, projectId: 'mallory' };
    for (let i = 0; i < 12; i++) {
      metadata.machine = { ...metadata.machine, instanceName: `m-${i}` };
      assert.equal(await login(await identity()), '401');
      assert.equal(await login(await identity({ audience: `audience-${i}` })), '401');
    }
    metadata.machine = virtualMachine;
    assert.match(await login(await identity()), /^build:/);
  });

  test('leaves people with tokens of the same issuer to the oidc verifier', async () => {
    const alice = google.standardToken('docker.test', {
      ...{ email: 'alice@acme.example', email_verified: true, hd: 'acme.example' },
    });
    assert.equal(await login(bearer(alice)), 'people:alice@acme.example');
    assert.equal(await login(basic('token', alice)), 'people:alice@acme.example');
    assert.equal(await login(basic('_gcp', alice)), '401');
  });
});
