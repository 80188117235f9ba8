import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Principal, RegistryRequest, Upstream } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import { nextLink } from '../protocol/link.js';
import { isRepositoryName, parseRepositoryName } from '../reference/repository-name.js';
import { type Route, RouteTable } from '../routing/route-table.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeUpstream, upstreamResponse } from '../testing/fake-upstream.js';
import { Catalog } from './catalog.js';
import { readList } from './rewrite.js';
import type { RepositoryListLimits } from './upstream-repositories.js';

const o = { signal: new AbortController().signal };
const who: Principal = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} };

function route(prefix: string, upstream: string, rewrite = '', host?: string): Route {
  return { prefix, upstream, rewrite, ns: [], ...(host !== undefined && { host }) };
}

function tableOf(upstreams: Readonly<Record<string, Upstream>>, routes: readonly Route[]): RouteTable {
  const all = new Map([...Object.entries(upstreams), ['unlisted', new FakeUpstream()] as const]);
  return new RouteTable(new URL('https://docker.test'), routes, all);
}

/** Lists these in pages of its own size, as distribution does. */
function listing(names: readonly string[], pageSize = 1000): FakeUpstream {
  return new FakeUpstream(async ({ operation }) => {
    assert.equal(operation.kind, 'catalog');
    const last = new URLSearchParams('page' in operation ? operation.page : '').get('last');
    const rest = names.slice(last === null ? 0 : names.indexOf(last) + 1);
    const repositories = rest.slice(0, pageSize);
    const response = upstreamResponse(200, {}, JSON.stringify({ repositories }));
    const more = repositories.length < rest.length;
    return { ...response, ...(more && { nextPage: `last=${repositories.at(-1)}` }) };
  });
}

const answering = (text: string, nextPage?: string) =>
  new FakeUpstream(async () => ({ ...upstreamResponse(200, {}, text), ...(nextPage && { nextPage }) }));

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `r${String(i).padStart(6, '0')}`);

