import assert from 'node:assert/strict';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LogStream } from './log-stream.js';

test('lines arrive whole and in order', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'log-stream-'));
  const file = openSync(join(directory, 'log'), 'a');
  const losses: string[] = [];
  const stream = new LogStream(file, (how) => losses.push(how));
  const lines = Array.from({ length: 2000 }, (_, i) => `${i} ${'ä'.repeat(i % 50)}\n`);
  for (const line of lines) stream.write(line);
  await stream.flush(10_000);
  closeSync(file);
  assert.equal(readFileSync(join(directory, 'log'), 'utf8'), lines.join(''));
  assert.deepEqual(losses, []);
  rmSync(directory, { recursive: true });
});

test('a full disk costs lines and nothing else', async () => {
  const full = openSync('/dev/full', 'w');
  const losses: string[] = [];
  const stream = new LogStream(full, (how) => losses.push(how));
  stream.write('one\n');
  await stream.flush(10_000);
  stream.write('two\n');
  await stream.flush(10_000);
  closeSync(full);
  assert.deepEqual(losses, ['failed', 'failed']);
});

test('a reader that does not read costs lines, and flush does not wait for it', async () => {
  // The master side of a terminal nobody reads: it takes some, and then no more.
  const terminal = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  let dropped = 0;
  const stream = new LogStream(terminal, () => dropped++);
  const line = `${'x'.repeat(1023)}\n`;
  for (let i = 0; i < 10_000; i++) stream.write(line);
  assert.ok(dropped > 0, 'more than the bound was written, so lines were dropped');
  await stream.flush(50);
  closeSync(terminal);
});
