import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Credential } from '../contracts/index.js';
import { basicCredential } from '../testing/index.js';
import { down, held, later, living, type SetUp, s, setUp, target, textOf } from './scripted-source.test.js';

describe('a refused credential', () => {
  test('is replaced once for all, and who comes late gets what is there already', async (t) => {
    const { clock, source, get, replace } = held(t, 100 * s);
    const refused = await get();
    assert.ok(refused, 'there is one');
    const all = await Promise.all(Array.from({ length: 100 }, () => replace(refused)));
    assert.deepEqual([...new Set(all.map(textOf))], ['secret-2']);
    assert.deepEqual(source.asked, [undefined, refused]);
    clock.advance(10 * s);
    assert.equal(textOf(await replace(refused)), 'secret-2');
    assert.equal(textOf(await get()), 'secret-2');
    assert.equal(source.asked.length, 2);
  });

  test('that stays the same is asked about every five seconds', async (t) => {
    const set: SetUp = setUp(t, () => living(() => set.clock, 1000 * s)(1));
    const { clock, source, get, replace } = set;
    const refused = await get();
    assert.ok(refused, 'there is one');
    for (let i = 0; i < 3; i++) assert.equal(textOf(await replace(refused)), 'secret-1');
    clock.advance(5 * s - 1);
    await replace(refused);
    assert.equal(source.asked.length, 2);
    clock.advance(1);
    await replace(refused);
    assert.equal(source.asked.length, 3);
  });

  test('is not brought back by an answer that was under way', async (t) => {
    const slow = later<Credential>();
    const set: SetUp = setUp(t, (count) =>
      count === 2 ? slow.promise : living(() => set.clock, 100 * s)(count),
    );
    const { clock, get, replace, settle } = set;
    const refused = await get();
    assert.ok(refused, 'there is one');
    clock.advance(50 * s);
    await get(); // begins a refresh
    assert.equal(textOf(await replace(refused)), 'secret-3');
    slow.resolve(refused);
    await settle();
    assert.equal(textOf(await get()), 'secret-3');
  });

  test('is not given to others while it is replaced; where that fails it is', async (t) => {
    const answers = [later<Credential>(), later<Credential>()];
    const set: SetUp = setUp(t, (count) =>
      count === 1 ? living(() => set.clock, 100 * s)(count) : answers[count - 2]?.promise,
    );
    const { clock, source, get, replace, settle } = set;
    const refused = await get();
    assert.ok(refused, 'there is one');
    const replacing = replace(refused);
    const waiting = get();
    await settle();
    answers[0]?.reject(down());
    await assert.rejects(replacing, { code: 'UNAVAILABLE' });
    assert.equal(textOf(await waiting), 'secret-1');
    clock.advance(5 * s);
    const again = replace(refused);
    const next = get();
    answers[1]?.resolve(living(() => clock, 100 * s)(9));
    assert.deepEqual([textOf(await again), textOf(await next)], ['secret-9', 'secret-9']);
    assert.equal(source.asked.length, 3);
  });

  test('of those asked for each time is asked about each time', async (t) => {
    const { source, get, replace } = setUp(t, () => basicCredential('robot', 'secret'));
    const refused = await get();
    assert.ok(refused, 'there is one');
    await replace(refused);
    await replace(refused);
    assert.deepEqual(source.asked, [undefined, refused, refused]);
  });

  test('whose caller leaves is replaced for the next', async (t) => {
    const answer = later<Credential>();
    const set: SetUp = setUp(t, (count) =>
      count === 1 ? living(() => set.clock, 100 * s)(count) : answer.promise,
    );
    const refused = await set.get();
    const leaving = new AbortController();
    const left = set.credentials.credentialFor(target, {
      signal: leaving.signal,
      ...(refused && { rejected: refused }),
    });
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    answer.resolve(living(() => set.clock, 100 * s)(2));
    assert.equal(textOf(await set.get()), 'secret-2');
  });
});
