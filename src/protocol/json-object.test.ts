import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseJsonObject } from './json-object.js';

describe('parseJsonObject', () => {
  test('{"a":[1]}', () => assert.deepEqual(parseJsonObject(' {"a":[1]} '), { a: [1] }));
  for (const text of ['', 'token', '{', 'null', '1', '"text"', '[{}]', '{"a":1}x']) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseJsonObject(text), undefined));
  }
});
