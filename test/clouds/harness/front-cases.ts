import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { bytesOf, type ImageFiles, tinyImage } from '../../../src/testing/index.js';
import { assertError, pushImage } from '../../harness/index.js';
import type { BearerFront } from './front-bearer.js';
import type { FrontHouse, OpenFront } from './front-house.js';
import { hostsThatSaw, secretsIn } from './front-secrets.js';

const absent = `sha256:${'0'.repeat(64)}`;

export interface ExpectedOfFront {
  /** The code for a manifest of a repository that does not exist; NAME_UNKNOWN where it is missing. */
  readonly absentRepository?: 'NAME_UNKNOWN' | 'MANIFEST_UNKNOWN';
}

/** What has to work with every registry. */
export async function testFront(
  t: TestContext,
  house: FrontHouse,
  { absentRepository = 'NAME_UNKNOWN' }: ExpectedOfFront = {},
): Promise<void> {
  const { image } = house;
  for (const blobs of ['stream', 'redirect'] as const) {
    await t.test(`pulls by tag and by digest; blobs: ${blobs}`, async (t) => {
      await pullsEverything(house, await house.open(t, { blobs }), image, blobs);
    });
  }
  await t.test('pushes', async (t) => {
    const open = await house.open(t);
    const fresh = tinyImage(`pushed to ${house.row.name}`);
    const answer = await pushImage(open.send, 'pushed', 'new', fresh);
    assert.equal(answer.status, 201, answer.text);
    await pullsEverything(house, open, fresh, 'stream', 'pushed/manifests/new');
  });
  await t.test('what is not there is 404', async (t) => {
    const { send } = await house.open(t);
    assertError(await send('/v2/nothing/manifests/1'), 404, absentRepository);
    assertError(await send('/v2/app/manifests/nothing'), 404, 'MANIFEST_UNKNOWN');
    assertError(await send(`/v2/app/blobs/${absent}`), 404, 'BLOB_UNKNOWN');
    assertError(await send('/v2/nothing/tags/list'), 404, 'NAME_UNKNOWN');
    const head = await send('/v2/nothing/manifests/1', { method: 'HEAD' });
    assert.deepEqual([head.status, head.body.length], [404, 0]);
  });
  await t.test('a credential that may only pull: a push is 404, and the log says why', async (t) => {
    const { proxy, send } = await house.open(t, { may: ['pull'] });
    assertError(await send('/v2/app/blobs/uploads/', { method: 'POST' }), 404, 'NAME_UNKNOWN');
    await proxy.logLine((line) =>
      /refuses its scope|answers 40[13] to its own token/.test(String(line.reason)),
    );
    const headers = { accept: image.root.mediaType };
    assert.equal((await send('/v2/app/manifests/1', { headers })).status, 200);
  });
  await t.test('a password that is refused: 503, and an error in the log', (t) => refusedPassword(t, house));
  await t.test('a password is rotated while pulls run, and no client notices', (t) => rotated(t, house));
  await t.test('credentials, tokens and signatures stay at their own hosts', (t) => secretsStay(t, house));
  await t.test('the front refuses what the registry refuses', (t) => frontRefuses(t, house));
}

async function pullsEverything(
  house: FrontHouse,
  { send, registry }: OpenFront,
  { root, blobs: all }: ImageFiles,
  blobs: 'stream' | 'redirect',
  tagged = 'app/manifests/1',
): Promise<void> {
  const repository = tagged.slice(0, tagged.indexOf('/'));
  for (const path of [tagged, `${repository}/manifests/${root.digest}`]) {
    for (const method of ['HEAD', 'GET']) {
      const headers = { accept: root.mediaType };
      const answer = await send(`/v2/${path}`, { method, headers });
      assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
      assert.equal(answer.headers['docker-content-digest'], root.digest);
      assert.equal(answer.headers['content-type'], root.mediaType);
      assert.equal(answer.text, method === 'GET' ? root.bytes.toString() : '');
    }
  }
  for (const blob of all) {
    const path = `/v2/${repository}/blobs/${blob.digest}`;
    const bytes = bytesOf(blob);
    const head = await send(path, { method: 'HEAD' });
    assert.equal(head.status, 200, `HEAD ${path}`);
    assert.equal(head.headers['content-length'], String(bytes.length), `HEAD ${path}`);
    const answer = await send(path);
    if (blobs === 'stream' || registry.storageHost === undefined) {
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.body.equals(bytes), `the bytes of ${path}`);
      const part = await send(path, { headers: { range: 'bytes=2-5' } });
      assert.deepEqual([part.status, part.body], [206, bytes.subarray(2, 6)]);
      continue;
    }
    assert.equal(answer.status, 307, answer.text);
    const location = new URL(String(answer.headers.location));
    assert.equal(location.host, registry.storageHost.host);
    const followed = await house.ask(location);
    assert.equal(followed.status, 200, followed.text);
    assert.equal(followed.headers['content-length'], String(bytes.length));
  }
}

async function refusedPassword(t: TestContext, house: FrontHouse): Promise<void> {
  const { proxy, send, registry } = await house.open(t, { files: { secret: 'an-old-password' } });
  assertError(await send('/v2/app/manifests/1'), 503, 'UNAVAILABLE');
  const line = await proxy.logLine(({ level }) => level === 'error');
  const told = JSON.stringify(line);
  assert.ok(told.includes(registry.tokenHost), told);
  assert.match(told, /refuses our credential/);
  assert.deepEqual(secretsIn(proxy.log(), [{ secret: 'an-old-password', username: house.row.username }]), []);
  // For the scope, and to know whether it was for the scope.
  assert.ok(registry.logins.length <= 4, `${registry.logins.length} logins for one request`);
  assert.ok(
    registry.logins.every(({ status }) => status === 401 || status === 403),
    JSON.stringify(registry.logins),
  );
}

