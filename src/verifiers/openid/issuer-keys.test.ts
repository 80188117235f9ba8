import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { errors, exportJWK, generateKeyPair, type JWK } from 'jose';
import { RegistryError } from '../../errors.js';
import { rejectsWhenAborted, rejectsWith } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { FetchedKeys } from './issuer-keys.js';
import { parseKeySet } from './key-set.js';

const o = { signal: new AbortController().signal };
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

async function key(kid: string): Promise<JWK> {
  return { ...(await exportJWK((await generateKeyPair('ES256')).publicKey)), kid };
}

/** An issuer whose keys a test changes, and that a test may take down. */
async function setUp(t: TestContext) {
  const all = { a: await key('a'), b: await key('b') };
  const clock = new FakeClock();
  const log = new FakeLog();
  const issuer = { keys: [all.a] as readonly JWK[], down: false, asked: 0 };
  const keys = new FetchedKeys(
    async () => {
      issuer.asked++;
      if (issuer.down) throw new RegistryError('UNAVAILABLE', { reason: 'no answer from sso.example.com' });
      return parseKeySet(JSON.stringify({ keys: issuer.keys }));
    },
    { id: 'sso', clock, log },
  );
  t.after(() => keys.close());
  const find = (kid: string, given = o) => keys.keyFor({ alg: 'ES256', kid }, given);
  const isUnknown = (kid: string) => assert.rejects(find(kid), errors.JWKSNoMatchingKey);
  return { all, clock, log, issuer, keys, find, isUnknown };
}

/** What was begun beside a request comes to its end. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('keys of an issuer', () => {
  it('are asked for with the first token, and used without asking for five minutes', async (t) => {
    const { clock, issuer, find } = await setUp(t);
    assert.equal(issuer.asked, 0);
    await Promise.all([find('a'), find('a')]);
    clock.advance(5 * minute - 1);
    await find('a');
    assert.equal(issuer.asked, 1);
  });

  it('are asked for beside a request from then on', async (t) => {
    const { all, clock, issuer, find, isUnknown } = await setUp(t);
    await find('a');
    issuer.keys = [all.b];
    clock.advance(6 * minute);
    await find('a'); // with the keys that are there
    await settled();
    assert.equal(issuer.asked, 2);
    await find('b');
    await isUnknown('a');
    assert.equal(issuer.asked, 2);
  });

  it('are asked for before a request after ten minutes: a removed key ends', async (t) => {
    const { all, clock, issuer, isUnknown, find } = await setUp(t);
    await find('a');
    issuer.keys = [all.b];
    clock.advance(10 * minute);
    await isUnknown('a');
    await find('b');
    assert.equal(issuer.asked, 2);
  });

  it('are asked for where one is unknown, but not more than once in five seconds', async (t) => {
    const { all, clock, issuer, find, isUnknown } = await setUp(t);
    await find('a');
    issuer.keys = [all.a, all.b];
    await isUnknown('b'); // asked just now
    clock.advance(5 * second);
    await Promise.all([find('b'), find('b'), find('b')]);
    assert.equal(issuer.asked, 2);
    for (let i = 0; i < 20; i++) await isUnknown(`c${i}`);
    assert.equal(issuer.asked, 2);
  });

  it('stay in use for a day where the issuer is down, and it is told once', async (t) => {
    const { clock, log, issuer, find } = await setUp(t);
    await find('a');
    issuer.down = true;
    for (let hours = 0; hours < 23; hours++) {
      clock.advance(hour);
      await find('a');
      await settled();
    }
    assert.equal(issuer.asked, 24);
    assert.equal(log.at('warn').length, 1, log.text);
    assert.deepEqual(log.at('warn')[0]?.fields, {
      id: 'sso',
      reason: 'UNAVAILABLE: no answer from sso.example.com',
      until: '2026-01-02T00:00:00.000Z',
    });
    clock.advance(hour);
    await rejectsWith(() => find('a'), 'UNAVAILABLE');
    issuer.down = false;
    clock.advance(5 * second);
    await find('a');
    assert.match(log.at('info')[0]?.message ?? '', /fetched again/);
  });

  it('that are unknown may be new where the issuer is down', async (t) => {
    const { clock, issuer, find } = await setUp(t);
    await find('a');
    issuer.down = true;
    clock.advance(minute);
    await rejectsWith(() => find('b'), 'UNAVAILABLE');
    await rejectsWith(() => find('b'), 'UNAVAILABLE');
    assert.equal(issuer.asked, 2);
    await find('a');
  });

  it('that were never there are asked for every five seconds', async (t) => {
    const { clock, issuer, find } = await setUp(t);
    issuer.down = true;
    for (let i = 0; i < 10; i++) {
      await rejectsWith(() => find('a'), 'UNAVAILABLE');
      clock.advance(second);
    }
    assert.equal(issuer.asked, 2);
    issuer.down = false;
    await find('a');
  });

  it('are asked for where the clock was set back', async (t) => {
    const { all, clock, issuer, find, isUnknown } = await setUp(t);
    await find('a');
    issuer.keys = [all.b];
    clock.advance(-hour);
    await isUnknown('a');
    assert.equal(issuer.asked, 2);
  });

  it('may all be gone: nothing is accepted then, and it is told', async (t) => {
    const { clock, log, issuer, find, isUnknown } = await setUp(t);
    await find('a');
    issuer.keys = [];
    clock.advance(10 * minute);
    await isUnknown('a');
    assert.match(log.at('warn')[0]?.message ?? '', /no usable key/);
  });

  it('a source that fails with anything is unavailable', async (t) => {
    const log = new FakeLog();
    const fails = () => Promise.reject(new TypeError('a bug'));
    const keys = new FetchedKeys(fails, { id: 'sso', clock: new FakeClock(), log });
    t.after(() => keys.close());
    await rejectsWith(() => keys.keyFor({ alg: 'ES256' }, o), 'UNAVAILABLE');
    assert.match(log.text, /a bug/);
  });

  it('an aborted call rejects with the reason, and the question goes on', async (t) => {
    const { issuer, find } = await setUp(t);
    await rejectsWhenAborted((aborted) => find('a', aborted));
    const leaving = new AbortController();
    const waiting = find('a', leaving);
    leaving.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    await find('a');
    assert.equal(issuer.asked, 1);
  });
});
