import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Credential } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { basicCredential } from '../testing/index.js';
import { NotAwaited } from './not-awaited.js';
import {
  down,
  held,
  later,
  living,
  other,
  registry,
  type SetUp,
  s,
  setUp,
  target,
  textOf,
} from './scripted-source.test.js';

describe('RefreshedCredentials', () => {
  test('a hundred callers at once are one question', async (t) => {
    const { source, get, fetches } = held(t, 100 * s);
    const all = await Promise.all(Array.from({ length: 100 }, () => get()));
    assert.deepEqual([...new Set(all.map(textOf))], ['secret-1']);
    assert.equal(source.asked.length, 1);
    assert.equal(fetches('obtained'), 1);
  });

  test('callers may leave, and what they asked for is there for the next', async (t) => {
    const answer = later<Credential>();
    const { clock, source, credentials, get } = setUp(t, () => answer.promise);
    const leaving = new AbortController();
    const waiting = [1, 2].map(() => credentials.credentialFor(target, { signal: leaving.signal }));
    leaving.abort(new Error('left'));
    for (const one of waiting) await assert.rejects(one, /left/);
    answer.resolve(basicCredential('robot', 'secret', clock.now() + 100 * s));
    assert.equal(textOf(await get()), 'secret');
    assert.equal(source.asked.length, 1);
    await assert.rejects(credentials.credentialFor(target, { signal: leaving.signal }), /left/);
  });

  test('a source that did not begin, for all had left, is told so and is not blamed', async (t) => {
    const turn = later<void>();
    const { clock, source, credentials, get, log, fetches } = setUp(t, async (count) => {
      if (count > 1) return basicCredential('robot', `secret-${count}`, clock.now() + 100 * s);
      await turn.promise;
      throw new NotAwaited();
    });
    const leaving = [new AbortController(), new AbortController()];
    const waiting = leaving.map((one) => credentials.credentialFor(target, one));
    await setImmediate();
    for (const [i, one] of leaving.entries()) {
      assert.equal(source.isAwaited?.(), true, 'somebody waits');
      one.abort(new Error('left'));
      await assert.rejects(waiting[i] ?? Promise.resolve(), /left/);
    }
    assert.equal(source.isAwaited?.(), false, 'nobody waits');
    const late = get();
    turn.resolve();
    assert.equal(textOf(await late), 'secret-2');
    assert.equal(fetches('failed'), 0);
    assert.deepEqual(log.at('warn'), []);
  });

  test('a refresh that nobody waits for is wanted, and so is what is kept ready', async (t) => {
    const { clock, source, credentials, get, settle } = held(t, 100 * s);
    await get(other);
    clock.advance(60 * s);
    const answer = later<undefined>();
    source.answer = () => answer.promise;
    await get(other);
    await settle();
    assert.equal(source.isAwaited?.(), true, 'the refresh');
    credentials.keepReady(target);
    await settle();
    assert.equal(source.asked.length, 3);
    assert.equal(source.isAwaited?.(), true, 'what is kept ready');
    answer.resolve(undefined);
  });

  test('one question has 65 seconds', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { get, source } = setUp(t, (_count, signal) => {
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    });
    const waiting = get();
    waiting.catch(() => {});
    await setImmediate();
    t.mock.timers.tick(64_999);
    await setImmediate();
    assert.equal(await Promise.race([waiting, setImmediate('still waiting')]), 'still waiting');
    t.mock.timers.tick(1);
    await assert.rejects(waiting, {
      code: 'UNAVAILABLE',
      reason: 'credential 1 of upstream hub cannot be had',
    });
    assert.equal(source.asked.length, 1);
  });

  const lives: readonly (readonly [string, number, number | undefined, number])[] = [
    ['the half of its life', 100 * s, undefined, 50 * s],
    ['the time its source names', 100 * s, 80 * s, 80 * s],
    ['its last moments, where its source names a later time', 100 * s, 200 * s, 95 * s],
    ['ten seconds, where its source names one that is over', 100 * s, -1 * s, 10 * s],
  ];
  for (const [name, life, refreshAfter, from] of lives) {
    test(`it is given without asking until ${name}, and refreshed from then on`, async (t) => {
      const { clock, source, get, settle } = held(t, life, refreshAfter);
      await get();
      clock.advance(from - 1);
      assert.equal(textOf(await get()), 'secret-1');
      await settle();
      assert.equal(source.asked.length, 1);
      clock.advance(1);
      // At the end of its life somebody must wait for the next one; before that nobody does.
      if (from < 95 * s) assert.equal(textOf(await get()), 'secret-1');
      else await get();
      await settle();
      assert.equal(source.asked.length, 2);
      assert.equal(textOf(await get()), 'secret-2');
    });
  }

  test('it is not given so close to its end that a request would not arrive', async (t) => {
    const { clock, source, get } = held(t, 100 * s, 99 * s);
    await get();
    clock.advance(95 * s);
    assert.equal(textOf(await get()), 'secret-2', 'somebody waits for another');
    assert.equal(source.asked.length, 2);
  });

  test('one without an end is held where its source says when to ask again', async (t) => {
    const { clock, source, get, settle } = setUp(t, (count) => ({
      ...basicCredential('robot', `secret-${count}`),
      refreshAt: clock.now() + 60 * s,
    }));
    for (let i = 0; i < 3; i++) await get();
    assert.equal(source.asked.length, 1);
    clock.advance(24 * 3600 * s);
    assert.equal(textOf(await get()), 'secret-1');
    await settle();
    assert.equal(textOf(await get()), 'secret-2');
  });

  test('one without any time is asked for each time, once for those who wait together', async (t) => {
    const { source, get } = setUp(t, (count) => basicCredential('robot', `secret-${count}`));
    assert.deepEqual((await Promise.all([get(), get()])).map(textOf), ['secret-1', 'secret-1']);
    assert.equal(textOf(await get()), 'secret-2');
    assert.equal(source.asked.length, 2);
  });

  test('that there is none is not asked again for ten seconds', async (t) => {
    const { clock, source, get, fetches } = setUp(t, (count) =>
      count === 1 ? undefined : basicCredential('robot', 'secret'),
    );
    assert.equal(await get(), undefined);
    clock.advance(10 * s - 1);
    assert.equal(await get(), undefined);
    assert.equal(source.asked.length, 1);
    clock.advance(1);
    assert.equal(textOf(await get()), 'secret');
    assert.deepEqual([fetches('none'), fetches('obtained')], [1, 1]);
  });

  test('each repository has its own, unless the source says which share one', async (t) => {
    const { source, get } = held(t, 100 * s);
    await Promise.all([get(target), get(other), get({ registry })]);
    assert.equal(source.asked.length, 3);
    const shared = held(t, 100 * s);
    shared.source.keyFor = ({ registry: host }) => host;
    await Promise.all([shared.get(target), shared.get(other), shared.get({ registry })]);
    assert.equal(shared.source.asked.length, 1);
  });

  test('of many keys the last thousand are remembered', async (t) => {
    const { source, get } = held(t, 100 * s);
    const at = (i: number) => get({ registry, name: parseRepositoryName(`team/app${i}`) });
    for (let i = 0; i <= 1000; i++) await at(i);
    await at(1000);
    assert.equal(source.asked.length, 1001);
    await at(0);
    assert.equal(source.asked.length, 1002);
  });
});

