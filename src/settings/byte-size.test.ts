import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { byteSize, printByteSize } from './byte-size.js';

describe('a size', () => {
  for (const [text, bytes] of [
    ['1B', 1],
    ['500MB', 500_000_000],
    ['20GB', 20_000_000_000],
    ['20GiB', 20 * 2 ** 30],
    ['1KiB', 1024],
    ['3kB', 3000],
    ['8TiB', 8 * 2 ** 40],
  ] as const) {
    test(`${text} is ${bytes}`, () => assert.equal(byteSize().parse(text), bytes));
  }
  for (const text of ['', '0GB', '20', '20gb', '1.5GB', '-1GB', '20 GB', '9999999999B', '999999999TiB', 20]) {
    test(`${JSON.stringify(text)} is none`, () => {
      const parsed = byteSize().safeParse(text);
      assert.equal(parsed.success, false);
      assert.match(String(parsed.error?.issues[0]?.message), /expected a size such as/);
    });
  }
  for (const [bytes, text] of [
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [20 * 2 ** 30, '20.0 GiB'],
  ] as const) {
    test(`${bytes} is printed as ${text}`, () => assert.equal(printByteSize(bytes), text));
  }
});
