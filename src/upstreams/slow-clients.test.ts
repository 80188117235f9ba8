import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { type MemoryRegistryOptions, startMemoryRegistry } from '../testing/index.js';
import {
  bytesOfBody,
  failsWith,
  type Opened,
  openUpstream,
  operations,
  password,
  sourceOf,
} from './opened-upstream.test.js';

const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers: [] }));
const user = { username: 'robot', password: 'hush' } as const;
const byTag = operations.manifest('team/app', 'v1');

/** An upstream with one connection for blobs that are pulled, one for those that are pushed, and one for all else. */
async function narrow(t: TestContext, options: MemoryRegistryOptions = {}) {
  const remote = await startMemoryRegistry({
    verifyBlobs: false,
    auth: { kind: 'token', ...user },
    ...options,
  });
  t.after(() => remote.close());
  const credentials = sourceOf(password(user.username, user.password));
  const timeouts = { connect: '1s', headers: '3s' };
  const opened = await openUpstream(t, remote.url, { credentials, timeouts, connections: 1 });
  const { digest } = remote.putManifest('team/app', 'v1', bytes, mediaType);
  const large = remote.putBlob('team/app', Buffer.alloc(20_000_000, 'x')).digest;
  const small = remote.putBlob('team/app', Buffer.from('hello')).digest;
  return { remote, digest, large, small, ...opened };
}

type Narrow = Awaited<ReturnType<typeof narrow>>;

/** What a client does slowly. @returns ends it */
const slow: Readonly<Record<string, (upstream: Narrow) => Promise<() => unknown>>> = {
  'a blob that is read slowly': async ({ fetch, large }) => {
    const { body } = await fetch('GET', operations.blob('team/app', large));
    return () => body?.destroy();
  },
  'referrers that are read slowly': async ({ remote, fetch, digest }) => {
    const answer = { status: 200, headers: { 'content-type': 'application/json' } };
    const list = JSON.stringify({ manifests: [], padding: 'x'.repeat(8_000_000) });
    remote.faults.add({ path: '/referrers/' }, { answer: { ...answer, body: list } });
    const repository = parseRepositoryName('team/app');
    const { body } = await fetch('GET', { kind: 'referrers', repository, digest, page: '' });
    return () => body?.destroy();
  },
  'a blob that is pushed slowly': async ({ remote, fetch }) => {
    const { location } = await fetch('POST', operations.upload('team/app'));
    const body = new Readable({ read() {} });
    body.push('hello');
    const session = operations.upload('team/app', { session: location?.href ?? '' });
    const pushed = fetch('PATCH', session, { body }).catch(() => {});
    await remote.waitFor(({ method }) => method === 'PATCH');
    return () => {
      body.destroy();
      return pushed;
    };
  },
  'a commit that takes its time': async ({ remote, fetch, small }) => {
    const { location } = await fetch('POST', operations.upload('team/app'));
    remote.faults.add({ method: 'PUT', path: '/uploads/' }, { delay: 60_000 });
    const leaving = new AbortController();
    const session = operations.upload('team/app', { session: location?.href ?? '', digest: small });
    const put = fetch('PUT', session, { signal: leaving.signal }).catch(() => {});
    await remote.waitFor(({ method }) => method === 'PUT');
    return () => {
      leaving.abort();
      return put;
    };
  },
};

/** What must not wait for it. */
const quick: Readonly<Record<string, (upstream: Narrow) => Promise<RegistryResponse>>> = {
  'a manifest': ({ fetch }) => fetch('GET', byTag),
  'the head of a manifest': ({ fetch }) => fetch('HEAD', byTag),
  'a manifest that needs a new token': ({ remote, fetch }) => {
    remote.revokeTokens();
    return fetch('GET', byTag);
  },
  'the head of a blob': ({ fetch, small }) => fetch('HEAD', operations.blob('team/app', small)),
  tags: ({ fetch }) => fetch('GET', operations.tags('team/app')),
  'a pushed manifest': ({ fetch }) =>
    fetch('PUT', byTag, { headers: { 'content-type': mediaType }, body: Readable.from([bytes]) }),
  'the start of an upload': ({ fetch }) => fetch('POST', operations.upload('team/app')),
  'the state and the end of an upload': async ({ fetch }) => {
    const { location } = await fetch('POST', operations.upload('team/app'));
    const session = operations.upload('team/app', { session: location?.href ?? '' });
    await fetch('GET', session);
    return fetch('DELETE', session);
  },
  'a deleted manifest': ({ fetch }) => fetch('DELETE', byTag),
  'a ping': ({ fetch }) => fetch('GET', operations.ping),
};

