import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { maxPageQuery } from '../protocol/page-query.js';
import { startMemoryRegistry, tinyImage } from '../testing/index.js';
import { nextPage } from './next-page.js';
import {
  bytesOfBody,
  failsWith,
  openUpstream,
  operations,
  password,
  sourceOf,
} from './opened-upstream.test.js';

async function registry(t: TestContext, options: { links?: 'relative' | 'absolute' } = {}) {
  const auth = { kind: 'token', username: 'robot', password: 'x' } as const;
  const started = await startMemoryRegistry({ auth, pageSize: 2, ...options });
  t.after(() => started.close());
  for (const tag of ['v1', 'v2', 'v3']) started.putImage('team/app', tag, tinyImage('hello'));
  return started;
}

const credentials = () => sourceOf(password('robot', 'x'));

describe('lists of an upstream', () => {
  for (const links of ['relative', 'absolute'] as const) {
    test(`go on with ${links} links`, async (t) => {
      const remote = await registry(t, { links });
      const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
      const first = await fetch('GET', operations.tags('team/app'));
      assert.deepEqual(JSON.parse(String(await bytesOfBody(first))).tags, ['v1', 'v2']);
      assert.equal(first.nextPage, 'last=v2&n=2');
      const second = await fetch('GET', operations.tags('team/app', first.nextPage));
      assert.deepEqual(JSON.parse(String(await bytesOfBody(second))).tags, ['v3']);
      assert.equal(second.nextPage, undefined);
    });
  }

  test('a link that leads elsewhere is dropped, logged and counted', async (t) => {
    const remote = await registry(t);
    const link = '<https://evil.example.com/v2/team/app/tags/list?last=v2>; rel="next"';
    remote.faults.add({ path: '/tags/list' }, { headers: { link } });
    const { fetch, logged, counts } = await openUpstream(t, remote.url, { credentials: credentials() });
    const response = await fetch('GET', operations.tags('team/app'));
    response.body?.destroy();
    assert.equal(response.nextPage, undefined);
    assert.equal(counts.get('upstream_links_dropped_total{}'), 1);
    assert.match(logged.join('\n'), /leads elsewhere.*"upstream":"test"/);
  });

  test('a catalogue that goes on elsewhere is not half a one', async (t) => {
    const remote = await registry(t);
    const { fetch, counts } = await openUpstream(t, remote.url, { credentials: credentials() });
    const ask = () => fetch('GET', { kind: 'catalog', page: '' });
    const link = '<https://evil.example.com/v2/_catalog?last=v2>; rel="next"';
    const heal = remote.faults.add({ path: '/_catalog' }, { headers: { link } });
    await assert.rejects(ask(), failsWith('UNAVAILABLE'));
    assert.equal(counts.get('upstream_links_dropped_total{}'), 1);
    heal();
    const whole = await ask();
    assert.deepEqual(JSON.parse(String(await bytesOfBody(whole))).repositories, ['team/app']);
    remote.faults.add(
      { path: /_catalog$/ },
      { answer: { status: 307, headers: { location: '/v2/_catalog?moved=1' } } },
    );
    const moved = await ask();
    assert.deepEqual(JSON.parse(String(await bytesOfBody(moved))).repositories, ['team/app']);
    remote.faults.add({ path: 'moved=1' }, { headers: { link: '</v2/_catalog?last=a>; rel="next"' } });
    await assert.rejects(ask(), failsWith('UNAVAILABLE'));
  });

  test('the catalogue and referrers', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    const catalog = await fetch('GET', { kind: 'catalog', page: '' });
    assert.deepEqual(JSON.parse(String(await bytesOfBody(catalog))).repositories, ['team/app']);
    const blob = operations.blob('team/app', `sha256:${'0'.repeat(64)}`);
    assert.equal(blob.kind, 'blob');
    const page = 'artifactType=text%2Fplain';
    const referrers = await fetch('GET', { ...blob, kind: 'referrers', page });
    assert.equal(referrers.headers.get('oci-filters-applied'), 'artifactType');
    assert.deepEqual(JSON.parse(String(await bytesOfBody(referrers))).manifests, []);
    assert.ok(
      remote.requests.at(-1)?.path.endsWith(`?${page}`),
      'remote.requests.at(-1)?.path.endsWith(`?${page}`)',
    );
  });

  test('a repository that is not there is NAME_UNKNOWN; a refused catalogue is UNSUPPORTED', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url, { credentials: credentials() });
    await assert.rejects(fetch('GET', operations.tags('no/such')), failsWith('NAME_UNKNOWN'));
    remote.faults.add({ path: '_catalog' }, { answer: { status: 403 } });
    await assert.rejects(fetch('GET', { kind: 'catalog', page: '' }), failsWith('UNSUPPORTED'));
  });
});

describe('the next page', () => {
  const page = new URL('https://reg.example.com:5000/v2/team/app/tags/list?n=2');
  const path = '/v2/team/app/tags/list';
  const longest = `last=${'a'.repeat(maxPageQuery - 'last='.length)}`;
  const cases: readonly (readonly [link: string | undefined, next: string | undefined])[] = [
    [undefined, undefined],
    ['<x>; rel="prev"', undefined],
    [`<${path}?last=a&n=2>; rel="next"`, 'last=a&n=2'],
    [`<https://reg.example.com:5000${path}?last=a>; rel=next`, 'last=a'],
    ['<?last=a>; rel="next"', 'last=a'],
    [`<${path}?last=a&ns=docker.io>; rel="next"`, 'last=a'],
    [`<http://reg.example.com:5000${path}?last=a>; rel="next"`, 'elsewhere'],
    [`<https://reg.example.com${path}?last=a>; rel="next"`, 'elsewhere'],
    [`<//evil.example.com${path}?last=a>; rel="next"`, 'elsewhere'],
    [`<https://u:p@reg.example.com:5000${path}?last=a>; rel="next"`, 'elsewhere'],
    ['</v2/team/other/tags/list?last=a>; rel="next"', 'elsewhere'],
    [`<${path}/../../../other/tags/list?last=a>; rel="next"`, 'elsewhere'],
    [`<${path}>; rel="next"`, 'elsewhere'],
    [`<${path}?${longest}>; rel="next"`, longest],
    [`<${path}?${longest}a>; rel="next"`, 'elsewhere'],
    ['<https://[>; rel="next"', 'elsewhere'],
  ];
  for (const [link, next] of cases) {
    test(`of ${link?.slice(0, 80)} is ${next}`, () => assert.equal(nextPage(link, page), next));
  }
});
