import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasRepeatedKeys } from './repeated-keys.js';

describe('a key that stands twice', () => {
  const cases: readonly (readonly [text: string, repeated: boolean])[] = [
    ['{}', false],
    ['{"a":1,"b":2}', false],
    ['{"a":1,"a":2}', true],
    ['{"a":1, "a" : 1}', true],
    ['{"a":1,"\\u0061":2}', true],
    ['{"a":{"b":1},"c":{"b":1}}', false],
    ['{"a":{"b":1,"b":1}}', true],
    ['{"a":{"a":{"a":1}}}', false],
    ['{"a":{},"a":{}}', true],
    ['[{"a":1},{"a":1}]', false],
    ['{"a":[{"b":1}],"b":[1,"a","a"]}', false],
    ['{"a":[{"b":1,"b":2}]}', true],
    ['{"a":"\\"b\\":","b":"a\\\\"}', false],
    ['{"a":"{","b":"}","a":1}', true],
    ['{"__proto__":1,"__proto__":2}', true],
    ['"a"', false],
  ];
  for (const [text, repeated] of cases) {
    test(`${text}: ${repeated}`, () => {
      JSON.parse(text);
      assert.equal(hasRepeatedKeys(text), repeated);
    });
  }
});
