import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { CacheVerifier } from './cache-verifier.js';

const o = { signal: new AbortController().signal };
const ttl = 30_000;
const refusedTtl = 5_000;
const times = { accepted: ttl, refused: refusedTtl };

function password(username: string, text: string, address = '192.0.2.1'): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(text) }, connection: { address } };
}

const right = password('alice', 'right');

function setUp() {
  const clock = new FakeClock();
  const inner = new FakeVerifier('local', { alice: { password: 'right', bearer: 'token' } });
  return { clock, inner, verifier: new CacheVerifier(inner, clock, times) };
}

describe('CacheVerifier', () => {
  it('asks once in its time, and again after it', async () => {
    const { clock, inner, verifier } = setUp();
    for (const advance of [0, 1, ttl - 2]) {
      clock.advance(advance);
      assert.equal((await verifier.verify(right, o))?.name, 'alice');
      assert.equal(inner.asked.length, 1);
    }
    inner.users.set('alice', { password: 'changed' });
    clock.advance(1);
    await assert.rejects(verifier.verify(right, o), { code: 'UNAUTHORIZED' });
  });

  it('does not stretch its time where the clock is set back', async () => {
    const { clock, inner, verifier } = setUp();
    await verifier.verify(right, o);
    inner.users.set('alice', { password: 'changed' });
    clock.advance(-1);
    await assert.rejects(verifier.verify(right, o), { code: 'UNAUTHORIZED' });
  });

  it('remembers what was refused, and what nobody took, for its own time', async () => {
    const { clock, inner, verifier } = setUp();
    const [wrong, unknown] = [password('alice', 'wrong'), password('mallory', 'x')];
    for (const advance of [0, 1, refusedTtl - 2]) {
      clock.advance(advance);
      await assert.rejects(verifier.verify(wrong, o), { code: 'UNAUTHORIZED' });
      assert.equal(await verifier.verify(unknown, o), undefined);
      assert.equal(inner.asked.length, 2);
    }
    inner.users.set('alice', { password: 'wrong' });
    inner.users.set('mallory', { password: 'x' });
    clock.advance(1);
    assert.equal((await verifier.verify(wrong, o))?.name, 'alice');
    assert.equal((await verifier.verify(unknown, o))?.name, 'mallory');
  });

  it('never remembers that it could not be told', async () => {
    const { inner, verifier } = setUp();
    inner.broken = true;
    await assert.rejects(verifier.verify(right, o), { code: 'UNAVAILABLE' });
    inner.broken = false;
    assert.equal((await verifier.verify(right, o))?.name, 'alice');
  });

  it('keeps who was accepted, however many wrong guesses come', async () => {
    const { inner, verifier } = setUp();
    await verifier.verify(right, o);
    for (let i = 0; i < 10_100; i++) await verifier.verify(password('mallory', String(i)), o);
    const asked = inner.asked.length;
    await verifier.verify(right, o);
    assert.equal(inner.asked.length, asked);
  });

  it('does not outlive the principal', async () => {
    const { clock, inner, verifier } = setUp();
    inner.users.set('alice', { password: 'right', expiresAt: clock.now() + 1000 });
    await verifier.verify(right, o);
    clock.advance(999);
    await verifier.verify(right, o);
    assert.equal(inner.asked.length, 1);
    clock.advance(1);
    await verifier.verify(right, o);
    assert.equal(inner.asked.length, 2);
  });

  for (const [name, other] of [
    ['password', password('alice', 'Right')],
    ['user name', password('alicf', 'right')],
    ['address', password('alice', 'right', '192.0.2.2')],
    ['kind', { shown: { kind: 'bearer', token: new Secret('right') }, connection: right.connection }],
    [
      'client certificate',
      { ...right, connection: { ...right.connection, peerCertificate: Buffer.from('x') } },
    ],
    ['border between name and password', password('alicer', 'ight')],
  ] as const satisfies readonly (readonly [string, ClientCredentials])[]) {
    it(`asks again for another ${name}`, async () => {
      const { inner, verifier } = setUp();
      await verifier.verify(right, o);
      await verifier.verify(other, o).catch(() => undefined);
      assert.equal(inner.asked.length, 2);
    });
  }

  it('remembers tokens too, and asks each time where nothing is shown', async () => {
    const { inner, verifier } = setUp();
    const connection = { address: '192.0.2.1' };
    for (let i = 0; i < 2; i++) {
      await verifier.verify({ shown: { kind: 'bearer', token: new Secret('token') }, connection }, o);
    }
    assert.equal(inner.asked.length, 1);
    for (let i = 0; i < 2; i++) await verifier.verify({ shown: { kind: 'none' }, connection }, o);
    assert.equal(inner.asked.length, 3);
    const byCertificate = { ...connection, peerCertificate: Buffer.from('x') };
    for (let i = 0; i < 2; i++) {
      await verifier.verify({ shown: { kind: 'none' }, connection: byCertificate }, o);
    }
    assert.equal(inner.asked.length, 4, 'a certificate is something shown');
  });

  it('holds no password', async () => {
    const { verifier } = setUp();
    await verifier.verify(right, o);
    await assert.rejects(verifier.verify(password('alice', 'wrong'), o));
    assert.ok(!inspect(verifier, { depth: 12, showHidden: true }).includes('wrong'), 'it holds a guess');
    assert.ok(
      !inspect(verifier, { depth: 12, showHidden: true }).includes('right'),
      "!inspect(verifier, { depth: 12, showHidden: true }).includes('right')",
    );
  });

  it('refuses who has left already, also what it remembers', async () => {
    const { verifier } = setUp();
    await verifier.verify(right, o);
    await assert.rejects(verifier.verify(right, { signal: AbortSignal.abort(new Error('left')) }), /left/);
  });

  it('forgets when it is closed, and closes the inner one', async () => {
    const { inner, verifier } = setUp();
    await verifier.verify(right, o);
    await verifier.close();
    assert.ok(inner.closed, 'inner.closed');
  });

  it('passes recheck on, every time', async () => {
    const { inner, verifier } = setUp();
    const alice = await verifier.verify(right, o);
    assert.ok(alice, 'alice');
    assert.deepEqual(await verifier.recheck(alice, o), alice);
    inner.users.delete('alice');
    assert.equal(await verifier.recheck(alice, o), undefined);
  });
});

