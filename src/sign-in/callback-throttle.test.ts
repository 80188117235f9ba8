import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../testing/fake-clock.js';
import { CallbackThrottle } from './callback-throttle.js';

const minute = 60_000;
const tooMany = { code: 'TOOMANYREQUESTS', status: 429 };

function setUp() {
  const clock = new FakeClock();
  const throttle = new CallbackThrottle(clock, { failures: 3, window: minute, attemptLife: 10 * minute });
  let asked = 0;
  const come = (state: string, address: string, isGood: boolean) =>
    throttle.run(state, address, async () => {
      asked++;
      if (!isGood) throw new Error('bad code');
      return state;
    });
  const fail = (state: string, address = '192.0.2.1') =>
    assert.rejects(come(state, address, false), /bad code/);
  const pass = async (state: string, address = '192.0.2.1') =>
    assert.equal(await come(state, address, true), state);
  return { clock, come, fail, pass, asked: () => asked };
}

describe('the answers browsers bring back', () => {
  for (const isGood of [true, false]) {
    it(`count once for an attempt that came to ${isGood ? 'something' : 'nothing'}, also at the same moment`, async () => {
      const { come, asked } = setUp();
      await Promise.allSettled([1, 2, 3].map(() => come('a', '192.0.2.1', isGood)));
      const again = { name: 'SignInError', kind: 'expired', reason: /used before/ };
      await assert.rejects(come('a', '198.51.100.1', true), again);
      assert.equal(asked(), 1);
    });
  }

  it('that come to nothing make their network wait, and no other', async () => {
    const { clock, come, fail, pass, asked } = setUp();
    await fail('a');
    clock.advance(minute - 1);
    await fail('b');
    await fail('c', '::ffff:192.0.2.1');
    await assert.rejects(come('d', '192.0.2.1', true), { ...tooMany, retryAfter: 1 });
    assert.equal(asked(), 3);
    await pass('e', '192.0.2.2');
    clock.advance(1);
    await pass('d');
  });

  it('are counted for a whole IPv6 network', async () => {
    const { come, fail, pass } = setUp();
    for (const i of [1, 2, 3]) await fail(`${i}`, `2001:db8::${i}`);
    await assert.rejects(come('d', '2001:db8::4', true), { ...tooMany, retryAfter: 60 });
    await pass('e', '2001:db8:0:1::1');
  });

  it('are counted before they are known', async () => {
    const { come, asked } = setUp();
    await Promise.allSettled(Array.from({ length: 20 }, (_, i) => come(`${i}`, '192.0.2.1', false)));
    assert.equal(asked(), 3);
  });

  it('that are good make nobody wait', async () => {
    const { fail, pass } = setUp();
    for (let i = 0; i < 20; i++) await pass(`${i}`);
    await fail('a');
    await pass('b');
  });

  it('wait no longer where the clock is set back', async () => {
    const { clock, fail, pass } = setUp();
    for (const state of ['a', 'b', 'c']) await fail(state);
    clock.advance(-1);
    await pass('d');
  });
});
