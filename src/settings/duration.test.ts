import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { duration, printDuration } from './duration.js';
import { milliseconds } from './duration-text.js';

describe('duration', () => {
  it('what is printed is parsed to the same', () => {
    fc.assert(
      fc.property(fc.nat({ max: 36_500 * 86_400_000 }), (value) => {
        assert.equal(milliseconds(printDuration(value)), value);
        assert.equal(duration().parse(printDuration(value)), value);
      }),
    );
  });

  for (const text of [
    '',
    '5',
    's',
    '-1s',
    '+1s',
    ' 1s',
    '1s ',
    '1S',
    '1h30m',
    '1e3s',
    '1w',
    '1s\n',
    '١s',
    `${'9'.repeat(400)}s`,
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () =>
      assert.ok(!duration().safeParse(text).success, 'it was accepted'));
  }

  it('says its limits', () => {
    const { error } = duration({ min: '60s', max: '1h' }).safeParse('1s');
    assert.match(error?.issues[0]?.message ?? '', /at least 60s, at most 1h/);
  });

  it('includes its limits', () => {
    const limited = duration({ min: '60s', max: '1h' });
    for (const [text, good] of [
      ['59s', false],
      ['60s', true],
      ['1m', true],
      ['1h', true],
      ['3601s', false],
    ] as const)
      assert.equal(limited.safeParse(text).success, good, text);
  });

  it('is 0 for text that is none', () => assert.equal(milliseconds('soon'), 0));
});
