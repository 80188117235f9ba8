import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Credential } from '../contracts/index.js';
import { basicCredential } from '../testing/index.js';
import {
  down,
  held,
  later,
  living,
  other,
  registry,
  type ScriptedSource,
  type SetUp,
  s,
  setUp,
  target,
  textOf,
} from './scripted-source.test.js';

describe('a credential that is kept ready', () => {
  /** Lets time pass for clocks and timers alike. */
  async function pass(t: TestContext, { clock, settle }: SetUp, time: number): Promise<void> {
    for (let left = time; left > 0; left -= s) {
      clock.advance(Math.min(left, s));
      t.mock.timers.tick(Math.min(left, s));
      await settle();
    }
  }

  test('is had at once, and again before its end, though nobody asks', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set = held(t, 400 * s);
    set.credentials.keepReady({ registry });
    set.credentials.keepReady({ registry });
    await set.settle();
    assert.equal(set.source.asked.length, 1);
    await pass(t, set, 199 * s);
    assert.equal(set.source.asked.length, 1);
    await pass(t, set, 2 * s);
    assert.equal(set.source.asked.length, 2);
    await pass(t, set, 201 * s);
    assert.equal(set.source.asked.length, 3);
    assert.equal(textOf(await set.get({ registry })), 'secret-3');
    assert.equal(set.source.asked.length, 3);
  });

  test('is tried again with growing pauses while it fails', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set: SetUp = setUp(t, (count) => {
      if (count < 4) throw down();
      return living(() => set.clock, 400 * s)(count);
    });
    set.credentials.keepReady({ registry });
    await set.settle();
    const asked: number[] = [];
    for (let i = 0; i < 8; i++) {
      asked.push(set.source.asked.length);
      await pass(t, set, s);
    }
    assert.deepEqual(asked, [1, 2, 2, 3, 3, 3, 3, 4]);
    assert.deepEqual(
      (['error', 'warn', 'info'] as const).map((level) => set.log.at(level).length),
      [1, 2, 1],
      'that there is none, that there still is none, and that there is one again',
    );
    await pass(t, set, 60 * s);
    assert.equal(set.source.asked.length, 4);
  });

  test('is had again soon after the clock went on without us: the machine slept', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set = held(t, 400 * s);
    set.credentials.keepReady({ registry });
    await set.settle();
    set.clock.advance(300 * s);
    t.mock.timers.tick(60 * s);
    await set.settle();
    assert.equal(set.source.asked.length, 2);
  });

  for (const life of [1, 20, 900]) {
    test(`is asked for once a second at most, where it lives ${life} ms`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const set = held(t, life);
      set.credentials.keepReady({ registry });
      await set.settle();
      for (let i = 0; i < 500; i++) {
        set.clock.advance(10);
        t.mock.timers.tick(10);
        await set.settle();
      }
      assert.equal(set.source.asked.length, 6, 'five seconds');
    });
  }

  test('is looked at every minute where it has no end', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set = setUp(t, () => basicCredential('robot', 'secret'));
    set.credentials.keepReady({ registry });
    await pass(t, set, 130 * s);
    assert.equal(set.source.asked.length, 3);
  });

  test('is let go with its values when all is closed; the source is whose it was', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set = held(t, 400 * s);
    set.credentials.keepReady({ registry });
    set.credentials.keepReady({ registry });
    await set.settle();
    assert.equal(set.shown('usable'), 1);
    const slow = later<Credential>();
    set.source.answer = () => slow.promise;
    const waiting = set.get(other);
    await set.credentials.close();
    await set.credentials.close();
    await assert.rejects(waiting, { code: 'UNAVAILABLE' });
    for (const name of ['usable', 'age_seconds', 'expiry_seconds'] as const) {
      assert.equal(set.shown(name), undefined, name);
    }
    await pass(t, set, 500 * s);
    assert.equal(set.source.asked.length, 2);
    assert.equal(set.source.closed, false);
    assert.deepEqual(set.log.lines, []);
    set.credentials.keepReady({ registry });
    assert.equal(set.shown('usable'), undefined);
  });
});

