import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { assertError, bearer, claimsOf, type Front, sharedScope, startFront } from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');
const access = [{ type: 'repository', name: 'app', actions: ['pull'] }];
const principal = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} };

describe('threat 1: a token’s own key trusted', () => {
  const scope = sharedScope();
  let front: Front;
  let known: JWK;
  let good: string;

  before(async () => {
    const registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('app', '1', image);
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
    const jwks = JSON.parse((await front.send('/token/jwks.json')).text) as { keys: JWK[] };
    known = jwks.keys[0] ?? assert.fail();
    good = await front.token('alice', ['repository:app:pull']);
  });

  const pull = (token: string) =>
    front.send('/v2/app/manifests/1', { headers: { authorization: bearer(token) } });

  const forge = () => {
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ access, principal })
      .setIssuer('http://docker.test')
      .setAudience('docker.test')
      .setSubject('local:alice')
      .setIssuedAt(now)
      .setNotBefore(now - 10)
      .setExpirationTime(now + 200)
      .setJti('1');
  };

  async function assertRefused(token: string): Promise<void> {
    const answer = await pull(token);
    assertError(answer, 401, 'UNAUTHORIZED');
    assert.match(answer.headers['www-authenticate'] ?? '', /error="invalid_token"/);
  }

  test('our own is accepted', async () => {
    assert.equal((await pull(good)).status, 200);
  });

  test('another key under our kid, with the key in the token', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    const { kid = '' } = known;
    const headers = [
      { kid },
      { kid, jwk },
      { jwk },
      {},
      { kid: 'unknown', jwk },
      { kid, jku: 'http://127.0.0.1:1/jwks' },
      { kid, x5c: ['AAAA'] },
      { kid, x5u: 'http://127.0.0.1:1/' },
    ];
    for (const header of headers) {
      await assertRefused(
        await forge()
          .setProtectedHeader({ alg: 'ES256', typ: 'JWT', ...header })
          .sign(privateKey),
      );
    }
  });

  test('the certificate of our own token in front of another key’s signature', async () => {
    const header = JSON.parse(Buffer.from(good.split('.')[0] ?? '', 'base64url').toString()) as Record<
      string,
      unknown
    >;
    const { privateKey } = await generateKeyPair('ES256');
    const token = await forge()
      .setProtectedHeader({ ...header, alg: 'ES256' })
      .sign(privateKey);
    await assertRefused(token);
  });

  test('no algorithm, and our public key as a shared secret', async () => {
    await assertRefused(
      new UnsecuredJWT({ access, principal })
        .setIssuer('http://docker.test')
        .setAudience('docker.test')
        .setExpirationTime('5m')
        .encode(),
    );
    const key = await importJWK(known, known.alg ?? 'ES256', { extractable: true });
    assert.ok(!(key instanceof Uint8Array), '!(key instanceof Uint8Array)');
    const pem = await exportSPKI(key);
    for (const secret of [pem, JSON.stringify(known), '', 'secret']) {
      const bytes = new TextEncoder().encode(secret.padEnd(32));
      await assertRefused(
        await forge()
          .setProtectedHeader({ alg: 'HS256', kid: known.kid ?? '' })
          .sign(bytes),
      );
    }
  });

  test('our own with one thing changed', async () => {
    const [header = '', payload = '', signature = ''] = good.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>;
    const wider = [{ type: 'repository', name: 'app', actions: ['pull', 'push'] }];
    const more = Buffer.from(JSON.stringify({ ...claims, access: wider })).toString('base64url');
    for (const token of [
      `${header}.${more}.${signature}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}..${signature}`,
      `${good}.x`,
      ` ${good}x`,
      good.slice(0, -4),
    ]) {
      await assertRefused(token);
    }
  });

  test('claims that are missing or wrong, signed by a key that is not ours, in any serialisation', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const bytes = new TextEncoder().encode(JSON.stringify({ access, principal }));
    await assertRefused(
      await new CompactSign(bytes)
        .setProtectedHeader({ alg: 'ES256', kid: known.kid ?? '' })
        .sign(privateKey),
    );
    await assertRefused(Buffer.from(JSON.stringify({ payload: '', signatures: [] })).toString('base64url'));
  });
});

