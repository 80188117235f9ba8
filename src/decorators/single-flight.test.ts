import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SingleFlight } from './single-flight.js';
import { Turns } from './turns.js';

const nobody = { signal: new AbortController().signal };
const never = () => new Promise<never>(() => {});

describe('a single flight', () => {
  test('is shared by its key while it goes on, and no longer', async () => {
    const flights = new SingleFlight<number>(10_000);
    let starts = 0;
    const start = async () => ++starts;
    assert.deepEqual(
      await Promise.all(['a', 'a', 'b'].map((key) => flights.run(key, nobody, start))),
      [1, 1, 2],
    );
    assert.equal(await flights.run('a', nobody, start), 3);
  });

  test('goes on when one waiter leaves', async () => {
    const flights = new SingleFlight<string>(10_000);
    const leaving = new AbortController();
    let land: (value: string) => void = () => {};
    let told: AbortSignal | undefined;
    const start = (signal: AbortSignal) => {
      told = signal;
      return new Promise<string>((resolve) => {
        land = resolve;
      });
    };
    const left = flights.run('a', { signal: leaving.signal }, start);
    const stays = flights.run('a', nobody, start);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    assert.equal(told?.aborted, false);
    land('landed');
    assert.equal(await stays, 'landed');
  });

  test('ends when the last waiter leaves, and who comes then begins anew', async () => {
    const flights = new SingleFlight<string>(10_000);
    const told: AbortSignal[] = [];
    const start = (signal: AbortSignal) => {
      told.push(signal);
      return told.length === 1 ? never() : Promise.resolve('landed');
    };
    const leaving = [new AbortController(), new AbortController()];
    const left = leaving.map(({ signal }) => flights.run('a', { signal }, start));
    leaving[0]?.abort(new Error('left'));
    await assert.rejects(left[0] ?? never(), /left/);
    assert.equal(told[0]?.aborted, false);
    const next = (left[1] ?? never()).catch(() => flights.run('a', nobody, start)); // in the same instant
    leaving[1]?.abort(new Error('left'));
    assert.equal(await next, 'landed');
    assert.equal(told[0]?.aborted, true);
    assert.equal(told.length, 2);
  });

  test('shares a failure, and forgets it', async () => {
    const flights = new SingleFlight<string>(10_000);
    const fail = () => Promise.reject(new Error('crashed'));
    const both = [flights.run('a', nobody, fail), flights.run('a', nobody, fail)];
    for (const one of both) await assert.rejects(one, /crashed/);
    assert.equal(await flights.run('a', nobody, async () => 'fine'), 'fine');
  });

  test('ends after its time, and when closed', async () => {
    await assert.rejects(new SingleFlight(5).run('a', nobody, never), /took longer than 5 ms/);
    const flights = new SingleFlight(10_000);
    const one = flights.run('a', nobody, never);
    flights.close();
    await assert.rejects(one, /closed/);
    await assert.rejects(flights.run('b', nobody, never), /closed/);
  });
});

describe('turns', () => {
  test('let so many run at once, in order, and a waiter leave', async () => {
    const turns = new Turns(2);
    const log: string[] = [];
    const gates: (() => void)[] = [];
    const work = (name: string) => async () => {
      log.push(name);
      await new Promise<void>((resolve) => gates.push(resolve));
    };
    const leaving = new AbortController();
    const a = turns.run(nobody, work('a'));
    const b = turns.run(nobody, work('b'));
    const c = turns.run({ signal: leaving.signal }, work('c'));
    const d = turns.run(nobody, work('d'));
    leaving.abort(new Error('left'));
    await assert.rejects(c, /left/);
    assert.deepEqual(log, ['a', 'b']);
    gates[0]?.();
    await a;
    await new Promise(setImmediate);
    assert.deepEqual(log, ['a', 'b', 'd']);
    for (const open of gates) open();
    await Promise.all([b, d]);
    gates.length = 0;
    const again = turns.run(nobody, work('e'));
    await new Promise(setImmediate);
    gates[0]?.();
    await again;
  });
});
