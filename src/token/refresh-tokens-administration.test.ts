import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal, StateStore, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { RefreshTokens } from './refresh-tokens.js';
import { RefreshTokensAdministration } from './refresh-tokens-administration.js';

const o = { signal: new AbortController().signal };
const service = 'docker.example.com';
const day = 86_400_000;
const limits = { idle: 30 * day, absolute: 90 * day };

function setUp() {
  const clock = new FakeClock();
  const state = new MemoryStateStore(clock);
  const verifier = new FakeVerifier('corp', { alice: {}, bob: {} });
  /** What is in the way of a redeem: a revocation at the worst moment. */
  let meanwhile: () => Promise<unknown> = async () => undefined;
  const interrupted: Verifier = {
    verify: verifier.verify.bind(verifier),
    close: verifier.close.bind(verifier),
    recheck: async (known, options) => {
      await meanwhile();
      return verifier.recheck(known, options);
    },
  };
  const tokens = new RefreshTokens(state, interrupted, clock, limits);
  const administration = new RefreshTokensAdministration(state, clock, limits);
  const issue = async (name: string, at = service): Promise<Secret> => {
    const who: Principal = { verifier: 'corp', name, kind: 'human', groups: [], attributes: {} };
    return (await tokens.issue(who, at, o)) ?? assert.fail('no token');
  };
  const redeem = (token: Secret, at = service) => tokens.redeem(token, at, o);
  const refused = (token: Secret, at = service) =>
    assert.rejects(redeem(token, at), { code: 'UNAUTHORIZED', status: 401 });
  const during = (step: () => Promise<unknown>) => {
    meanwhile = async () => {
      meanwhile = async () => undefined;
      await step();
    };
  };
  return { clock, state, verifier, tokens, administration, issue, redeem, refused, during };
}

describe('the list of refresh tokens', () => {
  it('has those that are good, by principal, with their times', async () => {
    const { clock, administration, issue, redeem } = setUp();
    assert.deepEqual(await administration.list(o), { tokens: [], unreadable: [] });
    const start = clock.now();
    await issue('bob');
    const [token] = [await issue('alice'), clock.advance(day)];
    await issue('alice', 'other.example.com');
    clock.advance(2 * day);
    await redeem(token);
    const { tokens } = await administration.list(o);
    assert.deepEqual(
      tokens.map(({ id: _, ...rest }) => rest),
      [
        {
          ...of('alice', service),
          createdAt: start,
          usedAt: clock.now(),
          expiresAt: clock.now() + limits.idle,
        },
        {
          ...of('alice', 'other.example.com'),
          ...{ createdAt: start + day, usedAt: start + day, expiresAt: start + day + limits.idle },
        },
        { ...of('bob', service), createdAt: start, usedAt: start, expiresAt: start + limits.idle },
      ],
    );
    const ids = tokens.map(({ id }) => id);
    for (const id of ids) assert.match(id, /^[0-9a-f]{12}$/);
    assert.equal(new Set(ids).size, 3);
    assert.ok(!JSON.stringify(tokens).includes(token.reveal().slice(12)), 'a token is listed');
    clock.advance(limits.idle - day);
    assert.equal((await administration.list(o)).tokens.length, 1);
  });

  it('tells of records that cannot be read, and goes on', async () => {
    const { state, administration, issue, refused } = setUp();
    const damaged = await issue('bob');
    const [entry] = await state.list('refresh-token/', o);
    for (const text of ['', '{', '{"verifier":"corp"}', 'null']) {
      await state.put(entry?.key ?? '', text, o);
      await refused(damaged);
      const { tokens, unreadable } = await administration.list(o);
      assert.deepEqual([tokens, unreadable], [[], [entry?.key.slice(14, 26)]]);
    }
    await issue('alice');
    assert.deepEqual(
      (await administration.list(o)).tokens.map(({ name }) => name),
      ['alice'],
    );
  });
});