describe('slow clients', { concurrency: true }, () => {
  for (const [what, begin] of Object.entries(slow)) {
    test(`${what} keeps nothing waiting but its like`, async (t) => {
      const upstream = await narrow(t);
      const end = await begin(upstream);
      t.after(end);
      for (const [other, ask] of Object.entries(quick)) {
        const { body } = await ask(upstream).catch((error: unknown) =>
          assert.fail(`${other} waits: ${error}`),
        );
        await bytesOfBody({ status: 200, headers: new Map(), ...(body && { body }) });
      }
      const pulled = upstream.fetch('GET', operations.blob('team/app', upstream.small));
      if (what === 'a blob that is read slowly') return assert.rejects(pulled, failsWith('UNAVAILABLE'));
      assert.equal((await bytesOfBody(await pulled)).toString(), 'hello');
      const { location } = await upstream.fetch('POST', operations.upload('team/app'));
      const session = operations.upload('team/app', { session: location?.href ?? '' });
      const pushed = upstream.fetch('PATCH', session, { body: Readable.from([Buffer.from('more')]) });
      await assert.rejects(pushed, failsWith('UNAVAILABLE'));
    });
  }

  for (const redirect of ['absolute', 'relative'] as const) {
    test(`a blob of a storage (${redirect}) that is read slowly keeps no head waiting`, async (t) => {
      const upstream = await narrow(t, { storage: { redirect } });
      const end = await slow['a blob that is read slowly']?.(upstream);
      t.after(() => end?.());
      const head = await upstream.fetch('HEAD', operations.blob('team/app', upstream.small));
      assert.equal(head.headers.get('content-length'), '5');
      const another = upstream.fetch('GET', operations.blob('team/app', upstream.small));
      await assert.rejects(another, failsWith('UNAVAILABLE'));
    });
  }

  test('a manifest that takes its time keeps no blob waiting', async (t) => {
    const { remote, fetch, small } = await narrow(t);
    await fetch('GET', operations.blob('team/app', small)).then(bytesOfBody);
    remote.faults.add({ path: '/manifests/' }, { delay: 60_000 });
    const leaving = new AbortController();
    const waiting = fetch('GET', byTag, { signal: leaving.signal }).catch(() => {});
    await remote.waitFor(({ path }) => path.includes('/manifests/'));
    const blob = await fetch('GET', operations.blob('team/app', small));
    assert.equal((await bytesOfBody(blob)).toString(), 'hello');
    leaving.abort();
    await waiting;
  });
});

describe('manifests in memory', () => {
  const giant = Buffer.concat([bytes, Buffer.alloc(4 * 1024 * 1024 - bytes.length, ' ')]);
  /** More of them than 128 MiB. */
  const many = 40;

  async function open(t: TestContext) {
    const remote = await startMemoryRegistry({ verifyBlobs: false });
    t.after(() => remote.close());
    remote.putManifest('team/app', 'giant', giant, mediaType);
    remote.putManifest('team/app', 'v1', bytes, mediaType);
    return { remote, ...(await openUpstream(t, remote.url)) };
  }

  const get = ({ fetch }: Opened, leaving?: AbortController) =>
    fetch('GET', operations.manifest('team/app', 'giant'), leaving && { signal: leaving.signal });

  interface Held {
    readonly response: RegistryResponse;
    readonly leaving: AbortController;
  }

  /** Giants that no client reads, until one is refused. */
  async function fill(upstream: Opened): Promise<readonly Held[]> {
    const held: Held[] = [];
    while (held.length < many) {
      const leaving = new AbortController();
      try {
        held.push({ response: await get(upstream, leaving), leaving });
      } catch (error) {
        assert.ok(error instanceof RegistryError, String(error));
        assert.deepEqual([error.code, error.status, error.retryAfter], ['TOOMANYREQUESTS', 429, 1]);
        return held;
      }
    }
    return assert.fail(`${many} giants are in memory`);
  }

  const letGo: Readonly<Record<string, (held: Held) => unknown>> = {
    read: ({ response }) => bytesOfBody(response),
    destroyed: ({ response }) => response.body?.destroy(),
    'given up by their clients': ({ leaving }) => leaving.abort(new Error('the client left')),
  };
  for (const [how, end] of Object.entries(letGo)) {
    test(`are bounded, and there is room again once they are ${how}`, async (t) => {
      const upstream = await open(t);
      const first = await fill(upstream);
      assert.equal(first.length, 32);
      // Those of the usual size go on.
      assert.deepEqual(await bytesOfBody(await upstream.fetch('GET', byTag)), bytes);
      const put = upstream.fetch('PUT', byTag, { body: Readable.from([giant]) });
      await assert.rejects(put, failsWith('TOOMANYREQUESTS'));
      await Promise.all(first.map(end));
      const second = await fill(upstream);
      assert.equal(second.length, 32);
      for (const { response } of second) response.body?.destroy();
    });
  }

  test('leave nothing counted where they fail', async (t) => {
    const upstream = await open(t);
    const { remote, fetch } = upstream;
    const path = '/manifests/giant';
    const headers = { 'content-type': mediaType, 'content-length': String(giant.length) };
    const target = operations.manifest('team/app', 'giant');
    const put = (body: Readable) => fetch('PUT', target, { headers, body });
    const cutBody = () => Readable.from([giant.subarray(0, 3_000_000)]);
    for (let round = 0; round < many; round++) {
      const forget = remote.faults.add(
        { method: 'GET', path },
        round % 2 === 0 ? { cutAfter: 3_000_000 } : { corruptAt: 10 },
      );
      await assert.rejects(get(upstream), failsWith('UNAVAILABLE'));
      forget();
      await assert.rejects(put(cutBody()), failsWith('SIZE_INVALID'));
      const refuse = remote.faults.add({ method: 'PUT' }, { answer: { status: 403 } });
      await assert.rejects(put(Readable.from([giant])), failsWith('NAME_UNKNOWN'));
      refuse();
      assert.equal((await put(Readable.from([giant]))).status, 201);
      const noHead = remote.faults.add({ method: 'HEAD' }, { answer: { status: 405 } });
      assert.equal((await fetch('HEAD', target)).status, 200);
      noHead();
    }
    const held = await fill(upstream);
    assert.equal(held.length, 32);
    for (const { response } of held) response.body?.destroy();
  });
});
