import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Principal, StateStore } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import type { Recheck, Rechecked } from './recheck.js';
import { SignedInPeople } from './signed-in-people.js';
import { parseSignedIn, type SignedInRecord, signedInKey } from './signed-in-records.js';

const o = { signal: new AbortController().signal };
const hour = 3_600_000;
const day = 24 * hour;
const limits = { life: 90 * day, recheck: hour };
const person = { verifier: 'corp', name: 'alice' };

function alice(...groups: readonly string[]): Principal {
  return { ...person, kind: 'human', groups, attributes: { team: 'red', roles: ['a', 'b'] } };
}

/** A look-up that waits until it is told what it found. */
class HeldRecheck implements Recheck {
  isRepeatable = false;
  readonly asked: SignedInRecord[] = [];
  readonly #waiting: ((found: Rechecked) => void)[] = [];
  /** What is found at once. */
  next: Rechecked | undefined;

  canBeUsed({ refreshToken }: SignedInRecord): boolean {
    return this.isRepeatable || refreshToken !== undefined;
  }

  run(record: SignedInRecord): Promise<Rechecked> {
    this.asked.push(record);
    if (this.next !== undefined) return Promise.resolve(this.next);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async answer(found: Rechecked): Promise<void> {
    while (this.#waiting.length === 0) await turn();
    this.#waiting.shift()?.(found);
  }
}

function setUp() {
  const clock = new FakeClock();
  const state = new MemoryStateStore(clock);
  const log = new FakeLog();
  const recheck = new HeldRecheck();
  let isFull = false;
  const faulty: StateStore = {
    get: (key, options) => state.get(key, options),
    put: (key, value, options) => state.put(key, value, options),
    compareAndSet: (key, version, value, options) =>
      isFull
        ? Promise.reject(new RegistryError('UNAVAILABLE', { reason: 'the disk is full' }))
        : state.compareAndSet(key, version, value, options),
    delete: (key, options) => state.delete(key, options),
    list: (prefix, options) => state.list(prefix, options),
    close: () => state.close(),
  };
  const another = (life = limits.life) =>
    new SignedInPeople({ state: faulty, clock, log, recheck, limits: { ...limits, life } });
  const people = another();
  return {
    ...{ clock, state, log, recheck, people, another },
    fill: (full: boolean) => {
      isFull = full;
    },
    record: async () => parseSignedIn((await state.get(signedInKey(person), o))?.value, person),
    groups: async () => (await people.present(person, o)).groups,
  };
}

const refused = { code: 'UNAUTHORIZED' };
const found = (who: Principal, refreshToken = 'second'): Rechecked => ({
  outcome: { kind: 'present', who },
  refreshToken,
});

describe('a person who signed in', () => {
  it('is who they were, for as long as groups hold', async () => {
    const { clock, recheck, people } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour - 1);
    assert.deepEqual(await people.present(person, o), alice('dev'));
    assert.deepEqual(recheck.asked, []);
  });

  it('is nobody before, and nobody else', async () => {
    const { people } = setUp();
    await assert.rejects(people.present(person, o), refused);
    await people.remember(alice('dev'), 'first', o);
    await assert.rejects(people.present({ ...person, name: 'bob' }, o), refused);
    await assert.rejects(people.present({ ...person, verifier: 'other' }, o), refused);
  });

  it('stays who they were where nothing can look them up', async () => {
    const { clock, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), undefined, o);
    clock.advance(80 * day);
    assert.deepEqual(await groups(), ['dev']);
    assert.deepEqual(recheck.asked, []);
  });

  it('is forgotten with the last token that may come of the sign-in', async () => {
    const { clock, state, people } = setUp();
    await people.remember(alice('dev'), undefined, o);
    clock.advance(limits.life);
    await assert.rejects(people.present(person, o), refused);
    assert.deepEqual(await state.list('', o), []);
  });

  it('is remembered for tokens of before the longest life was lowered', async () => {
    const { clock, recheck, people, another } = setUp();
    await people.remember(alice('dev'), 'first', o);
    const lowered = another(day);
    clock.advance(2 * hour);
    recheck.next = found(alice('dev'));
    await lowered.present(person, o);
    await lowered.remember(alice('dev'), undefined, o);
    clock.advance(limits.life - 3 * hour);
    assert.deepEqual((await lowered.present(person, o)).groups, ['dev']);
  });

  it('is not remembered with more groups than can be kept', async () => {
    const { state, people } = setUp();
    const groups = Array.from({ length: 1000 }, (_, i) => `${i}-${'x'.repeat(60)}`);
    assert.equal(await people.remember(alice(...groups), undefined, o), false);
    assert.deepEqual(await state.list('', o), []);
  });

  it('keeps an earlier refresh token where a sign-in gives none, but no ended one', async () => {
    const { clock, recheck, people, record } = setUp();
    await people.remember(alice('dev'), 'first', o);
    await people.remember(alice('dev'), undefined, o);
    assert.equal((await record())?.refreshToken, 'first');
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'ended', reason: 'gone' } };
    await assert.rejects(people.present(person, o), refused);
    assert.equal(await people.isKnown(person, o), false);
    await people.remember(alice('ops'), undefined, o);
    assert.equal((await record())?.refreshToken, undefined);
    assert.equal(await people.isKnown(person, o), true);
  });
});

