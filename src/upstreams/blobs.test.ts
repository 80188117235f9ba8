import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../reference/digest.js';
import {
  contentOf,
  generatedBlob,
  type MemoryRegistryOptions,
  startMemoryRegistry,
} from '../testing/index.js';
import {
  bytesOfBody,
  failsWith,
  openUpstream,
  operations,
  password,
  sourceOf,
} from './opened-upstream.test.js';

const bytes = Buffer.from('0123456789'.repeat(10_000));
const digest = digestOf(bytes);
const blob = operations.blob('team/app', digest);
const user = { username: 'robot', password: 'secret-of-robot' } as const;
const credentials = () => sourceOf(password(user.username, user.password));

async function registry(t: TestContext, options: MemoryRegistryOptions = {}) {
  const started = await startMemoryRegistry({ auth: { kind: 'token', ...user }, ...options });
  t.after(() => started.close());
  started.putBlob('team/app', contentOf(bytes));
  return started;
}

describe('a blob of an upstream', () => {
  const storages = {
    'the registry': {},
    'storage elsewhere': { storage: { redirect: 'absolute' } },
    'storage elsewhere, by 302': { storage: { redirect: 'absolute', status: 302 } },
    'storage behind a relative redirect': { storage: { redirect: 'relative' } },
    'storage that refuses HEAD': { storage: { redirect: 'absolute', refuseHead: true } },
  } as const;
  for (const [name, options] of Object.entries(storages)) {
    test(`comes whole, in part and as headers from ${name}`, async (t) => {
      const remote = await registry(t, options);
      const { fetch, logged } = await openUpstream(t, remote.url, { credentials: credentials() });
      const whole = await fetch('GET', blob);
      assert.equal(whole.status, 200);
      assert.equal(whole.headers.get('content-length'), String(bytes.length));
      assert.equal(whole.headers.get('docker-content-digest'), digest);
      assert.deepEqual(await bytesOfBody(whole), bytes);
      const part = await fetch('GET', blob, { headers: { range: 'bytes=5-14' } });
      assert.equal(part.status, 206);
      assert.equal(part.headers.get('content-range'), `bytes 5-14/${bytes.length}`);
      assert.equal((await bytesOfBody(part)).toString(), '5678901234');
      const head = await fetch('HEAD', blob, { headers: { range: 'bytes=0-0' } });
      assert.equal(head.status, 200);
      assert.equal(head.body, undefined);
      assert.equal(head.headers.get('content-length'), String(bytes.length));
      assert.equal(head.headers.get('docker-content-digest'), digest);
      for (const request of remote.requests.filter(
        (one) => one.server === 'storage' && name !== 'storage behind a relative redirect',
      )) {
        assert.equal(request.headers.authorization, undefined);
      }
      assert.doesNotMatch(logged.join('\n'), /X-Amz|secret-of-robot/);
    });
  }

  test('one range goes up as it was meant; anything else is ignored, with its if-range', async (t) => {
    const remote = await registry(t, {});
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    for (const [range, sent] of [
      [' BYTES=5-14', 'bytes=5-14'],
      ['bytes=0-1,4-5', undefined],
      ['lines=1-2', undefined],
    ] as const) {
      const answer = await fetch('GET', blob, { headers: { range, 'if-range': '"x"' } });
      answer.body?.destroy();
      const { headers } = remote.requests.at(-1) ?? assert.fail();
      assert.equal(headers.range, sent);
      assert.equal(headers['if-range'], sent && '"x"');
    }
  });

  test('is handed on as its storage URL where the configuration says so; a HEAD is not', async (t) => {
    for (const redirect of ['absolute', 'relative'] as const) {
      const remote = await registry(t, { storage: { redirect } });
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials(), blobs: 'redirect' });
      const response = await fetch('GET', blob);
      assert.equal(response.status, 307);
      assert.equal(response.body, undefined);
      assert.equal(response.location?.origin, remote.storageUrl);
      assert.equal((await fetch('HEAD', blob)).status, 200);
      const stored = remote.requests.filter((request) => request.server === 'storage');
      assert.ok(
        stored.every((request) => request.method === 'HEAD'),
        "stored.every((request) => request.method === 'HEAD')",
      );
    }
  });

  for (const status of [400, 401, 403, 405, 501]) {
    test(`whose HEAD is refused with ${status} is asked by a GET that is cut`, async (t) => {
      const remote = await registry(t);
      const size = 64 * 1024 * 1024;
      const big = remote.putBlob('team/app', await generatedBlob(size));
      const headers = { 'www-authenticate': `Bearer realm="${remote.tokenUrl}",service="memory-registry"` };
      remote.faults.add({ method: 'HEAD', path: '/blobs/' }, { answer: { status, headers } });
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
      const response = await fetch('HEAD', operations.blob('team/app', big.digest));
      assert.equal(response.headers.get('content-length'), String(size));
      const get = await remote.waitFor(
        (request) => request.method === 'GET' && request.path.includes('/blobs/'),
      );
      await get.settled;
      assert.ok(get.closedEarly, 'get.closedEarly');
    });
  }

  test('that is cut short fails', async (t) => {
    for (const framing of [undefined, 'chunked', 'close'] as const) {
      const remote = await registry(t);
      remote.faults.add({ path: '/blobs/' }, { cutAfter: 50_000, ...(framing && { framing }) });
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
      const response = await fetch('GET', blob);
      await assert.rejects(bytesOfBody(response), `${framing ?? 'content-length'}`);
    }
  });

  test('without a length is verified by its digest', async (t) => {
    for (const framing of ['chunked', 'close'] as const) {
      const remote = await registry(t);
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
      const stop = remote.faults.add({ path: '/blobs/' }, { framing });
      assert.deepEqual(await bytesOfBody(await fetch('GET', blob)), bytes);
      stop();
      remote.faults.add({ path: '/blobs/' }, { framing, corruptAt: 99_999 });
      await assert.rejects(bytesOfBody(await fetch('GET', blob)), /not those of/);
    }
  });

  test('in part without a length is as long as it says', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    remote.faults.add({ path: '/blobs/' }, { framing: 'chunked' }, 1);
    const part = await fetch('GET', blob, { headers: { range: 'bytes=0-9' } });
    assert.equal(part.headers.get('content-length'), '10');
    assert.equal((await bytesOfBody(part)).toString(), '0123456789');
    remote.faults.add({ path: '/blobs/' }, { framing: 'close', cutAfter: 5 }, 1);
    await assert.rejects(bytesOfBody(await fetch('GET', blob, { headers: { range: 'bytes=0-9' } })));
  });

  test('in a part that nobody asked for is refused', async (t) => {
    const remote = await registry(t);
    const answer = { status: 206, headers: { 'content-range': `bytes 0-4/${bytes.length}` }, body: '01234' };
    remote.faults.add({ path: '/blobs/' }, { answer });
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    await assert.rejects(fetch('GET', blob), failsWith('UNAVAILABLE'));
    const headers = { range: 'bytes=5-9' };
    await assert.rejects(fetch('GET', blob, { headers }), failsWith('UNAVAILABLE'));
  });

  test('stops flowing, then is cut upstream, when its reader stops, then leaves', async (t) => {
    const size = 256 * 1024 * 1024;
    for (const leave of ['abort', 'destroy'] as const) {
      const remote = await registry(t);
      const big = remote.putBlob('team/app', await generatedBlob(size));
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
      const controller = new AbortController();
      const response = await fetch('GET', operations.blob('team/app', big.digest), {
        signal: controller.signal,
      });
      const body = response.body;
      assert.ok(body, 'body');
      await new Promise((resolve) => body.once('readable', resolve));
      const request = remote.requests.at(-1);
      assert.ok(request, 'request');
      if (leave === 'abort') controller.abort(new Error('gone'));
      else body.destroy();
      await request.settled;
      assert.ok(request.closedEarly, 'request.closedEarly');
      assert.ok(request.sentBytes < size / 2, `${request.sentBytes} bytes were sent`);
    }
  });

  test('that is not there is BLOB_UNKNOWN, also in storage', async (t) => {
    const remote = await registry(t, { storage: { redirect: 'absolute' } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    const missing = operations.blob('team/app', digestOf(Buffer.from('missing')));
    for (const method of ['GET', 'HEAD'] as const) {
      await assert.rejects(fetch(method, missing), failsWith('BLOB_UNKNOWN'));
    }
    remote.faults.add({ server: 'storage' }, { answer: { status: 404 } }, 1);
    await assert.rejects(fetch('GET', blob), failsWith('BLOB_UNKNOWN'));
    remote.faults.add({ server: 'storage' }, { answer: { status: 403 } }, 1);
    await assert.rejects(fetch('GET', blob), failsWith('UNAVAILABLE', /storage/));
  });

  test('beyond its end is RANGE_INVALID', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    const headers = { range: `bytes=${bytes.length}-` };
    await assert.rejects(fetch('GET', blob, { headers }), failsWith('RANGE_INVALID'));
  });

  test('Authorization never crosses to another origin, and not back either', async (t) => {
    const seen: (string | undefined)[] = [];
    const remote = await registry(t);
    const elsewhere = createServer((request, response) => {
      seen.push(request.headers.authorization);
      const location = `${remote.url}/v2/team/app/blobs/${digest}`;
      response.writeHead(307, { location, 'content-length': 0 }).end();
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    t.after(() => elsewhere.close());
    const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/x`;
    remote.faults.add({ path: '/blobs/' }, { answer: { status: 307, headers: { location } } }, 1);
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    await assert.rejects(fetch('GET', blob), failsWith('UNAVAILABLE', /401/));
    assert.deepEqual(seen, [undefined]);
    assert.equal(remote.requests.at(-1)?.headers.authorization, undefined);
  });

  test('redirects end', async (t) => {
    const remote = await registry(t);
    remote.faults.add({ path: '/x' }, { answer: { status: 302, headers: { location: '/x' } } });
    remote.faults.add({ path: '/blobs/' }, { answer: { status: 302, headers: { location: '/x' } } });
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    await assert.rejects(fetch('GET', blob), failsWith('UNAVAILABLE', /more than 5/));
    assert.equal(remote.requests.filter((request) => request.path === '/x').length, 5);
  });

  test('is the same after 64 MiB', async (t) => {
    const remote = await registry(t, { storage: { redirect: 'absolute' } });
    const big = remote.putBlob('team/app', await generatedBlob(64 * 1024 * 1024));
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    const got = await bytesOfBody(await fetch('GET', operations.blob('team/app', big.digest)));
    assert.equal(digestOf(got), big.digest);
  });
});
