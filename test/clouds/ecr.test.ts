import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProxyAgent, request } from 'undici';
import { bytesOf, FakeClock, type ImageFiles, tinyImage } from '../../src/testing/index.js';
import { requirePrograms } from '../e2e/harness/require-programs.js';
import { openWorkspace, type Workspace } from '../e2e/harness/workspace.js';
import {
  assertError,
  type Front,
  openUpload,
  pushBlob,
  pushImage,
  send,
  startFront,
} from '../harness/index.js';
import { awsEnvironment, keysInEnvironment } from './harness/aws-house.js';
import { AwsIdentities, type AwsKeys, owner } from './harness/aws-identities.js';
import { type EcrApi, startEcrApi } from './harness/ecr-api.js';
import { startEcrPublicRegistry } from './harness/ecr-public-registry.js';
import { type EcrRegistry, startEcrRegistry } from './harness/ecr-registry.js';
import { hostsThatSaw, secretsIn } from './harness/front-secrets.js';
import { type Storage, startStorage } from './harness/storage.js';
import { startWorld, type World } from './harness/world.js';

// The whole proxy before Amazon ECR: its real host names, its API, its registry and its bucket; behind them a
// docker-registry.

const hour = 3_600_000;
const image = tinyImage('ecr');

interface Registry {
  readonly registry: EcrRegistry;
  readonly api: EcrApi;
  readonly front: Front;
  readonly clock: FakeClock;
}

