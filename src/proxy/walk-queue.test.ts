import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WalkQueue } from './walk-queue.js';

const o = { signal: new AbortController().signal };

/** A queue of walks that end when they are told to. */
function openQueue() {
  const queue = new WalkQueue({ atOnce: 2, waiting: 2, ofOne: 3 });
  const underWay = new Map<string, (error?: Error) => void>();
  return {
    underWay: () => [...underWay.keys()],
    /** @param walk `alice 1`: the client, and which of its walks */
    start(walk: string, signal = o.signal) {
      const client = walk.slice(0, walk.indexOf(' '));
      const result = queue.run(client, { signal }, () => {
        return new Promise<string>((resolve, reject) => {
          underWay.set(walk, (error) => (error ? reject(error) : resolve(walk)));
        }).finally(() => underWay.delete(walk));
      });
      result.catch(() => {});
      return result;
    },
    async end(walk: string, error?: Error) {
      underWay.get(walk)?.(error);
      await nextTurn();
    },
  };
}

describe('WalkQueue', () => {
  test('some clients at once, one walk of each, and the others in order', async () => {
    const { start, end, underWay } = openQueue();
    const all = ['a 1', 'a 2', 'b 1', 'c 1', 'd 1', 'b 2'].map((walk) => start(walk));
    const seen: string[] = [];
    await nextTurn();
    while (underWay().length > 0) {
      seen.push(underWay().join());
      await end(underWay()[0] ?? '');
    }
    assert.deepEqual(seen, ['a 1,b 1', 'b 1,c 1', 'c 1,d 1', 'd 1,a 2', 'a 2,b 2', 'b 2']);
    assert.deepEqual(await Promise.all(all), ['a 1', 'a 2', 'b 1', 'c 1', 'd 1', 'b 2']);
  });

  test('there are bounds, for one client and for all; what has ended makes room', async () => {
    const { start, end } = openQueue();
    const tooMany = { code: 'TOOMANYREQUESTS', status: 429, retryAfter: 1 };
    const admitted = ['a 1', 'a 2', 'a 3', 'b 1', 'c 1', 'd 1'].map((walk) => start(walk));
    await assert.rejects(start('a 4'), { ...tooMany, message: /by this client/ });
    await assert.rejects(start('e 1'), tooMany);
    await end('a 1');
    admitted.push(start('a 4'));
    await assert.rejects(start('e 1'), tooMany);
    await end('b 1', new Error('broken'));
    admitted.push(start('e 1'));
    for (const walk of ['c 1', 'd 1', 'a 2', 'e 1', 'a 3', 'a 4']) await end(walk);
    assert.deepEqual(
      (await Promise.allSettled(admitted)).map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', ...Array(4).fill('fulfilled')],
    );
  });

  test('who leaves while waiting makes room', async () => {
    const { start, end, underWay } = openQueue();
    const leaving = new AbortController();
    const all = [start('a 1'), start('b 1'), start('d 1')];
    const left = ['a 2', 'c 1'].map((walk) => start(walk, leaving.signal));
    leaving.abort(new Error('gone'));
    for (const walk of left) await assert.rejects(walk, { message: 'gone' });
    all.push(start('e 1'));
    for (const walk of ['a 1', 'b 1']) await end(walk);
    assert.deepEqual(underWay(), ['d 1', 'e 1']);
    for (const walk of ['d 1', 'e 1']) await end(walk);
    await Promise.all(all);
  });
});
