import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { ThrottleVerifier } from './throttle-verifier.js';

const o = { signal: new AbortController().signal };
const home = '192.0.2.1';
const elsewhere = '198.51.100.7';

function password(username: string, text: string, address = home): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(text) }, connection: { address } };
}

function bearer(text: string, address = home): ClientCredentials {
  return { shown: { kind: 'bearer', token: new Secret(text) }, connection: { address } };
}

function setUp(limits = { failures: 3, window: 60_000 }) {
  const clock = new FakeClock();
  const inner = new FakeVerifier('local', {
    alice: { password: 'right' },
    bob: { password: 'right' },
    robot: { bearer: 'token' },
  });
  const verifier = new ThrottleVerifier(inner, clock, limits);
  const outcome = async (credentials: ClientCredentials) => {
    try {
      return (await verifier.verify(credentials, o))?.name ?? 'nobody';
    } catch (error) {
      assert(error instanceof RegistryError);
      return error.code;
    }
  };
  const fail = async (times: number, credentials = password('alice', 'wrong')) => {
    for (let i = 0; i < times; i++) assert.equal(await outcome(credentials), 'UNAUTHORIZED');
  };
  return { clock, inner, verifier, outcome, fail };
}

describe('ThrottleVerifier', () => {
  it('refuses after so many failures, even the right password, and asks nobody', async () => {
    const { inner, outcome, fail } = setUp();
    await fail(3);
    assert.equal(await outcome(password('alice', 'wrong')), 'TOOMANYREQUESTS');
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
    assert.equal(inner.asked.length, 3);
  });

  it('does not lock the real user out elsewhere, nor another user here (threat 27)', async () => {
    const { outcome, fail } = setUp();
    await fail(3);
    assert.equal(await outcome(password('alice', 'right', elsewhere)), 'alice');
    assert.equal(await outcome(password('bob', 'right')), 'bob');
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
  });

  it('says when to come back, and lets in then', async () => {
    const { clock, verifier, outcome, fail } = setUp();
    await fail(1);
    clock.advance(20_500);
    await fail(2);
    await assert.rejects(verifier.verify(password('alice', 'right'), o), {
      code: 'TOOMANYREQUESTS',
      status: 429,
      retryAfter: 40,
    });
    clock.advance(39_499);
    await assert.rejects(verifier.verify(password('alice', 'right'), o), { retryAfter: 1 });
    clock.advance(1);
    assert.equal(await outcome(password('alice', 'right')), 'alice');
  });

  it('counts anew in a new window', async () => {
    const { clock, outcome, fail } = setUp();
    await fail(2);
    clock.advance(60_000);
    await fail(3);
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
  });

  it('forgets the failures of who got in', async () => {
    const { outcome, fail } = setUp();
    await fail(2);
    assert.equal(await outcome(password('alice', 'right')), 'alice');
    await fail(3);
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
  });

  it('counts credentials that nobody takes', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 3; i++) assert.equal(await outcome(password('mallory', 'x')), 'nobody');
    assert.equal(await outcome(password('mallory', 'x')), 'TOOMANYREQUESTS');
  });

  it('refuses an address that tries many names', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 30; i++) assert.equal(await outcome(password(`user-${i}`, 'x')), 'nobody');
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
    assert.equal(await outcome(password('alice', 'right', elsewhere)), 'alice');
  });

  it('takes an address mapped into IPv6 for the same address', async () => {
    const { outcome, fail } = setUp();
    await fail(3);
    assert.equal(await outcome(password('alice', 'right', `::ffff:${home}`)), 'TOOMANYREQUESTS');
  });

  it('counts bad tokens by address', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 3; i++) assert.equal(await outcome(bearer(`guess-${i}`)), 'nobody');
    assert.equal(await outcome(bearer('token')), 'TOOMANYREQUESTS');
    assert.equal(await outcome(bearer('token', elsewhere)), 'robot');
    assert.equal(await outcome(password('alice', 'right')), 'alice');
  });

  it('counts no failure where the verifier is broken, or where nothing was shown', async () => {
    const { inner, outcome } = setUp();
    inner.broken = true;
    for (let i = 0; i < 5; i++) assert.equal(await outcome(password('alice', 'right')), 'UNAVAILABLE');
    inner.broken = false;
    for (let i = 0; i < 50; i++) {
      assert.equal(await outcome({ shown: { kind: 'none' }, connection: { address: home } }), 'nobody');
    }
    assert.equal(await outcome(password('alice', 'right')), 'alice');
  });

  it('passes recheck and close on', async () => {
    const { inner, verifier } = setUp();
    const alice: Principal = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} };
    assert.deepEqual(await verifier.recheck(alice, o), alice);
    await verifier.close();
    assert(inner.closed);
  });
});

describe('guesses at the same time', () => {
  it('do not all pass before the first has failed', async () => {
    const { inner, outcome } = setUp();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, i) => outcome(password('alice', `guess-${i}`))),
    );
    assert(inner.asked.length <= 6, `${inner.asked.length} were tried`);
    assert.equal(outcomes.filter((one) => one === 'TOOMANYREQUESTS').length, 100 - inner.asked.length);
  });

  it('are no guesses where the passwords are right: none is refused', async () => {
    const { outcome } = setUp();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () => outcome(password('alice', 'right'))),
    );
    assert.deepEqual(new Set(outcomes), new Set(['alice']));
  });

  it('wait only for those of the same user and address, and can leave', async () => {
    const started: string[] = [];
    const stuck: Verifier = {
      verify: async ({ shown, connection }) => {
        started.push(`${shown.kind === 'password' ? shown.username : shown.kind} ${connection.address}`);
        return new Promise(() => {});
      },
      close: async () => undefined,
    };
    const verifier = new ThrottleVerifier(stuck, new FakeClock(), { failures: 2, window: 60_000 });
    const leaving = new AbortController();
    for (let i = 0; i < 2; i++) void verifier.verify(password('alice', 'x'), o);
    const waiting = verifier.verify(password('alice', 'x'), { signal: leaving.signal });
    void verifier.verify(password('bob', 'x'), o);
    void verifier.verify(password('alice', 'x', elsewhere), o);
    for (let i = 0; i < 3; i++) void verifier.verify(bearer('x'), o);
    for (let i = 0; i < 20; i++) await setImmediate();
    assert.deepEqual(
      started.sort(),
      [
        `alice ${home}`,
        `alice ${home}`,
        `alice ${elsewhere}`,
        `bearer ${home}`,
        `bearer ${home}`,
        `bearer ${home}`,
        `bob ${home}`,
      ].sort(),
    );
    leaving.abort(new Error('left'));
    await assert.rejects(waiting, /left/);
  });
});
