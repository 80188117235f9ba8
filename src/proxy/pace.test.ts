import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Pace } from './pace.js';

const o = { signal: new AbortController().signal };

/** Works as long as a slice may, without giving way. */
async function workOn(isOver: () => boolean): Promise<void> {
  while (!isOver()) performance.now();
}

describe('Pace', () => {
  test('a slice is over after some work, and is told how long it was', async () => {
    const took = await new Pace().slice(o, workOn);
    assert.ok(took >= 5, `${took} ms`);
  });

  test('one slice at a time, in turn, and others are served between any two', async () => {
    const pace = new Pace();
    const log: string[] = [];
    const two = async (name: string) => {
      for (const i of [1, 2, 3]) {
        await pace.slice(o, async (isOver) => {
          log.push(`${name}${i}`);
          await workOn(isOver);
          await Promise.resolve();
          log.push('end');
          setTimeout(() => log.push('other')); // as a request that has come in the meantime
        });
      }
    };
    await Promise.all([two('a'), two('b')]);
    assert.deepEqual(
      log.join(' '),
      ['a1', 'b1', 'a2', 'b2', 'a3', 'b3'].map((slice) => `${slice} end`).join(' other '),
    );
  });

  test('work that fails makes room for others', async () => {
    const pace = new Pace();
    const failing = pace.slice(o, async () => Promise.reject(new Error('broken')));
    const next = pace.slice(o, async () => {});
    await assert.rejects(failing, { message: 'broken' });
    await next;
  });

  test('who leaves while another works, or while all rest, does not begin', async () => {
    const pace = new Pace();
    const begun: string[] = [];
    const leaving = new AbortController();
    const first = pace.slice(o, async () => {
      for (const end = performance.now() + 50; performance.now() < end; );
    });
    const second = pace.slice(leaving, async () => void begun.push('second'));
    await first;
    await nextTurn(); // the second one's turn has come, and it rests
    leaving.abort(new Error('gone'));
    const third = pace.slice(leaving, async () => void begun.push('third'));
    await Promise.all([second, third].map((slice) => assert.rejects(slice, { message: 'gone' })));
    await pace.slice(o, async () => void begun.push('fourth'));
    assert.deepEqual(begun, ['fourth']);
  });
});
