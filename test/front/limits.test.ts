import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  bytesOf,
  generatedBlob,
  type MemoryRegistry,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  basic,
  bearer,
  type ClientRequest,
  type Front,
  openUpload,
  passwords,
  startFront,
  type User,
} from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');

async function start(
  t: TestContext,
  limits: string,
  settings = '',
): Promise<{ front: Front; registry: MemoryRegistry; hold: Hold }> {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('app', '1', image);
  const front = await startFront(
    t,
    `
limits: { ${limits} }
trustedProxies: [127.0.0.1]
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
${settings}`,
  );
  registry.faults.add({ path: '/manifests/held-' }, { delay: 60_000 });
  return { front, registry, hold: holder(t, front, registry) };
}

type Hold = (options?: ClientRequest) => Promise<{ readonly leave: () => Promise<void> }>;

/** Requests that stay under way until their client leaves. */
function holder(t: TestContext, front: Front, registry: MemoryRegistry): Hold {
  let count = 0;
  return async (options = {}) => {
    const leaving = new AbortController();
    t.after(() => leaving.abort());
    const path = `/v2/app/manifests/held-${++count}`;
    const held = front.sendAs('alice', path, { signal: leaving.signal, ...options }).catch(() => undefined);
    await registry.waitFor((request) => request.path === path);
    return {
      async leave() {
        leaving.abort();
        await held;
      },
    };
  };
}

const from = (address: string) => ({ 'x-forwarded-for': address });

function assertRefused(answer: Answer): void {
  assertError(answer, 429, 'TOOMANYREQUESTS');
  assert.equal(answer.headers['retry-after'], '1');
  assert.equal(answer.headers['www-authenticate'], undefined);
}

/** A place becomes free when the server has seen the end, which may be after the client did: 10 s at most. */
async function eventually(ask: () => Promise<Answer>, status: number): Promise<void> {
  for (let i = 0; ; i++) {
    const answer = await ask();
    if (answer.status === status) return;
    if (i > 500) assert.fail(`still ${answer.status}: ${answer.text}`);
    await sleep(20);
  }
}

async function assertNoneOpen(front: Front): Promise<void> {
  for (let i = 0; !/^registry_proxy_requests_open 0$/m.test(await front.metrics()); i++) {
    if (i > 500) assert.fail(await front.metrics());
    await sleep(20);
  }
}

describe('requests of one address', () => {
  test('as many as the limit; more are 429, also without credentials and for a token', async (t) => {
    const { front, hold, registry } = await start(t, 'requestsPerAddress: 2');
    const pull = () => front.sendAs('alice', '/v2/app/manifests/1');
    const held = [await hold(), await hold()];
    registry.forgetRequests();
    for (const ask of [
      pull,
      () => front.send('/v2/'),
      () => front.send('/v2/app/manifests/1'),
      () => front.sendAs('alice', '/v2/app/manifests/1', { method: 'PUT', body: 'x' }),
      () => front.sendAs('alice', '/token?scope=repository:app:pull'),
      () => front.send('/token', { method: 'POST', body: 'grant_type=password' }),
      () => front.send('/token/jwks.json'),
    ]) {
      assertRefused(await ask());
    }
    assert.deepEqual(registry.requests, []);
    assert.match(await front.metrics(), /^registry_proxy_request_refusals_total\{limit="address"\} 7$/m);
    assert.match(await front.metrics(), /^registry_proxy_requests_open 2$/m);
    await held[0]?.leave();
    await eventually(pull, 200);
    await held[1]?.leave();
    await assertNoneOpen(front);
  });

  test('another address has its own', async (t) => {
    const { front, hold } = await start(t, 'requestsPerAddress: 1');
    const pull = (address: string) =>
      front.sendAs('bob', '/v2/open/app/manifests/1', { headers: from(address) });
    await hold({ headers: from('203.0.113.9') });
    assertRefused(await pull('203.0.113.9'));
    assert.equal((await pull('203.0.113.10')).status, 404);
    await hold({ headers: from('2001:db8:1:2::1') });
    assertRefused(await pull('2001:db8:1:2:ffff::9'));
    assert.equal((await pull('2001:db8:1:3::1')).status, 404);
  });

  test('the log says why, and at whose limit', async (t) => {
    const { front, hold } = await start(t, 'requestsPerAddress: 1');
    await hold();
    const { headers } = await front.sendAs('alice', '/v2/app/manifests/1');
    const line = await front.logLine((one) => one.requestId === headers['x-request-id']);
    assert.deepEqual([line.status, line.error, line.level], [429, 'TOOMANYREQUESTS', 'info']);
    assert.match(String(line.reason), /too many requests .* address/);
  });
});