async function rotated(t: TestContext, house: FrontHouse): Promise<void> {
  const { send, rotate, registry } = await house.open(t);
  const pull = async () =>
    (await send('/v2/app/manifests/1', { headers: { accept: house.image.root.mediaType } })).status;
  const statuses = [await pull()];
  const passwords: string[] = [];
  // In rounds: a token that is refused when it has just been issued is no stale one.
  for (let round = 0; round < 3; round++) {
    const before = statuses.length;
    const client = async () => {
      for (let i = 0; i < 4; i++) statuses.push(await pull());
    };
    const clients = Promise.all([client(), client(), client()]);
    while (statuses.length < before + 3) await nextTurn();
    passwords.push(rotate());
    await clients;
    statuses.push(await pull());
  }
  assert.deepEqual(new Set(statuses), new Set([200]), statuses.join(' '));
  const last = passwords.at(-1) ?? '';
  const granted = registry.logins.filter(({ status }) => status === 200);
  assert.ok(granted.length >= 4, `${granted.length} logins`);
  assert.deepEqual(hostsThatSaw(house.world, last, house.row.username), [registry.tokenHost]);
}

async function secretsStay(t: TestContext, house: FrontHouse): Promise<void> {
  const { username } = house.row;
  const open = await house.open(t, { blobs: 'redirect' });
  const { registry, proxy, password, send } = open;
  await pullsEverything(house, open, house.image, 'redirect');
  const answer = await pushImage(send, 'kept', '1', tinyImage(`kept by ${house.row.name}`));
  assert.equal(answer.status, 201, answer.text);
  await send('/v2/nothing/manifests/1');
  registry.revokeTokens();
  await send('/v2/app/tags/list');
  registry.setPassword(username, 'another');
  registry.revokeTokens();
  assert.equal((await send('/v2/app/tags/list')).status, 503);

  const { world } = house;
  const asToken = registry.tokens.some((token) => token.includes(Buffer.from(password).toString('base64')));
  const known = new Set([registry.tokenHost, ...(asToken ? [registry.host] : [])]);
  assert.deepEqual(hostsThatSaw(world, password, username), [...known].sort());
  assert.ok(registry.tokens.length > 0, 'no token was given out');
  for (const token of registry.tokens) assert.deepEqual(hostsThatSaw(world, token), [registry.host]);
  const secrets = [{ secret: password, username }, ...registry.tokens.map((secret) => ({ secret }))];
  const written = `${proxy.log()}\n${await proxy.metrics()}`;
  assert.deepEqual(secretsIn(`${written}\n${open.answered()}`, secrets), []);
  const { storageHost } = registry;
  if (storageHost === undefined) return;
  assert.ok(storageHost.signatures.length > 0, 'nothing was signed');
  for (const signature of storageHost.signatures) {
    assert.deepEqual(hostsThatSaw(world, signature), [storageHost.host]);
    assert.deepEqual(secretsIn(written, [{ secret: signature }]), []);
  }
  const authorized = world
    .requestsTo(storageHost.host)
    .filter(({ headers }) => headers.authorization !== undefined);
  assert.deepEqual(
    authorized.map(({ path }) => path),
    [],
  );
}

async function frontRefuses(t: TestContext, house: FrontHouse): Promise<void> {
  const { registry, password, send } = await house.open(t, { blobs: 'redirect' });
  const { username } = house.row;
  const basic = (shown: string) => ({
    authorization: `Basic ${Buffer.from(`${username}:${shown}`).toString('base64')}`,
  });
  const api = `https://${registry.host}/v2/`;
  const without = await house.ask(api);
  assert.equal(without.status, 401);
  const realm = new URL(/realm="([^"]+)"/.exec(without.headers['www-authenticate'] ?? '')?.[1] ?? '');
  assert.equal(realm.hostname, registry.tokenHost);
  realm.searchParams.set('scope', 'repository:acme/app:pull');
  const get = { method: 'GET' } as const;
  assert.equal(
    (await house.ask(realm, { ...get, headers: basic(password) })).status,
    400,
    'without a service',
  );
  const service = /service="([^"]+)"/.exec(without.headers['www-authenticate'] ?? '')?.[1] ?? '';
  realm.searchParams.set('service', service);
  assert.ok(
    [401, 403].includes((await house.ask(realm, { ...get, headers: basic('wrong') })).status),
    'a wrong one',
  );
  assert.equal((await house.ask(realm, { method: 'POST', headers: basic(password) })).status, 405);
  assert.equal((await house.ask(realm, { ...get, headers: basic(password) })).status, 200);
  for (const headers of [basic(password), { authorization: 'Bearer nothing' }]) {
    assert.equal((await house.ask(`${api}acme/app/manifests/1`, { ...get, headers })).status, 401);
  }
  await storageRefuses(house, registry, send);
}

async function storageRefuses(
  house: FrontHouse,
  { storageHost }: BearerFront,
  send: OpenFront['send'],
): Promise<void> {
  if (storageHost === undefined) return;
  const [blob] = house.image.blobs;
  const answer = await send(`/v2/app/blobs/${blob?.digest}`);
  const location = new URL(String(answer.headers.location));
  const headers = { authorization: 'Bearer anything' };
  assert.equal((await house.ask(location, { method: 'GET', headers })).status, 400);
  assert.equal((await house.ask(location)).status, 200);
  location.searchParams.set('signature', 'forged');
  assert.equal((await house.ask(location)).status, 403);
}