describe('Amazon ECR', () => {
  let workspace: Workspace | undefined;
  let world: World;
  let storage: Storage;
  let dispatcher: ProxyAgent;
  let regions = 0;

  before(async (t) => {
    if (!requirePrograms(t as TestContext)) return;
    workspace = await openWorkspace('waiting');
    world = await startWorld();
    dispatcher = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
    storage = await startStorage(workspace);
    await putThere('team/app', image);
  });
  after(async () => {
    await dispatcher?.destroy();
    await world?.close();
    await workspace?.close();
  });

  /** Into the storage, past the registry. */
  async function putThere(repository: string, files: ImageFiles): Promise<void> {
    const port = Number(storage.host.split(':')[1]);
    const answer = await pushImage((path, options) => send(port, path, options), repository, 'v1', files);
    assert.equal(answer.status, 201, answer.text);
  }

  /** A user with keys in the environment. */
  function newUser(t: TestContext): { identities: AwsIdentities; keys: AwsKeys } {
    const identities = new AwsIdentities();
    const keys = identities.user('proxy');
    awsEnvironment(t, workspace?.directory ?? '/nowhere', keysInEnvironment(keys));
    return { identities, keys };
  }

  const way = () => `proxy: "${world.proxyUrl}", ca: world.pem`;
  const files = () => ({ files: { 'world.pem': world.authority } });

  /** A registry in a region of its own, and a proxy in front of it. */
  async function open(
    t: TestContext,
    { identities }: { identities: AwsIdentities },
    { settings = '', blobs = 'stream' }: { settings?: string; blobs?: string } = {},
  ): Promise<Registry> {
    const region = `eu-test-${++regions}`;
    const api = startEcrApi(world, identities, { region });
    const registry = startEcrRegistry(world, storage, api, owner);
    registry.addRepository('team/app');
    const clock = new FakeClock(Date.now());
    api.now = () => clock.now();
    const front = await startFront(
      t,
      `
upstreams:
  one: { url: ${registry.host}, blobs: ${blobs}, ${way()}, credentials: { ${way()}${settings} } }
routes: [{ prefix: "", upstream: one }]
`,
      { ...files(), clock },
    );
    return { registry, api, front, clock };
  }

  /** Ends the tests of this machine where a program is missing. */
  function check(t: TestContext): boolean {
    if (workspace === undefined) t.skip('a program is missing');
    return workspace !== undefined;
  }

  const alice = (front: Front) => (path: string, options?: Parameters<Front['sendAs']>[2]) =>
    front.sendAs('alice', path, options);
  const [layer] = image.blobs;
  const blobPath = (name = 'team/app') => `/v2/${name}/blobs/${layer?.digest}`;
  const getManifest = (front: Front, name = 'team/app') =>
    front.sendAs('alice', `/v2/${name}/manifests/v1`, { headers: { accept: image.root.mediaType } });

  test('is pulled from with a type that its host chose, and its password reaches nobody else', async (t) => {
    if (!check(t)) return;
    const user = newUser(t);
    const { registry, api, front } = await open(t, user);
    const manifest = await getManifest(front);
    assert.deepEqual([manifest.status, manifest.text], [200, image.root.bytes.toString()]);
    const head = await front.sendAs('alice', blobPath(), { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['docker-content-digest']], [200, layer?.digest]);
    const blob = await front.sendAs('alice', blobPath());
    assert.ok(layer !== undefined && blob.body.equals(bytesOf(layer)), `the layer: ${blob.status}`);
    assert.deepEqual(api.asked, ['GetAuthorizationToken'], 'one token for everything');
    const atBucket = world.requestsTo(registry.storageHost.host);
    assert.ok(atBucket.length > 0, 'the layer came from the bucket');
    assert.ok(
      atBucket.every(({ headers }) => headers.authorization === undefined),
      'nothing was shown to the bucket',
    );
    for (const password of api.passwords.keys()) {
      assert.deepEqual(hostsThatSaw(world, password, 'AWS'), [registry.host]);
    }
    const told = [
      front.log(),
      await front.metrics(),
      manifest.rawHeaders.join(),
      blob.rawHeaders.join(),
    ].join('\n');
    assert.deepEqual(
      secretsIn(
        told,
        user.identities.secrets.map((secret) => ({ secret, username: 'AWS' })),
      ),
      [],
    );
  });

  test('hands its signed URL to the client, with `blobs: redirect`', async (t) => {
    if (!check(t)) return;
    const { registry, api, front } = await open(t, newUser(t), { blobs: 'redirect' });
    const answer = await front.sendAs('alice', blobPath());
    assert.equal(answer.status, 307);
    const location = new URL(answer.headers.location ?? '');
    assert.equal(location.host, registry.storageHost.host);
    const blob = await request(location, { dispatcher });
    assert.equal(blob.statusCode, 200);
    assert.ok(
      layer !== undefined && bytesOf(layer).equals(Buffer.from(await blob.body.arrayBuffer())),
      'the layer',
    );
    for (const password of api.passwords.keys())
      assert.ok(!location.href.includes(password), 'no password in it');
    const shown = { authorization: `Basic ${Buffer.from('AWS:x').toString('base64')}` };
    assert.equal((await request(location, { dispatcher, headers: shown })).statusCode, 400);
    assert.equal((await request(location, { dispatcher, method: 'HEAD' })).statusCode, 403);
  });

  test('in two accounts is had with one identity', async (t) => {
    if (!check(t)) return;
    const user = newUser(t);
    const region = `eu-test-${++regions}`;
    const api = startEcrApi(world, user.identities, { region });
    const hosts = [owner, '222222222222'].map((account) => {
      const registry = startEcrRegistry(world, storage, api, account);
      registry.addRepository('team/app');
      return registry.host;
    });
    const front = await startFront(
      t,
      `
upstreams:
  mine: { url: ${hosts[0]}, ${way()}, credentials: { ${way()} } }
  theirs: { url: ${hosts[1]}, ${way()}, credentials: { ${way()} } }
routes: [{ prefix: mine/, upstream: mine }, { prefix: theirs/, upstream: theirs }]
`,
      files(),
    );
    for (const prefix of ['mine', 'theirs']) {
      assert.equal((await getManifest(front, `${prefix}/team/app`)).status, 200);
    }
    for (const host of hosts) assert.ok(world.requestsTo(host).length > 0, host);
  });

  describe('a push to a repository that is not there', () => {
    const app = 'team/new-app';

    test('says so where nobody makes it', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t));
      for (const [method, path] of [
        ['POST', `/v2/${app}/blobs/uploads/`],
        ['PUT', `/v2/${app}/manifests/v1`],
      ] as const) {
        const headers = { 'content-type': image.root.mediaType };
        const body = method === 'PUT' ? { body: image.root.bytes, headers } : {};
        const answer = await front.sendAs('alice', path, { method, ...body });
        assertError(answer, 404, 'NAME_UNKNOWN');
        assert.match(answer.text, /does not exist at the registry: it must be created there first/);
      }
      assert.ok(!api.asked.includes('CreateRepository'), 'nothing was created');
    });

    test('makes it once, for eight layers at the same time', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t), {
        settings: ', createRepositories: { immutableTags: true, tags: { by: proxy } }',
      });
      const layers = Array.from({ length: 8 }, (_, i) => Buffer.from(`layer ${i}`));
      const answers = await Promise.all(layers.map((bytes) => pushBlob(alice(front), app, bytes)));
      assert.deepEqual(
        answers.map(({ status }) => status),
        Array(8).fill(201),
      );
      assert.equal(api.asked.filter((name) => name === 'CreateRepository').length, 1);
      assert.deepEqual(api.created, [
        {
          repositoryName: app,
          registryId: owner,
          imageTagMutability: 'IMMUTABLE',
          tags: [{ Key: 'by', Value: 'proxy' }],
        },
      ]);
      assert.equal((await pushImage(alice(front), app, 'v1', image)).status, 201);
      assert.equal((await getManifest(front, app)).text, image.root.bytes.toString());
      const line = await front.logLine(({ message }) => message === 'a repository was created for a push');
      assert.equal(line.repository, app);
    });

    test('makes it for a mount that cannot be done', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t), { settings: ', createRepositories: true' });
      const query = `mount=${layer?.digest}&from=team/other`;
      const answer = await front.sendAs('alice', `/v2/team/mounted/blobs/uploads/?${query}`, {
        method: 'POST',
      });
      assert.equal(answer.status, 202, answer.text);
      assert.equal(api.created.length, 1);
    });

    test('makes it for a manifest without layers', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t), { settings: ', createRepositories: true' });
      const body = JSON.stringify({ schemaVersion: 2, manifests: [], mediaType: index });
      const headers = { 'content-type': index };
      const answer = await front.sendAs('alice', '/v2/team/index/manifests/v1', {
        method: 'PUT',
        body,
        headers,
      });
      assert.equal(answer.status, 201, answer.text);
      assert.equal(api.created.length, 1);
    });

    test('is refused where we may not make it, and the log says why', async (t) => {
      if (!check(t)) return;
      const user = newUser(t);
      user.identities.forbidden.add(`${user.keys.arn} ecr:CreateRepository`);
      const { front } = await open(t, user, { settings: ', createRepositories: true' });
      const answer = await front.sendAs('alice', `/v2/${app}/blobs/uploads/`, { method: 'POST' });
      assertError(answer, 403, 'DENIED');
      assert.match(answer.text, /which does not let this proxy create it/);
      assert.doesNotMatch(answer.text, /arn:|123456789012/);
      const line = await front.logLine(({ message }) => message === 'a repository cannot be created');
      assert.match(String(line.reason), /may not ecr:CreateRepository/);
    });

    test('is what makes it: a pull does not', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t), { settings: ', createRepositories: true' });
      assertError(await getManifest(front, 'no/such'), 404, 'NAME_UNKNOWN');
      assert.equal((await front.sendAs('alice', blobPath('no/such'))).status, 404);
      assert.equal((await front.sendAs('alice', blobPath('no/such'), { method: 'HEAD' })).status, 404);
      assert.equal((await front.sendAs('alice', '/v2/no/such/tags/list')).status, 404);
      assert.equal(
        (await front.sendAs('alice', '/v2/no/such/manifests/v1', { method: 'DELETE' })).status,
        404,
      );
      assert.deepEqual(api.created, []);
    });
  });

  describe('a token', () => {
    test('that ends in the middle of a pull is replaced, and nobody notices', async (t) => {
      if (!check(t)) return;
      const { api, front } = await open(t, newUser(t));
      assert.equal((await getManifest(front)).status, 200);
      api.expireAll();
      const answers = await Promise.all(Array.from({ length: 20 }, () => front.sendAs('alice', blobPath())));
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
      assert.equal(api.asked.length, 2, 'one new token for all');
    });

    test('that ends in the middle of a push is replaced before the next layer', async (t) => {
      if (!check(t)) return;
      const { api, front, clock } = await open(t, newUser(t));
      assert.equal((await pushBlob(alice(front), 'team/app', Buffer.from('one'))).status, 201);
      api.expireAll();
      assert.equal((await pushBlob(alice(front), 'team/app', Buffer.from('two'))).status, 201);
      clock.advance(60_000);
      api.expireAll();
      const body = {
        method: 'PUT',
        body: image.root.bytes,
        headers: { 'content-type': image.root.mediaType },
      };
      assert.equal((await front.sendAs('alice', '/v2/team/app/manifests/again', body)).status, 201);
    });

    test('is had again at half of its life, while the old one serves; also while AWS is away', async (t) => {
      if (!check(t)) return;
      const { api, front, clock } = await open(t, newUser(t));
      assert.equal((await getManifest(front)).status, 200);
      clock.advance(6 * hour - 1_000);
      assert.equal((await getManifest(front)).status, 200);
      assert.equal(api.asked.length, 1);
      clock.advance(1_000);
      assert.equal((await getManifest(front)).status, 200);
      await until(() => api.passwords.size === 2);
      // Made there is not yet had here.
      const obtained = /credential_fetches_total\{[^}]*result="obtained"[^}]*\} 2\b/;
      await until(async () => obtained.test(await front.metrics()));
      world.remove(`api.ecr.${api.region}.amazonaws.com`);
      clock.advance(11 * hour);
      assert.equal((await getManifest(front)).status, 200, 'the second one serves without AWS');
    });

    test('that cannot be had is a 503, and the log says why', async (t) => {
      if (!check(t)) return;
      const user = newUser(t);
      user.identities.forbidden.add(`${user.keys.arn} ecr:GetAuthorizationToken`);
      const { front } = await open(t, user);
      const answer = await getManifest(front);
      assertError(answer, 503, 'UNAVAILABLE');
      assert.doesNotMatch(answer.text, /arn:|Access/);
      await front.logLine((line) => JSON.stringify(line).includes('may not ecr:GetAuthorizationToken'));
    });
  });

  describe('ECR Public', () => {
    const openPublic = async (t: TestContext, credentials: string) => {
      const user = newUser(t);
      const api = startEcrApi(world, user.identities, { region: 'us-east-1', kind: 'public' });
      const registry = startEcrPublicRegistry(world, storage, api);
      const front = await startFront(
        t,
        `
upstreams:
  one: { url: public.ecr.aws, ${way()}${credentials} }
routes: [{ prefix: "", upstream: one }]
`,
        files(),
      );
      return { api, registry, front };
    };

    test('is pulled from anonymously, and the API is not asked', async (t) => {
      if (!check(t)) return;
      const { api, registry, front } = await openPublic(t, '');
      assert.equal((await getManifest(front)).status, 200);
      const head = await front.sendAs('alice', blobPath(), { method: 'HEAD' });
      assert.deepEqual([head.status, head.headers['docker-content-digest']], [200, layer?.digest]);
      const heads = world.requestsTo(registry.host).filter(({ method }) => method === 'HEAD');
      assert.ok(
        heads.length > 0 && heads.every(({ status }) => status === 401),
        'it refuses every HEAD of a blob',
      );
      assert.equal((await front.sendAs('alice', blobPath())).status, 200);
      assert.deepEqual([...new Set(registry.tokens)], ['anonymous']);
      assert.deepEqual(api.asked, []);
    });

    test('is pulled from with an identity, and pushed to', async (t) => {
      if (!check(t)) return;
      const { api, registry, front } = await openPublic(t, `, credentials: { type: ecr, ${way()} }`);
      assert.equal((await getManifest(front)).status, 200);
      const session = await openUpload(alice(front), 'team/app');
      assert.ok(session.startsWith('/v2/team/app/blobs/uploads/'), session);
      assert.deepEqual([...new Set(registry.tokens)], ['AWS']);
      assert.deepEqual(api.asked, ['GetAuthorizationToken']);
      for (const password of api.passwords.keys())
        assert.deepEqual(hostsThatSaw(world, password, 'AWS'), [registry.host]);
    });

    test('takes a new password where the old one has ended', async (t) => {
      if (!check(t)) return;
      const { api, front } = await openPublic(t, `, credentials: { type: ecr, ${way()} }`);
      assert.equal((await getManifest(front)).status, 200);
      api.expireAll();
      assert.equal((await front.sendAs('alice', '/v2/team/app/tags/list')).status, 200);
      assert.ok(await openUpload(alice(front), 'team/app'), 'a session');
      assert.equal(api.asked.length, 2);
    });
  });
});

const index = 'application/vnd.oci.image.index.v1+json';

async function until(reached: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2000 && !(await reached()); i++) await sleep(5);
  assert.ok(await reached(), 'it did not come to that');
}
