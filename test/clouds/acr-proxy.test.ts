import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { bytesOf, tinyImage } from '../../src/testing/index.js';
import { requirePrograms } from '../e2e/harness/require-programs.js';
import { openWorkspace } from '../e2e/harness/workspace.js';
import { assertError, type Front, overwrite, pushImage, startFront } from '../harness/index.js';
import {
  type AzureHouse,
  type AzureIdentityKind,
  azureIdentities,
  azureVariables,
  openAzureHouse,
} from './harness/azure-house.js';
import { startIdentityEndpoint } from './harness/azure-identity-endpoint.js';
import { hostsThatSaw, secretsIn } from './harness/front-secrets.js';
import { type Storage, startStorage } from './harness/storage.js';

const image = tinyImage('azure');
const { root } = image;

/** Milliseconds that the proxy's clock is ahead. */
let later = 0;

/** Our proxy, with an identity of this kind, and a registry of Azure behind it that holds `team/app:1`. */
async function openProxy(
  t: TestContext,
  storage: Storage,
  kind: AzureIdentityKind,
  {
    roles,
    upstream = {},
    env = {},
  }: { roles?: ['AcrPull' | 'AcrPush' | 'AcrDelete']; upstream?: object; env?: object } = {},
): Promise<{
  house: AzureHouse;
  proxy: Front;
  as: (path: string, options?: object) => ReturnType<Front['sendAs']>;
}> {
  const house = await openAzureHouse(t, { storage, ...(roles && { roles }) });
  const machine = await startIdentityEndpoint(house.entra, 'imds', house.application);
  t.after(() => machine.close());
  azureVariables(t, { AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url, ...env });
  // Without a type for a managed identity: the host says which.
  const credentials = { ...(kind !== 'managed' && { type: 'acr' }), ...house.settings(kind) };
  const one = { url: house.acr.host, proxy: house.world.proxyUrl, ca: 'world.pem', credentials, ...upstream };
  const proxy = await startFront(
    t,
    `upstreams: ${JSON.stringify({ one })}\nroutes: [{ prefix: "", upstream: one, rewrite: team/ }]\ncatalog: [one]`,
    {
      clock: { now: () => Date.now() + later },
      files: { 'world.pem': house.world.authority, secret: house.secret, token: house.renewToken() },
    },
  );
  return { house, proxy, as: (path, options) => proxy.sendAs('alice', path, options) };
}

