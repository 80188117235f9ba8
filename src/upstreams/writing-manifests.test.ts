import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { RegistryError } from '../errors.js';
import { digestOf } from '../reference/digest.js';
import {
  artifactFor,
  type FaultEffect,
  type MemoryRegistryOptions,
  startMemoryRegistry,
  tinyImage,
} from '../testing/index.js';
import { failsWith, openUpstream, operations, password, sourceOf } from './opened-upstream.test.js';

const user = { username: 'robot', password: 'hush' } as const;
const token = { auth: { kind: 'token', ...user } } as const;
const limit = 4 * 1024 * 1024;
const { root } = tinyImage('hello');
const { bytes, mediaType, digest } = root;
const byTag = operations.manifest('team/app', 'v1');
const headers = { 'content-type': mediaType };

async function registry(t: TestContext, options: MemoryRegistryOptions = {}) {
  const remote = await startMemoryRegistry({ verifyBlobs: false, ...options });
  t.after(() => remote.close());
  const credentials = sourceOf(password(user.username, user.password));
  return { remote, ...(await openUpstream(t, remote.url, { credentials })) };
}

const body = (...pieces: readonly Buffer[]) => Readable.from(pieces.length === 0 ? [bytes] : pieces);
const puts = (remote: { requests: readonly { method: string }[] }) =>
  remote.requests.filter(({ method }) => method === 'PUT');

describe('putting a manifest', () => {
  test('its bytes and its type go up, and nothing else of the client’s', async (t) => {
    const { remote, fetch } = await registry(t);
    const noise = { accept: 'x', 'if-none-match': 'x', 'content-range': '0-1', range: 'bytes=0-1' };
    const response = await fetch('PUT', byTag, { headers: { ...noise, ...headers }, body: body() });
    assert.equal(response.status, 201);
    assert.deepEqual([...response.headers], [['docker-content-digest', digest]]);
    assert.deepEqual([response.location, response.body], [undefined, undefined]);
    const {
      host: _,
      connection: __,
      'user-agent': ___,
      ...sent
    } = puts(remote).at(-1) ? (remote.requests.at(-1)?.headers ?? {}) : {};
    assert.deepEqual(sent, {
      'accept-encoding': 'identity',
      'content-type': mediaType,
      'content-length': String(bytes.length),
    });
    assert.deepEqual(remote.store.manifest('team/app', 'v1')?.bytes, bytes);
  });

  test('a stale token is renewed: the bytes are sent again', async (t) => {
    const { remote, fetch } = await registry(t, token);
    await fetch('PUT', byTag, { headers, body: body() });
    remote.revokeTokens();
    remote.forgetRequests();
    assert.equal((await fetch('PUT', byTag, { headers, body: body() })).status, 201);
    assert.deepEqual(
      puts(remote).map((request) => (request as { status?: number }).status),
      [401, 201],
    );
  });

  const sha512 = digestOf(bytes, 'sha512');
  const digests: readonly (readonly [string, string, FaultEffect['headers'], string | undefined])[] = [
    ['as it says', 'v1', {}, digest],
    ['that says none', 'v1', { 'docker-content-digest': '' }, digest],
    ['that says nonsense', 'v1', { 'docker-content-digest': 'latest' }, digest],
    ['that says it in another algorithm', 'v1', { 'docker-content-digest': sha512 }, sha512],
    ['that says none, of a sha512', sha512, { 'docker-content-digest': '' }, sha512],
    ['that says one nobody can compute', 'v1', { 'docker-content-digest': `md9:${'a'.repeat(40)}` }, digest],
    [
      'that says one of other bytes',
      'v1',
      { 'docker-content-digest': digestOf(Buffer.from('x')) },
      undefined,
    ],
  ];
  for (const [name, reference, answer, told] of digests) {
    test(`the digest of an upstream ${name} is ${told?.slice(0, 12) ?? 'UNAVAILABLE'}`, async (t) => {
      const { remote, fetch, logged } = await registry(t);
      remote.faults.add({ method: 'PUT' }, { headers: answer ?? {} });
      const put = fetch('PUT', operations.manifest('team/app', reference), { headers, body: body() });
      if (told !== undefined) return assert.equal((await put).headers.get('docker-content-digest'), told);
      await assert.rejects(put, failsWith('UNAVAILABLE', /not the digest of its bytes/));
      assert.match(logged.join('\n'), /not the digest of its bytes/);
    });
  }

  test('a subject the registry took is told', async (t) => {
    const { remote, fetch } = await registry(t);
    const subject = remote.putImage('team/app', 'v1', tinyImage('hello'));
    const artifact = artifactFor(subject, 'application/x-sbom', 'a').root;
    const response = await fetch('PUT', operations.manifest('team/app', artifact.digest), {
      headers: { 'content-type': artifact.mediaType },
      body: body(artifact.bytes),
    });
    assert.equal(response.headers.get('oci-subject'), subject.digest);
  });

  for (const status of [200, 202]) {
    test(`a ${status} is as good as a 201`, async (t) => {
      const { remote, fetch } = await registry(t);
      remote.faults.add({ method: 'PUT' }, { answer: { status } });
      assert.equal((await fetch('PUT', byTag, { headers, body: body() })).status, 201);
    });
  }

  test('over 4 MiB by its length it is 413, and not read at all', async (t) => {
    const { remote, fetch } = await registry(t, token);
    const unread = new Readable({ read: () => assert.fail('it was read') });
    const put = fetch('PUT', byTag, {
      headers: { ...headers, 'content-length': String(limit + 1) },
      body: unread,
    });
    await assert.rejects(put, (error) => {
      assert.ok(failsWith('MANIFEST_INVALID')(error), String(error));
      assert.equal((error as RegistryError).status, 413);
      return true;
    });
    assert.deepEqual(remote.requests, []);
  });

  test('over 4 MiB without a length it is 413, and read no further', async (t) => {
    const { remote, fetch } = await registry(t);
    let given = 0;
    const endless = new Readable({
      read() {
        given += 65_536;
        this.push(Buffer.alloc(65_536));
      },
    });
    await assert.rejects(fetch('PUT', byTag, { headers, body: endless }), (error) => {
      return error instanceof RegistryError && error.code === 'MANIFEST_INVALID' && error.status === 413;
    });
    assert.ok(given < 2 * limit, `${given} bytes were read`);
    assert.ok(endless.destroyed, 'endless.destroyed');
    assert.deepEqual(puts(remote), []);
  });

  test('of exactly 4 MiB goes up', async (t) => {
    const { remote, fetch } = await registry(t);
    const large = Buffer.concat([bytes, Buffer.alloc(limit - bytes.length, ' ')]);
    const response = await fetch('PUT', byTag, { headers, body: body(large) });
    assert.equal(response.headers.get('docker-content-digest'), digestOf(large));
    assert.equal(remote.store.manifest('team/app', 'v1')?.bytes.length, limit);
  });

  for (const [name, cut] of [
    ['with an error', (stream: Readable) => stream.destroy(new Error('gone'))],
    ['silently', (stream: Readable) => stream.destroy()],
    ['at an end that comes too early', (stream: Readable) => stream.push(null)],
  ] as const) {
    test(`nothing of one that the client cuts ${name} goes up`, async (t) => {
      const { remote, fetch } = await registry(t);
      const stream = new Readable({ read() {} });
      stream.push(bytes.subarray(0, 10));
      const length = { ...headers, 'content-length': String(bytes.length) };
      const put = fetch('PUT', byTag, { headers: length, body: stream });
      put.catch(() => {});
      setImmediate(() => cut(stream));
      await assert.rejects(put, failsWith('SIZE_INVALID'));
      assert.deepEqual(puts(remote), []);
    });
  }
});

