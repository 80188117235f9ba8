import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseInstant } from './instant.js';

describe('a time', () => {
  for (const [text, expected] of [
    ['1970-01-01T00:00:01Z', 1000],
    ['1970-01-01T00:00:00.5Z', 500],
    ['1970-01-01T02:00:00+02:00', 0],
    ['1970-01-01', undefined],
    ['1970-01-01T00:00:00', undefined],
    ['1970-13-01T00:00:00Z', undefined],
    ['1970-01-01 00:00:00Z', undefined],
    ['yesterday', undefined],
    ['', undefined],
  ] as const) {
    it(`${text || 'empty'}: ${expected ?? 'none'}`, () => assert.equal(parseInstant(text), expected));
  }
});
