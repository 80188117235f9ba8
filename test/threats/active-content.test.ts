import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Listener } from '../../src/http/listener.js';
import { redirectHandler } from '../../src/http/redirect.js';
import { ServedHosts } from '../../src/routing/served-host.js';
import {
  type MemoryRegistry,
  mediaTypes,
  type StoredManifest,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import {
  type Answer,
  basic,
  bearer,
  type ClientRequest,
  type Front,
  send,
  sendRaw,
  sharedScope,
  startFront,
} from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');
const page = Buffer.from('<!DOCTYPE html><script>fetch("/")</script>');
const catalogue = 'registry:catalog:*';

describe('what was pushed runs in nobody’s browser', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;
  let root: StoredManifest;
  let digest: string;
  let redirect: Listener;

  before(async () => {
    registry = await startMemoryRegistry();
    const stored = await startMemoryRegistry({ storage: { redirect: 'absolute' } });
    const gone = await startMemoryRegistry();
    await gone.close();
    scope.after(() => registry.close());
    scope.after(() => stored.close());
    root = registry.putImage('app', '1', image);
    digest = registry.putBlob('app', page).digest;
    stored.putBlob('app', page);
    front = await startFront(
      scope,
      `
upstreams:
  one: { url: "${registry.url}" }
  stored: { url: "${stored.url}", blobs: redirect }
  gone: { url: "${gone.url}" }
routes:
  - { prefix: "stored/", upstream: stored }
  - { prefix: "gone/", upstream: gone }
  - { prefix: "", upstream: one }
catalog: [one]
`,
    );
    const handle = redirectHandler(() => new ServedHosts(new URL('https://docker.test'), []));
    redirect = await Listener.open({ host: '127.0.0.1', port: 0, name: 'redirect', handle });
    scope.after(async () => void (await redirect.drain(0)));
  });

  const blob = () => `/v2/app/blobs/${digest}`;
  const manifest = '/v2/app/manifests/1';

  describe('every answer says so', () => {
    function assertInert(headers: { get(name: string): string | undefined }): void {
      assert.equal(headers.get('content-security-policy'), "default-src 'none'; sandbox");
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin');
    }

    const alice = (path: () => string, options: ClientRequest = {}) => front.sendAs('alice', path(), options);
    const anybody = (path: string, options: ClientRequest = {}) => front.send(path, options);
    const range = { headers: { range: 'bytes=1-2' } };
    const rows: readonly (readonly [what: string, status: number, ask: () => Promise<Answer>])[] = [
      ['a greeting', 200, () => alice(() => '/v2/')],
      ['a challenge', 401, () => anybody('/v2/')],
      ['a manifest', 200, () => alice(() => manifest)],
      ['its HEAD', 200, () => alice(() => manifest, { method: 'HEAD' })],
      ['a manifest known already', 304, () => unchanged()],
      ['a blob', 200, () => alice(blob)],
      ['its HEAD', 200, () => alice(blob, { method: 'HEAD' })],
      ['a part of it', 206, () => alice(blob, range)],
      ['a redirect to the storage', 307, () => alice(() => `/v2/stored/app/blobs/${digest}`)],
      ['tags', 200, () => alice(() => '/v2/app/tags/list')],
      ['referrers', 200, () => alice(() => `/v2/app/referrers/${root.digest}`)],
      ['the catalogue', 200, () => listed()],
      ['an upload', 202, () => alice(() => '/v2/app/blobs/uploads/', { method: 'POST' })],
      ['a manifest that is not there', 404, () => alice(() => '/v2/app/manifests/2')],
      ['an upstream that is down', 503, () => alice(() => '/v2/gone/app/manifests/1')],
      ['a method that is not there', 405, () => alice(() => manifest, { method: 'PURGE' })],
      ['a path that is none', 404, () => anybody('/nothing')],
      ['a token', 200, () => front.sendAs('alice', '/token?service=docker.test')],
      ['no token', 401, () => anybody('/token', { headers: { authorization: basic('alice', 'wrong') } })],
      ['the keys', 200, () => anybody('/token/jwks.json')],
      ['the certificates', 200, () => anybody('/token/ca.pem')],
      ['an expectation', 417, () => anybody('/v2/', { headers: { expect: 'tea' } })],
      ['livez', 200, () => send(front.adminPort, '/livez')],
      ['metrics', 200, () => send(front.adminPort, '/metrics')],
      ['nothing of admin', 404, () => send(front.adminPort, '/x')],
      ['a method of admin', 405, () => send(front.adminPort, '/livez', { method: 'POST' })],
      ['a redirect to https', 308, () => send(redirect.address.port, manifest)],
      ['no redirect', 400, () => send(redirect.address.port, '*', { method: 'OPTIONS' })],
    ];
    for (const [what, status, ask] of rows) {
      test(`${what}: ${status}`, async () => {
        const answer = await ask();
        assert.equal(answer.status, status, answer.text);
        assertInert({ get: (name) => answer.headers[name]?.toString() });
      });
    }

    async function unchanged(): Promise<Answer> {
      const { etag = '' } = (await alice(() => manifest)).headers;
      if (etag !== '') return alice(() => manifest, { headers: { 'if-none-match': etag } });
      registry.faults.add({ path: '/manifests/' }, { answer: { status: 304 } }, 1);
      return alice(() => manifest);
    }

    async function listed(): Promise<Answer> {
      const authorization = bearer(await front.token('alice', [catalogue]));
      return front.send('/v2/_catalog', { headers: { authorization } });
    }

    for (const [what, status, bytes] of [
      ['no HTTP', 400, 'tea, please\r\n\r\n'],
      ['no host', 400, 'GET /v2/ HTTP/1.1\r\n\r\n'],
      ['giant headers', 431, `GET /v2/ HTTP/1.1\r\nHost: docker.test\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`],
      ['too many headers', 431, `GET /v2/ HTTP/1.1\r\nHost: docker.test\r\n${'X: x\r\n'.repeat(101)}\r\n`],
    ] as const) {
      test(`${what}: ${status}`, async () => {
        const { messages } = await sendRaw(front.port, bytes);
        assert.equal(messages[0]?.status, status, 'the status');
        assertInert(messages[0]?.headers ?? new Map());
      });
    }

    test('a page has a policy of its own, and may not be sniffed either', async () => {
      const { headers } = await front.send('/');
      assert.match(String(headers['content-security-policy']), /^default-src 'none'; style-src 'self';/);
      assert.equal(headers['x-content-type-options'], 'nosniff');
    });
  });

  describe('an upstream’s type', () => {
    const bytes = 'application/octet-stream';
    const both = (type: string, seen = type) => [type, seen, seen] as const;
    const rows: readonly (readonly [type: string, ofBlob: string, ofManifest: string | undefined])[] = [
      both('text/html', bytes),
      both('TEXT/HTML; charset=utf-8', bytes),
      both('text/html;', bytes),
      both('application/xhtml+xml', bytes),
      both('image/svg+xml', bytes),
      both('text/xml', bytes),
      both('application/xml', bytes),
      both('application/vnd.cyclonedx+xml', bytes),
      both('text/javascript', bytes),
      both('application/javascript', bytes),
      both('application/x-ecmascript', bytes),
      both('text/css', bytes),
      both('multipart/x-mixed-replace; boundary=x', bytes),
      both('application/json, text/html', bytes),
      both('application/json; a=b, text/html', bytes),
      both('application/json; a=", text/html', bytes),
      both('*/*', bytes),
      both('html', bytes),
      ['', bytes, undefined],
      both(bytes),
      both('binary/octet-stream'),
      both('application/json'),
      both('application/json; charset=utf-8'),
      both('text/plain; charset=utf-8'),
      both('application/vnd.oci.image.layer.v1.tar+gzip'),
      both('application/vnd.oci.descriptor.v1+json'),
      both(mediaTypes.index),
      both(mediaTypes.manifest),
      both('application/vnd.docker.distribution.manifest.v1+prettyjws'),
    ];
    for (const [type, ofBlob, ofManifest] of rows) {
      test(`${type || 'none'}: ${ofBlob}`, async () => {
        const remove = registry.faults.add({}, { headers: { 'content-type': type } });
        try {
          for (const method of ['GET', 'HEAD']) {
            const answer = await front.sendAs('alice', blob(), { method });
            assert.equal(answer.status, 200, answer.text);
            assert.equal(answer.headers['content-type'], ofBlob, `${method} of a blob`);
            const other = await front.sendAs('alice', manifest, { method });
            assert.equal(other.status, 200, other.text);
            assert.equal(other.headers['content-type'], ofManifest, `${method} of a manifest`);
          }
          const part = await front.sendAs('alice', blob(), { headers: { range: 'bytes=0-9' } });
          assert.equal(part.status, 206, part.text);
          assert.equal(part.headers['content-type'], ofBlob, 'a part of a blob');
          for (const path of ['tags/list', `referrers/${root.digest}`]) {
            for (const method of ['GET', 'HEAD']) {
              const list = await front.sendAs('alice', `/v2/app/${path}`, { method });
              const seen = String(list.headers['content-type']);
              assert.doesNotMatch(seen, /^text\/(?!plain)|html|xml|(java|ecma)script|,/, `${method} ${path}`);
            }
          }
        } finally {
          remove();
        }
      });
    }
  });
});
