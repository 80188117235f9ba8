import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StateStore } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Revocations } from '../revocation/revocations.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { PersonalAccessTokens } from './personal-access-tokens.js';

const o = { signal: new AbortController().signal };
const day = 86_400_000;
const hour = 3_600_000;
const alice = { verifier: 'corp', name: 'alice' };
const bob = { verifier: 'corp', name: 'bob' };
const limits = { maxLife: 90 * day, perPrincipal: 3 };

function setUp(perPrincipal = limits.perPrincipal) {
  const clock = new FakeClock();
  const state = new MemoryStateStore(clock);
  /** What is in the way of each call of the store: a full disk, somebody else. */
  const faults: { before?: (call: keyof StateStore, key: string) => Promise<void> | void } = {};
  const faulty = new Proxy(state, {
    get(target, name: keyof StateStore) {
      const method = target[name] as (key: string, ...rest: unknown[]) => Promise<unknown>;
      return async (key: string, ...rest: unknown[]) => {
        await faults.before?.(name, key);
        return method.call(target, key, ...rest);
      };
    },
  }) as StateStore;
  /** As a proxy is that was told another longest life. */
  const withMaxLife = (maxLife: number) => new PersonalAccessTokens(faulty, clock, { maxLife, perPrincipal });
  const tokens = withMaxLife(limits.maxLife);
  const create = (label = 'laptop', life = 30 * day, who = alice) => tokens.create(who, { label, life }, o);
  const refused = (token: Secret) => assert.rejects(tokens.find(token, o), { code: 'UNAUTHORIZED' });
  return { clock, state, faults, tokens, withMaxLife, create, refused };
}

function full(): never {
  throw new RegistryError('UNAVAILABLE', { reason: 'the disk is full' });
}

describe('a personal access token', () => {
  it('is opaque, each another, with a prefix one can look for, and kept only as a hash', async () => {
    const { state, create } = setUp();
    const [one, two] = [await create(), await create()];
    assert.match(one.token.reveal(), /^drp_pat_[A-Za-z0-9_-]{43}$/);
    assert.notEqual(one.token.reveal(), two.token.reveal());
    assert.match(one.details.id, /^[0-9a-f]{12}$/);
    const kept = JSON.stringify(await state.list('', o));
    for (const { token } of [one, two]) {
      assert.ok(!kept.includes(token.reveal().slice('drp_pat_'.length)), 'a token is kept');
    }
  });

  it('is found until its life is over', async () => {
    const { clock, tokens, create, refused } = setUp();
    const { token, details } = await create('laptop', day);
    assert.deepEqual(details, {
      ...{ id: details.id, label: 'laptop', createdAt: clock.now(), expiresAt: clock.now() + day },
    });
    clock.advance(day - 1);
    assert.deepEqual((await tokens.find(token, o)).record, {
      ...{ ...alice, label: 'laptop', createdAt: details.createdAt, expiresAt: details.expiresAt },
    });
    clock.advance(1);
    await refused(token);
  });

  for (const [what, text] of [
    ['an unknown one', `drp_pat_${'a'.repeat(43)}`],
    ['a short one', 'drp_pat_a'],
    ['an empty one', ''],
    ['the key of a record', 'personal-token/'],
  ] as const) {
    it(`${what} is refused`, async () => {
      const { create, refused } = setUp();
      await create();
      await refused(new Secret(text));
    });
  }

  it('whose record is damaged is refused, and listed no more', async () => {
    const { state, tokens, create, refused } = setUp();
    const { token } = await create();
    const [entry] = await state.list('personal-token/', o);
    await state.put(entry?.key ?? '', '{"verifier":"corp"}', o);
    await refused(token);
    assert.deepEqual(await tokens.list(alice, o), []);
  });

  for (const [what, label, life] of [
    ['an empty label', '', day],
    ['a blank label', '   ', day],
    ['a label with a line break', 'a\nb', day],
    ['a label that turns the writing around', 'a\u202eb', day],
    ['a label with an escape sequence', '\u001b[31m', day],
    ['a long label', 'é'.repeat(65), day],
    ['a life of nothing', 'a', 0],
    ['a negative life', 'a', -day],
    ['a life that is no number', 'a', Number.NaN],
    ['a life without end', 'a', Number.POSITIVE_INFINITY],
    ['a life over the longest', 'a', limits.maxLife + 1],
  ] as const) {
    it(`with ${what} is not made`, async () => {
      const { state, create } = setUp();
      await assert.rejects(create(label, life), { name: 'SignInError', kind: 'invalid' });
      assert.deepEqual(await state.list('', o), []);
    });
  }

  it('may have a label of 64 characters, in any script, and the longest life', async () => {
    const { create } = setUp();
    for (const label of ['é'.repeat(64), '工作电脑', 'CI <prod> & "more"']) {
      const { details } = await create(label, limits.maxLife);
      assert.equal(details.label, label);
    }
  });

  it('notes its use once an hour, and keeps its end', async () => {
    const { clock, state, tokens, create } = setUp();
    const { token, details } = await create('laptop', day);
    const use = async () => tokens.noteUse(await tokens.find(token, o), o);
    const versions = async () => (await state.list('personal-token/', o)).map(({ version }) => version);
    await use();
    const first = clock.now();
    const before = await versions();
    clock.advance(hour - 1);
    await use();
    assert.deepEqual(await versions(), before, 'it was written again');
    assert.equal((await tokens.list(alice, o))[0]?.usedAt, first);
    clock.advance(1);
    await use();
    assert.equal((await tokens.list(alice, o))[0]?.usedAt, clock.now());
    assert.equal((await state.list('personal-token/', o))[0]?.expiresAt, details.expiresAt);
  });

  it('is good where its use cannot be noted, and is not brought back by noting it', async () => {
    const { state, faults, tokens, create, refused } = setUp();
    const { token, details } = await create();
    const found = await tokens.find(token, o);
    faults.before = (call) => (call === 'compareAndSet' ? full() : undefined);
    await tokens.noteUse(found, o);
    delete faults.before;
    await tokens.revoke(alice, details.id, o);
    await tokens.noteUse(found, o);
    assert.deepEqual(await state.list('personal-token/', o), []);
    await refused(token);
  });
});

