import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { Secret } from '../secret.js';
import { FakeClock } from '../testing/fake-clock.js';
import { type MemoryRegistryOptions, startMemoryRegistry, tinyImage } from '../testing/index.js';
import {
  bytesOfBody,
  failsWith,
  openUpstream,
  operations,
  password,
  sourceOf,
} from './opened-upstream.test.js';

async function registry(t: TestContext, options: MemoryRegistryOptions) {
  const started = await startMemoryRegistry(options);
  t.after(() => started.close());
  started.putImage('team/app', 'v1', tinyImage('hello'));
  return started;
}

const user = { username: 'robot', password: 'pass word:ü' } as const;
const robot = password(user.username, user.password);
const app = operations.manifest('team/app', 'v1');

describe('authorization towards an upstream', () => {
  const cases = {
    open: { options: {}, credentials: sourceOf() },
    basic: { options: { auth: { kind: 'basic', ...user } }, credentials: sourceOf(robot) },
    'bearer with a password': { options: { auth: { kind: 'token', ...user } }, credentials: sourceOf(robot) },
    'bearer, anonymous': {
      options: { auth: { kind: 'token', anonymousPull: true } },
      credentials: sourceOf(),
    },
    'bearer with access_token': {
      options: { auth: { kind: 'token', ...user, reply: 'access_token' } },
      credentials: sourceOf(robot),
    },
    'bearer with an identity token': {
      options: { auth: { kind: 'token', ...user, identityToken: 'refresh-me' } },
      credentials: sourceOf({ kind: 'identity-token', token: new Secret('refresh-me') }),
    },
    'a registry token': {
      options: { auth: { kind: 'token', ...user, registryToken: 'as-it-is' } },
      credentials: sourceOf({ kind: 'registry-token', token: new Secret('as-it-is') }),
    },
  } as const;
  for (const [name, { options, credentials }] of Object.entries(cases)) {
    test(`lets in: ${name}`, async (t) => {
      const remote = await registry(t, options);
      const { fetch } = await openUpstream(t, remote.url, { credentials });
      const response = await fetch('GET', app);
      assert.equal(response.status, 200);
      assert.ok((await bytesOfBody(response)).length > 0, '(await bytesOfBody(response)).length > 0');
    });
  }

  test('one token serves all requests that wait for it, one waiter may leave', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    remote.faults.add({ server: 'token' }, { delay: 100 });
    const { fetch, counts } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    const leaving = new AbortController();
    const first = fetch('GET', app, { signal: leaving.signal });
    const others = Array.from({ length: 20 }, () => fetch('GET', app));
    await remote.waitFor((request) => request.server === 'token');
    leaving.abort(new Error('left'));
    await assert.rejects(first, /left/);
    for (const response of await Promise.all(others)) assert.equal(response.status, 200);
    assert.equal(remote.tokenRequests.length, 1);
    assert.deepEqual(remote.tokenRequests[0]?.scopes, ['repository:team/app:pull']);
    assert.equal(counts.get('upstream_token_fetches_total{result=granted}'), 1);
  });

  test('tokens are kept, then refreshed before they end, without waiting', async (t) => {
    const clock = new FakeClock();
    const remote = await registry(t, { auth: { kind: 'token', ...user, lifetime: 100 }, clock });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot), clock });
    await fetch('GET', app);
    clock.advance(70_000);
    await fetch('GET', app);
    assert.equal(remote.tokenRequests.length, 1);
    clock.advance(10_000);
    remote.forgetRequests();
    remote.faults.add({ server: 'token' }, { stallAfter: 0 });
    assert.equal((await fetch('GET', app)).status, 200, 'the old token serves while a new one is fetched');
    await remote.waitFor((request) => request.server === 'token');
  });

  test('a missing expires_in means 60 s', async (t) => {
    const clock = new FakeClock();
    const remote = await registry(t, { auth: { kind: 'token', ...user, statedLifetime: 0 }, clock });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot), clock });
    await fetch('GET', app);
    clock.advance(59_000);
    await fetch('GET', app);
    assert.equal(remote.tokenRequests.length, 2);
  });

  test('a revoked token is fetched again, once', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    await fetch('GET', app);
    remote.revokeTokens();
    assert.equal((await fetch('GET', app)).status, 200);
    assert.equal(remote.tokenRequests.length, 2);
  });

  test('a 401 without a challenge to a kept token: one retry with a fresh one', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    await fetch('GET', app);
    const bare = { answer: { status: 401 } };
    remote.faults.add({ path: '/manifests/' }, bare, 1);
    assert.equal((await fetch('GET', app)).status, 200);
    assert.equal(remote.tokenRequests.length, 2);
    remote.faults.add({ path: '/manifests/' }, bare, 2);
    await assert.rejects(fetch('GET', app), failsWith('NAME_UNKNOWN', /401 to its own token/));
    assert.equal(remote.tokenRequests.length, 3);
  });

  test('a 401 without a challenge to a password: the ping tells what it means', async (t) => {
    const remote = await registry(t, { auth: { kind: 'basic', ...user } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    remote.faults.add({ path: '/manifests/' }, { answer: { status: 401 } });
    await assert.rejects(fetch('GET', app), failsWith('NAME_UNKNOWN'));
  });

  for (const kind of ['basic', 'token'] as const) {
    test(`a refused ${kind} password is replaced by the source's next one`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const credentials = sourceOf(password('robot', 'old'), robot);
      const { fetch, counts } = await openUpstream(t, remote.url, { credentials });
      assert.equal((await fetch('GET', app)).status, 200);
      assert.equal(credentials.rejections, 1);
      assert.equal(counts.get('upstream_credential_refusals_total{}'), 1);
    });

    test(`a refused ${kind} password without another is UNAVAILABLE, and said loudly`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const credentials = sourceOf(password('robot', 'old-password'));
      const { fetch, logged } = await openUpstream(t, remote.url, { credentials });
      await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE', /refuses our credential/));
      assert.match(logged.join('\n'), /refuses our credential.*"upstream":"test"/);
      assert.doesNotMatch(logged.join('\n'), /old-password/);
    });
  }

  test('no credential where one is needed is UNAVAILABLE', async (t) => {
    const basic = await registry(t, { auth: { kind: 'basic', ...user } });
    const one = await openUpstream(t, basic.url);
    await assert.rejects(one.fetch('GET', app), failsWith('UNAVAILABLE', /there is none/));
    const bearer = await registry(t, { auth: { kind: 'token', ...user } });
    bearer.faults.add({ server: 'token' }, { answer: { status: 401 } });
    const other = await openUpstream(t, bearer.url);
    await assert.rejects(other.fetch('GET', app), failsWith('UNAVAILABLE', /without a credential/));
  });

  test('a repository that answers 401 to its token is NAME_UNKNOWN and counted', async (t) => {
    const remote = await registry(t, {
      auth: { kind: 'token', ...user, unknownRepositories: 'unauthorized' },
    });
    const { fetch, counts } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    await assert.rejects(fetch('GET', operations.manifest('no/such', 'v1')), failsWith('NAME_UNKNOWN'));
    assert.equal(counts.get('upstream_repository_refusals_total{}'), 1);
    assert.equal((await fetch('GET', app)).status, 200);
  });

  test('a Basic upstream that answers 401 for one repository is NAME_UNKNOWN', async (t) => {
    const remote = await registry(t, { auth: { kind: 'basic', ...user } });
    const challenge = { 'www-authenticate': 'Basic realm="x"' };
    remote.faults.add({ path: '/v2/team/' }, { answer: { status: 401, headers: challenge } });
    const credentials = sourceOf(robot);
    const { fetch } = await openUpstream(t, remote.url, { credentials });
    await assert.rejects(fetch('GET', app), failsWith('NAME_UNKNOWN'));
    assert.equal(credentials.rejections, 0, 'the credential was not to blame');
  });

  test('a token endpoint that refuses one scope is NAME_UNKNOWN', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    remote.faults.add({ server: 'token', path: 'scope=' }, { answer: { status: 403 } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    await assert.rejects(fetch('GET', app), failsWith('NAME_UNKNOWN'));
  });

  const brokenEndpoints = {
    'a 500': { answer: { status: 500 } },
    'no JSON': { answer: { status: 200, body: 'hello' } },
    'no token in it': { answer: { status: 200, body: '{"token":""}' } },
    'a token with a line break': { answer: { status: 200, body: '{"token":"a\\r\\nx: y"}' } },
    'a token of 100 KiB': {
      answer: { status: 200, body: JSON.stringify({ token: 'x'.repeat(100 * 1024) }) },
    },
    'a redirect': { answer: { status: 302, headers: { location: '/elsewhere' } } },
    'a reset': { reset: true },
  } as const;
  for (const [name, effect] of Object.entries(brokenEndpoints)) {
    test(`a token endpoint that answers with ${name} is UNAVAILABLE`, async (t) => {
      const remote = await registry(t, { auth: { kind: 'token', ...user } });
      remote.faults.add({ server: 'token' }, effect);
      const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
      await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE'));
    });
  }

  test('an identity token is not tried otherwise where POST is off', async (t) => {
    const remote = await registry(t, {
      auth: { kind: 'token', ...user, identityToken: 'refresh-me', post: false },
    });
    const credentials = sourceOf({ kind: 'identity-token', token: new Secret('refresh-me') });
    const { fetch } = await openUpstream(t, remote.url, { credentials });
    await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE', /identity tokens/));
    assert.deepEqual(
      remote.tokenRequests.map((request) => request.method),
      ['POST'],
    );
  });

  test('a realm on another port gets no credential, unless the configuration names it', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user, origin: 'other' } });
    const strict = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    await assert.rejects(strict.fetch('GET', app), failsWith('UNAVAILABLE', /own host/));
    assert.match(strict.logged.join('\n'), /no credential was sent/);
    assert.equal(remote.tokenRequests.length, 0);
    const told = await openUpstream(t, remote.url, { credentials: sourceOf(robot), realm: remote.tokenUrl });
    assert.equal((await told.fetch('GET', app)).status, 200);
  });

  test('a challenge may ask for another action to read with, not for one to write with', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    const realm = `Bearer realm="${remote.tokenUrl}",service="memory-registry"`;
    const scope = 'scope="repository:team/app:metadata_read,push repository:other/app:pull"';
    const challenge = { 'www-authenticate': `${realm},${scope}` };
    remote.faults.add({ path: '/tags/list' }, { answer: { status: 401, headers: challenge } }, 1);
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    assert.equal((await fetch('GET', operations.tags('team/app'))).status, 200);
    assert.deepEqual(
      remote.tokenRequests.map((request) => request.scopes),
      [['repository:team/app:pull'], ['repository:team/app:pull', 'repository:team/app:metadata_read']],
    );
  });

  test('the client sends none of its own authorization, and only known headers', async (t) => {
    const remote = await registry(t, {});
    const { fetch } = await openUpstream(t, remote.url);
    const headers = { authorization: 'Bearer theirs', cookie: 'a=b', 'x-other': '1', accept: 'text/plain' };
    await fetch('GET', app, { headers });
    const sent = remote.requests.at(-1)?.headers ?? {};
    assert.deepEqual(Object.keys(sent).sort(), [
      'accept',
      'accept-encoding',
      'connection',
      'host',
      'user-agent',
    ]);
    assert.equal(sent['accept-encoding'], 'identity');
  });

  test('a ping answers 200 where we are let in, and UNAVAILABLE where not', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    const good = await openUpstream(t, remote.url, { credentials: sourceOf(robot) });
    assert.equal((await good.fetch('GET', operations.ping)).status, 200);
    const bad = await openUpstream(t, remote.url, { credentials: sourceOf(password('robot', 'no')) });
    await assert.rejects(bad.fetch('GET', operations.ping), failsWith('UNAVAILABLE'));
  });
});
