import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FairTurns } from './fair-turns.js';

const nobody = { signal: new AbortController().signal };
const settled = () => new Promise(setImmediate);

/** Turns, and who came to theirs: `A1`, of group `A`. */
function setUp(options: { readonly atOnce: number; readonly waiting: number }) {
  const turns = new FairTurns({ ...options, refusal: () => new Error('no place') });
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  /** Says how it ended. */
  const come = (who: string, o = nobody): Promise<string> =>
    turns
      .run(who.replace(/\d+$/, ''), o, async () => {
        begun.push(who);
        await new Promise<void>((resolve) => ends.set(who, resolve));
        return 'done';
      })
      .catch((error: Error) => error.message);
  return {
    begun,
    come,
    comeAll: (names: string) => names.split(' ').map((name) => come(name)),
    /** Ends one after the other, the one that began first before the others. */
    async endAll(): Promise<void> {
      for (let i = 0; i < begun.length; i++) {
        ends.get(begun[i] ?? '')?.();
        await settled();
      }
    },
    async end(who: string): Promise<void> {
      ends.get(who)?.();
      await settled();
    },
  };
}

describe('fair turns', () => {
  for (const [what, atOnce, came, expected] of [
    ['keep the order within a group', 1, 'A1 A2 A3 A4', 'A1 A2 A3 A4'],
    ['go round among groups', 1, 'A1 A2 A3 B1 B2 C1', 'A1 B1 C1 A2 B2 A3'],
    ['go next to a group of which none runs', 2, 'A1 A2 A3 A4 A5 B1', 'A1 A2 B1 A3 A4 A5'],
    ['go to the group of which fewest run', 3, 'A1 A2 A3 A4 A5 B1 B2 B3', 'A1 A2 A3 B1 B2 A4 A5 B3'],
  ] as const) {
    test(what, async () => {
      const { begun, comeAll, endAll } = setUp({ atOnce, waiting: 100 });
      const all = comeAll(came);
      await settled();
      assert.equal(begun.length, atOnce);
      await endAll();
      assert.equal(begun.join(' '), expected);
      assert.ok(
        (await Promise.all(all)).every((one) => one === 'done'),
        'all are done',
      );
    });
  }

  test('take the last place of the group that has most, and not of who has no more than it', async () => {
    const { begun, comeAll, endAll } = setUp({ atOnce: 1, waiting: 3 });
    const all = comeAll('A1 A2 A3 A4 B1 C1 D1 A5 B2');
    await endAll();
    assert.equal(begun.join(' '), 'A1 B1 C1 A2');
    assert.deepEqual(
      await Promise.all(all),
      'done,done,no place,no place,done,done,no place,no place,no place'.split(','),
    );
  });

  test('let a waiter leave, whose place is free then', async () => {
    const { begun, come, endAll } = setUp({ atOnce: 1, waiting: 1 });
    const leaving = new AbortController();
    const [first, second] = [come('A1'), come('B1', leaving)];
    assert.equal(await come('C1'), 'no place');
    leaving.abort(new Error('left'));
    assert.equal(await second, 'left');
    assert.equal(await come('D1', leaving), 'left');
    const third = come('C2');
    await endAll();
    assert.deepEqual([await first, await third, begun.join(' ')], ['done', 'done', 'A1 C2']);
  });

  test('let so many run at once and wait, whoever comes, leaves and ends', async () => {
    const step = fc.record({ group: fc.constantFrom('A', 'B', 'C'), what: fc.nat({ max: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { begun, come, end, endAll } = setUp({ atOnce: 2, waiting: 3 });
        const ended = new Set<string>();
        const asked: { readonly leaving: AbortController; readonly answer: Promise<string> }[] = [];
        let open = 0;
        for (const [i, { group, what }] of steps.entries()) {
          const running = begun.filter((one) => !ended.has(one));
          const [first] = running;
          if (what === 0 && first !== undefined) {
            ended.add(first);
            await end(first);
          } else if (what === 1) asked.at(-1)?.leaving.abort(new Error('left'));
          else {
            const leaving = new AbortController();
            open++;
            const answer = come(`${group}${i}`, leaving).finally(() => open--);
            asked.push({ leaving, answer });
          }
          await settled();
          const now = begun.filter((one) => !ended.has(one)).length;
          assert.ok(now <= 2 && open - now <= 3, `${now} run, ${open - now} wait`);
          assert.ok(now === 2 || open === now, 'nobody waits beside a free turn');
        }
        await endAll();
        await Promise.all(asked.map(({ answer }) => answer));
        const last = [come('A1000'), come('B1000')];
        await settled();
        assert.deepEqual(begun.slice(-2), ['A1000', 'B1000'], 'a turn was lost');
        await endAll();
        await Promise.all(last);
      }),
      { numRuns: 200 },
    );
  });
});
