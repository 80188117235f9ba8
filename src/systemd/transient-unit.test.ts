import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TransientService } from '../contracts/node.js';
import { transientCall } from './transient-unit.js';

// systemd takes what is told here in test/e2e/systemd.test.ts.

const usual: TransientService = { name: 'one.service', description: 'One', command: ['/bin/one', '$HOME'] };

const always = {
  Description: ['s', 'One'],
  Type: ['s', 'exec'],
  CollectMode: ['s', 'inactive-or-failed'],
  ExecStart: ['a(sasb)', [['/bin/one', ['/bin/one', '$$HOME'], false]]],
};
const limited = { RuntimeMaxUSec: ['t', 900_000_000] };
const repeated = {
  Restart: ['s', 'on-failure'],
  RestartUSec: ['t', 5_000_000],
  StartLimitIntervalUSec: ['t', 600_000_000],
  StartLimitBurst: ['u', 3],
};

const rows: readonly (readonly [what: string, more: Partial<TransientService>, properties: object])[] = [
  ['as it is', {}, always],
  ['with a limit', { timeLimit: 900_000 }, { ...always, ...limited }],
  ['repeated', { isRepeated: true }, { ...always, ...repeated }],
  ['both', { timeLimit: 900_000, isRepeated: true }, { ...always, ...limited, ...repeated }],
];

const properties = (list: unknown) => Object.fromEntries(list as readonly [string, unknown][]);

for (const [what, more, expected] of rows) {
  test(`a service at once, ${what}`, () => {
    const { unit, body } = transientCall({ ...usual, ...more });
    assert.deepEqual([unit, ...body.slice(0, 2)], ['one.service', 'one.service', 'fail']);
    assert.deepEqual(properties(body[2]), expected);
    assert.deepEqual(body[3], []);
  });

  test(`a service by a timer, ${what}: the service has them, the timer has none of them`, () => {
    const { unit, body } = transientCall({ ...usual, ...more, after: 2_500 });
    assert.deepEqual([unit, ...body.slice(0, 2)], ['one.timer', 'one.timer', 'fail']);
    assert.deepEqual(properties(body[2]), {
      ...{ Description: ['s', 'One'], CollectMode: ['s', 'inactive-or-failed'] },
      ...{ TimersMonotonic: ['a(st)', [['OnActiveSec', 2_500_000]]], AccuracyUSec: ['t', 1_000_000] },
      RemainAfterElapse: ['b', false],
    });
    const [[name, own] = []] = body[3] as readonly (readonly unknown[])[];
    assert.equal(name, 'one.service');
    assert.deepEqual(properties(own), expected);
  });
}

test('a name that is no service is refused', () => {
  assert.throws(() => transientCall({ ...usual, name: 'one.timer' }), /ends in \.service was expected/);
});
