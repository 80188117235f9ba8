import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GrowingBytes } from './growing-bytes.js';

test('pieces of any size are put together', () => {
  const bytes = new GrowingBytes();
  assert.equal(bytes.bytes.length, 0);
  const pieces = ['', 'a', 'bc', '', 'd'.repeat(1000), 'e'].map((text) => Buffer.from(text));
  for (const piece of pieces) bytes.add(piece);
  assert.deepEqual(bytes.bytes, Buffer.concat(pieces));
});

test('single bytes cost little more than what they are', () => {
  const bytes = new GrowingBytes();
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 4 * 1024 * 1024; i++) bytes.add(Buffer.of(i & 255));
  assert.equal(bytes.bytes.length, 4 * 1024 * 1024);
  const grown = (process.memoryUsage().rss - before) / 1024 / 1024;
  assert.ok(grown < 200, `${grown} MiB`);
});