describe('an upstream that refuses a write', () => {
  const error = (code: string, message = '') => JSON.stringify({ errors: [{ code, message }] });
  const cases: readonly (readonly [
    name: string,
    status: number,
    body: string,
    code: string,
    becomes: number,
    message?: RegExp,
  ])[] = [
    ['blobs are missing (distribution)', 400, error('MANIFEST_BLOB_UNKNOWN'), 'MANIFEST_BLOB_UNKNOWN', 400],
    ['blobs are missing', 404, error('MANIFEST_BLOB_UNKNOWN'), 'MANIFEST_BLOB_UNKNOWN', 404],
    [
      'it is no manifest',
      400,
      error('MANIFEST_INVALID', 'no config'),
      'MANIFEST_INVALID',
      400,
      /^no config$/,
    ],
    ['another digest', 400, error('DIGEST_INVALID'), 'DIGEST_INVALID', 400],
    ['another size', 400, error('SIZE_INVALID'), 'SIZE_INVALID', 400],
    ['the range', 416, error('RANGE_INVALID'), 'RANGE_INVALID', 416],
    ['the session is unknown', 404, error('BLOB_UPLOAD_UNKNOWN'), 'BLOB_UPLOAD_UNKNOWN', 404],
    ['the session is invalid', 400, error('BLOB_UPLOAD_INVALID'), 'BLOB_UPLOAD_INVALID', 400],
    ['a 404 of its own', 404, '<html>', 'NAME_UNKNOWN', 404],
    ['the tag is immutable', 400, error('TAG_INVALID', 'v1 exists'), 'TAG_INVALID', 400, /^v1 exists$/],
    ['a conflict', 409, error('CONFLICT', 'v1 is immutable'), 'UNKNOWN', 409, /^v1 is immutable$/],
    [
      'a precondition',
      412,
      error('PRECONDITION', 'in team/app'),
      'UNKNOWN',
      412,
      /^the registry answers 412$/,
    ],
    ['a gateway’s 413', 413, '<html>', 'SIZE_INVALID', 413, /takes nothing this large/],
    ['its own 413', 413, error('MANIFEST_INVALID', 'over 1 MiB'), 'MANIFEST_INVALID', 413, /^over 1 MiB$/],
    ['it cannot', 405, '', 'UNSUPPORTED', 405],
    ['a quota', 403, error('DENIED', 'quota of 1 GiB used up'), 'DENIED', 403, /^quota of 1 GiB used up$/],
    [
      'a quota, in our names',
      403,
      error('DENIED', 'project team will exceed the configured upper limit'),
      'DENIED',
      403,
      /^the registry's quota or limit is exceeded$/,
    ],
    [
      'a quota, at an address',
      403,
      error('DENIED', 'user svc-robot limit exceeded at 10.0.0.7'),
      'DENIED',
      403,
      /^the registry's quota or limit is exceeded$/,
    ],
    [
      'a tag, in our names',
      403,
      error('DENIED', 'team/app:v1 is immutable'),
      'DENIED',
      403,
      /^the registry lets nobody change this tag$/,
    ],
    [
      'a 403 of another code, in our names',
      403,
      error('TAG_INVALID', 'project team is protected'),
      'TAG_INVALID',
      403,
      /^the registry refuses it for a limit of its own$/,
    ],
    ['a 403 of another code', 403, error('TAG_INVALID', 'protected'), 'TAG_INVALID', 403, /^protected$/],
    [
      'a 403 about access',
      403,
      error('DENIED', 'no permission'),
      'NAME_UNKNOWN',
      404,
      /not let this proxy push/,
    ],
    ['a 403 without a word', 403, '', 'NAME_UNKNOWN', 404],
    ['too much at a time', 429, error('TOOMANYREQUESTS'), 'TOOMANYREQUESTS', 429],
    ['a disk that is full', 507, '', 'UNAVAILABLE', 503],
  ];
  for (const [name, status, text, code, becomes, message] of cases) {
    test(`for ${name} (${status}) is ${code} ${becomes}`, async (t) => {
      const { remote, fetch } = await registry(t, token);
      remote.faults.add({ method: 'PUT' }, { answer: { status, body: text } });
      await assert.rejects(fetch('PUT', byTag, { headers, body: body() }), (failure) => {
        assert.ok(failure instanceof RegistryError, String(failure));
        assert.deepEqual([failure.code, failure.status], [code, becomes]);
        if (message !== undefined) assert.match(failure.message, message);
        return true;
      });
    });
  }

  test('a 404 to a session is an unknown session, to its start an unknown repository', async (t) => {
    const { remote, fetch } = await registry(t);
    remote.faults.add({ server: 'registry', path: 'uploads/' }, { answer: { status: 404 } });
    await assert.rejects(fetch('POST', operations.upload('team/app')), failsWith('NAME_UNKNOWN'));
    const session = `${remote.url}/v2/team/app/blobs/uploads/1`;
    const gone = fetch('GET', operations.upload('team/app', { session }));
    await assert.rejects(gone, failsWith('BLOB_UPLOAD_UNKNOWN'));
  });
});

