import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { digestOf } from '../reference/digest.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { type MemoryRegistryOptions, startMemoryRegistry } from '../testing/index.js';
import {
  failsWith,
  type Opened,
  openUpstream,
  operations,
  password,
  type Settings,
  sourceOf,
} from './opened-upstream.test.js';

const user = { username: 'robot', password: 'hush' } as const;
const token = { auth: { kind: 'token', ...user } } as const;
const bytes = Buffer.from('hello');
const digest = digestOf(bytes);
const from = parseRepositoryName('team/base');

async function registry(t: TestContext, options: MemoryRegistryOptions = {}, settings: Settings = {}) {
  const remote = await startMemoryRegistry(options);
  t.after(() => remote.close());
  const credentials = sourceOf(password(user.username, user.password));
  return { remote, ...(await openUpstream(t, remote.url, { credentials, ...settings })) };
}

const open = operations.upload('team/app');

async function sessionOf({ fetch }: Opened): Promise<RegistryOperation> {
  const { location } = await fetch('POST', open);
  assert.ok(location, 'there is no location');
  return operations.upload('team/app', { session: location.href });
}

const body = () => Readable.from([bytes]);

describe('an upload’s session', () => {
  test('comes back as the upstream’s own URL where only scheme or port are wrong', async (t) => {
    const { remote, fetch } = await registry(t);
    const other = await startMemoryRegistry();
    t.after(() => other.close());
    const { pathname, search } = new URL(
      (await fetch('POST', open)).location ?? assert.fail('there is no location'),
    );
    for (const origin of [other.url, `https://127.0.0.1:${new URL(remote.url).port}`, 'http://127.0.0.1']) {
      const remove = remote.faults.add(
        { method: 'PATCH' },
        { headers: { location: `${origin}${pathname}${search}` } },
      );
      const session = `${remote.url}${pathname}${search}`;
      const patched = await fetch('PATCH', operations.upload('team/app', { session }), { body: body() });
      assert.equal(patched.location?.href, session);
      remove();
    }
    assert.equal(other.requests.length, 0);
  });

  test('on another host is UNAVAILABLE, logged, and nothing is sent there', async (t) => {
    const { remote, fetch, logged } = await registry(t, token);
    const other = await startMemoryRegistry({ host: 'localhost' });
    t.after(() => other.close());
    const location = `${other.url.replace('127.0.0.1', 'localhost')}/v2/team/app/blobs/uploads/1?_state=abc`;
    remote.faults.add({ method: 'POST', server: 'registry' }, { headers: { location } });
    await assert.rejects(fetch('POST', open), failsWith('UNAVAILABLE', /leads to localhost:\d+$/));
    assert.equal(other.requests.length, 0);
    assert.match(logged.join('\n'), /leads to localhost:\d+ .*"upstream":"test"/);
    assert.doesNotMatch(logged.join('\n'), /abc|hush/);
  });

  test('of another upstream is BLOB_UPLOAD_INVALID, and nothing is sent', async (t) => {
    const { remote, fetch } = await registry(t);
    const other = await startMemoryRegistry();
    t.after(() => other.close());
    const session = `${other.url}/v2/team/app/blobs/uploads/1`;
    for (const method of ['PATCH', 'PUT', 'GET', 'DELETE'] as const) {
      const operation = operations.upload('team/app', { session, digest });
      await assert.rejects(fetch(method, operation), failsWith('BLOB_UPLOAD_INVALID'), method);
    }
    assert.deepEqual([...remote.requests, ...other.requests], []);
  });

  test('is not redirected: no body and no credential leave for elsewhere', async (t) => {
    const opened = await registry(t, token);
    const { remote, fetch } = opened;
    const other = await startMemoryRegistry();
    t.after(() => other.close());
    const session = { ...(await sessionOf(opened)), digest } as RegistryOperation;
    const answer = { status: 307, headers: { location: `${other.url}/v2/team/app/blobs/uploads/1` } };
    remote.faults.add({ server: 'registry' }, { answer });
    const cases: readonly (readonly [RegistryMethod, RegistryOperation])[] = [
      ['POST', open],
      ['POST', operations.upload('team/app', { digest })],
      ['PATCH', session],
      ['PUT', session],
      ['GET', session],
      ['DELETE', session],
      ['DELETE', operations.blob('team/app', digest)],
      ['PUT', operations.manifest('team/app', 'v1')],
    ];
    for (const [method, operation] of cases) {
      const sent = method === 'GET' || method === 'DELETE' ? {} : { body: body() };
      await assert.rejects(fetch(method, operation, sent), failsWith('UNAVAILABLE', /answers 307/), method);
    }
    assert.equal(other.requests.length, 0);
  });

  const misused: readonly (readonly [RegistryMethod, RegistryOperation])[] = [
    ['PATCH', open],
    ['PUT', open],
    ['GET', open],
    ['DELETE', open],
    ['HEAD', open],
    ['POST', operations.upload('team/app', { session: 'http://127.0.0.1:1/x' })],
    ['PUT', operations.blob('team/app', digest)],
    ['POST', operations.manifest('team/app', 'v1')],
    ['PATCH', operations.manifest('team/app', 'v1')],
    ['PUT', operations.tags('team/app')],
    ['DELETE', operations.tags('team/app')],
    ['DELETE', operations.ping],
  ];
  for (const [method, operation] of misused) {
    test(`${method} ${JSON.stringify(operation)} is no request of the API`, async (t) => {
      const { fetch, remote } = await registry(t, { port: 0 });
      await assert.rejects(fetch(method, operation), (error) => {
        assert.ok(failsWith('UNSUPPORTED')(error) || failsWith('BLOB_UPLOAD_INVALID')(error), String(error));
        return true;
      });
      assert.deepEqual(remote.requests, []);
    });
  }

  test('is not closed without a digest', async (t) => {
    const opened = await registry(t);
    const session = await sessionOf(opened);
    await assert.rejects(opened.fetch('PUT', session, { body: body() }), failsWith('DIGEST_INVALID'));
    assert.equal(opened.remote.requests.filter(({ method }) => method === 'PUT').length, 0);
  });

  test('a digest that is said already gives way to the client’s, and `_state` stays as it was', async (t) => {
    const opened = await registry(t);
    const session = await sessionOf(opened);
    assert.ok(session.kind === 'upload', 'session.kind');
    const old = `${session.session}&digest=sha256:1&x=a%2Fb+c`;
    await opened.fetch('PATCH', session, { body: body() });
    const put = await opened.fetch('PUT', operations.upload('team/app', { session: old, digest }));
    assert.equal(put.status, 201);
    const sent = opened.remote.requests.at(-1);
    const state = new URL(old).search.slice(1).split('&')[0];
    assert.equal(sent?.path.split('?')[1], `${state}&x=a%2Fb+c&digest=${encodeURIComponent(digest)}`);
    assert.equal(sent?.headers['content-length'], '0');
  });

  test('without a digest in the answer the client’s own is told', async (t) => {
    const opened = await registry(t);
    const { remote, fetch } = opened;
    remote.putBlob('team/base', bytes);
    remote.faults.add({ server: 'registry' }, { headers: { 'docker-content-digest': '' } });
    const session = { ...(await sessionOf(opened)), digest } as RegistryOperation;
    for (const created of [
      await fetch('PUT', session, { body: body() }),
      await fetch('POST', operations.upload('team/app', { digest }), { body: body() }),
      await fetch('POST', operations.upload('team/app', { mount: { digest, from } })),
    ]) {
      assert.equal(created.status, 201);
      assert.equal(created.headers.get('docker-content-digest'), digest);
      assert.equal(created.location, undefined);
      assert.equal(created.body, undefined);
    }
  });

  test('what the answer says of it passes, its body does not', async (t) => {
    const { remote, fetch } = await registry(t, { uploads: { minimumChunk: 1024 } });
    remote.faults.add({ method: 'POST' }, { headers: { 'content-type': 'text/plain', 'x-internal': '1' } });
    const { status, headers, body: none } = await fetch('POST', open);
    assert.equal(status, 202);
    assert.equal(none, undefined);
    assert.deepEqual([...headers.keys()].sort(), ['docker-upload-uuid', 'oci-chunk-min-length', 'range']);
  });

  test('a single POST that is answered with a session hands the session on', async (t) => {
    const { remote, fetch } = await registry(t);
    const answer = { status: 202, headers: { location: '/v2/team/app/blobs/uploads/1' } };
    remote.faults.add({ method: 'POST' }, { answer });
    const response = await fetch('POST', operations.upload('team/app', { digest }), { body: body() });
    assert.equal(response.status, 202);
    assert.equal(response.location?.href, `${remote.url}/v2/team/app/blobs/uploads/1`);
  });

  test('a 201 to who asked for a session is no answer', async (t) => {
    const { remote, fetch } = await registry(t);
    remote.faults.add({ method: 'POST' }, { answer: { status: 201, headers: { location: '/x' } } });
    await assert.rejects(fetch('POST', open), failsWith('UNAVAILABLE'));
  });
});