describe('a look-up', () => {
  it('gives the groups of now, and the next refresh token', async () => {
    const { clock, recheck, people, record, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    const signedInAt = clock.now();
    clock.advance(hour);
    recheck.next = found(alice('ops'));
    assert.deepEqual(await groups(), ['ops']);
    assert.equal(recheck.asked[0]?.refreshToken, 'first');
    const { checkedAt, refreshToken, attempt, ...kept } = (await record()) ?? assert.fail('no record');
    assert.deepEqual([checkedAt, refreshToken, attempt], [clock.now(), 'second', undefined]);
    assert.equal(kept.signedInAt, signedInAt);
    assert.deepEqual(await groups(), ['ops']);
    assert.equal(recheck.asked.length, 1);
    clock.advance(hour);
    await groups();
    assert.equal(recheck.asked[1]?.refreshToken, 'second');
  });

  it('that is told nothing keeps what is known, as fresh', async () => {
    const { clock, recheck, people, record, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'unchanged' }, refreshToken: 'second' };
    assert.deepEqual(await groups(), ['dev']);
    assert.deepEqual([(await record())?.checkedAt, (await record())?.refreshToken], [clock.now(), 'second']);
  });

  it('is one for all requests that wait', async () => {
    const { clock, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const all = Promise.all(Array.from({ length: 20 }, groups));
    await recheck.answer(found(alice('ops')));
    assert.deepEqual(await all, Array(20).fill(['ops']));
    assert.equal(recheck.asked.length, 1);
  });

  it('is one for all proxies: the others go on with what is known', async () => {
    const { clock, recheck, people, another, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const first = groups();
    while (recheck.asked.length === 0) await turn();
    const others = [another(), another()];
    for (const other of others) assert.deepEqual((await other.present(person, o)).groups, ['dev']);
    await recheck.answer(found(alice('ops')));
    assert.deepEqual(await first, ['ops']);
    for (const other of others) assert.deepEqual((await other.present(person, o)).groups, ['ops']);
    assert.equal(recheck.asked.length, 1);
  });

  it('comes to its end where all who waited have gone, and before it is closed', async () => {
    const { clock, recheck, people, record } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const gone = new AbortController();
    const left = people.present(person, { signal: gone.signal });
    while (recheck.asked.length === 0) await turn();
    gone.abort(new Error('gone'));
    await assert.rejects(left, /gone/);
    let isClosed = false;
    const closed = people.close().then(() => {
      isClosed = true;
    });
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(isClosed, false, 'it was closed over the look-up');
    await recheck.answer(found(alice('ops')));
    await closed;
    assert.deepEqual([(await record())?.groups, (await record())?.refreshToken], [['ops'], 'second']);
  });

  it('loses against a sign-in of that moment', async () => {
    const { clock, recheck, people, record, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const waiting = groups();
    while (recheck.asked.length === 0) await turn();
    await people.remember(alice('new'), 'newest', o);
    await recheck.answer(found(alice('ops')));
    assert.deepEqual(await waiting, ['new']);
    assert.equal((await record())?.refreshToken, 'newest');
  });

  it('loses against a revocation of that moment', async () => {
    const { clock, state, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const waiting = groups();
    while (recheck.asked.length === 0) await turn();
    await state.delete(signedInKey(person), o);
    await recheck.answer(found(alice('ops')));
    await assert.rejects(waiting, refused);
    assert.deepEqual(await state.list('', o), []);
  });

  it('that says the person is gone ends it until the next sign-in', async () => {
    const { clock, log, recheck, people, record, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'ended', reason: 'the provider knows them no more' } };
    await assert.rejects(groups(), { ...refused, reason: /knows them no more/ });
    assert.equal((await record())?.refreshToken, undefined);
    recheck.next = found(alice('ops'));
    await assert.rejects(groups(), refused);
    assert.equal(recheck.asked.length, 1);
    assert.match(log.text, /end until the next sign-in/);
    await people.remember(alice('back'), 'third', o);
    assert.deepEqual(await groups(), ['back']);
  });

  it('that fails is told in the log, tried again after a while, and holds things up for no longer than a day', async () => {
    const { clock, log, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'failed', reason: 'no answer from sso.test' } };
    assert.deepEqual(await groups(), ['dev']);
    assert.deepEqual(await groups(), ['dev']);
    assert.equal(recheck.asked.length, 1, 'asked again at once');
    assert.equal(log.at('warn')[0]?.fields.reason, 'no answer from sso.test');
    clock.advance(30_000);
    assert.deepEqual(await groups(), ['dev']);
    assert.equal(recheck.asked.length, 2);
    clock.advance(day - 30_001);
    assert.deepEqual(await groups(), ['dev']);
    clock.advance(1);
    const tooOld = { code: 'UNAVAILABLE', reason: /too old.*no answer from sso\.test/ };
    await assert.rejects(groups(), tooOld);
    clock.advance(30_000);
    await assert.rejects(groups(), tooOld);
    clock.advance(30_000);
    recheck.next = found(alice('ops'));
    assert.deepEqual(await groups(), ['ops']);
  });

  it('that failed after the refresh token was used keeps the next one', async () => {
    const { clock, recheck, people, record, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'failed', reason: 'no keys' }, refreshToken: 'second' };
    assert.deepEqual(await groups(), ['dev']);
    assert.equal((await record())?.refreshToken, 'second');
  });

  it('is not begun where its outcome cannot be stored', async () => {
    const { clock, recheck, people, record, groups, fill } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    fill(true);
    recheck.next = found(alice('ops'));
    assert.deepEqual(await groups(), ['dev']);
    assert.deepEqual(recheck.asked, []);
    clock.advance(day);
    await assert.rejects(groups(), { code: 'UNAVAILABLE' });
    fill(false);
    assert.deepEqual(await groups(), ['ops']);
    assert.equal((await record())?.refreshToken, 'second');
  });

  it('whose outcome cannot be stored counts this once, and the log says what may come of it', async () => {
    const { clock, log, recheck, people, groups, fill } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const waiting = groups();
    while (recheck.asked.length === 0) await turn();
    fill(true);
    await recheck.answer(found(alice('ops')));
    assert.deepEqual(await waiting, ['ops']);
    assert.match(log.text, /may have to sign in again/);
    assert.ok(!log.text.includes('second'), 'the refresh token is in the log');
  });

  it('that a crashed proxy began is begun again after a minute', async () => {
    const { clock, recheck, people, another } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    const crashed = people.present(person, o).catch(() => undefined);
    while (recheck.asked.length === 0) await turn();
    const other = another();
    recheck.next = found(alice('ops'));
    clock.advance(59_999);
    assert.deepEqual((await other.present(person, o)).groups, ['dev']);
    clock.advance(1);
    assert.deepEqual((await other.present(person, o)).groups, ['ops']);
    await recheck.answer({ outcome: { kind: 'ended', reason: 'used twice' } });
    await crashed;
    assert.deepEqual((await other.present(person, o)).groups, ['ops'], 'the late one won');
  });

  it('that finds more groups than can be kept ends it', async () => {
    const { clock, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(hour);
    recheck.next = found(alice(...Array.from({ length: 1000 }, (_, i) => `${i}-${'x'.repeat(60)}`)));
    await assert.rejects(groups(), { ...refused, reason: /too many groups/ });
  });

  it('is due where the clock was set back', async () => {
    const { clock, recheck, people, groups } = setUp();
    await people.remember(alice('dev'), 'first', o);
    clock.advance(-day);
    recheck.next = found(alice('ops'));
    assert.deepEqual(await groups(), ['ops']);
  });
});

describe('a look-up that may be repeated', () => {
  it('needs no refresh token, and leaves no claim', async () => {
    const { clock, recheck, people, record, groups } = setUp();
    recheck.isRepeatable = true;
    await people.remember(alice('dev'), undefined, o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'present', who: alice('ops') } };
    assert.deepEqual(await groups(), ['ops']);
    assert.equal((await record())?.checkedAt, clock.now());
  });

  it('that finds nobody refuses, and asks again next time', async () => {
    const { clock, recheck, people, groups } = setUp();
    recheck.isRepeatable = true;
    await people.remember(alice('dev'), undefined, o);
    clock.advance(hour);
    recheck.next = { outcome: { kind: 'absent', reason: 'gone' } };
    await assert.rejects(groups(), refused);
    recheck.next = { outcome: { kind: 'present', who: alice('ops') } };
    assert.deepEqual(await groups(), ['ops']);
  });

  it('that fails lets what is known hold for a day', async () => {
    const { clock, recheck, people, groups } = setUp();
    recheck.isRepeatable = true;
    await people.remember(alice('dev'), undefined, o);
    recheck.next = { outcome: { kind: 'failed', reason: 'down' } };
    clock.advance(day + hour - 1);
    assert.deepEqual(await groups(), ['dev']);
    clock.advance(1);
    await assert.rejects(groups(), { code: 'UNAVAILABLE' });
  });
});
