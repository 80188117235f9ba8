import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeOnce } from './write-once.js';

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'once-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

test('a file is written for its owner alone, and stays as it is', async (t) => {
  const directory = directoryOf(t);
  const path = join(directory, 'file');
  await writeOnce(path, 'first');
  await writeOnce(path, 'second', 0o644);
  assert.equal(readFileSync(path, 'utf8'), 'first');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory), ['file']);
});

test('of many who write at once, one has written', async (t) => {
  const directory = directoryOf(t);
  const path = join(directory, 'file');
  await Promise.all(Array.from({ length: 20 }, (_, i) => writeOnce(path, `${i}`.repeat(1000))));
  assert.match(readFileSync(path, 'utf8'), /^(\d+?)\1{999}$/);
  assert.deepEqual(readdirSync(directory), ['file']);
});

test('a directory that is not there is told of', async (t) => {
  const path = join(directoryOf(t), 'absent', 'file');
  await assert.rejects(writeOnce(path, 'text'), { message: `cannot write ${path}` });
});
