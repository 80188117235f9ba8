import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Upstream } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { isRepositoryName, parseRepositoryName } from '../reference/repository-name.js';
import { type Destination, type Route, RouteTable } from './route-table.js';

function upstream(host: string, canonicalName: Upstream['canonicalName'] = (name) => name): Upstream {
  return {
    registry: parseRegistryHost(host),
    fetch: () => Promise.reject(new Error('not in this test')),
    probe: () => Promise.reject(new Error('not in this test')),
    canonicalName,
    close: async () => undefined,
  };
}

const withLibrary = (name: string) => (name.includes('/') ? name : `library/${name}`);
const upstreams = new Map([
  ['gcr', upstream('gcr.io')],
  ['ecr', upstream('ecr.example')],
  ['hub', upstream('docker.io', withLibrary)],
  ['hub2', upstream('mirror.example', withLibrary)],
]);

function route(prefix: string, upstreamId: string, more: Partial<Route> = {}): Route {
  return { prefix, upstream: upstreamId, rewrite: '', ns: [], ...more };
}

function table(routes: readonly Route[], externalUrl = 'https://docker.example.com') {
  return new RouteTable(new URL(externalUrl), routes, upstreams);
}

/** `canonical -> upstream:name`, or undefined. */
function lead(routes: readonly Route[], name: string, host?: string): string | undefined {
  const routing = table(routes);
  return print(routing.resolve(routing.hosts.find(host), parseRepositoryName(name)));
}

function print(found: Destination | undefined): string | undefined {
  return found && `${found.canonical} -> ${found.upstreamId}:${found.upstreamName}`;
}

describe('resolve', () => {
  const usual = [
    route('', 'gcr', { rewrite: 'my-gcp-project/' }),
    route('hub/', 'hub'),
    route('infra/', 'ecr', { rewrite: 'platform/' }),
    route('infra/hub/', 'hub', { rewrite: 'acme/' }),
  ];
  const rows: readonly (readonly [routes: readonly Route[], name: string, answer: string | undefined])[] = [
    [usual, 'my-image', 'my-image -> gcr:my-gcp-project/my-image'],
    [usual, 'a/b/c', 'a/b/c -> gcr:my-gcp-project/a/b/c'],
    [usual, 'infra/app', 'infra/app -> ecr:platform/app'],
    [usual, 'infra/hub/app', 'infra/hub/app -> hub:acme/app'],
    [usual, 'infra/hubble', 'infra/hubble -> ecr:platform/hubble'],
    [usual, 'infra', 'infra -> gcr:my-gcp-project/infra'],
    [usual, 'infrastructure/x', 'infrastructure/x -> gcr:my-gcp-project/infrastructure/x'],
    [usual, 'hub/alpine', 'hub/library/alpine -> hub:library/alpine'],
    [usual, 'hub/library/alpine', 'hub/library/alpine -> hub:library/alpine'],
    [usual, 'hub/acme/app', 'hub/acme/app -> hub:acme/app'],
    [[...usual].reverse(), 'infra/hub/app', 'infra/hub/app -> hub:acme/app'],
    [[route('hub/', 'hub')], 'other/x', undefined],
    [[], 'x', undefined],
    [[route('', 'hub')], 'alpine', 'library/alpine -> hub:library/alpine'],
    [[route('', 'nowhere')], 'alpine', undefined],
    // The longer name belongs to another route: then the shorter one does, too (threat 25).
    [
      [route('hub/', 'hub'), route('hub/library/', 'ecr', { rewrite: 'golden/' })],
      'hub/alpine',
      'hub/library/alpine -> ecr:golden/alpine',
    ],
    [
      [route('', 'hub'), route('library/', 'hub2')],
      'alpine',
      'library/library/alpine -> hub2:library/alpine',
    ],
    [
      [route('', 'hub'), route('library/', 'hub2'), route('library/library/', 'gcr')],
      'alpine',
      'library/library/alpine -> gcr:alpine',
    ],
  ];
  for (const [routes, name, answer] of rows) {
    it(`${name} through ${routes.map((one) => one.prefix || '""').join(' ')}: ${answer}`, () =>
      assert.equal(lead(routes, name), answer));
  }

  it('says NAME_INVALID where the name becomes too long', () => {
    const long = `a${'/a'.repeat(126)}`;
    assert.throws(() => lead([route('', 'gcr', { rewrite: 'prefix/' })], long), { code: 'NAME_INVALID' });
    assert.throws(() => lead([route('', 'hub')], 'a'.repeat(250)), { code: 'NAME_INVALID' });
    assert.equal(lead([route('', 'gcr')], long), `${long} -> gcr:${long}`);
  });
});

