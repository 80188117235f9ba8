import assert from 'node:assert/strict';
import type { RegistryResponse } from '../../contracts/registry-request.js';
import { mediaTypes } from '../manifest-document.js';
import { artifactFor, tinyImage } from '../tiny-image.js';
import { options, type SubjectTest } from './suite.js';
import {
  blobBytes,
  blobOf,
  bodyOf,
  jsonOf,
  manifestOf,
  referrersOf,
  registryRequest,
  tagsOf,
} from './upstream-requests.js';
import type { UpstreamSubject } from './upstream-subject.js';

const o = options();
const accept = { accept: [mediaTypes.index, mediaTypes.manifest].join(', ') };

export const upstreamReading: Record<string, SubjectTest<UpstreamSubject>> = {
  'a ping is answered': async ({ upstream }) => {
    const response = await upstream.fetch(registryRequest('GET', { kind: 'ping' }), o);
    assert.equal(response.status, 200);
    await bodyOf(response);
  },
  'manifests come by tag and digest, byte for byte, and HEAD has the same headers': async ({
    upstream,
    registry,
  }) => {
    const { digest, bytes, mediaType } = registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    for (const reference of ['v1', digest]) {
      const get = await upstream.fetch(registryRequest('GET', manifestOf('my/app', reference), accept), o);
      assert.ok((await bodyOf(get)).equals(bytes), 'other bytes');
      const head = await upstream.fetch(registryRequest('HEAD', manifestOf('my/app', reference), accept), o);
      assert.equal(head.body, undefined);
      for (const { status, headers } of [get, head]) {
        assert.equal(status, 200);
        assert.equal(headers.get('content-type'), mediaType);
        assert.equal(headers.get('docker-content-digest'), digest);
        assert.equal(headers.get('content-length'), String(bytes.length));
      }
    }
  },
  'what the client accepts goes up': async ({ upstream, registry }) => {
    registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    await bodyOf(await upstream.fetch(registryRequest('GET', manifestOf('my/app', 'v1'), accept), o));
    const sent = registry.requests.findLast((request) => request.path.includes('/manifests/'));
    assert.equal(sent?.headers.accept, accept.accept);
  },
  'a manifest that has not changed is 304': async ({ upstream, registry }) => {
    const { digest } = registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    const headers = { ...accept, 'if-none-match': `"${digest}"` };
    const response = await upstream.fetch(registryRequest('GET', manifestOf('my/app', 'v1'), headers), o);
    assert.deepEqual([response.status, response.body], [304, undefined]);
  },
  'a blob comes whole, in ranges, and its HEAD without it': async ({ upstream, registry }) => {
    const { digest } = registry.putBlob('my/app', Buffer.from('hello world'));
    const blob = blobOf('my/app', digest);
    for (const [range, text] of [
      [undefined, 'hello world'],
      ['bytes=0-4', 'hello'],
      ['bytes=6-', 'world'],
      ['bytes=-3', 'rld'],
    ] as const) {
      const response = await upstream.fetch(registryRequest('GET', blob, range ? { range } : {}), o);
      assert.equal(String(await blobBytes(response, range)), text);
      if (response.status === 307) continue;
      assert.equal(response.status, range ? 206 : 200);
      assert.equal(response.headers.get('content-length'), String(text.length));
      if (range) assert.match(response.headers.get('content-range') ?? '', /^bytes \d+-\d+\/11$/);
    }
    const head = await upstream.fetch(registryRequest('HEAD', blob), o);
    assert.equal(head.body, undefined);
    if (head.status === 200) assert.equal(head.headers.get('content-length'), '11');
  },
  'tags come page by page': async ({ upstream, registry }) => {
    for (const tag of ['v1', 'v2', 'v3', 'v4', 'v5']) {
      registry.putManifest('my/app', tag, Buffer.from('{}'), mediaTypes.manifest);
    }
    const pages: unknown[] = [];
    let page: string | undefined = 'n=2';
    while (page !== undefined) {
      assert.ok(!page.startsWith('?'), 'a page has no question mark');
      const response: RegistryResponse = await upstream.fetch(
        registryRequest('GET', tagsOf('my/app', page)),
        o,
      );
      pages.push(((await jsonOf(response)) as { tags: unknown }).tags);
      page = response.nextPage;
    }
    assert.deepEqual(pages, [['v1', 'v2'], ['v3', 'v4'], ['v5']]);
    const all = await upstream.fetch(registryRequest('GET', tagsOf('my/app')), o);
    assert.equal(((await jsonOf(all)) as { tags: string[] }).tags.length, 5);
  },
  'the catalogue is answered': async ({ upstream, registry }) => {
    registry.putBlob('my/app', Buffer.from('x'));
    const response = await upstream.fetch(registryRequest('GET', { kind: 'catalog', page: 'n=10' }), o);
    assert.deepEqual(await jsonOf(response), { repositories: ['my/app'] });
  },
  'referrers are answered, also filtered': async ({ upstream, registry }) => {
    const subject = registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    registry.putImage('my/app', 'sbom', artifactFor(subject, 'application/x-sbom', 'a'));
    registry.putImage('my/app', 'signature', artifactFor(subject, 'application/x-signature', 'b'));
    for (const [page, count, filters] of [
      ['', 2, undefined],
      ['artifactType=application%2Fx-sbom', 1, 'artifactType'],
      ['artifactType=application%2Fx-none', 0, 'artifactType'],
    ] as const) {
      const request = registryRequest('GET', referrersOf('my/app', subject.digest, page));
      const response = await upstream.fetch(request, o);
      assert.equal(response.headers.get('oci-filters-applied'), filters);
      const { manifests } = (await jsonOf(response)) as { manifests: unknown[] };
      assert.equal(manifests.length, count);
    }
  },
  'only headers that a client may see come back': async ({ upstream, registry }) => {
    registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    registry.faults.add(
      { path: '/manifests/' },
      {
        headers: {
          'set-cookie': 'a=b',
          server: 'upstream/1.0',
          'x-internal': 'yes',
          'ratelimit-limit': '100;w=21600',
        },
      },
    );
    const response = await upstream.fetch(registryRequest('GET', manifestOf('my/app', 'v1'), accept), o);
    await bodyOf(response);
    for (const name of ['set-cookie', 'server', 'x-internal', 'connection', 'www-authenticate']) {
      assert.equal(response.headers.has(name), false, name);
    }
    assert.equal(response.headers.get('ratelimit-limit'), '100;w=21600');
  },
  'a canonical name is its own canonical name': ({ upstream }) => {
    for (const name of ['alpine', 'library/alpine', 'my/app']) {
      const canonical = upstream.canonicalName(name);
      assert.equal(upstream.canonicalName(canonical), canonical);
    }
    return Promise.resolve();
  },
};
