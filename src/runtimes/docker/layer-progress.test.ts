import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LayerProgress } from './layer-progress.js';
import { parsePullMessage } from './pull-message.js';

const line = (id: string, status = 'Downloading') =>
  parsePullMessage({ id, status, progressDetail: { current: 1, total: 2 } });

test('an id or a status that is none is not kept', () => {
  const progress = new LayerProgress();
  const long = 'a'.repeat(1e6);
  for (const message of [line(`${long}1`), line(`${long}2`), line('b'.repeat(257)), line('', long)]) {
    progress.take(message);
    assert.ok(JSON.stringify(message).length < 1_000, 'it holds what is too long');
  }
  assert.equal(progress.snapshot.layers.total, 0);
  progress.take(line('b'.repeat(256)));
  assert.equal(progress.snapshot.layers.total, 1);
});

test('more ids than an image has layers are not kept', () => {
  const progress = new LayerProgress();
  for (let i = 0; i < 5_000; i++) progress.take(line(`${i}`));
  assert.equal(progress.snapshot.layers.total, 4096);
});

test('what is too long for a word does not hide an error', () => {
  const long = 'a'.repeat(1e6);
  assert.equal(parsePullMessage({ id: long, status: long, error: 'no' }).error?.message, 'no');
});
