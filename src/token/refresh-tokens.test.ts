import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal, StateStore, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { RefreshTokens } from './refresh-tokens.js';

const o = { signal: new AbortController().signal };
const service = 'docker.example.com';
const day = 86_400_000;
const limits = { idle: 30 * day, absolute: 90 * day };

function setUp() {
  const clock = new FakeClock();
  const state = new MemoryStateStore(clock);
  const verifier = new FakeVerifier('corp', { alice: { groups: ['dev'] }, robot: { kind: 'machine' } });
  /** Credential versions by name, as a verifier tells them that keeps passwords. */
  const versions = new Map<string, string>();
  const versioned: Verifier = {
    verify: verifier.verify.bind(verifier),
    recheck: async (known, options) => {
      const who = await verifier.recheck(known, options);
      const credentialVersion = versions.get(known.name);
      return who && credentialVersion !== undefined ? { ...who, credentialVersion } : who;
    },
    close: verifier.close.bind(verifier),
  };
  const tokens = new RefreshTokens(state, versioned, clock, limits);
  const alice: Principal = {
    verifier: 'corp',
    name: 'alice',
    kind: 'human',
    groups: ['dev'],
    attributes: {},
  };
  const issue = async () => {
    const token = await tokens.issue(alice, service, o);
    assert.ok(token, 'token');
    return token;
  };
  const refused = async (token: Secret, at = service) => {
    await assert.rejects(tokens.redeem(token, at, o), { code: 'UNAUTHORIZED', status: 401 });
  };
  return { clock, state, verifier, versions, tokens, alice, issue, refused };
}

