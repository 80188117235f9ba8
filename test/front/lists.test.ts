import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { nextLink } from '../../src/protocol/link.js';
import {
  artifactFor,
  type MemoryRegistry,
  type StoredManifest,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import { assertError, bearer, claimsOf, type Front, sharedScope, startFront } from '../harness/index.js';

const tags = Array.from({ length: 25 }, (_, i) => `v${String(i).padStart(2, '0')}`);

describe('lists', () => {
  const scope = sharedScope();
  const registries: MemoryRegistry[] = [];
  let front: Front;
  let subject: StoredManifest;
  let old: MemoryRegistry;

  before(async () => {
    for (const links of ['relative', 'absolute'] as const) {
      const registry = await startMemoryRegistry({ pageSize: 10, links });
      registries.push(registry);
      scope.after(() => registry.close());
      const image = tinyImageFor('amd64', 'hello');
      for (const tag of tags) subject = registry.putImage('team/app', tag, image);
      registry.putImage('team/app', 'signature', artifactFor(subject, 'application/signature', 'signed'));
      registry.putImage('team/app', 'sbom', artifactFor(subject, 'application/sbom', 'made of'));
    }
    old = await startMemoryRegistry({ referrers: false });
    scope.after(() => old.close());
    old.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
upstreams:
  relative: { url: "${registries[0]?.url}" }
  absolute: { url: "${registries[1]?.url}" }
  old: { url: "${old.url}" }
routes:
  - { prefix: "a/", upstream: relative, rewrite: team/ }
  - { prefix: "b/c/", upstream: absolute, rewrite: team/, ns: docker.io }
  - { prefix: "old/", upstream: old, rewrite: team/ }
`,
    );
  });

  interface Page {
    readonly name: string;
    readonly tags: readonly string[];
  }

  /** Follows `Link` to the end. */
  async function readAll(
    first: string,
  ): Promise<{ readonly pages: readonly Page[]; readonly links: readonly string[] }> {
    const pages: Page[] = [];
    const links: string[] = [];
    for (let path: string | undefined = first; path !== undefined && pages.length < 50; ) {
      const answer = await front.sendAs('alice', path);
      assert.equal(answer.status, 200, `${path}: ${answer.text}`);
      assert.equal(answer.headers['content-length'], String(answer.body.length));
      pages.push(JSON.parse(answer.text) as Page);
      const { link } = answer.headers as { link?: string };
      path = link === undefined ? undefined : nextLink(link);
      if (path !== undefined) links.push(path);
    }
    return { pages, links };
  }

  const all = ['sbom', 'signature', ...tags];

  for (const [name, first] of [
    ['a/app', '/v2/a/app/tags/list'],
    ['a/app', '/v2/a/app/tags/list?n=3'],
    ['a/app', '/v2/a/app/tags/list?n=1'],
    ['b/c/app', '/v2/b/c/app/tags/list?n=7'],
  ] as const) {
    test(`all pages of ${first}`, async () => {
      const { pages, links } = await readAll(first);
      assert.deepEqual(
        pages.flatMap((page) => page.tags),
        all,
      );
      assert.ok(pages.length > 1, 'pages.length > 1');
      for (const page of pages) assert.equal(page.name, name);
      for (const link of links) assert.ok(link.startsWith(`/v2/${name}/tags/list?`), link);
    });
  }

  test('a mirror client keeps its ns on every page', async () => {
    const { pages, links } = await readAll('/v2/app/tags/list?ns=docker.io&n=10');
    assert.deepEqual(
      pages.flatMap((page) => page.tags),
      all,
    );
    for (const page of pages) assert.equal(page.name, 'app');
    for (const link of links) {
      const url = new URL(link, 'http://docker.test');
      assert.equal(url.pathname, '/v2/app/tags/list');
      assert.deepEqual(url.searchParams.getAll('ns'), ['docker.io']);
    }
  });

  for (const [query, expected, link] of [
    ['last=v20', ['v21', 'v22', 'v23', 'v24'], undefined],
    ['last=v205', ['v21', 'v22', 'v23', 'v24'], undefined],
    ['last=v24', [], undefined],
    ['last=v20&n=2', ['v21', 'v22'], 'last=v22&n=2'],
    ['n=2&last=v20', ['v21', 'v22'], 'last=v22&n=2'],
    ['n=4&last=v20', ['v21', 'v22', 'v23', 'v24'], undefined],
    ['n=0', [], undefined],
  ] as const) {
    test(`the page of ${query}, through relative links and absolute ones, and as a mirror`, async () => {
      for (const [path, ns] of [
        ['a/app', ''],
        ['b/c/app', ''],
        ['app', '&ns=docker.io'],
      ]) {
        const answer = await front.sendAs('alice', `/v2/${path}/tags/list?${query}${ns}`);
        assert.equal(answer.status, 200, answer.text);
        assert.deepEqual(JSON.parse(answer.text), { name: path, tags: expected });
        const next = link && `</v2/${path}/tags/list?${link}${ns}>; rel="next"`;
        assert.equal(answer.headers.link, next);
      }
    });
  }

  test('ns is ours: the upstream gets the rest of the query, in its order', async () => {
    registries[1]?.forgetRequests();
    await front.sendAs('alice', '/v2/app/tags/list?n=3&ns=docker.io&x=%2Fy&last=v01');
    assert.deepEqual(
      registries[1]?.requests.map(({ path }) => path),
      ['/v2/team/app/tags/list?n=3&x=%2Fy&last=v01'],
    );
  });

  test("an upstream's own way of paging", async (t) => {
    const link = '</v2/team/app/tags/list?next_page=gAAAA%2Bx%3D&ns=evil.test>; rel="next"';
    t.after(registries[0]?.faults.add({ path: '/team/app/tags/list?n=5' }, { headers: { link } }));
    const answer = await front.sendAs('alice', '/v2/a/app/tags/list?n=5');
    const { link: ours } = answer.headers as { link?: string };
    assert.match(ours ?? '', /^<\/v2\/a\/app\/tags\/list\?next_page=gAAAA%2Bx%3D>; rel="next"$/);
  });

  test('a next page that is elsewhere is no page of ours', async (t) => {
    for (const target of ['https://evil.test/v2/team/app/tags/list?last=a', '/v2/other/tags/list?last=a']) {
      const link = `<${target}>; rel="next"`;
      const heal = registries[0]?.faults.add({ path: '/team/app/tags/list' }, { headers: { link } });
      t.after(() => heal?.());
      const answer = await front.sendAs('alice', '/v2/a/app/tags/list?n=5');
      heal?.();
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.headers.link, undefined);
    }
  });

  for (const [body, status, tags] of [
    ['{"name":"team/app","tags":null}', 200, []],
    ['{"name":"team/app"}', 200, []],
    ['{"name":"team/app","tags":["a",1,null],"child":["team/app/x"],"manifest":{}}', 200, ['a']],
    ['{"name":"team/app","tags":"a"}', 503, undefined],
    ['<html>', 503, undefined],
    ['', 503, undefined],
  ] as const) {
    test(`an upstream's list ${body || 'of no bytes'}`, async (t) => {
      t.after(registries[0]?.faults.add({ path: '/tags/list' }, { answer: { status: 200, body } }));
      const answer = await front.sendAs('alice', '/v2/a/app/tags/list');
      if (tags === undefined) assertError(answer, status, 'UNAVAILABLE');
      else assert.deepEqual([answer.status, JSON.parse(answer.text)], [status, { name: 'a/app', tags }]);
    });
  }

  test('a list that is cut, and a number that is none', async (t) => {
    const heal = registries[0]?.faults.add({ path: '/tags/list' }, { cutAfter: 10 });
    t.after(() => heal?.());
    assertError(await front.sendAs('alice', '/v2/a/app/tags/list'), 503, 'UNAVAILABLE');
    heal?.();
    assertError(await front.sendAs('alice', '/v2/a/app/tags/list?n=ten'), 400, 'UNSUPPORTED');
  });

  test('a list is pulled, and only read', async () => {
    assertError(await front.sendAs('eve', '/v2/a/app/tags/list'), 403, 'DENIED');
    const token = await front.token('alice', ['repository:b/c/app:pull']);
    const headers = { authorization: bearer(token) };
    assertError(await front.send('/v2/a/app/tags/list', { headers }), 401, 'UNAUTHORIZED');
    assert.equal((await front.send('/v2/app/tags/list?ns=docker.io', { headers })).status, 200);
    assert.equal((await front.sendAs('alice', '/v2/a/app/tags/list', { method: 'HEAD' })).status, 405);
  });

  test('tags of a repository that is not there', async () => {
    assertError(await front.sendAs('alice', '/v2/a/nothing/tags/list'), 404, 'NAME_UNKNOWN');
  });

  const referrers = async (path: string) => {
    const answer = await front.sendAs('alice', path);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['content-type'], 'application/vnd.oci.image.index.v1+json');
    const { manifests } = JSON.parse(answer.text) as { manifests: { artifactType: string }[] };
    return manifests.map((manifest) => manifest.artifactType).sort();
  };

  test('referrers, all and filtered', async () => {
    const path = `/v2/a/app/referrers/${subject.digest}`;
    assert.deepEqual(await referrers(path), ['application/sbom', 'application/signature']);
    assert.deepEqual(await referrers(`${path}?artifactType=application/sbom`), ['application/sbom']);
  });

  test('referrers in pages', async (t) => {
    const path = `/referrers/${subject.digest}`;
    const link = `</v2/team/app${path}?page=2&n=1>; rel="next"`;
    t.after(registries[1]?.faults.add({ path }, { headers: { link } }));
    for (const [ours, ns] of [
      ['b/c/app', ''],
      ['app', '&ns=docker.io'],
    ]) {
      const answer = await front.sendAs('alice', `/v2/${ours}${path}?n=1${ns}`);
      assert.equal(answer.headers.link, `</v2/${ours}${path}?page=2&n=1${ns}>; rel="next"`);
    }
  });

  test('referrers of what has none: an empty index', async () => {
    assert.deepEqual(await referrers(`/v2/a/app/referrers/sha256:${'0'.repeat(64)}`), []);
  });

  test('referrers where the upstream does not know them: 404, and the client falls back to tags', async () => {
    const answer = await front.sendAs('alice', `/v2/old/app/referrers/${subject.digest}`);
    assertError(answer, 404, 'NAME_UNKNOWN');
  });

  test('the catalogue is switched off, for everybody who is somebody', async () => {
    for (const user of ['alice', 'bob', 'eve'] as const) {
      assertError(await front.sendAs(user, '/v2/_catalog'), 405, 'UNSUPPORTED');
    }
    const token = await front.token('alice', ['registry:catalog:*']);
    assert.deepEqual(claimsOf(token).access, []);
    const headers = { authorization: bearer(token) };
    assertError(await front.send('/v2/_catalog', { headers }), 405, 'UNSUPPORTED');
    assertError(await front.send('/v2/_catalog'), 401, 'UNAUTHORIZED');
  });
});