describe('a mount', () => {
  const mount = operations.upload('team/app', { mount: { digest, from } });
  const own = 'repository:team/app:pull,push';
  const posts = (remote: { requests: readonly { method: string; path: string; server: string }[] }) =>
    remote.requests
      .filter(({ method, server }) => method === 'POST' && server === 'registry')
      .map((r) => r.path);

  test('asks for a token that reads its source too', async (t) => {
    const { remote, fetch } = await registry(t, token);
    remote.putBlob('team/base', bytes);
    assert.equal((await fetch('POST', mount)).status, 201);
    assert.deepEqual(
      remote.tokenRequests.map(({ scopes }) => scopes),
      [[own, 'repository:team/base:pull']],
    );
    assert.deepEqual(posts(remote), [
      `/v2/team/app/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=team%2Fbase`,
    ]);
  });

  test('from the same repository needs no second scope; without a source it is an upload', async (t) => {
    const { remote, fetch } = await registry(t, token);
    const same = operations.upload('team/app', { mount: { digest, from: parseRepositoryName('team/app') } });
    assert.equal((await fetch('POST', same)).status, 202);
    assert.deepEqual(
      remote.tokenRequests.map(({ scopes }) => scopes),
      [[own]],
    );
    remote.forgetRequests();
    assert.equal((await fetch('POST', operations.upload('team/app', { mount: { digest } }))).status, 202);
    assert.deepEqual(posts(remote), ['/v2/team/app/blobs/uploads/']);
  });

  test('of Docker Hub’s short names has the namespace on both sides', async (t) => {
    const { remote, fetch } = await registry(t, token, { defaultNamespace: 'library' });
    remote.putBlob('library/base', bytes);
    const short = operations.upload('app', { mount: { digest, from: parseRepositoryName('base') } });
    assert.equal((await fetch('POST', short)).status, 201);
    assert.ok(remote.store.blob('library/app', digest), 'the blob did not arrive');
  });

  const unauthorized = { status: 401, headers: {} };
  for (const answer of [{ status: 400 }, unauthorized, { status: 403 }, { status: 404 }, { status: 405 }]) {
    test(`that the upstream answers ${answer.status} becomes an upload`, async (t) => {
      const { remote, fetch, counts } = await registry(t, token);
      remote.faults.add({ path: 'mount=' }, { answer });
      const response = await fetch('POST', mount);
      assert.equal(response.status, 202);
      assert.ok(response.location, 'there is no location');
      assert.equal(posts(remote).at(-1), '/v2/team/app/blobs/uploads/');
      assert.deepEqual(remote.tokenRequests.at(-1)?.scopes, [own]);
      assert.equal(counts.get('upstream_repository_refusals_total{}'), undefined);
    });
  }

  test('whose wider token is refused becomes an upload', async (t) => {
    const { remote, fetch } = await registry(t, token);
    remote.faults.add({ server: 'token', path: 'base' }, { answer: { status: 403 } });
    assert.equal((await fetch('POST', mount)).status, 202);
    assert.deepEqual(posts(remote), ['/v2/team/app/blobs/uploads/']);
  });

  for (const [answer, code] of [
    [{ status: 429, headers: { 'retry-after': '3' } }, 'TOOMANYREQUESTS'],
    [{ status: 500 }, 'UNAVAILABLE'],
    [{ status: 202, headers: { location: 'http://registry.invalid/' } }, 'UNAVAILABLE'],
  ] as const) {
    test(`that is answered ${answer.status} and cannot be is ${code}`, async (t) => {
      const { remote, fetch } = await registry(t);
      remote.faults.add({ path: 'mount=' }, { answer });
      await assert.rejects(fetch('POST', mount), failsWith(code));
      assert.equal(posts(remote).length, 1);
    });
  }
});

