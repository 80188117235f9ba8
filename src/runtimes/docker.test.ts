import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Runtime } from '../contracts/runtime.js';
import { RuntimeError } from '../contracts/runtime.js';
import { parseImageReference } from '../reference/image-reference.js';
import { failureOf, options } from '../testing/conformance/suite.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { ScriptedEngine } from '../testing/scripted-engine.js';
import { driver } from './docker.js';

const o = options();

async function open(t: TestContext, settings: object): Promise<Runtime> {
  const runtime = await driver.open(driver.config.parse(settings), {
    id: 'runtime',
    baseDirectory: '/',
    clock: new FakeClock(),
    log: new FakeLog(),
    metrics: new FakeMetrics(),
  });
  t.after(() => runtime.close());
  assert.ok(runtime.kind === 'engine', 'a runtime that speaks CRI');
  return runtime;
}

async function engineFor(t: TestContext): Promise<ScriptedEngine> {
  const engine = new ScriptedEngine();
  t.after(() => engine.close());
  engine.replies.set('GET /images/json', [200, []]);
  return engine.listen();
}

async function unavailable(call: () => Promise<unknown>): Promise<string> {
  const error = await failureOf(call);
  assert.ok(error instanceof RuntimeError, `${error}`);
  assert.equal(error.fault, 'unavailable', error.message);
  return error.message;
}

describe('the configuration of runtime docker', () => {
  test('has defaults', () => {
    const { endpoint, stallTimeout, pinned } = driver.config.parse({});
    assert.deepEqual([endpoint, stallTimeout, pinned], [{ path: '/var/run/docker.sock' }, 60_000, []]);
  });

  for (const [settings, expected] of [
    [{ endpoint: 'tcp://127.0.0.1:2375' }, /expected unix:\/\/\/an\/absolute\/path/],
    [{ endpoint: '/var/run/docker.sock' }, /write unix:\/\/\/var\/run\/docker\.sock/],
    [{ stallTimeout: '10ms' }, /at least 1s/],
    [{ stallTimeout: 60 }, /expected a duration/],
    [{ pinned: ['pause'] }, /expected a registry's host and a pattern/],
    [{ pinned: 'docker.io/**' }, /expected a list of image patterns/],
    [{ socket: 'x' }, /Unrecognized key/],
  ] as const) {
    test(`refuses ${JSON.stringify(settings)}`, () => {
      const result = driver.config.safeParse(settings);
      assert.match(result.error?.message ?? 'it was taken', expected);
    });
  }
});

describe('an engine that does not answer', () => {
  test('is opened, and every call names its socket', async (t) => {
    const runtime = await open(t, { endpoint: 'unix:///nowhere/docker.sock' });
    const image = parseImageReference('a');
    for (const call of [
      () => runtime.pull(image, o),
      () => runtime.status('a', o),
      () => runtime.list(o),
      () => runtime.remove('a', o),
      () => runtime.fsInfo(o),
    ]) {
      assert.match(await unavailable(call), /unix:\/\/\/nowhere\/docker\.sock: there is no such socket$/);
    }
  });

  test('may come, go, and come again at another socket', async (t) => {
    const engine = await engineFor(t);
    const runtime = await open(t, { endpoint: `unix://${engine.path}` });
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(await runtime.list(o), []);
      await engine.stop();
      await unavailable(() => runtime.list(o));
      await engine.listen();
    }
    // A connection that was kept may lead to an engine that is gone.
    assert.ok(
      engine.requests.every(({ headers }) => headers.connection === 'close'),
      'it keeps connections',
    );
  });

  test('is not waited for after the runtime is closed', async (t) => {
    const engine = await engineFor(t);
    engine.replies.set('GET /images/json', () => {});
    const runtime = await open(t, { endpoint: `unix://${engine.path}` });
    const listing = unavailable(() => runtime.list(o));
    while (!engine.asked.includes('GET /images/json')) await new Promise(setImmediate);
    await runtime.close();
    await listing;
    await unavailable(() => runtime.list(o));
  });
});
