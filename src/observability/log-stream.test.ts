import assert from 'node:assert/strict';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LineTarget, LogStream } from './log-stream.js';

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

/** Takes what it is told to. */
class Target implements LineTarget {
  text = '';
  /** How many bytes each call takes; an Error is thrown. The last one is for all that follow. */
  takes: (number | Error)[] = [Number.POSITIVE_INFINITY];

  async ready(): Promise<boolean> {
    return this.text === '' || this.text.endsWith('\n');
  }

  async append(bytes: Buffer): Promise<number> {
    const take = this.takes.length > 1 ? this.takes.shift() : this.takes[0];
    if (typeof take !== 'number') throw take;
    this.text += bytes.subarray(0, take).toString('latin1');
    return Math.min(take, bytes.length);
  }
}

const full = Object.assign(new Error('full'), { code: 'ENOSPC' });

function streamTo(target: Target) {
  const told: string[] = [];
  const stream = new LogStream(
    target,
    (how, lines) => told.push(`${how} ${lines}`),
    () => told.push('recovered'),
  );
  return { stream, told };
}

test('what is written in part is completed', async () => {
  const target = new Target();
  target.takes = [1];
  const { stream, told } = streamTo(target);
  stream.write('one\n');
  stream.write('two\n');
  await stream.flush(10_000);
  assert.equal(target.text, 'one\ntwo\n');
  assert.deepEqual(told, []);
});

test('after a part that could not be completed the next line begins on a new one', async () => {
  const target = new Target();
  target.takes = [6, full, 100];
  const { stream, told } = streamTo(target);
  for (const line of ['one\n', 'two\n', 'three\n']) stream.write(line);
  await stream.flush(10_000);
  assert.equal(target.text, 'one\ntw');
  stream.write('four\n');
  await stream.flush(10_000);
  assert.equal(target.text, 'one\ntw\nfour\n');
  stream.write('five\n');
  await stream.flush(10_000);
  assert.deepEqual(told, ['failed 2', 'recovered']);
});

/** Lets everything happen that needs no time. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

test('lines that come after a failure wait a second for the next try', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const target = new Target();
  target.takes = [full, full, 100];
  const { stream, told } = streamTo(target);
  for (const line of ['lost\n', 'one\n', 'two\n']) {
    stream.write(line);
    await settled();
  }
  t.mock.timers.tick(999);
  await settled();
  assert.deepEqual(told, ['failed 1']);
  t.mock.timers.tick(1);
  await settled();
  assert.deepEqual(told, ['failed 1', 'failed 2']);
  stream.write('three\n');
  t.mock.timers.tick(1000);
  await settled();
  assert.equal(target.text, 'three\n');
  assert.deepEqual(told, ['failed 1', 'failed 2', 'recovered']);
});

test('who flushes does not wait for that second', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const target = new Target();
  target.takes = [full, full, 100];
  const { stream, told } = streamTo(target);
  stream.write('lost\n');
  await settled();
  stream.write('lost too\n');
  const flushed = stream.flush(10_000);
  await settled();
  assert.deepEqual(told, ['failed 1', 'failed 1']);
  assert.equal(await flushed, true);
  stream.write('one\n');
  await settled();
  assert.equal(target.text, 'one\n');
});

test('what is not written at the end is lost, and counted', async () => {
  const target = new Target();
  target.takes = [Object.assign(new Error('busy'), { code: 'EAGAIN' })];
  const { stream, told } = streamTo(target);
  stream.write('busy\n');
  await new Promise(setImmediate);
  stream.write('waits\n');
  assert.equal(await stream.end(10), false);
  stream.write('late\n');
  for (let i = 0; i < 500 && told.length < 3; i++) await sleep(10);
  assert.deepEqual(told, ['dropped 1', 'dropped 1', 'failed 1']);
  assert.equal(target.text, '');
});
