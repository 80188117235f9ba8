import assert from 'node:assert/strict';
import { before, describe, type TestContext, test } from 'node:test';
import { nextLink } from '../../src/protocol/link.js';
import {
  FakeClock,
  type MemoryRegistry,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  bearer,
  type ClientRequest,
  claimsOf,
  type Front,
  type Scope,
  sharedScope,
  startFront,
} from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');

async function registryWith(
  scope: Scope,
  repositories: readonly string[],
  options: Parameters<typeof startMemoryRegistry>[0] = {},
): Promise<MemoryRegistry> {
  const registry = await startMemoryRegistry(options);
  scope.after(() => registry.close());
  for (const repository of repositories) registry.putImage(repository, '1', image);
  return registry;
}

const repositoriesIn = (answer: Answer) => {
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  assert.equal(answer.headers['content-length'], String(answer.body.length));
  const document = JSON.parse(answer.text) as { repositories: readonly string[] };
  assert.deepEqual(Object.keys(document), ['repositories']);
  return document.repositories;
};

function nextOf({ headers }: Answer): string | undefined {
  const { link } = headers as { link?: string };
  return link === undefined ? undefined : nextLink(link);
}

async function readAll(ask: (path: string) => Promise<Answer>, query = '') {
  const pages: (readonly string[])[] = [];
  for (let path: string | undefined = `/v2/_catalog${query}`; path !== undefined && pages.length < 50; ) {
    const answer: Answer = await ask(path);
    pages.push(repositoriesIn(answer));
    path = nextOf(answer);
    if (path !== undefined) {
      assert.match(path, /^\/v2\/_catalog\?last=[^&]+&n=\d+$/);
      assert.ok(pages.at(-1)?.length, `an empty page with a link: ${path}`);
    }
  }
  return pages;
}