describe('threat 2: a signing secret with a default, tokens for hours', () => {
  const start = async (scope: { after(fn: () => Promise<void>): void }, more = '') => {
    const registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('app', '1', image);
    return startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
${more}`,
    );
  };

  test('two proxies with the same configuration have different keys', async (t) => {
    for (const more of ['', 'token: { keys: { directory: keys } }']) {
      const [one, other] = [await start(t, more), await start(t, more)];
      const headers = { authorization: bearer(await one.token('alice', ['repository:app:pull'])) };
      assert.equal((await one.send('/v2/app/manifests/1', { headers })).status, 200);
      assertError(await other.send('/v2/app/manifests/1', { headers }), 401, 'UNAUTHORIZED');
    }
  });

  test('a token lives for minutes, and no configuration makes it live for hours', async (t) => {
    const { exp } = claimsOf(await (await start(t)).token('alice', []));
    assert.ok(exp - Date.now() / 1000 <= 300, 'exp - Date.now() / 1000 <= 300');
    await assert.rejects(start(t, 'token: { ttl: 12h }'), /ttl.*at most 1h/s);
  });
});

describe('threat 14: all that is allowed is granted, and not what was asked', () => {
  test('a token for a pull is no token for a push', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    registry.putImage('app', '1', image);
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
    const token = await front.token('alice', ['repository:app:pull']);
    assert.deepEqual(claimsOf(token).access, access);
    const headers = { authorization: bearer(token) };
    assert.equal((await front.send('/v2/app/manifests/1', { headers })).status, 200);
    registry.forgetRequests();
    for (const method of ['PUT', 'DELETE']) {
      assertError(await front.send('/v2/app/manifests/1', { method, headers }), 401, 'UNAUTHORIZED');
    }
    assertError(await front.send('/v2/other/manifests/1', { headers }), 401, 'UNAUTHORIZED');
    assert.deepEqual(registry.requests, []);
    // No pattern counts as a name; every action is as many as are allowed.
    const wide = await front.token('alice', ['repository:*:pull', 'repository:**:pull', 'repository:*:*']);
    assert.deepEqual(claimsOf(wide).access, []);
    const all = await front.token('bob', ['repository:open/app:*', 'repository:app:*']);
    assert.deepEqual(claimsOf(all).access, [{ type: 'repository', name: 'open/app', actions: ['pull'] }]);
  });
});

describe('threat 25: a token for one route or host used on another', () => {
  const scope = sharedScope();
  let one: MemoryRegistry;
  let two: MemoryRegistry;
  let front: Front;

  before(async () => {
    [one, two] = [await startMemoryRegistry(), await startMemoryRegistry()];
    for (const registry of [one, two]) {
      scope.after(() => registry.close());
      registry.putImage('library/alpine', '3', image);
    }
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${one.url}" }, two: { url: "${two.url}", defaultNamespace: library } }
routes:
  - { prefix: "", upstream: one }
  - { prefix: "hub/", upstream: two, ns: docker.io }
  - { prefix: "", host: b.test, upstream: two }
policy: [{ names: ["local:alice"], repositories: ["**"], actions: [pull, push] }]
`,
    );
  });

  const places = {
    root: { path: '/v2/library/alpine/manifests/3', name: 'library/alpine', host: 'docker.test' },
    hub: { path: '/v2/hub/library/alpine/manifests/3', name: 'hub/library/alpine', host: 'docker.test' },
    short: { path: '/v2/hub/alpine/manifests/3', name: 'hub/alpine', host: 'docker.test' },
    mirror: {
      path: '/v2/library/alpine/manifests/3?ns=docker.io',
      name: 'hub/library/alpine',
      host: 'docker.test',
    },
    otherHost: { path: '/v2/library/alpine/manifests/3', name: 'library/alpine', host: 'b.test' },
  } as const;
  type Place = keyof typeof places;
  const same: readonly (readonly Place[])[] = [['root'], ['hub', 'short', 'mirror'], ['otherHost']];

  for (const [from, { name, host }] of Object.entries(places)) {
    for (const [to, target] of Object.entries(places)) {
      const works = same.some((group) => group.includes(from as Place) && group.includes(to as Place));
      test(`a token for ${from} ${works ? 'opens' : 'does not open'} ${to}`, async () => {
        const token = await front.token('alice', [`repository:${name}:pull`], { host });
        for (const registry of [one, two]) registry.forgetRequests();
        const headers = { authorization: bearer(token) };
        const answer = await front.send(target.path, { host: target.host, headers });
        assert.equal(answer.status, works ? 200 : 401, answer.text);
        if (!works) assert.deepEqual([...one.requests, ...two.requests], []);
      });

      test(`a token to push to ${from} ${works ? 'pushes' : 'does not push'} to ${to}`, async () => {
        const token = await front.token('alice', [`repository:${name}:pull,push`], { host });
        for (const registry of [one, two]) registry.forgetRequests();
        const headers = { authorization: bearer(token) };
        const path = target.path.replace('manifests/3', 'blobs/uploads/');
        const opened = await front.send(path, { host: target.host, headers, method: 'POST' });
        assert.equal(opened.status, works ? 202 : 401, opened.text);
        if (!works) assert.deepEqual([...one.requests, ...two.requests], []);
      });
    }
  }

  test('a token asked at one host for the other is of the other', async () => {
    const token = await front.token('alice', ['repository:library/alpine:pull'], {
      host: 'docker.test',
      service: 'b.test',
    });
    assert.equal(claimsOf(token).aud, 'b.test');
    const headers = { authorization: bearer(token) };
    assert.equal((await front.send(places.root.path, { host: 'docker.test', headers })).status, 401);
    assert.equal((await front.send(places.root.path, { host: 'b.test', headers })).status, 200);
  });
});
