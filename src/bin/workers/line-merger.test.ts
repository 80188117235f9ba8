import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineMerger } from './line-merger.js';

test('what comes in any pieces is passed on in whole lines', () => {
  const text = Array.from({ length: 200 }, (_, i) => `${i} ${'ä€😀'.repeat(i % 7)}\n`).join('');
  const bytes = Buffer.from(text);
  for (const size of [1, 2, 3, 7, 64, 1000, bytes.length]) {
    const written: string[] = [];
    const merger = new LineMerger((lines) => written.push(lines));
    for (let at = 0; at < bytes.length; at += size) merger.add(bytes.subarray(at, at + size));
    assert.equal(written.join(''), text);
    for (const lines of written) assert.ok(lines.endsWith('\n'), `in pieces of ${size} a line was cut`);
  }
});

test('what a process leaves of a line when it ends is a line', () => {
  const written: string[] = [];
  const merger = new LineMerger((lines) => written.push(lines));
  merger.add(Buffer.from('one\ntw'));
  merger.end();
  merger.end();
  assert.deepEqual(written, ['one\n', 'tw\n']);
});

test('a line without an end does not fill the memory', () => {
  const written: string[] = [];
  const merger = new LineMerger((lines) => written.push(lines));
  for (let i = 0; i < 40; i++) merger.add(Buffer.alloc(64 * 1024, 'x'));
  assert.ok(written.join('').length >= 2 * 1024 * 1024, 'it waits for its end');
});
