import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import type { RegistryOperation } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { digestOf } from '../reference/digest.js';
import { startMemoryRegistry, tinyImage } from '../testing/index.js';
import {
  bytesOfBody,
  failsWith,
  openUpstream,
  operations,
  password,
  sourceOf,
} from './opened-upstream.test.js';

async function registry(t: TestContext) {
  const started = await startMemoryRegistry({ verifyBlobs: false });
  t.after(() => started.close());
  return started;
}

const manifest = operations.manifest('team/app', 'v1');
const blob = operations.blob('team/app', digestOf(Buffer.from('x')));
const tags = operations.tags('team/app');

describe("an upstream's error", () => {
  const error = (code: string, message = '') => JSON.stringify({ errors: [{ code, message }] });
  interface Case {
    readonly of?: RegistryOperation;
    readonly status: number;
    readonly body?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly code: string;
    readonly becomes?: number;
    readonly message?: RegExp;
    readonly reason?: RegExp;
    readonly retryAfter?: number;
  }
  const cases: Readonly<Record<string, Case>> = {
    'a manifest that is not there': { status: 404, code: 'MANIFEST_UNKNOWN' },
    'a blob that is not there': { of: blob, status: 404, code: 'BLOB_UNKNOWN' },
    'a list that is not there': { of: tags, status: 404, code: 'NAME_UNKNOWN' },
    "the upstream's own 404": { status: 404, body: error('NAME_UNKNOWN'), code: 'NAME_UNKNOWN' },
    'a code of another status': { status: 404, body: error('DENIED'), code: 'MANIFEST_UNKNOWN' },
    'a code nobody knows': { status: 404, body: error('constructor'), code: 'MANIFEST_UNKNOWN' },
    'too many': {
      status: 429,
      headers: { 'retry-after': '17' },
      body: error('TOOMANYREQUESTS', 'slow down'),
      code: 'TOOMANYREQUESTS',
      message: /^too many requests$/,
      retryAfter: 17,
    },
    'too many, for ages': {
      status: 429,
      headers: { 'retry-after': '999999' },
      code: 'TOOMANYREQUESTS',
      retryAfter: 86_400,
    },
    'a range': { of: blob, status: 416, code: 'RANGE_INVALID' },
    'another 4xx': {
      status: 412,
      body: error('MANIFEST_INVALID', 'tag is\r\n immutable'),
      code: 'MANIFEST_INVALID',
      becomes: 412,
      message: /^tag is\?\? immutable$/,
    },
    'another 4xx without a code': { status: 418, code: 'UNKNOWN', becomes: 418 },
    'a 400 with a code': { status: 400, body: error('TAG_INVALID'), code: 'TAG_INVALID', becomes: 400 },
    'a 400 without a registry error': {
      status: 400,
      body: '<html>',
      code: 'UNAVAILABLE',
      becomes: 503,
      reason: /400 without a registry error$/,
    },
    'a 400 with errors of another form': {
      status: 400,
      body: '{"errors":["no"]}',
      code: 'UNAVAILABLE',
      becomes: 503,
    },
    'a 4xx that calls itself UNAUTHORIZED': {
      status: 400,
      body: error('UNAUTHORIZED'),
      code: 'UNKNOWN',
      becomes: 400,
    },
    'a page of HTML': {
      status: 404,
      body: '<html>',
      code: 'MANIFEST_UNKNOWN',
      message: /^manifest unknown$/,
      reason: /^the upstream answers 404 without a registry error$/,
    },
    'a 404 in words of its own': {
      status: 404,
      body: error('MANIFEST_UNKNOWN', 'nothing in bucket b-17'),
      code: 'MANIFEST_UNKNOWN',
      message: /^manifest unknown$/,
      reason: /^the upstream answers 404 MANIFEST_UNKNOWN$/,
    },
    'a 404 with a code of its own': {
      status: 404,
      body: error('GONE_FISHING'),
      code: 'MANIFEST_UNKNOWN',
      reason: /^the upstream answers 404$/,
    },
    'a message with the repository': {
      status: 412,
      body: error('MANIFEST_INVALID', 'no Team/App:v1 here'),
      code: 'MANIFEST_INVALID',
      message: /^manifest invalid$/,
    },
    'a message with the namespace': {
      status: 412,
      body: error('MANIFEST_INVALID', 'project "team" is full'),
      code: 'MANIFEST_INVALID',
      message: /^manifest invalid$/,
    },
    'a giant message': {
      status: 412,
      body: error('MANIFEST_INVALID', 'x'.repeat(10_000)),
      code: 'MANIFEST_INVALID',
      message: /^x{300}…$/,
    },
    'a message with our user name': {
      status: 412,
      body: error('MANIFEST_INVALID', 'quota of ACME-Robot exceeded'),
      code: 'MANIFEST_INVALID',
      message: /^manifest invalid$/,
    },
    'a 500': {
      status: 500,
      body: error('UNKNOWN', 'secret internals'),
      code: 'UNAVAILABLE',
      message: /^service/,
    },
    'a 503': { status: 503, headers: { 'retry-after': '5' }, code: 'UNAVAILABLE', retryAfter: 5 },
    'a redirect without a target': { status: 302, code: 'UNAVAILABLE' },
    'a 204': { status: 204, code: 'UNAVAILABLE' },
  };
  for (const [name, expected] of Object.entries(cases)) {
    test(`${name} is ${expected.code}`, async (t) => {
      const auth = { kind: 'basic', username: 'acme-robot', password: 'x' } as const;
      const remote = await startMemoryRegistry({ auth });
      t.after(() => remote.close());
      const { status, headers = {}, body = '' } = expected;
      remote.faults.add({ path: /\/team\// }, { answer: { status, headers, body } });
      const credentials = sourceOf(password(auth.username, auth.password));
      const { fetch } = await openUpstream(t, remote.url, { credentials });
      await assert.rejects(fetch('GET', expected.of ?? manifest), (error) => {
        assert.ok(error instanceof RegistryError, 'error instanceof RegistryError');
        assert.equal(error.code, expected.code);
        if (expected.becomes !== undefined) assert.equal(error.status, expected.becomes);
        if (expected.message !== undefined) assert.match(error.message, expected.message);
        if (expected.reason !== undefined) assert.match(error.reason ?? '', expected.reason);
        assert.equal(error.retryAfter, expected.retryAfter);
        return true;
      });
    });
  }
});

test('a 404 to a HEAD has no body to tell by', async (t) => {
  const remote = await registry(t);
  const { fetch } = await openUpstream(t, remote.url);
  await assert.rejects(fetch('HEAD', manifest), failsWith('MANIFEST_UNKNOWN', /^the upstream answers 404$/));
});

describe('an upstream that does not answer', () => {
  test('is UNAVAILABLE where nobody listens', async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const { fetch, counts } = await openUpstream(t, `http://127.0.0.1:${port}`);
    await assert.rejects(fetch('GET', manifest), failsWith('UNAVAILABLE', /no answer from 127/));
    assert.equal(counts.get('upstream_requests_total{status=none}'), 1);
  });

  test('is UNAVAILABLE when the headers do not come, and when the body stops', async (t) => {
    const remote = await registry(t);
    const content = remote.putBlob('team/app', Buffer.alloc(100_000));
    const timeouts = { connect: '2s', headers: '200ms', idle: '200ms' };
    const { fetch } = await openUpstream(t, remote.url, { timeouts });
    assert.equal((await fetch('GET', operations.ping)).status, 200);
    remote.faults.add({ path: '/manifests/' }, { delay: 60_000 });
    await assert.rejects(fetch('GET', manifest), failsWith('UNAVAILABLE'));
    remote.faults.add({ path: '/blobs/' }, { stallAfter: 50_000 });
    const response = await fetch('GET', operations.blob('team/app', content.digest));
    await assert.rejects(bytesOfBody(response), /[Tt]imeout/);
  });

  test('is UNAVAILABLE when all its connections stay busy', async (t) => {
    const remote = await registry(t);
    const leaving = new AbortController();
    const timeouts = { connect: '100ms', headers: '200ms' };
    const { fetch } = await openUpstream(t, remote.url, { timeouts, connections: 1 });
    const large = remote.putBlob('team/app', Buffer.alloc(20_000_000)); // more than buffers hold
    const get = operations.blob('team/app', large.digest);
    const busy = await fetch('GET', get);
    const waiting = fetch('GET', get, { signal: leaving.signal });
    leaving.abort(new Error('left the queue'));
    await assert.rejects(waiting, /left the queue/);
    await assert.rejects(fetch('GET', get), failsWith('UNAVAILABLE'));
    assert.equal((await bytesOfBody(busy)).length, 20_000_000);
  });

  test('is asked once more when it closes before any answer, not twice', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url);
    await fetch('GET', operations.ping);
    remote.faults.add({ path: '/manifests/' }, { reset: true }, 1);
    await assert.rejects(fetch('GET', manifest), failsWith('NAME_UNKNOWN'));
    remote.forgetRequests();
    remote.faults.add({ path: '/manifests/' }, { reset: true });
    await assert.rejects(fetch('GET', manifest), failsWith('UNAVAILABLE'));
    assert.equal(remote.requests.length, 2);
  });

  const session = (remote: { url: string }) => `${remote.url}/v2/team/app/blobs/uploads/1`;
  const body = () => Readable.from([Buffer.from('x')]);
  const blobDigest = digestOf(Buffer.from('x'));
  interface Write {
    readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
    readonly operation: (remote: { url: string }) => RegistryOperation;
    readonly body?: () => Readable;
    readonly headers?: Readonly<Record<string, string>>;
    readonly sent: 1 | 2;
  }
  const upload = operations.upload;
  const writes: Readonly<Record<string, Write>> = {
    'an upload’s start': { method: 'POST', operation: () => upload('team/app'), sent: 2 },
    'an upload’s start, with a length of 0': {
      ...{ method: 'POST', operation: () => upload('team/app'), sent: 2 },
      headers: { 'content-length': '0' },
    },
    'a manifest': {
      ...{ method: 'PUT', operation: () => manifest, sent: 2 },
      body: () => Readable.from([tinyImage('hello').root.bytes]),
      headers: { 'content-type': tinyImage('hello').root.mediaType },
    },
    'a whole blob': {
      ...{ method: 'POST', operation: () => upload('team/app', { digest: blobDigest }) },
      ...{ body, sent: 1 },
    },
    'a whole blob without bytes': {
      ...{ method: 'POST', operation: () => upload('team/app', { digest: blobDigest }) },
      ...{ headers: { 'content-length': '0' }, sent: 1 },
    },
    'a piece of a blob': {
      ...{ method: 'PATCH', operation: (remote) => upload('team/app', { session: session(remote) }) },
      ...{ body, sent: 1 },
    },
    'the commit of a blob': {
      method: 'PUT',
      operation: (remote) => upload('team/app', { session: session(remote), digest: blobDigest }),
      sent: 1,
    },
    'the end of an upload': {
      ...{ method: 'DELETE', operation: (remote) => upload('team/app', { session: session(remote) }) },
      sent: 1,
    },
    'a deleted blob': { method: 'DELETE', operation: () => blob, sent: 1 },
    'a deleted manifest': { method: 'DELETE', operation: () => manifest, sent: 1 },
  };
  for (const [what, write] of Object.entries(writes)) {
    test(`is sent ${what} ${write.sent === 2 ? 'once more' : 'once only'} when it closes`, async (t) => {
      const remote = await registry(t);
      const { fetch } = await openUpstream(t, remote.url);
      await fetch('GET', operations.ping);
      const send = () =>
        fetch(write.method, write.operation(remote), {
          ...(write.body && { body: write.body() }),
          ...(write.headers && { headers: write.headers }),
        });
      const { method } = write;
      remote.forgetRequests();
      const forget = remote.faults.add({ method }, { reset: true });
      await assert.rejects(send(), failsWith('UNAVAILABLE'));
      assert.equal(remote.requests.length, write.sent);
      forget();
      if (write.sent === 1) return;
      remote.faults.add({ method }, { reset: true }, 1);
      assert.ok((await send()).status < 300, 'it did not succeed');
    });
  }

  test('leaves the reason of a caller who gave up', async (t) => {
    const remote = await registry(t);
    remote.faults.add({ path: '/manifests/' }, { delay: 60_000 });
    const { fetch } = await openUpstream(t, remote.url);
    const controller = new AbortController();
    const asked = fetch('GET', manifest, { signal: controller.signal });
    const request = await remote.waitFor((one) => one.path.includes('/manifests/'));
    controller.abort(new Error('the client left'));
    await assert.rejects(asked, /the client left/);
    await request.settled;
    assert.ok(request.closedEarly, 'request.closedEarly');
  });

  test('is UNAVAILABLE after close', async (t) => {
    const remote = await registry(t);
    const { fetch, upstream } = await openUpstream(t, remote.url);
    await upstream.close();
    await upstream.close();
    await assert.rejects(fetch('GET', manifest), failsWith('UNAVAILABLE'));
  });
});