describe('the catalogue', () => {
  const scope = sharedScope();
  const registries: Record<string, MemoryRegistry> = {};
  let front: Front;

  before(async () => {
    const auth = { kind: 'token', username: 'robot', password: 'x' } as const;
    const kept = async (name: string, repositories: readonly string[], options = {}) => {
      const registry = await registryWith(scope, repositories, options);
      registries[name] = registry;
      return registry;
    };
    const one = await kept(
      'one',
      ['team/app', 'team/app-b', 'team/app/c', 'teams/x', 'zoo', 'team/open/hidden'],
      {
        auth,
      },
    );
    const two = await kept('two', ['a', 'b/c', 'secret/plan', 'hidden/x', 'users/bob']);
    const hub = await kept('hub', ['library/alpine', 'acme/tool', 'bare']);
    const unlisted = await kept('unlisted', ['nobody/sees/this']);
    front = await startFront(
      scope,
      `
externalUrl: http://docker.test
upstreams:
  one: { url: "${one.url}", credentials: { type: static, username: robot, password: { file: robot.password } } }
  two: { url: "${two.url}" }
  hub: { url: "${hub.url}", defaultNamespace: library }
  unlisted: { url: "${unlisted.url}" }
catalog: [one, two, hub]
routes:
  - { prefix: "", upstream: one, rewrite: team/ }
  - { prefix: "open/", upstream: two }
  - { prefix: "open/hidden/", upstream: unlisted }
  - { prefix: "hub/", upstream: hub }
  - { prefix: "golden/", upstream: hub, rewrite: library/ }
  - { prefix: "", upstream: two, host: second.test }
  - { prefix: "secret/", upstream: unlisted, host: second.test }
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: anyone, type: anonymous }
policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull, push, delete] }
  - { names: ["local:bob"], repositories: ["open/**", "golden/*"], actions: [pull] }
  - { names: ["local:bob"], repositories: ["hub/**"], actions: [push, delete] }
  - { names: ["local:bob"], repositories: ["users/\${principal.name}"], actions: [pull], services: [second.test] }
  - { names: ["anyone:*"], repositories: ["hub/library/*"], actions: [pull] }
`,
      { files: { 'robot.password': 'x' } },
    );
  });

  const ofAlice = [
    'app',
    'app-b',
    'app/c',
    'golden/alpine',
    'hub/acme/tool',
    'hub/library/alpine',
    'open/a',
    'open/b/c',
    'open/secret/plan',
    'open/users/bob',
  ];
  const ofBob = ['golden/alpine', 'open/a', 'open/b/c', 'open/secret/plan', 'open/users/bob'];
  const second = { host: 'second.test' };
  const rows: readonly (readonly [
    who: 'alice' | 'bob' | 'eve' | undefined,
    options: ClientRequest & { readonly host?: string },
    expected: readonly string[],
  ])[] = [
    ['alice', {}, ofAlice],
    ['bob', {}, ofBob],
    ['eve', {}, []],
    [undefined, {}, ['hub/library/alpine']],
    // The host narrows: its own route takes what had no prefix.
    [
      'alice',
      second,
      [
        'a',
        'b/c',
        'golden/alpine',
        'hidden/x',
        'hub/acme/tool',
        'hub/library/alpine',
        'open/a',
        'open/b/c',
        'open/secret/plan',
        'open/users/bob',
        'users/bob',
      ],
    ],
    ['bob', second, [...ofBob, 'users/bob']],
    ['alice', { host: '192.0.2.1:5000' }, ofAlice],
  ];
  for (const [who, options, expected] of rows) {
    const where = options.host ?? 'docker.test';
    test(`${who ?? 'anonymous'} at ${where} over a token`, async () => {
      const service = options.host === 'second.test' ? 'second.test' : 'docker.test';
      const token = await front.token(who, ['registry:catalog:*'], { service });
      assert.deepEqual(claimsOf(token).access, [{ type: 'registry', name: 'catalog', actions: ['*'] }]);
      const headers = { authorization: bearer(token) };
      assert.deepEqual(repositoriesIn(await front.send('/v2/_catalog', { ...options, headers })), expected);
    });

    if (who === undefined) continue;
    test(`${who} at ${where} with a password`, async () => {
      assert.deepEqual(repositoriesIn(await front.sendAs(who, '/v2/_catalog', options)), expected);
    });

    test(`whatever ${who} sees at ${where} can be pulled, under that name`, async () => {
      for (const name of expected) {
        const answer = await front.sendAs(who, `/v2/${name}/manifests/1`, options);
        assert.equal(answer.status, 200, `${name}: ${answer.text}`);
      }
    });
  }

  for (const n of [1, 2, 3, 4, 5, 6, 9, 10, 11, 1000, 5000]) {
    test(`pages of ${n} give the same whole`, async () => {
      for (const [who, expected] of [
        ['alice', ofAlice],
        ['bob', ofBob],
        ['eve', []],
      ] as const) {
        const pages = await readAll((path) => front.sendAs(who, path), `?n=${n}`);
        assert.deepEqual(pages.flat(), expected);
        assert.equal(pages.length, Math.max(1, Math.ceil(expected.length / n)));
      }
    });
  }

  test('the page a client starts at: after a name that need not exist', async () => {
    for (const [last, expected] of [
      ['hub/library/alpine', ofAlice.slice(6)],
      ['hub%2Flibrary%2Falpine', ofAlice.slice(6)],
      ['hub/m', ofAlice.slice(6)],
      ['open', ofAlice.slice(6)],
      ['open/users/bob', []],
      ['zzz', []],
      ['', ofAlice],
    ] as const) {
      const answer = await front.sendAs('alice', `/v2/_catalog?last=${last}`);
      assert.deepEqual(repositoriesIn(answer), expected, last);
      assert.equal(answer.headers.link, undefined);
    }
  });

  test('none asked for; and no number', async () => {
    const none = await front.sendAs('alice', '/v2/_catalog?n=0');
    assert.deepEqual(repositoriesIn(none), []);
    assert.equal(none.headers.link, undefined);
    for (const n of ['-1', 'ten', '1.0']) {
      assertError(await front.sendAs('alice', `/v2/_catalog?n=${n}`), 400, 'UNSUPPORTED');
    }
    // Who is nobody is not told even that.
    assertError(await front.send('/v2/_catalog?n=-1'), 401, 'UNAUTHORIZED');
  });

  test('a token must have been issued for it', async () => {
    const elsewhere = await front.token('alice', ['registry:catalog:*'], { service: 'second.test' });
    const without = await front.token('alice', ['repository:app:pull', 'registry:catalog:pull']);
    const challenge = 'scope="registry:catalog:*"';
    for (const [token, error] of [
      [without, 'insufficient_scope'],
      [elsewhere, 'invalid_token'],
      [undefined, undefined],
    ] as const) {
      const headers = token === undefined ? {} : { authorization: bearer(token) };
      const answer = await front.send('/v2/_catalog', { headers });
      assertError(answer, 401, 'UNAUTHORIZED');
      const asked = answer.headers['www-authenticate'] ?? '';
      assert.ok(asked.includes(challenge), asked);
      assert.equal(/error="([^"]*)"/.exec(asked)?.[1], error);
    }
    const wrong = { authorization: `Basic ${Buffer.from('alice:wrong').toString('base64')}` };
    assertError(await front.send('/v2/_catalog', { headers: wrong }), 401, 'UNAUTHORIZED');
  });

  test('only reading it is served', async () => {
    for (const method of ['HEAD', 'POST', 'PUT', 'DELETE']) {
      const answer = await front.sendAs('alice', '/v2/_catalog', { method });
      assert.equal(answer.status, 405, method);
    }
  });

  test('an upstream that is not listed is not asked; the others are asked for their catalogue alone', async () => {
    const asked = (name: string) =>
      (registries[name]?.requests ?? [])
        .filter(({ path }) => path.includes('_catalog'))
        .map(({ path }) => path);
    await front.sendAs('alice', '/v2/_catalog');
    assert.deepEqual(asked('unlisted'), []);
    for (const path of asked('two')) assert.equal(path, '/v2/_catalog?n=1000');
    const scopes = registries.one?.tokenRequests.flatMap((request) => request.scopes) ?? [];
    assert.ok(scopes.includes('registry:catalog:*'), scopes.join(' '));
  });

  test('the access log', async () => {
    const answer = await front.sendAs('bob', '/v2/_catalog?n=2');
    const id = answer.headers['x-request-id'];
    const line = await front.logLine(({ event, requestId }) => event === 'access' && requestId === id);
    const { operation, action, principal, status, upstream, repository, rule } = line;
    assert.deepEqual(
      { operation, action, principal, status, upstream, repository, rule },
      {
        operation: 'catalog',
        action: '*',
        principal: 'local:bob',
        status: 200,
        upstream: undefined,
        repository: undefined,
        rule: undefined,
      },
    );
  });
});