describe('a refresh token', () => {
  it('is good again and again, for the principal as it is now', async () => {
    const { verifier, tokens, alice, issue } = setUp();
    const token = await issue();
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
    verifier.users.set('alice', { groups: ['ops'], attributes: { a: 1 } });
    const now = await tokens.redeem(token, service, o);
    assert.deepEqual([now.groups, now.attributes], [['ops'], { a: 1 }]);
  });

  it('is opaque, long, each another, and kept only as a hash', async () => {
    const { state, issue } = setUp();
    const [one, two] = [await issue(), await issue()];
    assert.match(one.reveal(), /^drp_refresh_[A-Za-z0-9_-]{43}$/);
    assert.notEqual(one.reveal(), two.reveal());
    const kept = JSON.stringify(await state.list('', o));
    for (const token of [one, two])
      assert.ok(!kept.includes(token.reveal().slice('drp_refresh_'.length)), 'a token is kept');
    assert.equal((await state.list('refresh-token/', o)).length, 2);
  });

  it('is for its service only', async () => {
    const { tokens, alice, issue, refused } = setUp();
    const token = await issue();
    await refused(token, 'other.example.com');
    await refused(token, '');
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
  });

  for (const [name, make] of [
    ['empty', () => ''],
    ['made up', () => `drp_refresh_${'A'.repeat(43)}`],
    ['with something after it', (token: string) => `${token}x`],
    ['with a line end', (token: string) => `${token}\n`],
    ['without its beginning', (token: string) => token.slice('drp_refresh_'.length)],
    ['in lower case', (token: string) => token.toLowerCase()],
    ['very long', () => 'x'.repeat(100_000)],
    ['of other characters', () => 'drp_refresh_\u0000é'],
  ] as const) {
    it(`that is ${name} is refused`, async () => {
      const { issue, refused } = setUp();
      await refused(new Secret(make((await issue()).reveal())));
    });
  }

  for (const [name, who] of [
    ['a machine', { kind: 'machine', name: 'robot' }],
    ['anonymous', { kind: 'anonymous' }],
    ['somebody whom the verifier does not know', { name: 'mallory' }],
  ] as const) {
    it(`is not issued to ${name}`, async () => {
      const { state, tokens, alice } = setUp();
      assert.equal(await tokens.issue({ ...alice, ...who }, service, o), undefined);
      assert.deepEqual(await state.list('', o), []);
    });
  }

  it('is not issued where the verifier cannot look people up', async () => {
    const { clock, state, alice } = setUp();
    const inner = new FakeVerifier('corp', { alice: {} });
    const blind: Verifier = { verify: inner.verify.bind(inner), close: inner.close.bind(inner) };
    const tokens = new RefreshTokens(state, blind, clock, limits);
    assert.equal(await tokens.issue(alice, service, o), undefined);
  });

  it('ends when it is not used for long', async () => {
    const { clock, alice, tokens, issue, refused } = setUp();
    const token = await issue();
    clock.advance(limits.idle - 1);
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
    clock.advance(limits.idle - 1);
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
    clock.advance(limits.idle);
    await refused(token);
  });

  it('ends some time after the login, however often it is used', async () => {
    const { clock, tokens, issue, refused } = setUp();
    const token = await issue();
    for (let days = 1; days < 90; days++) {
      clock.advance(day);
      await tokens.redeem(token, service, o);
    }
    clock.advance(day);
    await refused(token);
  });

  it('is not written with every use', async () => {
    const { clock, state, tokens, issue } = setUp();
    const token = await issue();
    const version = async () => (await state.list('refresh-token/', o))[0]?.version;
    const first = await version();
    clock.advance(limits.idle / 20);
    await tokens.redeem(token, service, o);
    assert.equal(await version(), first);
    clock.advance(1);
    await tokens.redeem(token, service, o);
    assert.notEqual(await version(), first);
  });

  it('is refused while its principal is gone, and not deleted: a users file may be empty for a moment', async () => {
    const { tokens, verifier, issue, refused } = setUp();
    const token = await issue();
    const alice = verifier.users.get('alice');
    assert.ok(alice, 'alice');
    verifier.users.delete('alice');
    await refused(token);
    verifier.users.set('alice', alice);
    assert.equal((await tokens.redeem(token, service, o)).name, 'alice');
  });

  it('ends when the password was changed, and does not come back with the old one', async () => {
    const { state, tokens, versions, alice, issue, refused } = setUp();
    versions.set('alice', 'first');
    const token = await tokens.issue({ ...alice, credentialVersion: 'first' }, service, o);
    assert.ok(token, 'token');
    assert.equal((await tokens.redeem(token, service, o)).name, 'alice');
    versions.set('alice', 'second');
    await refused(token);
    assert.deepEqual(await state.list('refresh-token/', o), []);
    versions.set('alice', 'first');
    await refused(token);
    // One from before the verifier told of versions.
    versions.delete('alice');
    const old = await issue();
    versions.set('alice', 'first');
    await refused(old);
  });

  it('is not issued for a password that was changed since it was verified', async () => {
    const { state, tokens, versions, alice } = setUp();
    versions.set('alice', 'second');
    assert.equal(await tokens.issue({ ...alice, credentialVersion: 'first' }, service, o), undefined);
    assert.equal(await tokens.issue(alice, service, o), undefined);
    assert.deepEqual(await state.list('', o), []);
  });

  it('is the oldest of 21 of one principal for one service: it ends', async () => {
    const { state, tokens, verifier, alice, issue, refused } = setUp();
    verifier.users.set('bob', {});
    const elsewhere = await tokens.issue(alice, 'other.example.com', o);
    const bobs = await tokens.issue({ ...alice, name: 'bob' }, service, o);
    assert.ok(elsewhere && bobs, 'elsewhere && bobs');
    const all: Secret[] = [];
    for (let i = 0; i < 22; i++) all.push(await issue());
    for (const [i, token] of all.entries()) {
      if (i < 2) await refused(token);
      else await tokens.redeem(token, service, o);
    }
    await tokens.redeem(elsewhere, 'other.example.com', o);
    await tokens.redeem(bobs, service, o);
    assert.equal((await state.list('refresh-token/', o)).length, 22);
  });

  it('is counted also where many are issued at the same moment', async () => {
    const { state, issue } = setUp();
    await Promise.all(Array.from({ length: 40 }, issue));
    assert.equal((await state.list('refresh-token/', o)).length, 20);
  });

  it('stays where the verifier is broken', async () => {
    const { verifier, tokens, alice, issue } = setUp();
    const token = await issue();
    verifier.broken = true;
    await assert.rejects(tokens.redeem(token, service, o), { code: 'UNAVAILABLE' });
    verifier.broken = false;
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
  });

  it('that is revoked while it is used stays revoked', async () => {
    const { clock, state, verifier, alice } = setUp();
    const revoking: Verifier = {
      verify: verifier.verify.bind(verifier),
      close: verifier.close.bind(verifier),
      recheck: async (known, options) => {
        for (const { key } of await state.list('refresh-token/', o)) await state.delete(key, o);
        return verifier.recheck(known, options);
      },
    };
    const tokens = new RefreshTokens(state, revoking, clock, limits);
    const token = await tokens.issue(alice, service, o);
    assert.ok(token, 'token');
    clock.advance(10 * day);
    await tokens.redeem(token, service, o);
    assert.deepEqual(await state.list('refresh-token/', o), []);
    await assert.rejects(tokens.redeem(token, service, o), { code: 'UNAUTHORIZED' });
  });

  it('is good where its use cannot be noted', async () => {
    const { clock, state, verifier, alice, issue } = setUp();
    const token = await issue();
    clock.advance(limits.idle - 1);
    const full: StateStore = {
      get: state.get.bind(state),
      put: state.put.bind(state),
      compareAndSet: () => Promise.reject(new RegistryError('UNAVAILABLE')),
      delete: state.delete.bind(state),
      list: state.list.bind(state),
      close: async () => undefined,
    };
    const tokens = new RefreshTokens(full, verifier, clock, limits);
    assert.deepEqual(await tokens.redeem(token, service, o), alice);
    const broken: StateStore = { ...full, compareAndSet: () => Promise.reject(new Error('a bug')) };
    await assert.rejects(
      new RefreshTokens(broken, verifier, clock, limits).redeem(token, service, o),
      /a bug/,
    );
  });

  it('is UNAVAILABLE, not refused, where the state cannot be read', async () => {
    const { clock, verifier, alice } = setUp();
    const fail = () => Promise.reject(new RegistryError('UNAVAILABLE'));
    const state: StateStore = {
      get: fail,
      put: fail,
      compareAndSet: fail,
      delete: fail,
      list: fail,
      close: async () => undefined,
    };
    const tokens = new RefreshTokens(state, verifier, clock, limits);
    await assert.rejects(tokens.issue(alice, service, o), { code: 'UNAVAILABLE' });
    const wellFormed = new Secret(`drp_refresh_${'A'.repeat(43)}`);
    await assert.rejects(tokens.redeem(wellFormed, service, o), { code: 'UNAVAILABLE' });
  });
});