describe('the tokens of a person', () => {
  it('are listed newest first, without anybody else’s and those that ended', async () => {
    const { clock, tokens, create } = setUp();
    await create('first', day);
    clock.advance(1);
    await create('second', 2 * day);
    await create('theirs', day, bob);
    await create('another', day, { verifier: 'other', name: 'alice' });
    const labels = async () => (await tokens.list(alice, o)).map(({ label }) => label);
    assert.deepEqual(await labels(), ['second', 'first']);
    clock.advance(day);
    assert.deepEqual(await labels(), ['second']);
  });

  it('end one by one, by their owner’s hand alone', async () => {
    const { tokens, create, refused } = setUp();
    const [one, two] = [await create(), await create()];
    assert.equal(await tokens.revoke(bob, one.details.id, o), false);
    assert.equal(await tokens.revoke(alice, '', o), false);
    assert.equal(await tokens.revoke(alice, '000000000000', o), false);
    await tokens.find(one.token, o);
    assert.equal(await tokens.revoke(alice, one.details.id, o), true);
    await refused(one.token);
    await tokens.find(two.token, o);
    assert.equal(await tokens.revoke(alice, one.details.id, o), false);
  });

  it('leave nothing behind where they are made and revoked again and again', async () => {
    const { state, tokens, create } = setUp();
    for (let i = 0; i < 50; i++) await tokens.revoke(alice, (await create()).details.id, o);
    const keys = (await state.list('', o)).map(({ key }) => key.replace(/[^/]+$/, ''));
    assert.deepEqual(keys, ['personal-tokens-of/']);
  });

  it('are not brought back by a use that is noted while they are revoked', async () => {
    const { state, faults, tokens, create, refused } = setUp();
    const { token, details } = await create();
    const found = await tokens.find(token, o);
    faults.before = async (call) => {
      if (call !== 'compareAndSet') return;
      delete faults.before;
      await tokens.revoke(alice, details.id, o);
    };
    await tokens.noteUse(found, o);
    assert.equal(faults.before, undefined, 'its use was not noted meanwhile');
    assert.deepEqual(await state.list('personal-token/', o), []);
    await refused(token);
  });

  it('stay revoked where a proxy writes a record back that moment', async () => {
    const { clock, state, tokens, create, refused } = setUp();
    const { token } = await create();
    const [entry] = await state.list('personal-token/', o);
    // As the command does it, whose deletion a proxy may not see in time.
    await new Revocations(state).revokeToken(entry?.key ?? '', clock.now(), day, o);
    await state.put(entry?.key ?? '', entry?.value ?? '', o);
    assert.deepEqual(await tokens.list(alice, o), []);
    await refused(token);
    assert.deepEqual(await state.list('personal-token/', o), [], 'it is not tidied up');
  });

  it('live no longer than the longest life that there is now, and are shown so', async () => {
    const { clock, state, tokens, withMaxLife, create } = setUp();
    const { token, details } = await create('laptop', 90 * day);
    const lowered = withMaxLife(7 * day);
    const end = details.createdAt + 7 * day;
    assert.equal((await lowered.list(alice, o))[0]?.expiresAt, end);
    assert.equal((await lowered.find(token, o)).expiresAt, end);
    await lowered.noteUse(await lowered.find(token, o), o);
    assert.equal((await state.list('personal-token/', o))[0]?.expiresAt, details.expiresAt, 'cut for good');
    clock.advance(7 * day - 1);
    await lowered.find(token, o);
    clock.advance(1);
    await assert.rejects(lowered.find(token, o), { code: 'UNAUTHORIZED' });
    assert.deepEqual(await lowered.list(alice, o), []);
    await tokens.find(token, o);
    assert.equal((await tokens.list(alice, o)).length, 1, 'it lives again, and its owner does not see it');
  });

  for (const [what, madeAfter] of [
    ['while earlier ones live', day],
    ['after earlier ones have ended by it', 8 * day],
  ] as const) {
    it(`are all seen by their owner where the longest life is lowered and raised again: ${what}`, async () => {
      const { clock, tokens, withMaxLife, create } = setUp();
      const { token } = await create('long', 90 * day);
      clock.advance(madeAfter);
      await withMaxLife(7 * day).create(alice, { label: 'short', life: day }, o);
      clock.advance(10 * day);
      const found = await tokens.find(token, o).then(
        () => ['long'],
        () => [],
      );
      const listed = (await tokens.list(alice, o)).map(({ label }) => label);
      assert.deepEqual(listed, found, 'one lives that its owner does not see');
      assert.equal(found.length, madeAfter === day ? 1 : 0);
    });
  }

  it('are forgotten with the last of them', async () => {
    const { clock, state, create } = setUp();
    await create('1', 2 * day);
    await create('2', day);
    clock.advance(2 * day);
    assert.deepEqual(await state.list('', o), []);
  });

  it('end together where an administrator says so', async () => {
    const { clock, state, tokens, create, refused } = setUp();
    const [one, bobs] = [await create(), await create('b', day, bob)];
    await new Revocations(state).revokePrincipal(alice, clock.now(), limits.maxLife, o);
    await refused(one.token);
    await tokens.find(bobs.token, o);
    clock.advance(1);
    await tokens.find((await create()).token, o);
  });

  it('are no more than are allowed; none ends silently, and one that ended makes room', async () => {
    const { clock, state, tokens, create } = setUp();
    const first = await create('1', day);
    await create('2');
    const third = await create('3');
    await assert.rejects(create('4'), { kind: 'invalid', message: /You have 3 tokens.*Revoke one first/ });
    assert.equal((await state.list('personal-token/', o)).length, 3, 'a record was left');
    await create('bob’s', day, bob);
    await tokens.find(first.token, o);
    clock.advance(day);
    await create('4');
    await assert.rejects(create('5'), { kind: 'invalid' });
    await tokens.revoke(alice, third.details.id, o);
    await create('5');
    // As the command does it, which cannot write the index.
    for (const { key, value } of await state.list('personal-token/', o)) {
      if (value.includes('"5"')) await state.delete(key, o);
    }
    await create('6');
  });

  it('are no more than are allowed where all are made at the same moment', async () => {
    const { state, tokens, create } = setUp();
    const made = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => create(`token ${i}`)));
    assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 3);
    assert.equal((await tokens.list(alice, o)).length, 3);
    assert.equal((await state.list('personal-token/', o)).length, 3);
  });

  it('may be a thousand', async () => {
    const { tokens, create } = setUp(1000);
    for (let i = 0; i < 20; i++) await create();
    // The index of a thousand fits into one value; filling it up by creating takes too long here.
    const { printIndex, recordKey } = await import('./personal-token-records.js');
    const keys = Array.from({ length: 1000 }, (_, i) => recordKey(String(i)));
    assert.ok(printIndex(keys).length <= 65_536, 'the index is too long');
    assert.equal((await tokens.list(alice, o)).length, 20);
  });

  for (const call of ['get', 'put', 'compareAndSet'] as const) {
    it(`are not made where the state fails to ${call}: UNAVAILABLE, and nothing is left`, async () => {
      const { state, faults, create } = setUp();
      faults.before = (called) => (called === call ? full() : undefined);
      await assert.rejects(create(), { code: 'UNAVAILABLE' });
      assert.deepEqual(await state.list('personal-token/', o), []);
    });
  }
});