describe('mirror mode', () => {
  test('ns selects a route from a closed list, and is never a host to dial', async (t) => {
    const hub = await startMemoryRegistry();
    const elsewhere = await startMemoryRegistry();
    t.after(() => hub.close());
    t.after(() => elsewhere.close());
    const image = tinyImageFor('amd64', 'hello');
    hub.putImage('library/alpine', '3', image);
    elsewhere.putImage('library/alpine', '3', image);
    const front = await startFront(
      t,
      `
upstreams:
  hub: { url: "${hub.url}", defaultNamespace: library }
  elsewhere: { url: "${elsewhere.url}" }
routes:
  - { prefix: "mirror/", upstream: hub, ns: [docker.io, registry-1.docker.io] }
  - { prefix: "elsewhere/", upstream: elsewhere }
policy:
  - { names: ["local:bob"], repositories: ["mirror/**"], actions: [pull] }
  - { names: ["local:alice"], repositories: ["**"], actions: [pull] }
`,
    );
    const path = (ns: string) => `/v2/library/alpine/manifests/3?ns=${ns}`;
    for (const ns of ['docker.io', 'DOCKER.IO', 'registry-1.docker.io', 'docker%2Eio']) {
      assert.equal((await front.sendAs('bob', path(ns))).status, 200, ns);
    }
    assert.equal(
      hub.requests.some((request) => request.path.includes('ns=')),
      false,
    );
    const challenge = (await front.send(path('docker.io'))).headers['www-authenticate'];
    assert.match(challenge ?? '', /scope="repository:mirror\/library\/alpine:pull"/);

    hub.forgetRequests();
    for (const ns of ['gcr.io', new URL(elsewhere.url).host, 'docker.io.evil.test', 'evil-docker.io']) {
      assertError(await front.sendAs('alice', path(ns)), 404, 'NAME_UNKNOWN');
      // Which ones are listed is not for those who were not let in.
      assertError(await front.sendAs('bob', path(ns)), 403, 'DENIED');
      assert.equal((await front.send(path(ns))).status, 401);
    }
    for (const ns of [
      '',
      '..',
      'a/b',
      'user@docker.io',
      'docker.io&ns=gcr.io',
      '%00',
      `${'a'.repeat(300)}.io`,
    ]) {
      assertError(await front.sendAs('bob', path(ns)), 400, 'NAME_INVALID');
    }
    assert.deepEqual([...hub.requests, ...elsewhere.requests], []);
    // The mirrored name counts, also where a rule is for another one.
    assertError(await front.sendAs('eve', path('docker.io')), 403, 'DENIED');
  });
});
