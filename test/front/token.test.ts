import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  basic,
  bearer,
  claimsOf,
  type Front,
  passwords,
  sharedScope,
  startFront,
} from '../harness/index.js';

interface Reply {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly scope?: string;
  readonly refresh_token?: string;
}

const form = 'application/x-www-form-urlencoded';

function reply(answer: Answer): Reply {
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  assert.equal(answer.headers['cache-control'], 'no-store');
  return JSON.parse(answer.text) as Reply;
}

/** `repository:app:pull` and so on, as the token says. */
function granted(answer: Answer): readonly string[] {
  return claimsOf(reply(answer).token).access.map(({ type, name, actions }) => `${type}:${name}:${actions}`);
}

describe('the token endpoint', () => {
  const scope = sharedScope();
  const clock = new FakeClock(Date.now());
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('open/app', '1', tinyImageFor('amd64', 'hello'));
    registry.putImage('public/app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: anyone, type: anonymous }
policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull, push] }
  - { names: ["local:bob", "anyone:*"], repositories: ["public/**"], actions: [pull] }
`,
      { clock },
    );
  });

  const post = (fields: string, headers: Readonly<Record<string, string>> = {}) =>
    front.send('/token', { method: 'POST', body: fields, headers: { 'content-type': form, ...headers } });
  const asAlice = `grant_type=password&username=alice&password=${encodeURIComponent(passwords.alice)}`;

  test('the answer has everything clients look for', async () => {
    const answer = reply(
      await front.sendAs('alice', '/token?service=docker.test&scope=repository:open/app:pull'),
    );
    assert.equal(answer.token, answer.access_token);
    assert.equal(answer.expires_in, 300);
    assert.equal(Date.parse(answer.issued_at), clock.now());
    assert.equal(answer.scope, 'repository:open/app:pull');
    assert.equal(answer.refresh_token, undefined);
    const claims = claimsOf(answer.token);
    assert.equal(claims.iss, 'http://docker.test');
    assert.equal(claims.aud, 'docker.test');
    assert.equal(claims.sub, 'local:alice');
  });

  const two = ['repository:a:pull', 'repository:b/c:pull,push'];

  for (const [what, ask] of [
    ['GET with repeated scope', () => front.sendAs('alice', `/token?scope=${two[0]}&scope=${two[1]}`)],
    ['GET with both in one, as some do', () => front.sendAs('alice', `/token?scope=${two[0]}%20${two[1]}`)],
    ['POST with one field', () => post(`${asAlice}&scope=${two.join('+')}`)],
    ['POST with repeated fields, as podman', () => post(`${asAlice}&scope=${two[0]}&scope=${two[1]}`)],
    [
      'POST with Basic and scopes only',
      () => post(`scope=${two.join('+')}`, { authorization: basic('alice', passwords.alice) }),
    ],
    [
      'another order of actions, and twice',
      () => front.sendAs('alice', `/token?scope=${two[0]}&scope=repository:b/c:push,pull&scope=${two[1]}`),
    ],
    [
      'a scope with the host in it',
      () => front.sendAs('alice', `/token?scope=repository:docker.test:443/a:pull&scope=${two[1]}`),
    ],
    [
      'repository(plugin)',
      () => front.sendAs('alice', `/token?scope=repository(plugin):a:pull&scope=${two[1]}`),
    ],
  ] as const) {
    test(`scopes: ${what}`, async () => {
      assert.deepEqual(granted(await ask()), two);
    });
  }

  test('only what is asked and allowed is granted; the rest is no error', async () => {
    const scopes = ['public/app:pull,push', 'open/app:pull', 'public/b:push'].map(
      (one) => `scope=repository:${one}`,
    );
    assert.deepEqual(granted(await front.sendAs('bob', `/token?${scopes.join('&')}`)), [
      'repository:public/app:pull',
    ]);
  });

  test('what cannot be understood is granted nothing', async () => {
    for (const odd of [
      '',
      'x',
      'repository',
      'repository:UPPER:pull',
      'repository:a%2f..%2fb:pull',
      'user:a:pull',
      'repository:a:all',
      'registry:catalog:*',
    ]) {
      const answer = await front.sendAs('alice', `/token?scope=${encodeURIComponent(odd)}`);
      assert.deepEqual(granted(answer), [], odd);
    }
  });

  test('a login: no scope, a token without access that opens the ping', async () => {
    const token = reply(
      await front.sendAs('alice', '/token?service=docker.test&client_id=docker&account=alice'),
    ).token;
    const headers = { authorization: bearer(token) };
    assert.equal((await front.send('/v2/', { headers })).status, 200);
    assert.equal((await front.send('/v2/open/app/tags/list', { headers })).status, 401);
  });

  test('anonymous: nothing shown and a scope', async () => {
    const answer = await front.send('/token?scope=repository:public/app:pull&scope=repository:open/app:pull');
    assert.deepEqual(granted(answer), ['repository:public/app:pull']);
    assert.equal(claimsOf(reply(answer).token).sub, '');
    const headers = { authorization: bearer(reply(answer).token) };
    assert.equal((await front.send('/v2/public/app/manifests/1', { headers })).status, 200);
  });

  test('an empty Basic pair is nobody, not a user without name', async () => {
    const headers = { authorization: basic('', '') };
    const answer = await front.send('/token?scope=repository:public/app:pull', { headers });
    assert.equal(claimsOf(reply(answer).token).sub, '');
    assert.equal((await front.send('/v2/', { headers })).status, 401);
  });

  const scoped = '/token?scope=repository:public/app:pull';

  for (const [what, ask] of [
    ['neither credentials nor scope', () => front.send('/token')],
    ['neither, by POST', () => post('grant_type=password')],
    [
      'a wrong password, where anonymous would do',
      () => front.send(scoped, { headers: { authorization: basic('alice', 'wrong') } }),
    ],
    ['an unknown user', () => front.send(scoped, { headers: { authorization: basic('nobody', 'x') } })],
    ['a user without password', () => front.send(scoped, { headers: { authorization: basic('alice', '') } })],
    ['a password without user', () => front.send(scoped, { headers: { authorization: basic('', 'x') } })],
    [
      'a wrong password by POST',
      () => post('grant_type=password&username=alice&password=wrong&scope=repository:public/app:pull'),
    ],
    [
      'a user without password by POST',
      () => post('grant_type=password&username=alice&scope=repository:public/app:pull'),
    ],
    [
      'an Authorization that cannot be understood',
      () => front.send(scoped, { headers: { authorization: 'Basic %%%' } }),
    ],
    [
      'a Bearer token nobody knows',
      () => front.send(scoped, { headers: { authorization: bearer('x.y.z') } }),
    ],
    [
      'a refresh token where they are off',
      () => post('grant_type=refresh_token&refresh_token=drp_refresh_x'),
    ],
  ] as const) {
    test(`401 and never anonymous: ${what}`, async () => {
      const answer = await ask();
      assertError(answer, 401, 'UNAUTHORIZED');
      assert.match(answer.headers['www-authenticate'] ?? '', /^Basic realm="docker\.test"$/);
    });
  }

  test('one of our own tokens is no credential for another one', async () => {
    const token = await front.token('alice', ['repository:public/app:pull']);
    assertError(await front.send(scoped, { headers: { authorization: bearer(token) } }), 401, 'UNAUTHORIZED');
  });

  for (const [what, ask, status, code] of [
    ['an unknown service', () => front.sendAs('alice', '/token?service=registry.example.com'), 403, 'DENIED'],
    [
      'more scopes than any client asks for',
      () =>
        post(`${asAlice}&scope=${Array.from({ length: 1000 }, (_, i) => `repository:r${i}:pull`).join('+')}`),
      403,
      'DENIED',
    ],
    [
      'an unknown grant type',
      () => post(`${asAlice.replace('=password', '=client_credentials')}`),
      405,
      'UNSUPPORTED',
    ],
    ['PUT', () => front.sendAs('alice', '/token', { method: 'PUT' }), 405, 'UNSUPPORTED'],
    ['DELETE', () => front.sendAs('alice', '/token', { method: 'DELETE' }), 405, 'UNSUPPORTED'],
  ] as const) {
    test(`${status}: ${what}`, async () => {
      assertError(await ask(), status, code);
    });
  }

  test('a token expires with its time', async () => {
    const headers = { authorization: bearer(await front.token('alice', ['repository:open/app:pull'])) };
    const pull = () => front.send('/v2/open/app/manifests/1', { headers });
    assert.equal((await pull()).status, 200);
    clock.advance(299_000);
    assert.equal((await pull()).status, 200);
    clock.advance(12_000); // beyond the seconds that clocks may differ
    const late = await pull();
    assertError(late, 401, 'UNAUTHORIZED');
    assert.match(late.headers['www-authenticate'] ?? '', /error="invalid_token"/);
  });
});