/** A verifier that answers when it is told to. */
function held() {
  const calls: {
    o: CallOptions;
    resolve: (who: Principal | undefined) => void;
    reject: (error: Error) => void;
  }[] = [];
  const inner: Verifier = {
    verify: (_credentials, options) =>
      new Promise((resolve, reject) => {
        calls.push({ o: options, resolve, reject });
        options.signal.addEventListener('abort', () => reject(options.signal.reason));
      }),
    close: async () => undefined,
  };
  return { calls, verifier: new CacheVerifier(inner, new FakeClock(), times) };
}

const alice: Principal = { verifier: 'local', name: 'alice', kind: 'human', groups: [], attributes: {} };
const settle = async () => {
  for (let i = 0; i < 10; i++) await setImmediate();
};

describe('the same credentials at the same time', () => {
  it('are verified once, for all', async () => {
    const { calls, verifier } = held();
    const answers = Array.from({ length: 5 }, () => verifier.verify(right, o));
    const other = verifier.verify(password('bob', 'x'), o);
    await settle();
    assert.equal(calls.length, 2);
    calls[0]?.resolve(alice);
    calls[1]?.resolve(undefined);
    assert.deepEqual(new Set(await Promise.all(answers)), new Set([alice]));
    assert.equal(await other, undefined);
  });

  it('fail for all, and are verified again by the next', async () => {
    const { calls, verifier } = held();
    const answers = Array.from({ length: 3 }, () => verifier.verify(right, o));
    await settle();
    calls[0]?.reject(new RegistryError('UNAVAILABLE'));
    for (const answer of await Promise.allSettled(answers)) assert.equal(answer.status, 'rejected');
    const next = verifier.verify(right, o);
    await settle();
    assert.equal(calls.length, 2);
    calls[1]?.resolve(alice);
    assert.equal((await next)?.name, 'alice');
  });

  it('are verified for those who stay, though the first leaves', async () => {
    const { calls, verifier } = held();
    const leaving = new AbortController();
    const first = verifier.verify(right, { signal: leaving.signal });
    const second = verifier.verify(right, o);
    const third = new AbortController();
    const left = verifier.verify(right, { signal: third.signal });
    await settle();
    leaving.abort(new Error('the first left'));
    third.abort(new Error('the third left'));
    await assert.rejects(first, /the first left/);
    await assert.rejects(left, /the third left/);
    assert.equal(calls[0]?.o.signal.aborted, false);
    calls[0]?.resolve(alice);
    assert.equal((await second)?.name, 'alice');
    assert.equal(calls.length, 1);
  });
});
