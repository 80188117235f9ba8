import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseJsonObject, parseStrictJsonObject } from './json-object.js';

describe('parseJsonObject', () => {
  test('{"a":[1]}', () => assert.deepEqual(parseJsonObject(' {"a":[1]} '), { a: [1] }));
  for (const text of ['', 'token', '{', 'null', '1', '"text"', '[{}]', '{"a":1}x']) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseJsonObject(text), undefined));
  }
});

describe('parseStrictJsonObject', () => {
  const bytes = (...parts: readonly (string | number)[]) =>
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))));
  for (const [what, encoded] of [
    ['a text', '{"a":["\u00e4"]}'],
    ['bytes', bytes('{"a":["\u00e4"]}')],
  ] as const) {
    test(`${what} of an object`, () => assert.deepEqual(parseStrictJsonObject(encoded), { a: ['\u00e4'] }));
  }
  const rows: Readonly<Record<string, string | Buffer>> = {
    nothing: '',
    'a list': '[]',
    'a cut one': '{"a":1',
    'a key twice': '{"a":1,"a":1}',
    'a key twice, within': '{"a":{"b":1,"\\u0062":1}}',
    'a key twice, in bytes': bytes('{"a":1,"a":1}'),
    'bytes that are no UTF-8': bytes('{"a":"', 0xff, '"}'),
    'a character in too many bytes': bytes('{"a":"', 0xc1, 0xa1, '"}'),
    'a byte order mark': bytes('\ufeff{"a":1}'),
    'a byte order mark in a text': '\ufeff{"a":1}',
  };
  for (const [what, encoded] of Object.entries(rows)) {
    test(`${what} is none`, () => assert.equal(parseStrictJsonObject(encoded), undefined));
  }
});
