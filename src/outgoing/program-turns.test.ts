import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { NotAwaited } from '../decorators/not-awaited.js';
import { failureOf } from '../testing/conformance/suite.js';
import { ProgramTurns } from './program-turns.js';

const o = { signal: new AbortController().signal };

/** Work that ends when it is told to. */
function held() {
  let end = () => {};
  const done = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { work: () => done, end: () => end() };
}

describe('turns of programs', { timeout: 30_000 }, () => {
  test('who waits too long is let go, and takes no turn', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 100 });
    const { work, end } = held();
    const first = turns.run(o, work);
    let started = false;
    const second = turns.run(o, async () => {
      started = true;
    });
    assert.match(String(await failureOf(() => second)), /it waited 100 ms for its turn$/);
    end();
    await first;
    assert.equal(await turns.run(o, async () => 'next'), 'next');
    assert.equal(started, false);
  });

  test('the time that was waited is not there for the work', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 60_000 });
    const { work, end } = held();
    const first = turns.run(o, work);
    const left = turns.run(o, async ({ timeLimit }) => timeLimit);
    await sleep(50);
    end();
    await first;
    assert.ok((await left) <= 59_960, 'as if it had not waited');
    assert.ok((await turns.run(o, async ({ timeLimit }) => timeLimit)) > (await left), 'less without a wait');
  });

  test('who leaves is let go at once; the work keeps its turn until it has ended', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 60_000 });
    const { work, end } = held();
    const leaving = new AbortController();
    let told: unknown;
    const first = turns.run(leaving, async ({ signal }) => {
      await work();
      told = signal.reason;
    });
    const reason = new Error('gone');
    const second = turns.run(o, async () => 'second');
    leaving.abort(reason);
    assert.equal(await failureOf(() => first), reason);
    let came = false;
    void second.then(() => {
      came = true;
    });
    await sleep(20);
    assert.equal(came, false, 'the turn was given away');
    end();
    assert.equal(await second, 'second');
    assert.equal(told, reason);
  });

  test('what nobody waits for when its turn comes is not begun', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 60_000 });
    const { work, end } = held();
    const first = turns.run(o, work);
    let started = 0;
    const begin = async () => {
      started++;
    };
    const left = Array.from({ length: 50 }, () =>
      failureOf(() => turns.run({ ...o, isNew: true, isAwaited: () => false }, begin)),
    );
    const next = turns.run({ ...o, isAwaited: () => true }, async () => 'next');
    end();
    await first;
    for (const one of left) assert.ok((await one) instanceof NotAwaited, 'another error');
    assert.equal(await next, 'next');
    assert.equal(started, 0);
  });

  for (const atOnce of [1, 4]) {
    test(`of ${atOnce} turns, the next is for what is not new`, async () => {
      const turns = new ProgramTurns({ atOnce, timeLimit: 60_000 });
      const order: string[] = [];
      const holds: ReturnType<typeof held>[] = [];
      const run = (name: string, turn: object) => {
        const one = held();
        holds.push(one);
        return turns.run({ ...o, ...turn }, async () => {
          order.push(name);
          await one.work();
        });
      };
      const flood = Array.from({ length: 50 }, (_, i) => run('new', { group: `g${i % 5}`, isNew: true }));
      await setImmediate();
      assert.equal(order.length, atOnce);
      const known = run('known', { group: 'prod' });
      await setImmediate();
      assert.equal(order.length, atOnce);
      holds[0]?.end();
      await setImmediate();
      assert.equal(order.at(-1), 'known', 'it waits for what is new');
      for (const one of holds) one.end();
      await Promise.all([...flood, known]);
    });
  }

  test('what is new shares its turns among groups, and who has most places gives one up', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 60_000 });
    const order: string[] = [];
    const { work, end } = held();
    const first = turns.run({ ...o, group: 'flood', isNew: true }, work);
    const enter = (group: string) =>
      turns.run({ ...o, group, isNew: true }, async () => void order.push(group));
    const flood = Array.from({ length: 300 }, () => enter('flood').catch((error: unknown) => error));
    const victim = enter('prod');
    end();
    await Promise.all([first, victim]);
    assert.ok(order.indexOf('prod') <= 1, `it came after ${order.indexOf('prod')} others`);
    const refused = (await Promise.all(flood)).filter((one) => one !== undefined);
    assert.equal(refused.length, 300 - 256 + 1);
    assert.match(String(refused[0]), /too many wait for their turn$/);
  });

  test('all end when they are closed', async () => {
    const turns = new ProgramTurns({ atOnce: 1, timeLimit: 60_000 });
    const running = failureOf(() => turns.run(o, () => new Promise(() => {})));
    const waiting = failureOf(() => turns.run(o, async () => 'never'));
    turns.close();
    for (const one of [running, waiting, failureOf(() => turns.run(o, async () => 'later'))]) {
      assert.match(String(await one), /the source is closed$/);
    }
  });
});