describe('what a push shows', () => {
  test('every request of a session needs pull and push', async (t) => {
    const opened = await registry(t, token);
    const { remote, fetch } = opened;
    const session = await sessionOf(opened);
    await fetch('PATCH', session, { body: body() });
    await fetch('GET', session);
    await fetch('PUT', { ...session, digest } as RegistryOperation);
    assert.deepEqual(
      remote.tokenRequests.map(({ scopes }) => scopes),
      [['repository:team/app:pull,push']],
    );
  });

  test('a token that has just been revoked is renewed for what has no body', async (t) => {
    const opened = await registry(t, token);
    const { remote, fetch } = opened;
    const session = await sessionOf(opened);
    await fetch('PATCH', session, { body: body() });
    for (const [method, operation, status] of [
      ['POST', open, 202],
      ['GET', session, 204],
      ['PUT', { ...session, digest } as RegistryOperation, 201],
    ] as const) {
      remote.revokeTokens();
      const empty = { headers: { 'content-length': '0' }, body: Readable.from([]) };
      assert.equal((await fetch(method, operation, empty)).status, status, method);
    }
  });

  test('with a body it is UNAVAILABLE once, and the client’s retry is let in', async (t) => {
    const opened = await registry(t, token);
    const { remote, fetch } = opened;
    const session = await sessionOf(opened);
    remote.revokeTokens();
    remote.forgetRequests();
    const source = body();
    await assert.rejects(
      fetch('PATCH', session, { body: source }),
      failsWith('UNAVAILABLE', /401 to a body that cannot be sent twice/),
    );
    assert.equal(remote.requests.filter(({ method }) => method === 'PATCH').length, 1);
    assert.ok(source.destroyed, 'source.destroyed');
    assert.equal((await fetch('PATCH', session, { body: body() })).status, 202);
    assert.equal(remote.requests.filter(({ method }) => method === 'PATCH').length, 2);
  });

  test('a challenge may ask for more to write with', async (t) => {
    const { remote, fetch } = await registry(t, token);
    remote.putBlob('team/app', bytes);
    const realm = `Bearer realm="${remote.tokenUrl}",service="memory-registry"`;
    const scope = 'scope="repository:team/app:pull,push repository:other/app:push"';
    const challenge = { 'www-authenticate': `${realm},${scope}` };
    remote.faults.add({ method: 'DELETE' }, { answer: { status: 401, headers: challenge } }, 1);
    assert.equal((await fetch('DELETE', operations.blob('team/app', digest))).status, 202);
    assert.deepEqual(
      remote.tokenRequests.map(({ scopes }) => scopes),
      [
        ['repository:team/app:delete'],
        ['repository:team/app:delete', 'repository:team/app:pull', 'repository:team/app:push'],
      ],
    );
  });

  const refusals: readonly (readonly [RegistryMethod, RegistryOperation, string])[] = [
    ['POST', open, 'push to'],
    ['PUT', operations.manifest('team/app', 'v1'), 'push to'],
    ['DELETE', operations.manifest('team/app', 'v1'), 'delete from'],
    ['DELETE', operations.blob('team/app', digest), 'delete from'],
  ];
  for (const [method, operation, what] of refusals) {
    test(`a credential that may not ${method} ${operation.kind}: unknown to clients, named in the log`, async (t) => {
      const auth = { ...token.auth, grant: () => ['pull'] as const };
      const { remote, fetch, logged, counts } = await registry(t, { auth });
      remote.putBlob('team/app', bytes);
      await assert.rejects(fetch(method, operation, method === 'PUT' ? { body: body() } : {}), (error) => {
        const expected = new RegExp(`our credential may not ${what} team/app: .*401`);
        assert.ok(failsWith('NAME_UNKNOWN', expected)(error), String(error));
        assert.match((error as Error).message, /does not let this proxy/);
        return true;
      });
      assert.match(logged.join('\n'), new RegExp(`our credential may not ${what} team/app`));
      assert.equal(counts.get('upstream_repository_refusals_total{}'), 1);
    });
  }
});
