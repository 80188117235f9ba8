import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ByteRange, parseRange, printRange } from './range.js';

describe('parseRange', () => {
  for (const [header, expected] of [
    ['bytes=0-99', { kind: 'from', first: 0, last: 99 }],
    ['bytes=5-5', { kind: 'from', first: 5, last: 5 }],
    ['bytes=100-', { kind: 'from', first: 100 }],
    ['bytes=-5', { kind: 'suffix', length: 5 }],
    [' bytes=1-2 ', { kind: 'from', first: 1, last: 2 }],
    ['Bytes=1-2', { kind: 'from', first: 1, last: 2 }], // RFC 9110 section 14.1: units are case-insensitive
    ['bytes=2-1', undefined],
    ['bytes=-', undefined],
    ['bytes=', undefined],
    ['bytes=0-1,3-4', undefined],
    ['bytes=0x1-2', undefined],
    ['bytes=1.5-2', undefined],
    ['bytes=+1-2', undefined],
    ['bytes=1 - 2', undefined],
    ['items=0-1', undefined],
    ['bytes=9999999999999999-', undefined],
    ['', undefined],
  ] as const) {
    it(`${JSON.stringify(header)} -> ${JSON.stringify(expected)}`, () =>
      assert.deepEqual(parseRange(header), expected));
  }
});

const plain = { noNullPrototype: true };
const offset = fc.nat({ max: 999_999_999_999_999 });
const range: fc.Arbitrary<ByteRange> = fc.oneof(
  fc.record({ kind: fc.constant('suffix' as const), length: offset }, plain),
  fc.record({ kind: fc.constant('from' as const), first: offset }, plain),
  fc
    .tuple(offset, offset)
    .map(([a, b]) => ({ kind: 'from' as const, first: Math.min(a, b), last: Math.max(a, b) })),
);

describe('for any range', () => {
  it('what is printed is parsed to the same', () => {
    fc.assert(fc.property(range, (value) => assert.deepEqual(parseRange(printRange(value)), value)));
  });

  it('any text is ignored, or is parsed to what is parsed to the same again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('bytes=', '-', '0', '1', '9', ',', ' ') }),
    );
    fc.assert(
      fc.property(text, (value) => {
        const parsed = parseRange(value);
        if (parsed !== undefined) assert.deepEqual(parseRange(printRange(parsed)), parsed);
      }),
      { numRuns: 3000 },
    );
  });
});
