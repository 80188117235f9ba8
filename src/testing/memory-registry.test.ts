import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { nextLink } from '../protocol/link.js';
import { digestOf } from '../reference/digest.js';
import { contentOf, generatedBlob } from './blob-content.js';
import { FakeClock } from './fake-clock.js';
import { mediaTypes } from './manifest-document.js';
import { type MemoryRegistryOptions, startMemoryRegistry } from './memory-registry.js';
import { artifactFor, tinyImage } from './tiny-image.js';

async function start(t: TestContext, options: MemoryRegistryOptions = {}) {
  const registry = await startMemoryRegistry(options);
  t.after(() => registry.close());
  const call = (path: string, init: RequestInit = {}) =>
    fetch(path.startsWith('http') ? path : `${registry.url}${path}`, { redirect: 'manual', ...init });
  return { registry, call };
}

async function codeOf(response: Response): Promise<string> {
  const body = (await response.json()) as { errors: { code: string }[] };
  return `${response.status} ${body.errors[0]?.code}`;
}

const basic = (username: string, password: string) =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
const hello = Buffer.from('hello world');
const helloDigest = digestOf(hello);

test('manifests come by tag and digest as they were put, and HEAD says the same', async (t) => {
  const { registry, call } = await start(t);
  const { digest, bytes, mediaType } = registry.putImage('my/app', 'v1', tinyImage('hi\n'));
  for (const reference of ['v1', digest]) {
    const get = await call(`/v2/my/app/manifests/${reference}`);
    assert.deepEqual(Buffer.from(await get.arrayBuffer()), bytes);
    const head = await call(`/v2/my/app/manifests/${reference}`, { method: 'HEAD' });
    for (const response of [get, head]) {
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('docker-content-digest'), digest);
      assert.equal(response.headers.get('content-type'), mediaType);
      assert.equal(response.headers.get('content-length'), String(bytes.length));
      assert.equal(response.headers.get('docker-distribution-api-version'), 'registry/2.0');
    }
  }
  const same = await call('/v2/my/app/manifests/v1', { headers: { 'if-none-match': `"${digest}"` } });
  assert.equal(same.status, 304);
});

test('what is not there is a 404 with its code', async (t) => {
  const { registry, call } = await start(t);
  registry.putBlob('my/app', hello);
  const none = `sha256:${'0'.repeat(64)}`;
  const cases: [string, string, string][] = [
    ['GET', '/v2/my/app/manifests/nope', '404 MANIFEST_UNKNOWN'],
    ['GET', `/v2/my/app/manifests/${none}`, '404 MANIFEST_UNKNOWN'],
    ['GET', `/v2/my/app/blobs/${none}`, '404 BLOB_UNKNOWN'],
    ['GET', `/v2/other/blobs/${helloDigest}`, '404 NAME_UNKNOWN'],
    ['GET', '/v2/other/manifests/v1', '404 NAME_UNKNOWN'],
    ['GET', '/v2/other/tags/list', '404 NAME_UNKNOWN'],
    ['GET', '/v2/Upper/tags/list', '400 NAME_INVALID'],
    ['GET', '/v2/my/app/blobs/sha256:1', '400 DIGEST_INVALID'],
    ['PATCH', '/v2/my/app/blobs/uploads/unknown', '404 BLOB_UPLOAD_UNKNOWN'],
    ['POST', '/v2/my/app/manifests/v1', '405 UNSUPPORTED'],
  ];
  for (const [method, path, expected] of cases) {
    assert.equal(await codeOf(await call(path, { method })), expected, `${method} ${path}`);
  }
  assert.equal((await call('/v2/my/app/nonsense')).status, 404);
});

test('a blob comes whole and in ranges', async (t) => {
  const { registry, call } = await start(t);
  registry.putBlob('my/app', hello);
  const cases: [string | undefined, number, string, string | null][] = [
    [undefined, 200, 'hello world', null],
    ['bytes=0-4', 206, 'hello', 'bytes 0-4/11'],
    ['bytes=6-', 206, 'world', 'bytes 6-10/11'],
    ['bytes=-3', 206, 'rld', 'bytes 8-10/11'],
    ['bytes=6-99', 206, 'world', 'bytes 6-10/11'],
  ];
  for (const [range, status, text, contentRange] of cases) {
    const response = await call(`/v2/my/app/blobs/${helloDigest}`, { headers: range ? { range } : {} });
    assert.deepEqual(
      [response.status, await response.text(), response.headers.get('content-range')],
      [status, text, contentRange],
    );
  }
  const beyond = await call(`/v2/my/app/blobs/${helloDigest}`, { headers: { range: 'bytes=11-' } });
  assert.equal(await codeOf(beyond), '416 RANGE_INVALID');
});

