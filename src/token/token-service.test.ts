import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { RegistryError } from '../errors.js';
import { printScope } from '../reference/scope.js';
import { RouteTable } from '../routing/route-table.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { FakeUpstream } from '../testing/fake-upstream.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { RefreshTokens } from './refresh-tokens.js';
import { type TokenRecord, type TokenRequest, TokenService } from './token-service.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };

class HubUpstream extends FakeUpstream {
  override canonicalName(name: string): string {
    return name.includes('/') ? name : `library/${name}`;
  }
}

describe('TokenService', () => {
  const clock = new FakeClock();
  let verifier: FakeVerifier;
  let policy: FakePolicy;
  let tokens: FakeTokenIssuer;
  let routes: RouteTable;
  let service: TokenService;

  beforeEach(() => {
    verifier = new FakeVerifier('local', { alice: { password: 'pw', groups: ['g'] } });
    policy = new FakePolicy(() => ['pull', 'push', 'delete', '*']);
    tokens = new FakeTokenIssuer(clock);
    const upstreams = new Map([['hub', new HubUpstream()]]);
    const given = [
      { prefix: 'hub/', upstream: 'hub', rewrite: '', ns: [] },
      { prefix: 'x/', upstream: 'hub', rewrite: '', ns: [], host: 'other.test' },
    ];
    routes = new RouteTable(new URL('https://docker.test'), given, upstreams);
    service = new TokenService({
      routes,
      verifier,
      policy,
      tokens,
      log: new FakeLog(),
      otherServices: ['elsewhere.test'],
    });
  });

  function request(scopes: readonly string[], changes: Partial<TokenRequest> = {}): TokenRequest {
    return {
      host: routes.hosts.find('docker.test'),
      service: undefined,
      scopes,
      credentials: { shown: { kind: 'password', username: 'alice', password: new Secret('pw') }, connection },
      wantsRefreshToken: false,
      admit: () => {},
      ...changes,
    };
  }

  const granted = async (scopes: readonly string[], changes: Partial<TokenRequest> = {}) =>
    (await service.handle(request(scopes, changes), {}, o)).granted.map(printScope);

  test('every action: as many as are allowed', async () => {
    policy.allow = () => ['pull', 'delete'];
    assert.deepEqual(await granted(['repository:a:*']), ['repository:a:pull,delete']);
    assert.deepEqual(await granted(['repository:a:*,pull']), ['repository:a:pull,delete']);
    policy.allow = () => [];
    assert.deepEqual(await granted(['repository:a:*']), []);
  });

  test('never more than was asked, whatever the policy says', async () => {
    assert.deepEqual(await granted(['repository:a:pull']), ['repository:a:pull']);
    // A policy that answers for something else than it was asked.
    policy.decide = async (_who, wanted) =>
      wanted.map((scope) => ({ wanted: scope, granted: ['pull', 'push', 'delete'] }));
    assert.deepEqual(await granted(['repository:a:push']), ['repository:a:push']);
    policy.decide = async (_who, wanted) => wanted.map((scope) => ({ wanted: scope, granted: [] }));
    assert.deepEqual(await granted(['repository:a:push']), []);
  });

  for (const [what, scopes, changes, expected] of [
    ['canonical names', ['repository:hub/alpine:pull'], {}, ['repository:hub/library/alpine:pull']],
    [
      'two names of one repository',
      ['repository:hub/alpine:pull', 'repository:hub/library/alpine:push'],
      {},
      ['repository:hub/library/alpine:pull,push'],
    ],
    ['a name no route takes', ['repository:none/a:pull'], {}, ['repository:none/a:pull']],
    ['a name that becomes too long', [`repository:hub/${'a'.repeat(251)}:pull`], {}, []],
    [
      'names of another host',
      ['repository:x/alpine:pull'],
      { service: 'other.test' },
      ['repository:x/library/alpine:pull'],
    ],
    [
      'names of another registry stay as they are',
      ['repository:hub/alpine:pull'],
      { service: 'elsewhere.test' },
      ['repository:hub/alpine:pull'],
    ],
    ['what cannot be understood', ['x', 'repository:A:pull', 'registry:x:*'], {}, []],
  ] as const) {
    test(`scopes: ${what}`, async () => {
      assert.deepEqual(await granted(scopes, changes), expected);
    });
  }

  test("the catalogue is everybody's where there is one, whatever the policy says", async () => {
    const asked = ['registry:catalog:*', 'registry:catalog:pull,*', 'registry:other:*'];
    for (const allow of [() => ['*'] as const, () => []]) {
      policy.allow = allow;
      assert.deepEqual(await granted(asked), []);
      const parts = {
        routes,
        verifier,
        policy,
        tokens,
        log: new FakeLog(),
        otherServices: ['elsewhere.test'],
      };
      const off = service;
      service = new TokenService({ ...parts, catalog: true });
      assert.deepEqual(await granted(asked), ['registry:catalog:*']);
      assert.deepEqual(await granted(asked, { service: 'other.test' }), ['registry:catalog:*']);
      assert.deepEqual(await granted(['registry:catalog:pull']), []);
      // Another registry's may show everything: there the policy decides.
      const elsewhere = await granted(asked, { service: 'elsewhere.test' });
      assert.deepEqual(elsewhere, allow().length > 0 ? ['registry:catalog:*'] : []);
      service = off;
    }
  });

  test('the policy decides for the service that is asked for', async () => {
    for (const [asked, audience] of [
      [undefined, 'docker.test'],
      ['docker.test', 'docker.test'],
      ['other.test', 'other.test'],
      ['elsewhere.test', 'elsewhere.test'],
    ] as const) {
      const { issued } = await service.handle(request(['repository:a:pull'], { service: asked }), {}, o);
      assert.deepEqual(policy.asked.at(-1)?.request, { service: audience, address: '192.0.2.1' });
      await tokens.open(issued.token, { ...o, service: audience });
    }
  });

  test('a service that is none of ours is refused before anybody is verified', async () => {
    for (const asked of ['evil.test', 'docker.test.', 'DOCKER.test', 'sub.docker.test']) {
      await assert.rejects(service.handle(request(['repository:a:pull'], { service: asked }), {}, o), {
        code: 'DENIED',
      });
    }
    assert.deepEqual(verifier.asked, []);
  });

  test('a token carries of its principal what rules speak of', async () => {
    policy.relevant = (who) => ({ ...who, groups: [] });
    const { issued } = await service.handle(request([]), {}, o);
    const { principal } = await tokens.open(issued.token, { ...o, service: 'docker.test' });
    assert.deepEqual(principal.groups, []);
  });

  test('the record has not all groups where they are many', async () => {
    const groups = Array.from({ length: 500 }, (_, i) => `g${i}`);
    verifier.users.set('alice', { password: 'pw', groups });
    const record: TokenRecord = {};
    await service.handle(request(['repository:a:pull']), record, o);
    assert.deepEqual(record.groups, [...groups.slice(0, 30), '…']);
  });

  test('the record has what was asked, by whom, and what was granted, by which rule', async () => {
    const record: TokenRecord = {};
    policy.allow = (_who, scope) => (scope.name === 'a' ? ['pull'] : []);
    await service.handle(request(['repository:a:pull,push', 'repository:b:pull', 'odd\n']), record, o);
    assert.deepEqual(record, {
      user: 'alice',
      service: 'docker.test',
      asked: ['repository:a:pull,push', 'repository:b:pull', 'odd?'],
      principal: 'local:alice',
      verifier: 'local',
      groups: ['g'],
      granted: ['repository:a:pull'],
      rules: ['fake'],
    });
  });

  test('a broken verifier or policy is UNAVAILABLE, never a token', async () => {
    policy.broken = true;
    await assert.rejects(service.handle(request(['repository:a:pull']), {}, o), { code: 'UNAVAILABLE' });
    verifier.broken = true;
    await assert.rejects(service.handle(request(['repository:a:pull']), {}, o), { code: 'UNAVAILABLE' });
  });

  test('too many scopes', async () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `repository:r${i}:pull`);
    assert.equal((await granted(many(100))).length, 100);
    await assert.rejects(service.handle(request(many(101)), {}, o), { code: 'DENIED' });
  });

  test('where the refresh token cannot be stored the access token is issued without it, and the log says so', async () => {
    const log = new FakeLog();
    const state = new MemoryStateStore(clock);
    const refreshTokens = new RefreshTokens(state, verifier, clock, { idle: 60_000, absolute: 60_000 });
    const parts = { routes, verifier, policy, tokens, clock, otherServices: [], refreshTokens, log };
    service = new TokenService(parts);
    const asked = request([], { wantsRefreshToken: true });
    assert.ok(
      (await service.handle(asked, {}, o)).refreshToken !== undefined,
      '(await service.handle(asked, {}, o)).refreshToken !== undefined',
    );
    assert.deepEqual(log.entries, []);
    state.compareAndSet = () =>
      Promise.reject(new RegistryError('UNAVAILABLE', { reason: 'cannot write the state: ENOSPC' }));
    const answer = await service.handle(asked, {}, o);
    assert.equal(answer.refreshToken, undefined);
    await tokens.open(answer.issued.token, { ...o, service: 'docker.test' });
    assert.deepEqual(
      log.entries.map(({ level, fields }) => [level, fields]),
      [['warn', { principal: 'local:alice', reason: 'UNAVAILABLE: cannot write the state: ENOSPC' }]],
    );
    state.compareAndSet = () => Promise.reject(new TypeError('a bug'));
    await assert.rejects(service.handle(asked, {}, o), TypeError);
  });

  test('refresh tokens are refused where they are off', async () => {
    const changes = {
      refreshToken: new Secret('drp_refresh_x'),
      credentials: { shown: { kind: 'none' }, connection },
    } as const;
    await assert.rejects(service.handle(request(['repository:a:pull'], changes), {}, o), {
      code: 'UNAUTHORIZED',
    });
    const answer = await service.handle(request([], { wantsRefreshToken: true }), {}, o);
    assert.equal(answer.refreshToken, undefined);
  });
});