test('Azure Container Registry', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const storage = await startStorage(workspace);

  for (const kind of azureIdentities) {
    await t.test(`${kind}: pushes, pulls and lists`, async (t) => {
      const { house, as, proxy } = await openProxy(t, storage, kind);
      assert.equal((await pushImage(as, 'app', '1', image)).status, 201);
      for (const method of ['GET', 'HEAD']) {
        const answer = await as('/v2/app/manifests/1', { method, headers: { accept: root.mediaType } });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.headers['docker-content-digest'], root.digest);
      }
      for (const blob of image.blobs) {
        const head = await as(`/v2/app/blobs/${blob.digest}`, { method: 'HEAD' });
        assert.equal(head.headers['content-length'], String(bytesOf(blob).length));
        const answer = await as(`/v2/app/blobs/${blob.digest}`);
        assert.ok(answer.body.equals(bytesOf(blob)), `${answer.status} ${answer.text}`);
      }
      const tags = await as('/v2/app/tags/list');
      assert.deepEqual([tags.status, JSON.parse(tags.text)], [200, { name: 'app', tags: ['1'] }]);
      assert.match((await as('/v2/_catalog')).text, /"app"/);
      assert.equal(house.acr.exchanges.length, 1, 'one exchange for all of it');
      await secretsStayed(house, proxy);
    });
  }

  await t.test('hands the storage to the client, and no token with it', async (t) => {
    const { house, as } = await openProxy(t, storage, 'secret', {
      roles: ['AcrPull'],
      upstream: { blobs: 'redirect' },
    });
    const [blob] = image.blobs;
    const answer = await as(`/v2/app/blobs/${blob?.digest}`);
    assert.equal(answer.status, 307, answer.text);
    assert.equal(new URL(answer.headers.location ?? '').host, house.acr.storageHost.host);
    assert.deepEqual(house.world.requestsTo(house.acr.storageHost.host), []);
  });

  await t.test('AcrPull alone: a pull works, a push is 404 and the log says why', async (t) => {
    const { as, proxy } = await openProxy(t, storage, 'secret', { roles: ['AcrPull'] });
    assertError(await as('/v2/app/blobs/uploads/', { method: 'POST' }), 404, 'NAME_UNKNOWN');
    await proxy.logLine(({ reason }) => /answers 401 to its own token/.test(String(reason)));
    assert.equal((await as('/v2/app/manifests/1', { headers: { accept: root.mediaType } })).status, 200);
  });

  await t.test('a refresh token that ends in use is replaced, and no client notices', async (t) => {
    const { house, as } = await openProxy(t, storage, 'secret');
    const manifest = () => as('/v2/app/manifests/1', { headers: { accept: root.mediaType } });
    assert.equal((await manifest()).status, 200);
    t.after(() => {
      later = 0;
    });
    for (let i = 0; i < 3; i++) {
      later += 60_000; // what is refused is not replaced twice in a moment
      house.acr.tokens.revoke('refresh');
      house.acr.tokens.revoke('access');
      const answers = await Promise.all(Array.from({ length: 6 }, manifest));
      assert.deepEqual(
        answers.map(({ status }) => status),
        Array(6).fill(200),
      );
      assert.equal(house.acr.exchanges.length, 2 + i, 'one exchange for all who waited');
    }
    assert.ok(
      house.acr.tokenRequests.some(({ status }) => status === 401),
      'none was refused at /oauth2/token',
    );
  });

  await t.test('a token for a repository is used until the end that it tells itself', async (t) => {
    const { house, as } = await openProxy(t, storage, 'secret');
    t.after(() => {
      later = 0;
    });
    const manifest = () => as('/v2/app/manifests/1', { headers: { accept: root.mediaType } });
    for (const [minutes, requests] of [
      [0, 1],
      [50, 1],
      [76, 2],
    ] as const) {
      later = minutes * 60_000;
      assert.equal((await manifest()).status, 200);
      assert.equal(house.acr.tokenRequests.length, requests, `after ${minutes} minutes`);
    }
  });

  await t.test('a role that is given later is used without a restart', async (t) => {
    const { house, as, proxy } = await openProxy(t, storage, 'secret');
    house.acr.roles.clear();
    const manifest = () => as('/v2/app/manifests/1', { headers: { accept: root.mediaType } });
    assertError(await manifest(), 503, 'UNAVAILABLE');
    const line = await proxy.logLine((one) => /Give it AcrPull on the registry/.test(JSON.stringify(one)));
    assert.match(JSON.stringify(line), /contoso\.azurecr\.io answers 401 UNAUTHORIZED/);
    house.acr.roles.set(house.application.clientId, ['AcrPull']);
    let status = 0;
    for (let i = 0; i < 300 && status !== 200; i++) {
      status = (await manifest()).status;
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(status, 200);
  });

  await t.test('a token of a scope map, and the admin user, are `static`', async (t) => {
    const credentials = { type: 'static', username: 'puller', password: { file: 'secret' } };
    const { house, as } = await openProxy(t, storage, 'secret', { upstream: { credentials } });
    house.acr.users.set('puller', { password: house.secret, may: ['pull', 'metadata_read'] });
    assert.equal((await as('/v2/app/manifests/1', { headers: { accept: root.mediaType } })).status, 200);
    assert.equal((await as('/v2/app/tags/list')).status, 200);
    assertError(await as('/v2/app/blobs/uploads/', { method: 'POST' }), 404, 'NAME_UNKNOWN');
    assert.deepEqual(house.acr.exchanges, []);
  });

  await t.test('a registry at another host gets no token', async (t) => {
    const upstream = { url: 'https://registry.contoso.com' };
    const { house, as, proxy } = await openProxy(t, storage, 'secret', { upstream });
    const realm = 'https://registry.contoso.com/oauth2/token';
    const challenge = { 'www-authenticate': `Bearer realm="${realm}",service="contoso.azurecr.io"` };
    house.world.host('registry.contoso.com', (exchange) => exchange.json(401, {}, challenge));
    assertError(await as('/v2/app/manifests/1'), 503, 'UNAVAILABLE');
    await proxy.logLine((line) => /no token is sent there/.test(JSON.stringify(line)));
    assert.deepEqual(house.entra.given, []);
  });

  await t.test('the federated token is renewed while it serves', async (t) => {
    const { house, as, proxy } = await openProxy(t, storage, 'federated');
    const manifest = () => as('/v2/app/manifests/1', { headers: { accept: root.mediaType } });
    assert.equal((await manifest()).status, 200);
    const token = house.renewToken();
    overwrite(join(proxy.directory, 'token'), token, 'renamed');
    house.acr.tokens.revoke('refresh');
    house.acr.tokens.revoke('access');
    assert.equal((await manifest()).status, 200);
    assert.deepEqual(hostsThatSaw(house.world, token), ['login.microsoftonline.com']);
  });
});

async function secretsStayed(house: AzureHouse, proxy: Front): Promise<void> {
  const { world, entra, acr, secret } = house;
  const { refresh, access } = acr.tokens.given;
  for (const token of [...entra.given, ...refresh, ...access]) {
    assert.deepEqual(hostsThatSaw(world, token), [acr.host]);
  }
  assert.deepEqual(
    world.requestsTo(acr.storageHost.host).filter(({ headers }) => headers.authorization !== undefined),
    [],
  );
  const all = [secret, ...entra.given, ...refresh, ...access, ...acr.storageHost.signatures];
  const written = `${proxy.log()}\n${await proxy.metrics()}`;
  assert.deepEqual(
    secretsIn(
      written,
      all.map((one) => ({ secret: one })),
    ),
    [],
  );
  assert.deepEqual(world.unknownNames, []);
}
