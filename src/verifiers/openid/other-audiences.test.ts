import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { OtherAudiences } from './other-audiences.js';

function setUp() {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  const others = new OtherAudiences('a token is for other audiences', {
    ...{ id: 'corp', expected: ['ours'], clock, log },
  });
  return { clock, log, others };
}

describe('a proof for another audience', () => {
  it('is told with the address that joins it to its request', () => {
    const { log, others } = setUp();
    others.note(['theirs'], '192.0.2.1');
    assert.deepEqual(
      log.at('info').map(({ message, fields }) => [message, fields]),
      [
        [
          'a token is for other audiences, and is left to other verifiers',
          { id: 'corp', audiences: ['theirs'], expected: ['ours'], address: '192.0.2.1' },
        ],
      ],
    );
  });

  it('is told once a minute', () => {
    const { clock, log, others } = setUp();
    const toldAfter = (milliseconds: number) => {
      clock.advance(milliseconds);
      others.note(['theirs'], '192.0.2.1');
      return log.entries.length;
    };
    assert.deepEqual([0, 0, 59_999, 1].map(toldAfter), [1, 1, 1, 2]);
  });

  it('is not told at any length, nor in more than one line', () => {
    const { log, others } = setUp();
    others.note(['a\nb', 'x'.repeat(1_000), ...Array.from({ length: 50 }, () => 'more')], '192.0.2.1');
    assert.deepEqual(log.entries[0]?.fields.audiences, ['a\\nb', 'x'.repeat(100), 'more', 'more', 'more']);
  });
});
