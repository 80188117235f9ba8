import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { RuntimeError } from '../../contracts/runtime.js';
import { failureOf, options } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { ScriptedEngine } from '../../testing/scripted-engine.js';
import { apiVersionOf } from './api-version.js';
import { DockerRuntime } from './docker-runtime.js';

const o = options();

describe('the version that both know', () => {
  for (const [engine, ApiVersion, MinAPIVersion, spoken] of [
    ['Docker 20.10', '1.41', '1.12', '1.41'],
    ['Docker 24', '1.43', '1.12', '1.43'],
    ['Docker 27', '1.47', '1.24', '1.47'],
    ['Docker 29', '1.52', '1.44', '1.47'],
    ['one that has given up all of ours', '1.99', '1.60', '1.60'],
    ['one that does not tell its oldest', '1.44', undefined, '1.44'],
  ] as const) {
    test(`of ${engine}`, () => {
      assert.equal(apiVersionOf({ ApiVersion, MinAPIVersion }).text, spoken);
    });
  }

  for (const [what, answer, expected] of [
    ['an older engine', { ApiVersion: '1.40' }, /speaks API 1\.40; at least 1\.41 \(20\.10\) is needed/],
    ['no engine', {}, /no Docker Engine/],
    ['another form', { ApiVersion: '2.0' }, /no Docker Engine/],
    ['another type', { ApiVersion: 1.41 }, /no Docker Engine/],
  ] as const) {
    test(`is none of ${what}`, async () => {
      const error = await failureOf(async () => apiVersionOf(answer));
      assert.ok(error instanceof RuntimeError && error.fault === 'failed', `${error}`);
      assert.match(error.message, expected);
    });
  }
});

describe('the version that is spoken', () => {
  async function engineFor(t: TestContext) {
    const engine = await new ScriptedEngine().listen();
    t.after(() => engine.close());
    engine.replies.set('GET /images/json', [200, []]);
    const parts = { path: engine.path, pinned: [], clock: new FakeClock(), log: new FakeLog() };
    const runtime = new DockerRuntime({ ...parts, stallTimeout: 60_000 });
    t.after(() => runtime.close());
    const versions = () => engine.requests.map(({ path, version }) => version ?? path);
    return { engine, runtime, versions };
  }

  test('is asked for once, also by many at once', async (t) => {
    const { runtime, versions } = await engineFor(t);
    await Promise.all([runtime.list(o), runtime.list(o), runtime.list(o)]);
    await runtime.list(o);
    assert.deepEqual(versions(), ['/version', '1.41', '1.41', '1.41', '1.41']);
  });

  test('is another once the engine is one that refuses it', async (t) => {
    const { engine, runtime, versions } = await engineFor(t);
    await runtime.list(o);
    engine.versions = { ApiVersion: '1.52', MinAPIVersion: '1.44' };
    await runtime.list(o);
    assert.deepEqual(versions().slice(2), ['1.41', '/version', '1.47']);
    engine.versions = { ApiVersion: '1.43', MinAPIVersion: '1.12' };
    engine.replies.set('POST /images/create', [404, { message: 'manifest unknown' }]);
    await failureOf(() => runtime.pull({ repository: { registry: 'a.b', name: 'a' } } as never, o));
    assert.deepEqual(versions().slice(5), ['1.47', '/version', '1.43']);
  });

  test('is asked for again after the engine was gone', async (t) => {
    const { engine, runtime, versions } = await engineFor(t);
    await runtime.list(o);
    await engine.stop();
    await failureOf(() => runtime.list(o));
    engine.versions = { ApiVersion: '1.44', MinAPIVersion: '1.12' };
    await engine.listen();
    await runtime.list(o);
    assert.deepEqual(versions().slice(2), ['/version', '1.44']);
  });

  test('is not asked for again because of any other 400', async (t) => {
    const { engine, runtime, versions } = await engineFor(t);
    engine.replies.set('GET /images/json', [400, { message: 'no' }]);
    const error = await failureOf(() => runtime.list(o));
    assert.match(String(error), /answers 400 to GET \/images\/json: no$/);
    assert.deepEqual(versions(), ['/version', '1.41']);
  });

  test('cannot be had: the answer is tried anew the next time', async (t) => {
    const { engine, runtime } = await engineFor(t);
    for (const reply of [
      [500, { message: 'boom' }],
      [200, {}],
      [200, 'text'],
    ] as const) {
      engine.replies.set('GET /version', reply);
      const error = await failureOf(() => runtime.list(o));
      assert.ok(error instanceof RuntimeError && error.fault === 'failed', `${error}`);
    }
    engine.replies.delete('GET /version');
    assert.deepEqual(await runtime.list(o), []);
  });
});
