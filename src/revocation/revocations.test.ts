import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StateStore } from '../contracts/index.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { Revocations } from './revocations.js';

const o = { signal: new AbortController().signal };
const alice = { verifier: 'corp', name: 'alice' };
const ttl = 1_000;

function setUp() {
  const clock = new FakeClock(0);
  const state = new MemoryStateStore(clock);
  const revocations = new Revocations(state);
  const isRevoked = (createdAt: number, key = 'refresh-token/1', who = alice) =>
    revocations.isRevoked({ ...who, key, createdAt }, o);
  return { clock, state, revocations, isRevoked };
}

describe('a revocation', () => {
  it('of a principal ends what was issued until then, the same millisecond too, and nothing later', async () => {
    const { revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    assert.deepEqual(await Promise.all([0, 499, 500, 501].map((createdAt) => isRevoked(createdAt))), [
      true,
      true,
      true,
      false,
    ]);
  });

  it('of a principal is nobody else’s', async () => {
    const { revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    for (const who of [
      { verifier: 'corp', name: 'bob' },
      { verifier: 'other', name: 'alice' },
      { verifier: 'corp', name: 'Alice' },
      { verifier: 'cor', name: 'palice' },
    ]) {
      assert.equal(await isRevoked(0, 'key', who), false, JSON.stringify(who));
    }
  });

  it('of one token ends that one', async () => {
    const { revocations, isRevoked } = setUp();
    await revocations.revokeToken('refresh-token/1', 500, ttl, o);
    assert.equal(await isRevoked(0), true);
    assert.equal(await isRevoked(501), true, 'whatever the clocks say');
    assert.equal(await isRevoked(0, 'refresh-token/2'), false);
  });

  it('is never taken back by an earlier one', async () => {
    const { revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    await revocations.revokePrincipal(alice, 300, ttl, o);
    assert.equal(await isRevoked(400), true);
  });

  it('stays for its ttl', async () => {
    const { clock, state, revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    clock.advance(ttl - 1);
    assert.equal(await isRevoked(0), true);
    clock.advance(1);
    assert.deepEqual(await state.list('', o), []);
  });

  it('stays for as long as an earlier one would have', async () => {
    const { clock, revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 0, 10 * ttl, o);
    clock.advance(ttl);
    await revocations.revokePrincipal(alice, ttl, ttl, o);
    clock.advance(9 * ttl - 1);
    assert.equal(await isRevoked(0), true);
    clock.advance(1);
    assert.equal(await isRevoked(0), false);
  });

  it('is written again where somebody swept it away', async () => {
    const { state, isRevoked } = setUp();
    let swept = 0;
    const sweeping: StateStore = {
      get: (key, options) => state.get(key, options),
      put: async (key, value, options) => {
        await state.put(key, value, options);
        if (swept++ < 2) await state.delete(key, options);
      },
      compareAndSet: () => assert.fail('compareAndSet'),
      delete: (key, options) => state.delete(key, options),
      list: (prefix, options) => state.list(prefix, options),
      close: () => state.close(),
    };
    await new Revocations(sweeping).revokePrincipal(alice, 500, ttl, o);
    assert.equal(await isRevoked(500), true);
    swept = Number.NEGATIVE_INFINITY;
    await assert.rejects(new Revocations(sweeping).revokeToken('k', 500, ttl, o), { code: 'UNAVAILABLE' });
  });

  it('that cannot be read is UNAVAILABLE, neither yes nor no', async () => {
    const { state, revocations, isRevoked } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    for (const { key } of await state.list('', o)) await state.put(key, '{"at":"x"}', o);
    await assert.rejects(isRevoked(0), { code: 'UNAVAILABLE' });
  });

  it('shows no name in its key', async () => {
    const { state, revocations } = setUp();
    await revocations.revokePrincipal(alice, 500, ttl, o);
    await revocations.revokeToken('refresh-token/1', 500, ttl, o);
    const keys = (await state.list('', o)).map(({ key }) => key);
    for (const key of keys) assert.match(key, /^revoked-(principal|token)\/[0-9a-f]{64}$/);
    assert.equal(keys.length, 2);
  });
});