test('uploads: at once, in chunks, cancelled, mounted', async (t) => {
  const { registry, call } = await start(t, { uploads: { minimumChunk: 5 } });
  const once = await call(`/v2/a/blobs/uploads/?digest=${helloDigest}`, { method: 'POST', body: hello });
  assert.equal(once.status, 201);
  assert.ok(registry.store.blob('a', helloDigest), 'the blob is not there');

  const opened = await call('/v2/b/blobs/uploads/', { method: 'POST' });
  assert.equal(opened.status, 202);
  assert.equal(opened.headers.get('oci-chunk-min-length'), '5');
  const location = opened.headers.get('location') ?? '';
  assert.match(location, /^\/v2\/b\/blobs\/uploads\//);
  const patch = (body: string, range?: string) =>
    call(location, { method: 'PATCH', body, headers: range ? { 'content-range': range } : {} });
  assert.equal((await patch('hello', '0-4')).headers.get('range'), '0-4');
  assert.equal(await codeOf(await patch('xx', '9-10')), '416 RANGE_INVALID');
  assert.equal((await patch(' wor')).headers.get('range'), '0-8');
  const status = await call(location);
  assert.deepEqual([status.status, status.headers.get('range')], [204, '0-8']);
  assert.equal(await codeOf(await call(location.split('?')[0] ?? '')), '400 BLOB_UPLOAD_INVALID');
  const put = await call(`${location}&digest=${helloDigest}`, { method: 'PUT', body: 'ld' });
  assert.equal(put.status, 201);
  assert.equal(put.headers.get('docker-content-digest'), helloDigest);

  const wrong = await call(`/v2/c/blobs/uploads/?digest=${helloDigest}`, { method: 'POST', body: 'no' });
  assert.equal(await codeOf(wrong), '400 DIGEST_INVALID');
  assert.equal(registry.openUploads, 0);

  const mounted = await call(`/v2/d/blobs/uploads/?mount=${helloDigest}&from=a`, { method: 'POST' });
  assert.equal(mounted.status, 201);
  const unknown = await call(`/v2/d/blobs/uploads/?mount=${helloDigest}&from=nope`, { method: 'POST' });
  assert.equal(unknown.status, 202);
  assert.equal(registry.openUploads, 1);
  assert.equal((await call(unknown.headers.get('location') ?? '', { method: 'DELETE' })).status, 204);
  assert.equal(registry.openUploads, 0);
});

test('a manifest is checked when it is put, and deleted by tag and by digest', async (t) => {
  const { registry, call } = await start(t);
  const { root, blobs, children } = tinyImage('hi\n');
  const put = (reference: string, body: Uint8Array, type: string) =>
    call(`/v2/my/app/manifests/${reference}`, { method: 'PUT', body, headers: { 'content-type': type } });
  const [child] = children;
  assert.ok(child, 'no child');
  assert.equal(await codeOf(await put('v1', child.bytes, child.mediaType)), '404 MANIFEST_BLOB_UNKNOWN');
  for (const blob of blobs) registry.putBlob('my/app', blob);
  assert.equal(await codeOf(await put(root.digest, child.bytes, child.mediaType)), '400 DIGEST_INVALID');
  assert.equal(await codeOf(await put('v1', child.bytes, 'text/plain')), '400 MANIFEST_INVALID');
  for (const { digest, bytes, mediaType } of children)
    assert.equal((await put(digest, bytes, mediaType)).status, 201);
  assert.equal(
    (await put('v1', root.bytes, root.mediaType)).headers.get('docker-content-digest'),
    root.digest,
  );

  const artifact = artifactFor(root, 'application/x-sbom', 'text');
  for (const blob of artifact.blobs) registry.putBlob('my/app', blob);
  const referring = await put(artifact.root.digest, artifact.root.bytes, artifact.root.mediaType);
  assert.equal(referring.headers.get('oci-subject'), root.digest);

  const gone = (reference: string) => call(`/v2/my/app/manifests/${reference}`, { method: 'DELETE' });
  assert.equal((await put('v2', root.bytes, root.mediaType)).status, 201);
  assert.equal((await gone('v2')).status, 202);
  assert.deepEqual(registry.store.tags('my/app'), ['v1']);
  assert.equal((await gone(root.digest)).status, 202);
  assert.deepEqual(registry.store.tags('my/app'), []);
});

test('lists come in pages whose links lead on', async (t) => {
  for (const links of ['relative', 'absolute'] as const) {
    const { registry, call } = await start(t, { links });
    for (const tag of ['c', 'a', 'b'])
      registry.putManifest('my/app', tag, Buffer.from('{}'), mediaTypes.manifest);
    registry.putBlob('other', hello);
    const all: string[][] = [];
    let next: string | undefined = '/v2/my/app/tags/list?n=2';
    while (next !== undefined) {
      const response: Response = await call(next);
      all.push(((await response.json()) as { tags: string[] }).tags);
      next = nextLink(response.headers.get('link') ?? '');
      if (next !== undefined) assert.equal(next.startsWith('http'), links === 'absolute');
    }
    assert.deepEqual(all, [['a', 'b'], ['c']]);
    const catalog = (await (await call('/v2/_catalog?n=9')).json()) as unknown;
    assert.deepEqual(catalog, { repositories: ['my/app', 'other'] });
  }
});

test('referrers are filtered, and say so', async (t) => {
  const { registry, call } = await start(t);
  const subject = registry.putImage('my/app', 'v1', tinyImage('hi\n'));
  for (const type of ['application/x-sbom', 'application/x-signature']) {
    registry.putImage('my/app', type.slice(-4), artifactFor(subject, type, type));
  }
  const list = async (query: string) => {
    const response = await call(`/v2/my/app/referrers/${subject.digest}${query}`);
    const { manifests } = (await response.json()) as { manifests: { artifactType: string }[] };
    return [response.headers.get('oci-filters-applied'), manifests.map((m) => m.artifactType).sort()];
  };
  assert.deepEqual(await list(''), [null, ['application/x-sbom', 'application/x-signature']]);
  assert.deepEqual(await list('?artifactType=application/x-sbom'), ['artifactType', ['application/x-sbom']]);
  const old = await start(t, { referrers: false });
  assert.equal((await old.call(`/v2/my/app/referrers/${subject.digest}`)).status, 404);
});

test('basic authentication', async (t) => {
  const { registry, call } = await start(t, { auth: { kind: 'basic', username: 'ann', password: 'secret' } });
  const none = await call('/v2/');
  assert.match(none.headers.get('www-authenticate') ?? '', /^Basic /);
  assert.equal(await codeOf(none), '401 UNAUTHORIZED');
  const ping = async (password: string) =>
    (await call('/v2/', { headers: { authorization: basic('ann', password) } })).status;
  assert.deepEqual([await ping('secret'), await ping('wrong')], [200, 401]);
  registry.setCredentials('ann', 'new');
  assert.deepEqual([await ping('secret'), await ping('new')], [401, 200]);
});

test('tokens: challenge, scope, lifetime, revocation', async (t) => {
  for (const origin of ['same', 'other'] as const) {
    const clock = new FakeClock();
    const auth = { kind: 'token', username: 'ann', password: 'secret', origin, lifetime: 60 } as const;
    const { registry, call } = await start(t, { auth, clock });
    registry.putImage('my/app', 'v1', tinyImage('hi\n'));
    const challenged = await call('/v2/my/app/manifests/v1');
    assert.equal(
      challenged.headers.get('www-authenticate'),
      `Bearer realm="${registry.tokenUrl}",service="memory-registry",scope="repository:my/app:pull"`,
    );
    assert.equal(new URL(registry.tokenUrl).host === registry.host, origin === 'same');
    const ask = (query: string, authorization = basic('ann', 'secret')) =>
      call(`${registry.tokenUrl}?${query}`, { headers: { authorization } });
    assert.equal((await ask('scope=repository:my/app:pull', basic('ann', 'no'))).status, 401);
    const answer = (await (await ask('service=memory-registry&scope=repository:my/app:pull')).json()) as {
      token: string;
      expires_in: number;
    };
    assert.equal(answer.expires_in, 60);
    const get = (path: string, method = 'GET') =>
      call(path, { method, headers: { authorization: `Bearer ${answer.token}` } });
    assert.equal((await get('/v2/my/app/manifests/v1')).status, 200);
    const other = await get('/v2/other/tags/list');
    assert.match(other.headers.get('www-authenticate') ?? '', /error="insufficient_scope"/);
    assert.equal((await get('/v2/my/app/blobs/uploads/', 'POST')).status, 401);
    clock.advance(60_000);
    const late = await get('/v2/my/app/manifests/v1');
    assert.match(late.headers.get('www-authenticate') ?? '', /error="invalid_token"/);
    assert.deepEqual(
      registry.tokenRequests.map(({ shown, status }) => `${shown} ${status}`),
      ['basic 401', 'basic 200'],
    );
  }
});

test('the token endpoint: password and refresh token by POST, anonymous, nothing at all', async (t) => {
  const user = { username: 'ann', password: 'secret', identityToken: 'idt' };
  const { registry, call } = await start(t, { auth: { kind: 'token', ...user, anonymousPull: true } });
  const post = (form: Record<string, string>) =>
    call(registry.tokenUrl, {
      method: 'POST',
      body: new URLSearchParams({ service: 'memory-registry', ...form }),
    });
  const scope = 'repository:a:pull,push';
  const cases: [Record<string, string>, number][] = [
    [{ grant_type: 'password', username: 'ann', password: 'secret', scope }, 200],
    [{ grant_type: 'password', username: 'ann', password: 'no', scope }, 401],
    [{ grant_type: 'refresh_token', refresh_token: 'idt', scope }, 200],
    [{ grant_type: 'refresh_token', refresh_token: 'no', scope }, 401],
    [{ grant_type: 'password', username: 'ann', password: 'secret', service: 'other', scope }, 401],
  ];
  for (const [form, status] of cases) assert.equal((await post(form)).status, status);
  const offline = await call(`${registry.tokenUrl}?offline_token=true`, {
    headers: { authorization: basic('ann', 'secret') },
  });
  assert.equal(((await offline.json()) as { refresh_token: string }).refresh_token, 'idt');
  assert.equal((await call(registry.tokenUrl)).status, 401);
  const anonymous = (await (await call(`${registry.tokenUrl}?scope=${scope}`)).json()) as { token: string };
  const authorization = `Bearer ${anonymous.token}`;
  assert.equal((await call('/v2/a/tags/list', { headers: { authorization } })).status, 404);
  assert.equal(
    (await call('/v2/a/blobs/uploads/', { method: 'POST', headers: { authorization } })).status,
    401,
  );
  registry.revokeTokens();
  assert.equal((await call('/v2/a/tags/list', { headers: { authorization } })).status, 401);
});

test('Docker Hub’s way: no token covers a repository that does not exist', async (t) => {
  const { registry, call } = await start(t, {
    auth: { kind: 'token', username: 'ann', password: 'secret', unknownRepositories: 'unauthorized' },
  });
  registry.putBlob('known', hello);
  for (const [name, status] of [
    ['known', 200],
    ['unknown', 401],
  ] as const) {
    const asked = await call(`${registry.tokenUrl}?scope=repository:${name}:pull`, {
      headers: { authorization: basic('ann', 'secret') },
    });
    const { token } = (await asked.json()) as { token: string };
    const tags = await call(`/v2/${name}/tags/list`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(tags.status, status);
  }
});

test('storage: signed, without Authorization, also relative', async (t) => {
  for (const redirect of ['absolute', 'relative'] as const) {
    const { registry, call } = await start(t, { storage: { redirect, refuseHead: true } });
    registry.putBlob('my/app', hello);
    const redirected = await call(`/v2/my/app/blobs/${helloDigest}`);
    assert.equal(redirected.status, 307);
    const location = redirected.headers.get('location') ?? '';
    assert.equal(location.startsWith('/'), redirect === 'relative');
    const target = new URL(location, registry.url).href;
    assert.ok(target.startsWith(registry.storageUrl), 'not at the storage');
    assert.equal(await (await call(target)).text(), 'hello world');
    assert.equal(await (await call(target, { headers: { range: 'bytes=0-4' } })).text(), 'hello');
    assert.equal((await call(target, { method: 'HEAD' })).status, 403);
    assert.equal((await call(target.replace(/Signature=.*/, 'Signature=x'))).status, 403);
    const withToken = await call(target, { headers: { authorization: 'Bearer x' } });
    assert.equal(withToken.status, redirect === 'absolute' ? 400 : 200);
    assert.ok(
      registry.requests.some((request) => request.server === 'storage'),
      'not logged',
    );
  }
});

test('faults', async (t) => {
  const { registry, call } = await start(t);
  registry.putBlob('my/app', hello);
  const path = `/v2/my/app/blobs/${helloDigest}`;
  const { faults } = registry;

  faults.add(
    { method: 'GET', path: '/blobs/' },
    { answer: { status: 429, headers: { 'retry-after': '3' }, body: 'x' } },
    1,
  );
  const limited = await call(path);
  assert.deepEqual(
    [limited.status, limited.headers.get('retry-after'), await limited.text()],
    [429, '3', 'x'],
  );
  assert.equal((await call(path)).status, 200);

  for (const effect of [{ cutAfter: 5 }, { cutAfter: 5, framing: 'chunked' }, { reset: true }] as const) {
    faults.add({ path }, effect, 1);
    await assert.rejects(call(path).then((response) => response.text()));
  }
  for (const [framing, encoding] of [
    ['chunked', 'chunked'],
    ['close', null],
  ] as const) {
    faults.add({ path }, { framing }, 1);
    const response = await call(path);
    assert.equal(response.headers.get('content-length'), null);
    assert.equal(response.headers.get('transfer-encoding'), encoding);
    assert.equal(await response.text(), 'hello world');
  }
  faults.add({ path }, { framing: 'close', cutAfter: 5 }, 1);
  assert.equal(await (await call(path)).text(), 'hello');
  faults.add({ path }, { corruptAt: 1, headers: { 'x-more': 'y', etag: '' }, delay: 1 }, 1);
  const corrupt = await call(path);
  assert.deepEqual([corrupt.headers.get('x-more'), corrupt.headers.get('etag')], ['y', null]);
  assert.equal(await corrupt.text(), 'hdllo world');
  assert.ok(
    registry.requests.every((request) => !request.closedEarly),
    'a fault counts as a client that went away',
  );
});

test('faults in the body of a request', async (t) => {
  const { registry, call } = await start(t);
  const bytes = Buffer.alloc(1024 * 1024, 'x');
  const opened = await call('/v2/a/blobs/uploads/', { method: 'POST' });
  const location = opened.headers.get('location') ?? '';
  const patch = () => call(location, { method: 'PATCH', body: bytes });
  registry.faults.add({ method: 'PATCH' }, { resetAfter: 100_000 }, 1);
  await assert.rejects(patch());
  const entry = await registry.waitFor((request) => request.method === 'PATCH');
  await entry.settled;
  assert.ok(entry.receivedBytes >= 100_000, `only ${entry.receivedBytes} bytes were read`);
  assert.deepEqual([entry.finished, entry.closedEarly], [false, false]);
  const range = (await call(location)).headers.get('range');
  assert.equal(range, `0-${entry.receivedBytes - 1}`, 'the session keeps what was read');

  const clock = performance.now();
  registry.faults.add({ method: 'PATCH' }, { bodyRate: 4 * bytes.length }, 1);
  assert.equal((await patch()).status, 202);
  assert.ok(performance.now() - clock > 200, 'a mebibyte at four a second arrived at once');
});

test('a stalled body stays, and a client that goes away is noticed', async (t) => {
  const { registry } = await start(t);
  const blob = registry.putBlob('my/app', contentOf(Buffer.alloc(100_000)));
  registry.faults.add({ path: '/blobs/' }, { stallAfter: 10 });
  const outgoing = httpRequest(`${registry.url}/v2/my/app/blobs/${blob.digest}`).end();
  outgoing.on('error', () => undefined);
  t.after(() => outgoing.destroy());
  const [response] = await once(outgoing, 'response');
  response.on('error', () => undefined);
  const [piece] = await once(response, 'data');
  assert.equal(piece.length, 10);
  assert.equal(registry.requests[0]?.finished, false);
  outgoing.destroy();
  const entry = await registry.waitFor((request) => request.closedEarly);
  assert.deepEqual([entry.finished, entry.sentBytes], [false, 10]);
});

test('a big blob is sent no faster than it is read', async (t) => {
  const { registry } = await start(t);
  const blob = registry.putBlob('my/app', await generatedBlob(64 * 1024 * 1024));
  const outgoing = httpRequest(`${registry.url}/v2/my/app/blobs/${blob.digest}`).end();
  outgoing.on('error', () => undefined);
  t.after(() => outgoing.destroy());
  const [response] = await once(outgoing, 'response'); // and not read
  response.on('error', () => undefined);
  const [entry] = registry.requests;
  assert.ok(entry, 'no request');
  for (let still = 0, before = -1; still < 50 && entry.sentBytes < blob.size; await nextTurn()) {
    still = entry.sentBytes === before ? still + 1 : 0;
    before = entry.sentBytes;
  }
  assert.ok(entry.sentBytes < blob.size, 'all of it left although nobody reads');
  outgoing.destroy();
  await entry.settled;
  assert.equal(entry.closedEarly, true);
});

test('closing twice is fine, and the port is free', async () => {
  const registry = await startMemoryRegistry();
  await registry.close();
  await registry.close();
  await assert.rejects(fetch(registry.url));
});
