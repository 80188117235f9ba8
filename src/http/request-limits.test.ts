import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { RequestLimits } from './request-limits.js';

describe('RequestLimits', () => {
  let metrics: FakeMetrics;
  let limits: RequestLimits;

  beforeEach(() => {
    metrics = new FakeMetrics();
    limits = new RequestLimits(metrics);
  });

  const open = () => metrics.value('requests_open');
  const refused = (limit: string) => metrics.value('request_refusals_total', { limit });

  for (const [kind, named] of [
    ['address', 'address'],
    ['principal', 'user'],
  ] as const) {
    test(`as many of one ${kind} as the limit says, and no more`, () => {
      const releases = [limits.enter(kind, 'a', 2), limits.enter(kind, 'a', 2)];
      const refusal = { code: 'TOOMANYREQUESTS', status: 429, retryAfter: 1, message: RegExp(named) };
      for (let i = 1; i <= 3; i++) {
        assert.throws(() => limits.enter(kind, 'a', 2), refusal);
        assert.equal(refused(kind), i);
      }
      releases[0]?.();
      limits.enter(kind, 'a', 2);
      assert.throws(() => limits.enter(kind, 'a', 2), refusal);
    });
  }

  test('released twice it counts once', () => {
    const [first] = [limits.enter('address', 'a', 2), limits.enter('address', 'a', 2)];
    first?.();
    first?.();
    limits.enter('address', 'a', 2);
    assert.throws(() => limits.enter('address', 'a', 2), { code: 'TOOMANYREQUESTS' });
    assert.equal(open(), 2);
  });

  test('each address and each principal counts for itself, also where they have one name', () => {
    limits.enter('address', 'a', 1);
    limits.enter('address', 'b', 1);
    limits.enter('principal', 'a', 1);
    limits.enter('principal', 'b', 1);
    assert.equal(refused('address') + refused('principal'), 0);
  });

  test('the limit is that of the moment: a reload may lower it', () => {
    limits.enter('address', 'a', 3);
    limits.enter('address', 'a', 3);
    assert.throws(() => limits.enter('address', 'a', 1), { code: 'TOOMANYREQUESTS' });
    limits.enter('address', 'a', 3);
  });

  test('the gauge has every request once, by its address; a refused one is none', () => {
    assert.match(metrics.text, /gauge requests_open\[\] 0/, 'it is there before the first request');
    const releases = [
      limits.enter('address', 'a', 1),
      limits.enter('principal', 'p', 1),
      limits.enter('address', 'b', 1),
    ];
    assert.throws(() => limits.enter('address', 'a', 1), { code: 'TOOMANYREQUESTS' });
    assert.equal(open(), 2);
    for (const release of releases) release();
    assert.equal(open(), 0);
  });

  test('no label is chosen by a client', () => {
    limits.enter('address', '203.0.113.9', 1);
    assert.throws(() => limits.enter('address', '203.0.113.9', 1), { code: 'TOOMANYREQUESTS' });
    assert.ok(!metrics.text.includes('203.0.113.9'), metrics.text);
  });
});
