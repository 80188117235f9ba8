import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeLog } from '../../testing/fake-log.js';
import { FakeMetrics } from '../../testing/fake-metrics.js';
import { FakeRuntime } from '../../testing/fake-runtime.js';
import { RuntimeHealth } from './runtime-health.js';

for (const broken of [false, true]) {
  test(`an engine that answers${broken ? ' not' : ''}`, async () => {
    const runtime = new FakeRuntime();
    runtime.broken = broken;
    const metrics = new FakeMetrics();
    const health = new RuntimeHealth(runtime, { metrics, log: new FakeLog() });
    assert.equal(await health.isConnected(), !broken);
    assert.equal(await health.problem(), broken ? 'the container runtime does not answer' : undefined);
    assert.deepEqual(metrics.observed('runtime_connected'), [broken ? 0 : 1]);
  });
}

test('an engine that says nothing, asked once for all', async () => {
  const runtime = new FakeRuntime();
  let asked = 0;
  runtime.ping = () => {
    asked++;
    return new Promise(() => {});
  };
  const health = new RuntimeHealth(runtime, { metrics: new FakeMetrics(), log: new FakeLog() });
  assert.deepEqual(await Promise.all([health.isConnected(), health.isConnected()]), [false, false]);
  assert.equal(asked, 1);
});
