import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PartsInUse } from './parts-in-use.js';

/** Whether a promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false;
  promise.then(() => {
    done = true;
  });
  for (let i = 0; i < 5; i++) await nextTurn();
  return done;
}

describe('PartsInUse', () => {
  test('who enters gets the present parts, and keeps them', async () => {
    const parts = new PartsInUse('first');
    const early = parts.enter();
    const replaced = parts.replace('second');
    const late = parts.enter();
    assert.deepEqual([early.parts, late.parts, parts.current], ['first', 'second', 'second']);
    early.leave();
    await replaced;
  });

  test('nobody works with the earlier ones: they are free at once', async () => {
    const parts = new PartsInUse(1);
    await parts.replace(2);
    parts.enter().leave();
    await parts.replace(3);
  });

  test('they are free when the last one has left, and not before; who comes later does not count', async () => {
    const parts = new PartsInUse(1);
    const [one, two] = [parts.enter(), parts.enter()];
    const replaced = parts.replace(2);
    const later = parts.enter();
    assert.equal(await isDone(replaced), false);
    one.leave();
    assert.equal(await isDone(replaced), false);
    two.leave();
    assert.equal(await isDone(replaced), true);
    later.leave();
  });

  test('several replacements, each with its own last request', async () => {
    const parts = new PartsInUse(1);
    const one = parts.enter();
    const first = parts.replace(2);
    const two = parts.enter();
    const second = parts.replace(3);
    two.leave();
    assert.deepEqual([await isDone(first), await isDone(second)], [false, true]);
    one.leave();
    assert.equal(await isDone(first), true);
    assert.equal(parts.current, 3);
  });

  test('as many may have come and gone before', async () => {
    const parts = new PartsInUse(1);
    for (let i = 0; i < 3; i++) parts.enter().leave();
    const last = parts.enter();
    const replaced = parts.replace(2);
    assert.equal(await isDone(replaced), false);
    last.leave();
    assert.equal(await isDone(replaced), true);
  });
});
