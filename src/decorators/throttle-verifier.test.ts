import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { identityEnvelope } from '../protocol/identity-envelope.js';
import { Secret } from '../secret.js';
import { NamePattern } from '../settings/name-pattern.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { ChainVerifier } from './chain-verifiers.js';
import { LimitedVerifier } from './limit-usernames.js';
import { OwnTokensVerifier } from './own-tokens.js';
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
      assert.ok(error instanceof RegistryError, 'error instanceof RegistryError');
      return error.code;
    }
  };
  let guesses = 0;
  const fail = async (times: number, address = home) => {
    for (let i = 0; i < times; i++) {
      assert.equal(await outcome(password('alice', `wrong-${guesses++}`, address)), 'UNAUTHORIZED');
    }
  };
  return { clock, inner, verifier, outcome, fail };
}

/** Bytes of the heap that something holds. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
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
      message: 'too many failed logins for this user from this address',
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

  it('is not cleared by who gets in: whoever has a token may show it with any name', async () => {
    const { inner, outcome, fail } = setUp();
    for (let i = 0; i < 3; i++) {
      await fail(1);
      inner.users.set('alice', { password: 'right' });
      if (i < 2) assert.equal(await outcome(password('alice', 'right')), 'alice');
    }
    assert.equal(await outcome(password('alice', 'right')), 'TOOMANYREQUESTS');
  });

  it('counts all spellings of a name as one', async () => {
    const spellings = ['alice', 'ALICE', ' alice', 'ａｌｉｃｅ', 'al\u200bice', 'alice\u0000'];
    for (const first of spellings) {
      const { outcome } = setUp();
      for (let i = 0; i < 3; i++) await outcome(password(spellings[i] ?? '', `x${i}`));
      assert.equal(await outcome(password(first, 'right')), 'TOOMANYREQUESTS', JSON.stringify(first));
      assert.equal(await outcome(password('bob', 'right')), 'bob');
    }
  });

  it('says of whom it slows down whether a verifier knew the name', async () => {
    for (const [name, knownUser] of [
      ['alice', true],
      ['mallory', false],
    ] as const) {
      const { verifier, outcome } = setUp();
      for (let i = 0; i < 3; i++) await outcome(password(name, `x${i}`));
      await assert.rejects(verifier.verify(password(name, 'x3'), o), { code: 'TOOMANYREQUESTS', knownUser });
    }
  });

  it('counts what a server refuses without saying for whose sake', async () => {
    for (const [countsAsGuess, last] of [
      [true, 'TOOMANYREQUESTS'],
      [false, 'UNAVAILABLE'],
    ] as const) {
      const verify = () => Promise.reject(new RegistryError('UNAVAILABLE', { countsAsGuess }));
      const verifier = new ThrottleVerifier({ verify, close: async () => undefined }, new FakeClock());
      for (let i = 0; i < 10; i++)
        await assert.rejects(verifier.verify(password('alice', `x${i}`), o), { code: 'UNAVAILABLE' });
      await assert.rejects(verifier.verify(password('alice', 'x10'), o), { code: last });
    }
  });

  it('does not count a refused proof: behind one address there may be a thousand machines', async () => {
    for (const [isProof, last] of [
      [true, 'UNAUTHORIZED'],
      [false, 'TOOMANYREQUESTS'],
    ] as const) {
      const verify = () => Promise.reject(new RegistryError('UNAUTHORIZED', { isProof, knownUser: true }));
      const verifier = new ThrottleVerifier({ verify, close: async () => undefined }, new FakeClock());
      for (let i = 0; i < 10; i++)
        await assert.rejects(verifier.verify(password('_gcp', `x${i}`), o), { code: 'UNAUTHORIZED' });
      await assert.rejects(verifier.verify(password('_gcp', 'x10'), o), { code: last });
    }
  });

  it('does not count a machine’s proof that nobody takes, nor refuse one for what else came', async () => {
    const { inner, outcome } = setUp();
    const good = identityEnvelope('good');
    for (const name of ['_gcp', '_kubernetes-a']) {
      inner.users.delete(name);
      for (let i = 0; i < 20; i++)
        assert.equal(await outcome(password(name, identityEnvelope(`x${i}`))), 'nobody');
      for (let i = 0; i < 3; i++) assert.equal(await outcome(password(name, `x${i}`)), 'nobody');
      assert.equal(await outcome(password(name, 'x3')), 'TOOMANYREQUESTS');
      inner.users.set(name, { password: good });
      assert.equal(await outcome(password(name, good)), name);
    }
  });

  it('counts what only looks like a proof, with a person’s name', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 3; i++)
      assert.equal(await outcome(password('alice', identityEnvelope(`x${i}`))), 'UNAUTHORIZED');
    assert.equal(await outcome(password('alice', identityEnvelope('x3'))), 'TOOMANYREQUESTS');
  });

  it('counts credentials that nobody takes', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 3; i++) assert.equal(await outcome(password('mallory', `x${i}`)), 'nobody');
    assert.equal(await outcome(password('mallory', 'x3')), 'TOOMANYREQUESTS');
  });

  it('counts the same wrong password once (containerd shows it by POST and then by GET)', async () => {
    const { outcome, fail } = setUp();
    for (let i = 0; i < 9; i++) assert.equal(await outcome(password('alice', 'old')), 'UNAUTHORIZED');
    await fail(1);
    for (let i = 0; i < 9; i++) assert.equal(await outcome(password('alice', 'old')), 'UNAUTHORIZED');
    await fail(1);
    assert.equal(await outcome(password('alice', 'old')), 'TOOMANYREQUESTS');
  });

  it('does not refuse the right password behind an address that many share', async () => {
    const { outcome } = setUp();
    for (let i = 0; i < 300; i++) assert.equal(await outcome(password(`user-${i}`, 'x')), 'nobody');
    for (let i = 0; i < 300; i++) assert.equal(await outcome(bearer(`expired-${i}`)), 'nobody');
    assert.equal(await outcome(password('alice', 'right')), 'alice');
    assert.equal(await outcome(bearer('token')), 'robot');
  });

  it('takes the addresses of one IPv6 /64 for one', async () => {
    const { outcome, fail } = setUp();
    for (let i = 0; i < 3; i++) await fail(1, `2001:db8:1:2::${i + 1}`);
    assert.equal(await outcome(password('alice', 'right', '2001:db8:1:2:ffff::')), 'TOOMANYREQUESTS');
    assert.equal(await outcome(password('alice', 'right', '2001:db8:1:3::1')), 'alice');
  });

  it('does not stretch where the clock is set back', async () => {
    const { clock, outcome, fail } = setUp();
    await fail(3);
    clock.advance(-3_600_000);
    assert.equal(await outcome(password('alice', 'right')), 'alice');
  });

  it('keeps nothing of what a client sent', async () => {
    const clock = new FakeClock();
    const verifier = new ThrottleVerifier(
      { verify: async () => undefined, close: async () => undefined },
      clock,
    );
    const before = heldBytes();
    for (let i = 0; i < 20_000; i++) {
      // Made from bytes: repeated text would be kept once by the engine.
      await verifier.verify(password(Buffer.alloc(8_000, `${i}-`).toString('latin1'), 'y'), o);
    }
    const grown = heldBytes() - before;
    assert(grown < 40 * 1024 * 1024, `${grown} bytes for 160 MB of names`);
    await verifier.verify(password('alice', 'y'), o);
  });

  it('takes an address mapped into IPv6 for the same address', async () => {
    const { outcome, fail } = setUp();
    await fail(3);
    assert.equal(await outcome(password('alice', 'right', `::ffff:${home}`)), 'TOOMANYREQUESTS');
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
    assert.ok(inner.closed, 'inner.closed');
  });
});

describe('guesses at the same time', () => {
  it('do not all pass before the first has failed', async () => {
    const { inner, outcome } = setUp();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, i) => outcome(password('alice', `guess-${i}`))),
    );
    assert(inner.asked.length <= 3 + 8, `${inner.asked.length} were tried`);
    assert.equal(outcomes.filter((one) => one === 'TOOMANYREQUESTS').length, 100 - inner.asked.length);
  });

  it('are no guesses where the passwords are right: none is refused', async () => {
    const { outcome } = setUp();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () => outcome(password('alice', 'right'))),
    );
    assert.deepEqual(new Set(outcomes), new Set(['alice']));
  });

  it('keep none waiting whom another verifier judges', async () => {
    const directory: Verifier = {
      verify: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      close: async () => {},
    };
    const robots = new LimitedVerifier(new FakeVerifier('robots', { 'robot-a': { password: 'a' } }), [
      new NamePattern('robot-*'),
    ]);
    const tokens = new FakeVerifier('tokens', { ci: { bearer: 'token' } });
    const byForm: Verifier = {
      verify: (credentials, options) => tokens.verify(credentials, options),
      recognises: ({ shown }) => shown.kind === 'bearer',
      close: async () => {},
    };
    const chain = new ChainVerifier(
      new Map<string, Verifier>([
        ['corp', directory],
        ['robots', robots],
        ['tokens', byForm],
      ]),
    );
    const verifier = new ThrottleVerifier(new OwnTokensVerifier(chain, undefined), new FakeClock());
    const giveUp = new AbortController();
    const hanging = Array.from({ length: 50 }, (_, i) =>
      verifier.verify(password(`user-${i}`, 'x'), { signal: giveUp.signal }).catch(() => 'gave up'),
    );
    await setImmediate();
    const bounded = { signal: AbortSignal.timeout(5_000) };
    assert.equal((await verifier.verify(password('robot-a', 'a'), bounded))?.name, 'robot-a');
    assert.equal((await verifier.verify(bearer('token'), bounded))?.name, 'ci');
    await assert.rejects(verifier.verify(password('alice', 'drp_pat_x'), bounded), { code: 'UNAUTHORIZED' });
    giveUp.abort(new Error('enough'));
    assert.deepEqual(new Set(await Promise.all(hanging)), new Set(['gave up']));
  });

  it('are eight of one address at most, others wait, can leave, and are refused where there are too many', async () => {
    const started: string[] = [];
    const stuck: Verifier = {
      verify: async ({ shown, connection }) => {
        if (shown.kind === 'none') return undefined;
        started.push(connection.address);
        return new Promise(() => {});
      },
      close: async () => undefined,
    };
    const verifier = new ThrottleVerifier(stuck, new FakeClock());
    const leaving = new AbortController();
    const ask = (name: string, address: string, signal = o.signal) =>
      verifier.verify(name === '' ? bearer('x', address) : password(name, 'x', address), { signal });
    for (let i = 0; i < 107; i++) void ask(i % 2 === 0 ? '' : `user-${i}`, `2001:db8::${i}`);
    const last = ask('alice', '2001:db8::', leaving.signal);
    await assert.rejects(ask('bob', '2001:db8::'), {
      code: 'TOOMANYREQUESTS',
      retryAfter: 1,
      message: 'too many logins at the same time from this address',
    });
    void ask('bob', elsewhere);
    await setImmediate();
    assert.equal(started.length, 9);
    assert.equal(started.at(-1), elsewhere);
    // Who shows nothing is never held up.
    assert.equal(
      await verifier.verify({ shown: { kind: 'none' }, connection: { address: '2001:db8::' } }, o),
      undefined,
    );
    leaving.abort(new Error('left'));
    await assert.rejects(last, /left/);
    // The place of who left is free again.
    void ask('bob', '2001:db8::');
    await assert.rejects(ask('bob', '2001:db8::'), { code: 'TOOMANYREQUESTS' });
  });
});
