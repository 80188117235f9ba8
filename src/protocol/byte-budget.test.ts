import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ByteBudget, type HeldBytes, heldBody, OverBudget } from './byte-budget.js';
import { readBounded } from './read-bounded.js';

const none = new AbortController().signal;

/** Numbers from 0 up to 1, the same ones each time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('a budget of bytes', () => {
  test('is used up by what is held, and free again when that is let go', () => {
    const budget = new ByteBudget('manifests', { total: 100, free: 0 });
    const [first, second] = [budget.open(), budget.open()];
    first.take(60);
    second.take(40);
    assert.equal(budget.used, 100);
    assert.throws(() => second.take(1), {
      code: 'TOOMANYREQUESTS',
      status: 429,
      retryAfter: 1,
      reason: 'manifests in memory would be over 100 bytes',
    });
    first.release();
    first.release();
    assert.equal(budget.used, 40);
    second.take(60);
    second.release();
    assert.equal(budget.used, 0);
    assert.throws(() => second.take(1), RangeError);
    assert.equal(budget.used, 0);
  });

  test('what is small is let in although giants have used it up', () => {
    const budget = new ByteBudget('manifests', { total: 100, free: 10 });
    const giant = budget.open();
    giant.take(4);
    assert.equal(budget.used, 0);
    giant.take(106);
    assert.equal(budget.used, 100);
    const small = budget.open();
    small.take(7);
    small.take(3);
    assert.throws(() => small.take(1), OverBudget);
    small.release();
    assert.equal(budget.used, 100);
    giant.release();
    assert.equal(budget.used, 0);
  });

  for (let seed = 1; seed <= 50; seed++) {
    test(`is never passed, and whole again after all that happens (${seed})`, () => {
      const random = numbers(seed);
      const upTo = (n: number) => Math.floor(random() * n);
      const limits = { total: 1 + upTo(1000), free: upTo(50) };
      const budget = new ByteBudget('lists', limits);
      const open = new Map<HeldBytes, number>();
      for (let step = 0; step < 500; step++) {
        const held = [...open.keys()][upTo(open.size)];
        const what = random();
        if (held === undefined || what < 0.2) open.set(budget.open(), 0);
        else if (what < 0.4) {
          held.release();
          open.delete(held);
        } else {
          const count = upTo(200);
          try {
            held.take(count);
            open.set(held, (open.get(held) ?? 0) + count);
          } catch (error) {
            assert.ok(error instanceof OverBudget, String(error));
          }
        }
        const counted = [...open.values()].map((size) => Math.max(size - limits.free, 0));
        assert.equal(
          budget.used,
          counted.reduce((sum, size) => sum + size, 0),
        );
        assert.ok(budget.used <= limits.total, `${budget.used} of ${limits.total}`);
      }
      for (const held of open.keys()) held.release();
      assert.equal(budget.used, 0);
    });
  }
});

describe('a body in memory', () => {
  const bytes = Buffer.alloc(100_000, 'x');

  function held(signal: AbortSignal = none) {
    const budget = new ByteBudget('manifests', { total: 200_000, free: 0 });
    const share = budget.open();
    share.take(bytes.length);
    return { budget, body: heldBody(bytes, share, signal) };
  }

  test('is held until it was read', async () => {
    const { budget, body } = held();
    const closed = once(body, 'close');
    body.once('data', () => body.pause());
    body.resume();
    await nextTurn();
    await nextTurn();
    assert.equal(budget.used, bytes.length); // a slow client has not taken it yet
    body.resume();
    await closed;
    assert.equal(budget.used, 0);
  });

  test('comes whole', async () => {
    const { budget, body } = held();
    assert.deepEqual(await readBounded(body, bytes.length, 10_000), bytes);
    assert.equal(budget.used, 0);
  });

  for (const error of [undefined, new Error('gone')]) {
    test(`is let go when it is destroyed ${error ? 'with an error' : 'silently'}`, async () => {
      const { budget, body } = held();
      const closed = new Promise((resolve) => body.once('close', resolve));
      body.destroy(error);
      await closed;
      assert.equal(budget.used, 0);
    });
  }

  test('is let go when the signal is aborted, read or not', async () => {
    const leaving = new AbortController();
    const { budget, body } = held(leaving.signal);
    const closed = new Promise((resolve) => body.once('close', resolve));
    const reason = new Error('the client left');
    leaving.abort(reason);
    await closed;
    assert.equal(body.errored, reason);
    assert.equal(budget.used, 0);
  });

  test('is none where the signal was aborted before', () => {
    const budget = new ByteBudget('manifests');
    const share = budget.open();
    share.take(bytes.length);
    const reason = new Error('the client left');
    assert.throws(() => heldBody(bytes, share, AbortSignal.abort(reason)), reason);
    assert.equal(budget.used, 0);
  });
});

describe('reading a body that must be small', () => {
  const pieces = (...sizes: readonly number[]) =>
    Readable.from(
      sizes.map((size, i) => Buffer.alloc(size, i + 1)),
      { objectMode: false },
    );

  test('in whatever pieces it comes, the bytes are the same', async () => {
    const random = numbers(7);
    const whole = Buffer.from(Array.from({ length: 5_000 }, () => Math.floor(random() * 256)));
    for (const most of [1, 2, 7, 100, 4_096, 5_000]) {
      const parts: Buffer[] = [];
      for (let at = 0; at < whole.length; ) {
        const size = 1 + Math.floor(random() * most);
        parts.push(whole.subarray(at, at + size));
        at += size;
      }
      for (const limit of [5_000, 5_001, 1_000_000]) {
        assert.deepEqual(await readBounded(Readable.from(parts), limit, 10_000), whole);
      }
      assert.equal(await readBounded(Readable.from(parts), 4_999, 10_000), undefined);
    }
    assert.deepEqual(await readBounded(Readable.from([]), 10, 10_000), Buffer.alloc(0));
  });

  test('counts the bytes as they come, and lets the body go where there are too many', async () => {
    const budget = new ByteBudget('lists', { total: 25, free: 0 });
    const share = budget.open();
    const body = pieces(10, 10, 10, 10);
    await assert.rejects(readBounded(body, 1_000, 10_000, share), OverBudget);
    assert.ok(body.destroyed, 'body.destroyed');
    assert.equal(budget.used, 20);
    share.release();
    assert.equal(budget.used, 0);
  });
});
