import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { lifeChoices, printLife, printTime } from './lives.js';

const hour = 3_600_000;
const day = 24 * hour;

describe('lives to choose from', () => {
  const cases: readonly (readonly [suggested: number, max: number, texts: readonly string[]])[] = [
    [30 * day, 90 * day, ['1 day', '7 days', '*30 days', '90 days']],
    [
      14 * day,
      400 * day,
      ['1 day', '7 days', '*14 days', '30 days', '90 days', '180 days', '365 days', '400 days'],
    ],
    [8 * hour, 8 * hour, ['*8 hours']],
    [hour, day, ['*1 hour', '1 day']],
    [90_000_000, 90_000_000, ['1 day', '*25 hours']],
  ];
  for (const [suggested, max, texts] of cases) {
    test(`${printLife(suggested)}, at most ${printLife(max)}`, () => {
      const choices = lifeChoices({ suggested, max });
      assert.deepEqual(
        choices.map(({ text, isSuggested }) => `${isSuggested ? '*' : ''}${text}`),
        texts,
      );
      for (const { life } of choices) assert.ok(life <= max, `${life} is more than the longest`);
    });
  }
});

describe('printed', () => {
  for (const [life, text] of [
    [60_000, '1 minute'],
    [5_400_000, '90 minutes'],
    [90_500, '2 minutes'],
    [36 * hour, '36 hours'],
    [day, '1 day'],
  ] as const) {
    test(`${life} ms: ${text}`, () => assert.equal(printLife(life), text));
  }

  test('a time, to the minute', () => {
    assert.equal(printTime(Date.UTC(2026, 10, 24, 9, 5, 59)), '2026-11-24 09:05');
  });
});
