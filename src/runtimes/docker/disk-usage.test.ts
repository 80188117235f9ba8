import assert from 'node:assert/strict';
import { statfsSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { RuntimeError } from '../../contracts/runtime.js';
import { failureOf, options } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { type EngineReply, ScriptedEngine } from '../../testing/scripted-engine.js';
import { DockerRuntime } from './docker-runtime.js';

const o = options();
const elsewhere = '/nowhere/docker';
const images: EngineReply = [200, [{ Size: 100 }, { Size: 23 }]];

async function engineFor(
  t: TestContext,
  version: string,
  replies: Readonly<Record<string, EngineReply>> = {},
) {
  const engine = await new ScriptedEngine().listen();
  t.after(() => engine.close());
  engine.versions = { ApiVersion: version };
  engine.replies.set('GET /info', [200, { DockerRootDir: elsewhere }]);
  engine.replies.set('GET /images/json', images);
  for (const [asked, reply] of Object.entries(replies)) engine.replies.set(asked, reply);
  const clock = new FakeClock();
  const parts = { path: engine.path, pinned: [], clock, log: new FakeLog() };
  const runtime = new DockerRuntime({ ...parts, stallTimeout: 60_000 });
  t.after(() => runtime.close());
  return { engine, runtime, clock };
}

describe('what images take on the disk', () => {
  const usages: readonly (readonly [
    what: string,
    version: string,
    df: EngineReply | undefined,
    used: number,
  ])[] = [
    ['the sum, where the engine would measure all volumes', '1.41', [200, { LayersSize: 1 }], 123],
    ['shared layers once', '1.43', [200, { LayersSize: 101, Images: [] }], 101],
    ['shared layers once, of later engines', '1.47', [200, { ImageUsage: { TotalSize: 102 } }], 102],
    [
      'the sum, where the engine is asked by somebody else',
      '1.43',
      [409, { message: 'already running' }],
      123,
    ],
    ['the sum, where the engine does not tell', '1.43', [200, {}], 123],
    ['the sum, where it cannot be understood', '1.43', (response) => response.end('<'), 123],
    ['the sum, where the connection is cut', '1.43', (response) => response.destroy(), 123],
  ];
  for (const [what, version, df, used] of usages) {
    test(`${what}: API ${version}`, async (t) => {
      const { engine, runtime, clock } = await engineFor(t, version, df && { 'GET /system/df': df });
      const expected = { timestamp: clock.now(), mountpoint: elsewhere, usedBytes: used, inodesUsed: 0 };
      assert.deepEqual(await runtime.fsInfo(o), [expected]);
      const asked = engine.requests.find(({ path }) => path === '/system/df');
      assert.deepEqual(asked?.query, version === '1.41' ? undefined : { type: 'image' });
    });
  }

  test('is no more than the disk holds, where it is to be seen from here', async (t) => {
    const { engine, runtime } = await engineFor(t, '1.41', {
      'GET /images/json': [200, [{ Size: Number.MAX_SAFE_INTEGER }]],
    });
    engine.replies.set('GET /info', [200, { DockerRootDir: engine.directory }]);
    const [usage] = await runtime.fsInfo(o);
    const { blocks, bsize } = statfsSync(engine.directory);
    assert.equal(usage?.mountpoint, engine.directory);
    assert.ok(
      (usage?.usedBytes ?? 0) > 0 && (usage?.usedBytes ?? 0) <= blocks * bsize,
      `${usage?.usedBytes}`,
    );
    assert.ok((usage?.inodesUsed ?? 0) > 0, 'no inode');
  });

  test('is asked once for many, and again when it is old', async (t) => {
    const { engine, runtime, clock } = await engineFor(t, '1.41');
    const times = () => engine.asked.filter((asked) => asked === 'GET /info').length;
    await Promise.all([runtime.fsInfo(o), runtime.fsInfo(o), runtime.fsInfo(o)]);
    clock.advance(8_000);
    await runtime.fsInfo(o);
    assert.equal(times(), 1);
    clock.advance(2_000);
    await runtime.fsInfo(o);
    assert.equal(times(), 2);
    clock.advance(-60_000);
    await runtime.fsInfo(o);
    assert.equal(times(), 3, 'a clock that was put back');
  });

  for (const [what, reply, expected] of [
    ['no directory', [200, {}], /^failed: .*cannot be understood$/],
    ['a directory of Windows', [200, { DockerRootDir: 'C:\\docker' }], /^failed: .*cannot be understood$/],
    ['an error', [500, { message: 'boom' }], /^failed: .*answers 500 to GET \/info: boom$/],
    ['nothing', (response) => response.destroy(), /^unavailable: /],
  ] as readonly (readonly [string, EngineReply, RegExp])[]) {
    test(`is not known of an engine that tells ${what}`, async (t) => {
      const { engine, runtime } = await engineFor(t, '1.41', { 'GET /info': reply });
      const error = await failureOf(() => runtime.fsInfo(o));
      assert.ok(error instanceof RuntimeError, `${error}`);
      assert.match(`${error.fault}: ${error.message}`, expected);
      engine.replies.set('GET /info', [200, { DockerRootDir: elsewhere }]);
      assert.equal((await runtime.fsInfo(o)).length, 1, 'a failure is not kept');
    });
  }
});
