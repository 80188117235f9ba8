import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { VerdictMemory, Verdicts } from './verdicts.js';

describe('Verdicts', () => {
  test('tell what is not known from what is', () => {
    const verdicts = new Verdicts(3);
    verdicts.record(0, true);
    verdicts.record(1, false);
    const all = [0, 1, 2, 3, -1].map((index) => [verdicts.isShown(index), verdicts.isHidden(index)]);
    assert.deepEqual(all, [
      [true, false],
      [false, true],
      [false, false],
      [false, false],
      [false, false],
    ]);
  });
});

describe('VerdictMemory', () => {
  test('keeps them for the same list and the same terms', () => {
    const memory = new VerdictMemory();
    const list = ['a', 'b'];
    const verdicts = memory.of(list, ['alice', ['x'], { y: 1 }]);
    verdicts.record(1, true);
    assert.equal(memory.of(list, ['alice', ['x'], { y: 1 }]), verdicts);
    for (const about of [['alice'], ['alice', ['x'], { y: '1' }], ['alice', ['x', 'y'], { y: 1 }]]) {
      assert.ok(!memory.of(list, about).isShown(1), JSON.stringify(about));
    }
    assert.ok(
      !memory.of([...list], ['alice', ['x'], { y: 1 }]).isShown(1),
      'another list that says the same',
    );
  });

  test('forgets what was asked for longest ago, by number and by size', () => {
    const memory = new VerdictMemory();
    const short = ['a'];
    const first = memory.of(short, [0]);
    for (let i = 1; i < 2000; i++) memory.of(short, [i]);
    assert.equal(memory.of(short, [0]), first);
    for (let i = 2000; i < 4000; i++) memory.of(short, [i]);
    assert.notEqual(memory.of(short, [0]), first);

    const long: readonly string[] = Array.from({ length: 1_000_000 }, () => 'a');
    const second = memory.of(long, ['long', 0]);
    for (let i = 1; i < 40; i++) memory.of(long, ['long', i]);
    assert.notEqual(memory.of(long, ['long', 0]), second);
  });

  test('an empty list has some, too', () => {
    assert.ok(!new VerdictMemory().of([], []).isShown(0), 'nothing is shown');
  });
});
