import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeNode } from '../testing/fake-node.js';
import {
  countStart,
  holdLeft,
  isHeld,
  type KubeletStarts,
  kubeletStartsFile,
  parseStarts,
} from './kubelet-starts.js';

const minute = 60_000;
const now = Date.parse('2026-01-01T00:00:00Z');
const none: KubeletStarts = { starts: [] };

/** Starts so many milliseconds apart, from `now` on. */
const after = (...gaps: readonly number[]) => {
  let [state, at] = [none, now];
  for (const gap of gaps) {
    at += gap;
    state = countStart(state, at);
  }
  return { state, at };
};

describe('starts of kubelet with our arguments', () => {
  const rows: readonly (readonly [what: string, gaps: readonly number[], held: number])[] = [
    ['one', [0], 0],
    ['four at once', [0, 0, 0, 0], 0],
    ['five at once', [0, 0, 0, 0, 0], 30 * minute],
    ['five within five minutes', [0, minute, minute, minute, minute], 30 * minute],
    ['five in more than five minutes', [0, 2 * minute, minute, minute, minute], 0],
    ['one more while they are held', [0, 0, 0, 0, 0, 10 * minute], 20 * minute],
    ['one more after that', [0, 0, 0, 0, 0, 30 * minute], 0],
    ['four more after that', [0, 0, 0, 0, 0, 30 * minute, 0, 0, 0], 0],
    ['five more after that', [0, 0, 0, 0, 0, 30 * minute, 0, 0, 0, 0], 30 * minute],
    ['after the clock was set back', [0, 0, 0, 0, -minute], 0],
    ['held, and the clock was set back', [0, 0, 0, 0, 0, -minute], 0],
  ];
  for (const [what, gaps, held] of rows) {
    test(`${what}: held for ${held / minute} min`, () => {
      const { state, at } = after(...gaps);
      assert.equal(holdLeft(state, at), held);
      assert.deepEqual(parseStarts(JSON.stringify(state)), state);
    });
  }

  for (const text of [undefined, '', '{', '[]', '{"starts":[1,2,3,4,5]}', '{"starts":["1"]}', '{"more":1}']) {
    test(`${text} is as if there were none`, () => assert.deepEqual(parseStarts(text), none));
  }

  test('are told from the file', async () => {
    const node = new FakeNode({ '/etc/systemd/system/kubelet.service': '[Service]\nExecStart=/k\n' });
    assert.equal(await isHeld(node.process()), false);
    const { state } = after(0, 0, 0, 0, 0);
    node.files.set(kubeletStartsFile, { text: JSON.stringify(state), mode: 0o600 });
    node.now = now;
    assert.equal(await isHeld(node.process()), true);
    node.now += 30 * minute;
    assert.equal(await isHeld(node.process()), false);
  });
});