describe('Catalog', () => {
  let policy: FakePolicy;
  let clock: FakeClock;

  beforeEach(() => {
    policy = new FakePolicy(() => ['pull']);
    clock = new FakeClock();
  });

  function open(
    upstreams: Readonly<Record<string, Upstream>>,
    routes = Object.keys(upstreams).map((id) => route(`${id}/`, id)),
    limits?: RepositoryListLimits,
  ) {
    const table = tableOf(upstreams, routes);
    const listed = new Map(Object.entries(upstreams));
    const catalog = new Catalog({
      routes: table,
      upstreams: listed,
      policy,
      clock,
      ...(limits && { limits }),
    });
    return async (page = '', host?: string, signal = o.signal) => {
      const request = { host: table.hosts.find(host), who, address: '192.0.2.1', page };
      const answer = await catalog.answer(request, { signal });
      assert.ok(answer.body !== undefined, 'an answer has a body');
      const bytes = await readList(answer.body);
      assert.equal(answer.headers.get('content-length'), String(bytes.length));
      const { repositories } = JSON.parse(bytes.toString()) as { repositories: readonly string[] };
      const next = answer.link === undefined ? undefined : nextLink(answer.link);
      return { repositories, ...(next !== undefined && { next: next.replace('/v2/_catalog?', '') }) };
    };
  }

  /** Follows the links from the first page on. */
  async function readAll(ask: ReturnType<typeof open>, n: number, host?: string) {
    const all: string[] = [];
    for (let page: string | undefined = `n=${n}`; page !== undefined; ) {
      assert.ok(all.length < 10_000, 'the pages have no end');
      const { repositories, next }: Awaited<ReturnType<typeof ask>> = await ask(page, host);
      assert.ok(repositories.length <= n, `${repositories.length} names on a page of ${n}`);
      assert.ok(next === undefined || repositories.length > 0, 'an empty page links to no other');
      all.push(...repositories);
      page = next;
    }
    return all;
  }

  test('an upstream is asked for its list to the end, with our names', async () => {
    const one = listing(['a', 'team/b', 'team/c'], 2);
    const ask = open({ one }, [route('x/', 'one', 'team/')]);
    assert.deepEqual(await ask(), { repositories: ['x/b', 'x/c'] });
    assert.deepEqual(
      one.requests.map(({ method, operation, headers }) => [method, operation, headers.size]),
      [
        ['GET', { kind: 'catalog', page: 'n=1000' }, 0],
        ['GET', { kind: 'catalog', page: 'last=team/b' }, 0],
      ],
    );
  });

  for (const [what, text, expected] of [
    ['in any order, and several times', '{"repositories":["b","a","b"]}', ['one/a', 'one/b']],
    ['that are no names', '{"repositories":["A","a","../b",7,null,"a//b","c:1",["d"]]}', ['one/a']],
    ['none', '{"repositories":[]}', []],
    ['null', '{"repositories":null}', []],
  ] as const) {
    test(`an upstream lists names: ${what}`, async () => {
      assert.deepEqual((await open({ one: answering(text) })()).repositories, expected);
      assert.deepEqual(
        policy.asked.flatMap(({ wanted }) => wanted.map(({ name }) => name)),
        expected,
      );
    });
  }

  for (const [page, size, next] of [
    ['', 100, 'last=one%2Fr000099&n=100'],
    ['n=', 100, 'last=one%2Fr000099&n=100'],
    ['n=7', 7, 'last=one%2Fr000006&n=7'],
    ['n=007', 7, 'last=one%2Fr000006&n=7'],
    ['n=7&n=9', 7, 'last=one%2Fr000006&n=7'],
    ['n=1000', 1000, 'last=one%2Fr000999&n=1000'],
    ['n=1001', 1000, 'last=one%2Fr000999&n=1000'],
    [`n=${'9'.repeat(400)}`, 1000, 'last=one%2Fr000999&n=1000'],
    ['n=0', 0, undefined],
    ['n=3&last=one/r001997', 2, undefined],
    ['n=2&last=one%2Fr001997', 2, undefined],
    ['n=1&last=one/r001997', 1, 'last=one%2Fr001998&n=1'],
    ['last=one/r0019', 100, undefined],
    ['n=5&last=one', 5, 'last=one%2Fr000004&n=5'],
    ['n=5&last=on', 5, 'last=one%2Fr000004&n=5'],
    ['n=5&last=one/', 5, 'last=one%2Fr000004&n=5'],
    ['n=5&last=one0', 0, undefined],
    ['n=5&last=%C3%BC', 0, undefined],
  ] as const) {
    test(`a page of '${page.slice(0, 40)}'`, async () => {
      const answer = await open({ one: listing(numbered(2000)) })(page);
      assert.equal(answer.repositories.length, size);
      assert.equal(answer.next, next);
    });
  }

  for (const n of ['-1', 'x', '1.5', '1e3', '0x10', ' ', '%2B5', '5,']) {
    test(`n=${n} is refused, and nobody is asked`, async () => {
      const one = listing(['a']);
      await assert.rejects(open({ one })(`n=${n}`), { code: 'UNSUPPORTED', status: 400 });
      assert.deepEqual([one.requests, policy.asked], [[], []]);
    });
  }

  test('the policy is asked in batches, and little further than the page needs', async () => {
    const ask = open({ one: listing(numbered(2000)) });
    await ask('n=600&last=one/r000099');
    const names = policy.asked.flatMap(({ wanted }) => wanted);
    assert.ok(names.length > 600 && names.length < 700, `${names.length} names`);
    assert.ok(policy.asked.length > 5, `${policy.asked.length} batches`);
    const [first] = policy.asked;
    assert.deepEqual(first?.wanted[0], { type: 'repository', name: 'one/r000100', actions: ['pull'] });
    assert.deepEqual([first?.who, first?.request], [who, { service: 'docker.test', address: '192.0.2.1' }]);
  });

  test('what two routes give alike is there once, also at the edge of a batch', async () => {
    const names = ['0', ...numbered(600).map((name) => `a/${name}`)];
    const ask = open({ one: listing(names) }, [route('', 'one'), route('a/', 'one', 'a/')]);
    assert.deepEqual((await ask('n=1000')).repositories, names);
    assert.ok(policy.asked.length > 5, `${policy.asked.length} batches`);
  });

  test('only what may be pulled is there, and a link only where more of it is', async () => {
    const ask = open({ one: listing(numbered(1500)) });
    policy.allow = (_who, { name }) => (/[05]00$/.test(name) ? ['pull'] : ['push', 'delete', '*']);
    assert.deepEqual(await ask('n=2'), {
      repositories: ['one/r000000', 'one/r000500'],
      next: 'last=one%2Fr000500&n=2',
    });
    assert.deepEqual(await ask('n=2&last=one/r000500'), { repositories: ['one/r001000'] });
    assert.deepEqual(await ask('n=3'), { repositories: ['one/r000000', 'one/r000500', 'one/r001000'] });
    policy.allow = () => [];
    assert.deepEqual(await open({ one: listing(numbered(1500)) })(), { repositories: [] });
  });

  test('a broken policy is UNAVAILABLE', async () => {
    policy.broken = true;
    await assert.rejects(open({ one: listing(['a']) })(), { code: 'UNAVAILABLE' });
  });

  test('a list is asked for once at a time, and kept for 30 s', async () => {
    const one = listing(['a', 'b'], 1);
    const ask = open({ one });
    await Promise.all([ask('n=1'), ask('n=1&last=one/a'), ask()]);
    assert.equal(one.requests.length, 2);
    clock.advance(29_999);
    await ask();
    assert.equal(one.requests.length, 2);
    clock.advance(1);
    one.answer = listing(['a', 'aa', 'b']).answer;
    assert.deepEqual((await ask('n=1&last=one/a')).repositories, ['one/aa']);
    assert.equal(one.requests.length, 3);
  });

  test('an upstream that no route of the host leads to is not asked', async () => {
    const one = listing(['a']);
    const two = new FakeUpstream();
    const routes = [route('', 'one'), route('', 'two', '', 'two.test')];
    const ask = open({ one, two }, routes);
    assert.deepEqual((await ask()).repositories, ['a']);
    assert.deepEqual(two.requests, []);
    await assert.rejects(ask('', 'two.test'), { code: 'UNAVAILABLE' });
  });

  test('where the first page is too large for the registry it chooses the size', async () => {
    const one = listing(['a', 'b']);
    const { answer } = one;
    one.answer = async (request, options) => {
      if (pageOf(request).includes('n=1000')) throw new RegistryError('UNKNOWN', { status: 400 });
      return answer(request, options);
    };
    assert.deepEqual((await open({ one })()).repositories, ['one/a', 'one/b']);
    assert.deepEqual(one.requests.map(pageOf), ['n=1000', '']);
  });

  const small = { names: 5, pages: 3, time: 60_000 };
  for (const [what, broken, reason] of [
    [
      'refuses',
      new FakeUpstream(async () => Promise.reject(new RegistryError('UNSUPPORTED'))),
      /unsupported/,
    ],
    [
      'is not there',
      new FakeUpstream(async () => Promise.reject(new RegistryError('NAME_UNKNOWN'))),
      /not known/,
    ],
    [
      'refuses any page',
      new FakeUpstream(async () => Promise.reject(new RegistryError('UNKNOWN', { status: 400 }))),
      /./,
    ],
    ['answers no JSON', answering('<html>'), /not JSON/],
    ['answers something else', answering('{"tags":[]}'), /no list/],
    ['answers a text', answering('{"repositories":"a"}'), /no list/],
    ['answers no object', answering('null'), /no list/],
    ['answers nothing', new FakeUpstream(async () => upstreamResponse(200)), /without a body/],
    ['leads back', answering('{"repositories":[]}', 'last=a'), /earlier/],
    ['has too many names', listing(numbered(6)), /over 5 names/],
    ['has too many pages', listing(numbered(4), 1), /over 3 pages/],
  ] as const) {
    test(`nothing is shown where one listed upstream ${what}`, async () => {
      const ask = open({ fine: listing(['a']), broken }, undefined, small);
      const error: unknown = await ask().catch((caught: unknown) => caught);
      assert.ok(error instanceof RegistryError, describeError(error));
      assert.deepEqual(
        [error.code, error.status, error.message],
        ['UNAVAILABLE', 503, 'service unavailable'],
      );
      assert.match(describeError(error), /no catalogue of upstream broken: /);
      assert.match(describeError(error), reason);
      // It is remembered for a while: others do not walk through it again.
      broken.answer = listing(['b']).answer;
      const asked = broken.requests.length;
      clock.advance(4_999);
      assert.equal(await ask().catch((caught: unknown) => caught), error);
      assert.equal(broken.requests.length, asked);
      clock.advance(1);
      assert.deepEqual((await ask()).repositories, ['broken/b', 'fine/a']);
    });
  }

  test('as many names and pages as there may be', async () => {
    assert.equal((await open({ one: listing(numbered(5)) }, undefined, small)()).repositories.length, 5);
    assert.equal((await open({ one: listing(numbered(3), 1) }, undefined, small)()).repositories.length, 3);
  });

  test('an upstream that takes too long', async () => {
    const one = new FakeUpstream(() => new Promise(() => {}));
    const error: unknown = await open({ one }, undefined, { ...small, time: 20 })().catch((e: unknown) => e);
    assert.ok(error instanceof RegistryError, describeError(error));
    assert.equal(error.code, 'UNAVAILABLE');
    assert.match(describeError(error), /upstream one: took longer than 20 ms/);
  });

  test('when to come again is handed on', async () => {
    const one = new FakeUpstream(() =>
      Promise.reject(new RegistryError('TOOMANYREQUESTS', { retryAfter: 7 })),
    );
    await assert.rejects(open({ one })(), { code: 'UNAVAILABLE', retryAfter: 7 });
  });

  test('a client that leaves is told its own reason, and nobody asks for it any more', async () => {
    const leaving = new AbortController();
    let signal: AbortSignal | undefined;
    const one = new FakeUpstream((_request, options) => {
      signal = options.signal;
      return new Promise(() => {});
    });
    const answer = open({ one })('', undefined, leaving.signal);
    assert.equal(one.requests.length, 1);
    leaving.abort(new Error('gone'));
    await assert.rejects(answer, { message: 'gone' });
    assert.equal(signal?.aborted, true);
  });

  test('a client that leaves is not remembered as a failure of the upstream', async () => {
    const leaving = new AbortController();
    const one = new FakeUpstream(() => new Promise(() => {}));
    const ask = open({ one });
    const answer = ask('', undefined, leaving.signal);
    leaving.abort(new Error('gone'));
    await assert.rejects(answer, { message: 'gone' });
    one.answer = listing(['a']).answer;
    assert.deepEqual((await ask()).repositories, ['one/a']);
  });

  test('a clock that is set back keeps neither a list nor a failure for longer', async () => {
    const one = listing(['a']);
    const ask = open({ one });
    await ask();
    clock.advance(-3_600_000);
    one.answer = async () => Promise.reject(new RegistryError('UNSUPPORTED'));
    await assert.rejects(ask(), { code: 'UNAVAILABLE' });
    clock.advance(-3_600_000);
    one.answer = listing(['b']).answer;
    assert.deepEqual((await ask()).repositories, ['one/b']);
  });

  describe('for any routes', () => {
    const component = fc.constantFrom('a', 'a-b', 'library');
    const parts = fc.array(component, { maxLength: 2 });
    const prefix = parts.map((all) => all.map((part) => `${part}/`).join(''));
    const id = fc.constantFrom('one', 'hub', 'unlisted');
    const anyRoute = fc
      .tuple(prefix, id, prefix, fc.constantFrom(undefined, 'b.example'))
      .map((given) => route(...given));
    const name = fc.array(component, { minLength: 1, maxLength: 3 }).map((all) => all.join('/'));
    const names = fc.uniqueArray(name, { maxLength: 20 });
    const host = fc.constantFrom('docker.test', 'b.example');

    /** Every name of up to five components. */
    const all = (() => {
      const found: string[] = [];
      let last = [''];
      for (let depth = 0; depth < 5; depth++) {
        last = last.flatMap((start) =>
          ['a', 'a-b', 'library'].map((one) => (start === '' ? one : `${start}/${one}`)),
        );
        found.push(...last);
      }
      return found.filter(isRepositoryName);
    })();

    test('pages of any size give every canonical name that leads to a listed repository, once', async () => {
      const property = fc.asyncProperty(
        fc.array(anyRoute, { minLength: 1, maxLength: 6 }),
        names,
        names,
        fc.integer({ min: 1, max: 7 }),
        host,
        async (routes, inOne, inHub, n, asked) => {
          const hub = listing(inHub);
          hub.canonicalName = (text) => (text.includes('/') ? text : `library/${text}`);
          const listed = { one: listing(inOne), hub };
          const table = tableOf(listed, routes);
          const served = table.hosts.find(asked);
          const there: Readonly<Record<string, readonly string[]>> = { one: inOne, hub: inHub };
          const expected = all.filter((client) => {
            const found = table.resolve(served, parseRepositoryName(client));
            if (found === undefined || found.canonical !== client || isSecret(client)) return false;
            return there[found.upstreamId]?.includes(found.upstreamName);
          });
          policy.allow = (_who, scope) => (isSecret(scope.name) ? [] : ['pull']);
          assert.deepEqual(await readAll(open(listed, routes), n, asked), [...expected].sort());
        },
      );
      await fc.assert(property, { numRuns: 400 });
    });

    test('a list of several thousand in pages', async () => {
      const ask = open({ one: listing(numbered(3000)), two: listing(numbered(1200)) });
      const whole = await readAll(ask, 1000);
      assert.deepEqual(whole, [...whole].sort());
      assert.equal(new Set(whole).size, 4200);
      assert.deepEqual(await readAll(ask, 333), whole);
    });
  });
});

/** What nobody may see in the property above. */
function isSecret(name: string): boolean {
  return name.endsWith('/a');
}

function pageOf({ operation }: RegistryRequest): string {
  return 'page' in operation ? operation.page : '';
}