describe('a credential source that fails', () => {
  test('while one is held: that serves until its end, and it is asked with growing pauses', async (t) => {
    const set: SetUp = setUp(t, (count) => {
      if (count > 1) throw down();
      return living(() => set.clock, 200 * s)(count);
    });
    const { clock, source, get, settle, log, fetches } = set;
    await get();
    clock.advance(100 * s);
    for (const [i, pause] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      assert.equal(textOf(await get()), 'secret-1');
      await settle();
      assert.equal(source.asked.length, i + 2, `question ${i + 2} at the end of its pause`);
      clock.advance(pause * s - 1);
      assert.equal(textOf(await get()), 'secret-1');
      await settle();
      assert.equal(source.asked.length, i + 2, 'and not before');
      clock.advance(1);
    }
    assert.equal(fetches('failed'), 7);
    assert.equal(log.at('warn').length, 7, 'one line a failure');
    assert.match(log.lines[0] ?? '', /"error":"UNAVAILABLE: sts\.example\.com answers 500".*at hand serves/);
    assert.doesNotMatch(log.text, /secret-/);
    clock.advance(10 * s);
    await assert.rejects(get(), { code: 'UNAVAILABLE' });
  });

  for (const [wanted, pause] of [
    [3600, 300],
    [60, 60],
    [0, 1],
  ] as const) {
    test(`and says to leave it alone for ${wanted} s: it is, for ${pause} s`, async (t) => {
      const set: SetUp = setUp(t, (count) => {
        if (count > 1) throw new RegistryError('UNAVAILABLE', { retryAfter: wanted });
        return living(() => set.clock, 2000 * s)(count);
      });
      const { clock, source, get, settle } = set;
      await get();
      clock.advance(1000 * s);
      for (const [after, asked] of [
        [0, 2],
        [pause * s - 1, 2],
        [1, 3],
      ] as const) {
        clock.advance(after);
        assert.equal(textOf(await get()), 'secret-1');
        await settle();
        assert.equal(source.asked.length, asked);
      }
    });
  }

  test('while none is held, and says to leave it alone: nobody is made an exception of', async (t) => {
    const throttled = { reason: 'sts.example.com answers 429', retryAfter: 60 };
    const { clock, source, get } = setUp(t, () => {
      throw new RegistryError('TOOMANYREQUESTS', throttled);
    });
    for (const [after, asked] of [
      [0, 1],
      [60 * s - 1, 1],
      [1, 2],
    ] as const) {
      clock.advance(after);
      await assert.rejects(get(), { code: 'UNAVAILABLE', retryAfter: 60 });
      assert.equal(source.asked.length, asked);
    }
  });

  test('and comes back: the pauses begin anew', async (t) => {
    const set: SetUp = setUp(t, (count) => {
      if (count === 2 || count === 4) throw down();
      return living(() => set.clock, 100 * s)(count);
    });
    const { clock, source, get, settle } = set;
    await get();
    for (const asked of [2, 3, 4, 5]) {
      clock.advance(asked % 2 === 0 ? 50 * s : 1 * s);
      await get();
      await settle();
      assert.equal(source.asked.length, asked);
    }
  });

  test('while none is held: all get its error, and for a while without another question', async (t) => {
    const { clock, source, get } = setUp(t, () => {
      throw down();
    });
    for (const [i, pause] of [1, 2, 2, 2, 2].entries()) {
      const failures = await Promise.all([get(), get()].map((one) => one.catch((error: unknown) => error)));
      assert.equal(failures[0], failures[1]);
      assert.equal(source.asked.length, i + 1);
      clock.advance(pause * s - 1);
      await assert.rejects(get(), { code: 'UNAVAILABLE', reason: 'sts.example.com answers 500' });
      assert.equal(source.asked.length, i + 1);
      clock.advance(1);
    }
  });

  const strange = {
    'an error of its own': new TypeError('x is not a function'),
    'no error at all': 'oops',
    'what would send the client to log in again': new RegistryError('UNAUTHORIZED'),
  };
  for (const [name, thrown] of Object.entries(strange)) {
    test(`with ${name} is UNAVAILABLE, and the cause is kept`, async (t) => {
      const { get } = setUp(t, () => {
        throw thrown;
      });
      await assert.rejects(get(), (error) => {
        assert.ok(error instanceof RegistryError, String(error));
        assert.deepEqual(
          [error.code, error.reason, error.cause],
          ['UNAVAILABLE', 'credential 1 of upstream hub cannot be had', thrown],
        );
        return true;
      });
    });
  }

  test('by giving one that has ended: it is not shown', async (t) => {
    const { get } = held(t, 0);
    await assert.rejects(get(), { code: 'UNAVAILABLE', reason: /is the clock right/ });
  });
});