describe('a catalogue that changes or breaks', () => {
  async function start(t: TestContext, names: readonly string[], clock = new FakeClock()) {
    const fine = await registryWith(t, ['fine']);
    const other = await registryWith(t, names, { pageSize: 2 });
    const front = await startFront(
      t,
      `
upstreams:
  fine: { url: "${fine.url}" }
  other: { url: "${other.url}" }
catalog: [fine, other]
routes:
  - { prefix: "", upstream: fine }
  - { prefix: "other/", upstream: other }
`,
      { clock },
    );
    return { front, fine, other, clock };
  }

  const pagesOfTwo = { answer: { status: 400, body: '{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}' } };

  async function refused(front: Front, reason: RegExp): Promise<void> {
    const answer = await front.sendAs('alice', '/v2/_catalog');
    assertError(answer, 503, 'UNAVAILABLE');
    assert.doesNotMatch(answer.text, /other|fine/);
    const id = answer.headers['x-request-id'];
    const line = await front.logLine(({ event, requestId }) => event === 'access' && requestId === id);
    assert.equal(line.level, 'warn');
    assert.match(String(line.reason), /no catalogue of upstream other/);
    assert.match(String(line.reason), reason);
  }

  test('a name that appears between pages', async (t) => {
    const { front, other, clock } = await start(t, ['b', 'd']);
    const first = await front.sendAs('alice', '/v2/_catalog?n=2');
    assert.deepEqual(repositoriesIn(first), ['fine', 'other/b']);
    for (const name of ['a', 'c', 'e']) other.putImage(name, '1', image);
    const next = nextOf(first) ?? '';
    assert.equal(next, '/v2/_catalog?last=other%2Fb&n=2');
    assert.deepEqual(repositoriesIn(await front.sendAs('alice', next)), ['other/d'], 'the list is kept');
    assert.equal(other.requests.filter(({ path }) => path.includes('_catalog')).length, 1);
    clock.advance(30_000);
    const pages = await readAll((path) => front.sendAs('alice', path), next.slice('/v2/_catalog'.length));
    assert.deepEqual(pages, [['other/c', 'other/d'], ['other/e']]);
  });

  test('an upstream that names the size of its pages itself', async (t) => {
    const { front, other } = await start(t, ['a', 'b', 'c', 'd', 'e']);
    other.faults.add({ path: 'n=1000' }, pagesOfTwo);
    const answer = await front.sendAs('alice', '/v2/_catalog');
    assert.deepEqual(repositoriesIn(answer), ['fine', 'other/a', 'other/b', 'other/c', 'other/d', 'other/e']);
    assert.equal(other.requests.filter(({ path }) => path.includes('_catalog')).length, 4);
  });

  const many = JSON.stringify({ repositories: Array.from({ length: 200_001 }, (_, i) => `r${i}`) });
  for (const [what, faults, reason] of [
    ['has none', [[{}, { answer: { status: 404, body: '404 page not found' } }]], /answers 404/],
    ['refuses it', [[{}, { answer: { status: 403 } }]], /no catalogue for us/],
    ['wants more than we have', [[{}, { answer: { status: 401 } }]], /./],
    ['is broken', [[{}, { answer: { status: 500 } }]], /answers 500/],
    ['answers nothing', [[{}, { reset: true }]], /./],
    ['is cut in its list', [[{}, { cutAfter: 20 }]], /cut short/],
    [
      'is cut on a later page',
      [
        [{ path: 'n=1000' }, pagesOfTwo],
        [{ path: 'last=b' }, { cutAfter: 20 }],
      ],
      /cut short/,
    ],
    [
      'fails on a later page',
      [
        [{ path: 'n=1000' }, pagesOfTwo],
        [{ path: 'last=b' }, { answer: { status: 502 } }],
      ],
      /answers 502/,
    ],
    ['never ends', [[{}, { headers: { link: '</v2/_catalog?last=c>; rel="next"' } }]], /an earlier one/],
    ['goes on elsewhere', [[{}, { headers: { link: '</other?last=c>; rel="next"' } }]], /elsewhere/],
    ['has too many', [[{}, { answer: { status: 200, body: many } }]], /over 200000 names/],
    ['answers something else', [[{}, { answer: { status: 200, body: '{"results":[]}' } }]], /no list/],
  ] as const) {
    test(`an upstream that ${what}: nothing is shown, and the log names it`, async (t) => {
      const { front, other, clock } = await start(t, ['a', 'b', 'c']);
      for (const [match, effect] of faults) other.faults.add({ path: '_catalog', ...match }, effect);
      await refused(front, reason);
      other.faults.clear();
      clock.advance(5_000);
      const answer = await front.sendAs('alice', '/v2/_catalog');
      assert.deepEqual(repositoriesIn(answer), ['fine', 'other/a', 'other/b', 'other/c']);
    });
  }

  test('an upstream that is gone', async (t) => {
    const { front, other } = await start(t, ['a']);
    await other.close();
    await refused(front, /./);
    assert.equal((await front.sendAs('alice', '/v2/fine/manifests/1')).status, 200);
  });
});