describe('requests of one principal', () => {
  const limits = 'requestsPerPrincipal: 1';

  test('from wherever and however it comes', async (t) => {
    const { front, hold, registry } = await start(t, limits);
    const token = await front.token('alice', ['repository:app:pull,push']);
    const authorization = bearer(token);
    const held = await hold({ headers: { ...from('203.0.113.1'), authorization } });
    registry.forgetRequests();
    const headers = from('203.0.113.2');
    for (const ask of [
      () => front.sendAs('alice', '/v2/app/manifests/1', { headers }),
      () => front.send('/v2/app/manifests/1', { headers: { ...headers, authorization } }),
      () => front.sendAs('alice', '/v2/', { headers }),
      () => front.sendAs('alice', '/v2/app/blobs/uploads/', { method: 'POST', headers }),
      () => front.sendAs('alice', '/token?scope=repository:app:pull', { headers }),
    ]) {
      assertRefused(await ask());
    }
    assert.deepEqual(registry.requests, []);
    assert.match(await front.metrics(), /^registry_proxy_request_refusals_total\{limit="principal"\} 5$/m);
    assert.equal((await front.sendAs('bob', '/v2/', { headers })).status, 200, 'bob is somebody else');
    assert.equal((await front.send('/v2/', { headers })).status, 401, 'nobody is nobody');
    await held.leave();
    await eventually(() => front.sendAs('alice', '/v2/app/manifests/1', { headers }), 200);
    await assertNoneOpen(front);
  });

  test('a wrong password takes no place of whose name it is shown under', async (t) => {
    const { front, hold } = await start(t, limits);
    await hold();
    const authorization = basic('alice', 'wrong');
    assertError(await front.send('/v2/', { headers: { authorization } }), 401, 'UNAUTHORIZED');
  });

  test('anonymous clients are nobody in particular: their addresses count', async (t) => {
    const anonymous = `
verifiers: [{ id: local, type: htpasswd, file: users.htpasswd }, { id: anyone, type: anonymous }]
policy: [{ names: ["anyone:anonymous", "local:alice"], repositories: ["**"], actions: [pull] }]
`;
    const { front, hold, registry } = await start(t, `requestsPerAddress: 2, ${limits}`, anonymous);
    registry.putImage('open/app', '1', image);
    const token = await front.token(undefined, ['repository:app:pull', 'repository:open/app:pull']);
    const headers = (address: string) => ({ ...from(address), authorization: bearer(token) });
    for (let i = 0; i < 2; i++) await hold({ headers: headers('203.0.113.1') });
    const pull = (address: string) => front.send('/v2/open/app/manifests/1', { headers: headers(address) });
    assertRefused(await pull('203.0.113.1'));
    assert.equal((await pull('203.0.113.2')).status, 200);
  });
});

describe('a place is free again', () => {
  const one = 'requestsPerAddress: 1, requestsPerPrincipal: 1';

  test('after each end there is, one after the other', async (t) => {
    const { front, registry } = await start(t, one);
    const blob = image.blobs[0] ?? assert.fail();
    const bytes = bytesOf(blob);
    const authorization = basic('alice', passwords.alice);
    const ends: Readonly<Record<string, readonly [string, ClientRequest, number]>> = {
      'a pull': ['/v2/app/manifests/1', {}, 200],
      'a blob': [`/v2/app/blobs/${blob.digest}`, {}, 200],
      'a HEAD': ['/v2/app/manifests/1', { method: 'HEAD' }, 200],
      'nothing there': ['/v2/app/manifests/2', {}, 404],
      'a bad name': ['/v2/APP/manifests/1', {}, 400],
      'no path of ours': ['/v3/', {}, 404],
      'a wrong password': ['/v2/', { headers: { authorization: basic('alice', 'wrong') } }, 401],
      'a token': ['/token?scope=repository:app:pull', {}, 200],
      'a bad token request': ['/token', { method: 'DELETE' }, 405],
      'a push': [
        `/v2/app/blobs/uploads/?digest=${blob.digest}`,
        { method: 'POST', body: bytes, headers: { authorization } },
        201,
      ],
      'a refused push': ['/v2/app/blobs/uploads/x', { method: 'PATCH', body: Buffer.alloc(100_000) }, 404],
      'an upstream that fails': ['/v2/app/manifests/broken', {}, 503],
    };
    registry.faults.add({ path: '/manifests/broken' }, { reset: true });
    for (const [what, [path, options, status]] of Object.entries(ends)) {
      await t.test(what, () => eventually(() => front.sendAs('alice', path, options), status));
    }
    await assertNoneOpen(front);
  });

  for (const [user, what] of [
    ['alice', 'a client that left'],
    ['bob', 'a client without the right that left'],
  ] as const satisfies readonly (readonly [User, string])[]) {
    test(`after ${what} in the middle of its push`, async (t) => {
      const { front, registry } = await start(t, one);
      const session = await openUpload((path, options) => front.sendAs('alice', path, options), 'app');
      for (let i = 0; i < 3; i++) {
        const socket = connect(front.port, '127.0.0.1');
        t.after(() => socket.destroy());
        socket.on('error', () => undefined);
        const authorization = basic(user, passwords[user]);
        socket.write(
          `PATCH ${session} HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${authorization}\r\nContent-Length: 9000\r\n\r\nhello`,
        );
        if (user === 'alice') {
          const up = await registry.waitFor(({ method }) => method === 'PATCH');
          for (let waits = 0; up.receivedBytes < 5; waits++) {
            if (waits > 500) assert.fail('what was sent does not reach the upstream');
            await sleep(20);
          }
          registry.forgetRequests();
        } else {
          await new Promise((resolve) => socket.once('data', resolve));
        }
        socket.resetAndDestroy();
        await eventually(() => front.sendAs('alice', '/v2/app/manifests/1'), 200);
      }
      await assertNoneOpen(front);
    });
  }

  test('after a transfer that the upstream cut, and one that its client cut', async (t) => {
    const { front, registry } = await start(t, one);
    const blob = await generatedBlob(8 * 1024 * 1024);
    registry.putBlob('app', blob);
    const path = `/v2/app/blobs/${blob.digest}`;
    const remove = registry.faults.add({ path: '/blobs/' }, { cutAfter: 100_000 });
    assert.equal((await front.sendAs('alice', path)).whole, false);
    remove();
    await eventually(() => front.sendAs('alice', '/v2/app/manifests/1'), 200);
    const socket = connect(front.port, '127.0.0.1');
    socket.on('error', () => undefined);
    const authorization = basic('alice', passwords.alice);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${authorization}\r\n\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    assertRefused(await front.sendAs('alice', '/v2/app/manifests/1'));
    socket.resetAndDestroy();
    await eventually(() => front.sendAs('alice', '/v2/app/manifests/1'), 200);
    await assertNoneOpen(front);
  });
});