test('a source that fails to name a key is told of, and no reason not to serve', (t) => {
  const set = setUp(t, () => undefined);
  set.source.keyFor = () => {
    throw new TypeError('x is not a function');
  };
  set.credentials.keepReady({ registry });
  assert.match(set.log.text, /x is not a function/);
  assert.equal(set.source.asked.length, 0);
});

describe('the metrics of a credential', () => {
  /** Nothing but what the test does moves it: its timers are not let run. */
  function kept(t: TestContext, answer: ScriptedSource['answer']): SetUp {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const set = setUp(t, answer);
    set.source.keyFor = () => 'one for all';
    set.credentials.keepReady({ registry });
    return set;
  }

  test('are absent while nothing is known, then tell of its age and its end', async (t) => {
    const answer = later<Credential>();
    const set = kept(t, () => answer.promise);
    for (const name of ['usable', 'age_seconds', 'expiry_seconds'] as const) {
      assert.equal(set.shown(name), undefined, name);
    }
    answer.resolve(living(() => set.clock, 100 * s)(1));
    await set.settle();
    set.clock.advance(30 * s);
    assert.deepEqual(
      [set.shown('usable'), set.shown('age_seconds'), set.shown('expiry_seconds')],
      [1, 30, 70],
    );
  });

  test('tell the age of a value, not of an answer', async (t) => {
    const set = kept(t, (count) => basicCredential('robot', count < 3 ? 'old' : 'new'));
    await set.settle();
    set.clock.advance(30 * s);
    await set.get();
    assert.equal(set.shown('age_seconds'), 30);
    assert.equal(set.shown('expiry_seconds'), undefined);
    await set.get();
    assert.equal(set.shown('age_seconds'), 0);
  });

  test('say it cannot be used where there is none', async (t) => {
    const set = kept(t, () => undefined);
    await set.settle();
    assert.deepEqual([set.shown('usable'), set.shown('age_seconds')], [0, undefined]);
  });

  test('say it cannot be used once it fails and nothing is held', async (t) => {
    const set: SetUp = kept(t, (count) => {
      if (count > 1) throw down();
      return living(() => set.clock, 100 * s)(count);
    });
    await set.settle();
    set.clock.advance(60 * s);
    await set.get();
    await set.settle();
    assert.equal(set.shown('usable'), 1, 'the one at hand serves');
    set.clock.advance(60 * s);
    assert.equal(set.shown('usable'), 0);
    assert.equal(set.shown('expiry_seconds'), 0);
  });

  test('say so where it failed from the beginning, and where it is asked for each time', async (t) => {
    const never = kept(t, () => {
      throw down();
    });
    await never.settle();
    assert.equal(never.shown('usable'), 0);
    t.mock.timers.reset();
    const set = kept(t, (count) => {
      if (count > 1) throw down();
      return basicCredential('robot', 'secret');
    });
    await set.settle();
    assert.equal(set.shown('usable'), 1);
    await assert.rejects(set.get(), { code: 'UNAVAILABLE' });
    assert.equal(set.shown('usable'), 0);
  });

  test('say it cannot be used after it was refused, until it is taken or there is another', async (t) => {
    const set = kept(t, (count) => basicCredential('robot', count < 4 ? 'old' : 'new'));
    const old = await set.get();
    assert.ok(old, 'there is one');
    await set.replace(old);
    assert.equal(set.shown('usable'), 0);
    set.clock.advance(3600 * s);
    assert.equal(set.shown('usable'), 0, 'nobody has shown it since');
    set.credentials.accepted(basicCredential('robot', 'another'));
    assert.equal(set.shown('usable'), 0, 'another one was taken');
    set.credentials.accepted(old);
    assert.equal(set.shown('usable'), 1, 'it was taken');
    await set.replace(old);
    assert.equal(set.shown('usable'), 0);
    await set.get();
    assert.equal(set.shown('usable'), 1, 'there is another');
  });

  test('tell of a refusal also where it was met with the credential of one repository', async (t) => {
    const set = setUp(t, () => basicCredential('robot', 'secret'));
    set.credentials.keepReady({ registry });
    await set.settle();
    const refused = await set.get(target);
    assert.ok(refused, 'there is one');
    await set.replace(refused, target);
    assert.equal(set.shown('usable'), 0);
  });
});