describe('deleting', () => {
  for (const status of [200, 202, 204]) {
    test(`is done with a ${status}`, async (t) => {
      const { remote, fetch } = await registry(t);
      remote.faults.add(
        { method: 'DELETE' },
        { answer: { status, headers: { 'content-type': 'text/plain' } } },
      );
      const response = await fetch('DELETE', byTag);
      assert.deepEqual([response.status, [...response.headers], response.body], [202, [], undefined]);
    });
  }

  test('a tag leaves the manifest, a digest takes the tags along', async (t) => {
    const { remote, fetch } = await registry(t, token);
    remote.putManifest('team/app', 'v1', bytes, mediaType);
    remote.putManifest('team/app', 'v2', bytes, mediaType);
    await fetch('DELETE', byTag);
    assert.deepEqual(remote.store.tags('team/app'), ['v2']);
    await fetch('DELETE', operations.manifest('team/app', digest));
    assert.deepEqual(remote.store.tags('team/app'), []);
    assert.deepEqual(
      remote.tokenRequests.map(({ scopes }) => scopes),
      [['repository:team/app:delete']],
    );
  });

  test('where the registry deletes nothing is UNSUPPORTED', async (t) => {
    const { remote, fetch } = await registry(t, { deletes: false });
    remote.putManifest('team/app', 'v1', bytes, mediaType);
    const blob = remote.putBlob('team/app', Buffer.from('x'));
    await assert.rejects(fetch('DELETE', byTag), failsWith('UNSUPPORTED'));
    await assert.rejects(fetch('DELETE', operations.blob('team/app', blob.digest)), failsWith('UNSUPPORTED'));
  });
});