describe('a host', () => {
  const routes = [
    route('', 'gcr'),
    route('', 'hub', { host: 'hub.example.com' }),
    route('infra/', 'ecr'),
    route('only/', 'ecr', { host: 'hub.example.com' }),
  ];
  for (const [host, name, answer] of [
    ['docker.example.com', 'a', 'a -> gcr:a'],
    ['hub.example.com', 'a', 'library/a -> hub:library/a'],
    ['HUB.example.com:443', 'a', 'library/a -> hub:library/a'],
    ['unknown.example.com', 'a', 'a -> gcr:a'],
    ['hub.example.com', 'infra/a', 'infra/a -> ecr:a'],
    ['hub.example.com', 'only/a', 'only/a -> ecr:a'],
    ['docker.example.com', 'only/a', 'only/a -> gcr:only/a'],
  ] as const) {
    it(`${host} narrows: ${name} is ${answer}`, () => {
      assert.equal(lead(routes, name, host), answer);
      assert.equal(lead([...routes].reverse(), name, host), answer);
    });
  }
});

describe('ns, the registry a containerd mirror stands for', () => {
  const routes = [
    route('', 'gcr'),
    route('hub/', 'hub', { ns: ['docker.io', 'index.docker.io'] }),
    route('x/', 'ecr', { host: 'b.example', ns: ['ecr.example:5000'] }),
  ];
  const mirrored = (ns: string, name: string, host?: string) => {
    const routing = table(routes);
    return routing.mirrored(routing.hosts.find(host), ns, parseRepositoryName(name));
  };

  for (const [ns, host, answer] of [
    ['docker.io', undefined, 'hub/a/b'],
    ['Docker.IO', undefined, 'hub/a/b'],
    ['index.docker.io', undefined, 'hub/a/b'],
    ['docker.example.com', undefined, 'a/b'],
    ['ecr.example:5000', 'b.example', 'x/a/b'],
  ] as const) {
    it(`${ns} is ${answer}`, () => assert.equal(mirrored(ns, 'a/b', host), answer));
  }

  // A closed list: ns is never a host to dial.
  for (const [ns, host] of [
    ['evil.example', undefined],
    ['evil-docker.io', undefined],
    ['docker.io.evil.example', undefined],
    ['', undefined],
    ['ecr.example:5000', undefined],
    ['ecr.example', 'b.example'],
    ['docker.io:443', undefined],
    ['gcr.io', undefined],
  ] as const) {
    it(`${ns || 'nothing'} on ${host ?? 'the first host'} is unknown`, () => {
      assert.throws(() => mirrored(ns, 'a/b', host), { code: 'NAME_UNKNOWN' });
    });
  }

  it('says NAME_INVALID where the name becomes too long', () => {
    assert.throws(() => mirrored('docker.io', 'a'.repeat(255)), { code: 'NAME_INVALID' });
  });
});

describe("names of an upstream's repository", () => {
  const namesOf = (routes: readonly Route[], upstreamId: string, name: string, host?: string) => {
    const routing = table(routes);
    const places = routing.placesOf(routing.hosts.find(host), upstreamId);
    return places.flatMap((place) => routing.nameAt(place, parseRepositoryName(name)) ?? []);
  };
  const b = { host: 'b.example' };
  const rows: readonly (readonly [
    what: string,
    routes: readonly Route[],
    repository: string,
    names: readonly string[],
    host?: string,
  ])[] = [
    ['the prefix for the rewrite', [route('a/', 'gcr', { rewrite: 'team/' })], 'gcr:team/app', ['a/app']],
    ['none outside of the rewrite', [route('a/', 'gcr', { rewrite: 'team/' })], 'gcr:teams/app', []],
    ['none for the rewrite itself', [route('a/', 'gcr', { rewrite: 'team/' })], 'gcr:team', []],
    ['none at another upstream', [route('a/', 'gcr')], 'ecr:app', []],
    ['one for each route', [route('', 'gcr'), route('x/', 'gcr')], 'gcr:app', ['x/app', 'app']],
    ['a longer prefix hides', [route('', 'gcr'), route('x/', 'ecr')], 'gcr:x/app', []],
    ['a longer prefix hides itself', [route('', 'gcr'), route('x/', 'gcr')], 'gcr:x/app', ['x/x/app']],
    [
      'the default namespace is written',
      [route('hub/', 'hub')],
      'hub:library/alpine',
      ['hub/library/alpine'],
    ],
    [
      'the default namespace is there already',
      [route('hub/', 'hub', { rewrite: 'library/' })],
      'hub:library/a',
      ['hub/a'],
    ],
    ['none for what the default namespace hides', [route('hub/', 'hub')], 'hub:alpine', []],
    ['none where the name is too long', [route('hub/', 'gcr')], `gcr:${'a'.repeat(253)}`, []],
    [
      'once, of routes for one host and for all',
      [route('', 'gcr'), route('', 'gcr', b)],
      'gcr:a',
      ['a'],
      'b.example',
    ],
    ['none through another host', [route('', 'gcr', b)], 'gcr:a', []],
    ['through its host', [route('', 'gcr', b)], 'gcr:a', ['a'], 'b.example'],
    ['the host narrows', [route('', 'gcr'), route('', 'ecr', b)], 'gcr:a', [], 'b.example'],
  ];
  for (const [what, routes, repository, names, host] of rows) {
    it(`${what}: ${repository.slice(0, 30)}`, () => {
      const [upstreamId = '', name = ''] = repository.split(':');
      assert.deepEqual(namesOf(routes, upstreamId, name, host), names);
    });
  }
});

