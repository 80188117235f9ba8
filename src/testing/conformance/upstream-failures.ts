import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RegistryMethod, RegistryOperation } from '../../contracts/registry-request.js';
import type { ErrorCode } from '../../errors.js';
import { contentOf } from '../blob-content.js';
import type { LoggedRequest } from '../request-log.js';
import { tinyImage } from '../tiny-image.js';
import {
  closesTwice,
  failureOf,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
} from './suite.js';
import { blobOf, bodyOf, manifestOf, registryRequest, tagsOf } from './upstream-requests.js';
import type { UpstreamSubject } from './upstream-subject.js';

const o = options();
const absent = `sha256:${'0'.repeat(64)}`;
/** The requests for a blob's bytes: the registry's, or its storage's behind a redirect. */
const isForBlob = ({ method, path, server }: LoggedRequest) =>
  method === 'GET' && (server === 'storage' || path.includes('/blobs/sha256'));

export const upstreamFailures: Record<string, SubjectTest<UpstreamSubject>> = {
  'what is not there has its own code': async ({ upstream, registry }) => {
    registry.putBlob('my/app', Buffer.from('x'));
    const cases: [RegistryMethod, RegistryOperation, ErrorCode[]][] = [
      ['GET', manifestOf('my/app', 'nope'), ['MANIFEST_UNKNOWN']],
      ['HEAD', manifestOf('my/app', 'nope'), ['MANIFEST_UNKNOWN']],
      ['GET', manifestOf('my/app', absent), ['MANIFEST_UNKNOWN']],
      ['GET', blobOf('my/app', absent), ['BLOB_UNKNOWN']],
      ['HEAD', blobOf('my/app', absent), ['BLOB_UNKNOWN']],
      ['GET', tagsOf('not/here'), ['NAME_UNKNOWN']],
      ['GET', manifestOf('not/here', 'v1'), ['NAME_UNKNOWN', 'MANIFEST_UNKNOWN']],
    ];
    for (const [method, operation, codes] of cases) {
      const error = await rejectsWith(() => upstream.fetch(registryRequest(method, operation), o), ...codes);
      assert.equal(error.status, 404);
    }
  },
  'a rate limit passes through, with the time to wait': async ({ upstream, registry }) => {
    registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    const body = JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] });
    registry.faults.add(
      { path: '/manifests/' },
      { answer: { status: 429, headers: { 'retry-after': '7' }, body } },
    );
    const request = registryRequest('GET', manifestOf('my/app', 'v1'));
    const error = await rejectsWith(() => upstream.fetch(request, o), 'TOOMANYREQUESTS');
    assert.deepEqual([error.status, error.retryAfter], [429, 7]);
  },
  'an upstream that fails or is down is UNAVAILABLE': async ({ upstream, registry }) => {
    const request = () => upstream.fetch(registryRequest('GET', manifestOf('my/app', 'v1')), o);
    registry.faults.add({ server: 'registry' }, { answer: { status: 503, body: '<html>' } });
    await rejectsWith(request, 'UNAVAILABLE');
    registry.faults.clear();
    registry.faults.add({ server: 'registry' }, { reset: true });
    await rejectsWith(request, 'UNAVAILABLE');
    registry.faults.clear();
    await registry.close();
    await rejectsWith(request, 'UNAVAILABLE');
  },
  'a blob that is cut short fails, with and without Content-Length': async ({ upstream, registry }) => {
    const { digest } = registry.putBlob('my/app', contentOf(Buffer.alloc(300_000, 'x')));
    for (const framing of [{}, { framing: 'chunked' as const }]) {
      const remove = registry.faults.add(isForBlob, {
        cutAfter: 100_000,
        ...framing,
      });
      const call = () => upstream.fetch(registryRequest('GET', blobOf('my/app', digest)), o);
      assert.ok(!(await isRedirected(call)), 'it hands the redirect on: leave this test out by name');
      await failureOf(async () => bodyOf(await call()));
      remove();
    }
  },
  'aborting before the answer releases the connection': async ({ upstream, registry }) => {
    registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    registry.faults.add({ path: '/manifests/' }, { delay: 25_000 });
    const controller = new AbortController();
    const call = upstream.fetch(registryRequest('GET', manifestOf('my/app', 'v1')), {
      signal: controller.signal,
    });
    const failure = failureOf(() => call);
    await registry.waitFor((request) => request.path.includes('/manifests/'));
    const reason = new Error('nobody waits any more');
    controller.abort(reason);
    assert.equal(await failure, reason);
    await registry.waitFor((request) => request.path.includes('/manifests/') && request.closedEarly);
  },
  'aborting, or destroying the body, in its middle releases the connection': async ({
    upstream,
    registry,
  }) => {
    const { digest } = registry.putBlob('my/app', contentOf(Buffer.alloc(300_000, 'x')));
    registry.faults.add(isForBlob, { stallAfter: 1000 });
    for (const end of ['abort', 'destroy'] as const) {
      registry.forgetRequests();
      const controller = new AbortController();
      const request = registryRequest('GET', blobOf('my/app', digest));
      const { body, status } = await upstream.fetch(request, { signal: controller.signal });
      assert.notEqual(status, 307, 'it hands the redirect on: leave this test out by name');
      assert.ok(body, 'no body');
      const closed = once(body, 'close').catch(() => undefined);
      body.on('error', () => undefined);
      if (end === 'abort') controller.abort(new Error('nobody waits any more'));
      else body.destroy();
      await closed;
      await registry.waitFor((entry) => isForBlob(entry) && entry.closedEarly);
    }
  },
  'an aborted call rejects with the reason': ({ upstream }) =>
    rejectsWhenAborted((aborted) => upstream.fetch(registryRequest('GET', { kind: 'ping' }), aborted)),
  'it can be closed twice': ({ upstream }) => closesTwice(upstream),
};

async function isRedirected(
  call: () => Promise<{ status: number; body?: { destroy(): unknown } }>,
): Promise<boolean> {
  const response = await call().catch(() => undefined);
  response?.body?.destroy();
  return response?.status === 307;
}