describe('revoking refresh tokens', () => {
  it('of a principal ends all of them and nobody else’s; a later one is good', async () => {
    const { clock, state, administration, issue, redeem, refused } = setUp();
    const ended = [await issue('alice'), await issue('alice')];
    const elsewhere = await issue('alice', 'other.example.com');
    const bobs = await issue('bob');
    assert.equal(await administration.revokePrincipal({ verifier: 'corp', name: 'alice' }, o), 3);
    for (const token of ended) await refused(token);
    await refused(elsewhere, 'other.example.com');
    assert.equal((await redeem(bobs)).name, 'bob');
    assert.deepEqual(
      (await administration.list(o)).tokens.map(({ name }) => name),
      ['bob'],
    );
    assert.equal((await state.list('refresh-token/', o)).length, 1);
    await refused(await issue('alice'));
    clock.advance(1);
    assert.equal((await redeem(await issue('alice'))).name, 'alice');
    assert.equal(await administration.revokePrincipal({ verifier: 'corp', name: 'nobody' }, o), 0);
  });

  it('by its id ends one', async () => {
    const { administration, issue, redeem, refused } = setUp();
    const token = await issue('alice');
    const [listed] = (await administration.list(o)).tokens;
    const other = await issue('alice');
    assert.deepEqual(await administration.revokeById(listed?.id ?? '', o), [listed]);
    await refused(token);
    assert.equal((await redeem(other)).name, 'alice');
    assert.deepEqual(await administration.revokeById(listed?.id ?? '', o), []);
    assert.deepEqual(await administration.revokeById('', o), []);
  });

  for (const [what, revoke] of [
    [
      'of a principal',
      (administration: RefreshTokensAdministration) =>
        administration.revokePrincipal({ verifier: 'corp', name: 'alice' }, o),
    ],
    [
      'by its id',
      async (administration: RefreshTokensAdministration) => {
        const [listed] = (await administration.list(o)).tokens;
        return administration.revokeById(listed?.id ?? '', o);
      },
    ],
  ] as const) {
    it(`${what} holds where the proxy writes the record back that moment`, async () => {
      const { clock, state, administration, issue, redeem, refused, during } = setUp();
      const token = await issue('alice');
      const [record] = await state.list('refresh-token/', o);
      clock.advance(10 * day);
      during(async () => {
        await revoke(administration);
        // As in the one moment between the proxy's comparison and its write.
        await state.put(record?.key ?? '', record?.value ?? '', o);
      });
      await redeem(token);
      assert.equal((await state.list('refresh-token/', o)).length, 1, 'nothing was written back');
      assert.deepEqual((await administration.list(o)).tokens, []);
      await refused(token);
      assert.deepEqual(await state.list('refresh-token/', o), []);
      clock.advance(limits.absolute - 1);
      await refused(token);
    });
  }

  it('holds where this clock is behind the proxy’s', async () => {
    const { clock, state, issue, refused } = setUp();
    const behind = new FakeClock(clock.now() - day);
    const token = await issue('alice');
    const [record] = await state.list('refresh-token/', o);
    const administration = new RefreshTokensAdministration(state, behind, limits);
    await administration.revokePrincipal({ verifier: 'corp', name: 'alice' }, o);
    await state.put(record?.key ?? '', record?.value ?? '', o);
    await refused(token);
  });

  it('is a refusal also where the state cannot be written; UNAVAILABLE where it cannot be read', async () => {
    const { clock, state, verifier, administration, issue } = setUp();
    const token = await issue('alice');
    const [record] = await state.list('refresh-token/', o);
    await administration.revokePrincipal({ verifier: 'corp', name: 'alice' }, o);
    await state.put(record?.key ?? '', record?.value ?? '', o);
    const fail = () => Promise.reject(new RegistryError('UNAVAILABLE'));
    let isReadable = true;
    const readOnly: StateStore = {
      get: (key, options) =>
        isReadable || key.startsWith('refresh-token/') ? state.get(key, options) : fail(),
      put: fail,
      compareAndSet: fail,
      delete: fail,
      list: fail,
      close: async () => undefined,
    };
    const tokens = new RefreshTokens(readOnly, verifier, clock, limits);
    await assert.rejects(tokens.redeem(token, service, o), { code: 'UNAUTHORIZED' });
    isReadable = false;
    await assert.rejects(tokens.redeem(token, service, o), { code: 'UNAVAILABLE' });
  });
});

function of(name: string, at: string) {
  return { verifier: 'corp', name, service: at };
}