describe('for any routes (threat 25)', () => {
  const component = fc.constantFrom('a', 'b', 'library');
  const prefix = fc
    .array(component, { maxLength: 3 })
    .map((parts) => parts.map((part) => `${part}/`).join(''));
  const anyRoute = fc
    .tuple(
      prefix,
      fc.constantFrom('gcr', 'hub', 'hub2'),
      prefix,
      fc.constantFrom(undefined, 'b.example', 'c.example:6000'),
    )
    .map(([from, upstreamId, rewrite, host]) => route(from, upstreamId, { rewrite, ...(host && { host }) }));
  const name = fc
    .array(component, { minLength: 1, maxLength: 4 })
    .map((parts) => parseRepositoryName(parts.join('/')));
  const routes = fc.array(anyRoute, { maxLength: 6 });

  it('a canonical name leads where the name led, and is its own canonical name', () => {
    fc.assert(
      fc.property(
        routes,
        name,
        fc.constantFrom('docker.example.com', 'b.example', 'c.example:6000'),
        (some, asked, host) => {
          const routing = table(some);
          const served = routing.hosts.find(host);
          const found = routing.resolve(served, asked);
          if (found === undefined) return;
          assert.ok(
            isRepositoryName(found.canonical) && isRepositoryName(found.upstreamName),
            'isRepositoryName(found.canonical) && isRepositoryName(found.upstreamName)',
          );
          assert.deepEqual(routing.resolve(served, found.canonical), found);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it('no canonical name has two destinations on one host', () => {
    fc.assert(
      fc.property(routes, fc.array(name, { minLength: 2, maxLength: 8 }), (some, names) => {
        const routing = table(some);
        const known = new Map<string, string | undefined>();
        for (const asked of names) {
          const found = routing.resolve(routing.hosts.find(undefined), asked);
          if (found === undefined) continue;
          assert.equal(known.get(found.canonical) ?? print(found), print(found));
          known.set(found.canonical, print(found));
        }
      }),
      { numRuns: 2000 },
    );
  });

  const hosts = fc.constantFrom('docker.example.com', 'b.example', 'c.example:6000');
  const upstreamId = fc.constantFrom('gcr', 'hub', 'hub2');

  it("the name of an upstream's repository leads back to it", () => {
    fc.assert(
      fc.property(routes, upstreamId, name, hosts, (some, id, upstreamName, host) => {
        const routing = table(some);
        const served = routing.hosts.find(host);
        for (const place of routing.placesOf(served, id)) {
          const canonical = routing.nameAt(place, upstreamName);
          if (canonical === undefined) continue;
          const found = routing.resolve(served, canonical);
          assert.equal(print(found), `${canonical} -> ${id}:${upstreamName}`);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('the canonical name of what a name leads to is among the names of that repository', () => {
    fc.assert(
      fc.property(routes, name, hosts, (some, asked, host) => {
        const routing = table(some);
        const served = routing.hosts.find(host);
        const found = routing.resolve(served, asked);
        if (found === undefined) return;
        const places = routing.placesOf(served, found.upstreamId);
        const names = places.map((place) => routing.nameAt(place, found.upstreamName));
        assert.ok(names.includes(found.canonical), `${print(found)} is not among ${names.join(' ')}`);
      }),
      { numRuns: 5000 },
    );
  });

  it("in one place names are in the order of the upstream's own", () => {
    fc.assert(
      fc.property(routes, upstreamId, fc.uniqueArray(name, { minLength: 2 }), (some, id, upstreamNames) => {
        const routing = table(some);
        for (const place of routing.placesOf(routing.hosts.find(undefined), id)) {
          const names = [...upstreamNames].sort().flatMap((one) => routing.nameAt(place, one) ?? []);
          assert.deepEqual(names, [...new Set(names)].sort());
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('the order of routes of different prefixes does not matter', () => {
    const distinct = fc.uniqueArray(anyRoute, {
      maxLength: 6,
      selector: (one) => `${one.host} ${one.prefix}`,
    });
    fc.assert(
      fc.property(distinct, name, (some, asked) => {
        assert.equal(lead(some, asked, 'b.example'), lead([...some].reverse(), asked, 'b.example'));
      }),
      { numRuns: 1000 },
    );
  });

  it('ends, also with an upstream that has no canonical name for anything', () => {
    const restless = new Map([['x', upstream('x.example', (asked) => `${asked}0`)]]);
    const routing = new RouteTable(new URL('https://a.example'), [route('', 'x')], restless);
    assert.throws(
      () => routing.resolve(routing.hosts.find(undefined), parseRepositoryName('a')),
      (error) => error instanceof RegistryError && error.code === 'NAME_INVALID',
    );
  });
});
