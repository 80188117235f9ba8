import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { RuntimeError } from '../../contracts/runtime.js';
import { failureOf, options } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { type EngineReply, ScriptedEngine } from '../../testing/scripted-engine.js';
import { DockerRuntime } from './docker-runtime.js';

const o = options();
const id = `sha256:${'0123456789abcdef'.repeat(4)}`;
const digest = `sha256:${'d'.repeat(64)}`;
const tags = ['docker.example.com/a:1', 'docker.example.com/b:1'];
const name = `docker.example.com/a@${digest}`;
const record = { Id: id, RepoTags: tags, RepoDigests: [name], Size: 7 };
const conflict: EngineReply = [409, { message: 'conflict: unable to delete (must be forced)' }];
const removed: EngineReply = [200, [{ Untagged: 'a' }]];

async function engineFor(t: TestContext, replies: Readonly<Record<string, EngineReply>>) {
  const engine = await new ScriptedEngine().listen();
  t.after(() => engine.close());
  for (const one of [id, ...tags]) engine.replies.set(`GET /images/${one}/json`, [200, record]);
  engine.replies.set('GET /containers/json', [200, []]);
  for (const [asked, reply] of Object.entries(replies)) engine.replies.set(asked, reply);
  const parts = { path: engine.path, pinned: [], clock: new FakeClock(), log: new FakeLog() };
  const runtime = new DockerRuntime({ ...parts, stallTimeout: 60_000 });
  t.after(() => runtime.close());
  const changes = () => engine.asked.filter((asked) => asked.startsWith('DELETE '));
  return { engine, runtime, changes };
}

async function fault(call: () => Promise<unknown>): Promise<string> {
  const error = await failureOf(call);
  assert.ok(error instanceof RuntimeError, `${error}`);
  return `${error.fault}: ${error.message}`;
}

const all = [`DELETE /images/${id}`, ...[...tags, name, id].map((one) => `DELETE /images/${one}`)];

describe('the removal of an image', () => {
  test('is by its id where that is enough', async (t) => {
    const { engine, runtime, changes } = await engineFor(t, { [`DELETE /images/${id}`]: removed });
    await runtime.remove(tags[0] ?? '', o);
    assert.deepEqual(changes(), [`DELETE /images/${id}`]);
    assert.deepEqual(engine.requests.at(-1)?.query, {}, 'never by force');
  });

  test('is of all its names where there are several', async (t) => {
    let times = 0;
    const { runtime, changes } = await engineFor(t, {
      [`DELETE /images/${id}`]: (response) => {
        const [status, body] = times++ === 0 ? [409, {}] : [404, { message: 'No such image' }];
        response.writeHead(status as number).end(JSON.stringify(body));
      },
      ...Object.fromEntries(tags.map((tag) => [`DELETE /images/${tag}`, removed])),
    });
    await runtime.remove(tags[1] ?? '', o);
    assert.deepEqual(changes(), all);
  });

  test('takes no name from an image that a container needs', async (t) => {
    const container = { Id: 'c'.repeat(64), ImageID: id };
    const { engine, runtime, changes } = await engineFor(t, {
      [`DELETE /images/${id}`]: conflict,
      'GET /containers/json': [200, [{ Id: 'a', ImageID: 'sha256:made-from-it' }, container]],
    });
    assert.equal(
      await fault(() => runtime.remove(id, o)),
      'in use: the container cccccccccccc uses the image',
    );
    assert.deepEqual(changes(), [`DELETE /images/${id}`]);
    const { query } = engine.requests.find(({ path }) => path === '/containers/json') ?? {};
    assert.deepEqual(query, { all: 'true', filters: JSON.stringify({ ancestor: [id] }) });
  });

  test('is refused where the engine still knows a reason', async (t) => {
    const { runtime } = await engineFor(t, {
      [`DELETE /images/${id}`]: conflict,
      [`DELETE /images/${tags[0]}`]: conflict,
    });
    assert.match(await fault(() => runtime.remove(id, o)), /^in use: .*something still needs the image$/);
  });

  test('of what is not there is done', async (t) => {
    const { runtime, changes } = await engineFor(t, {});
    await runtime.remove('docker.example.com/absent:1', o);
    assert.deepEqual(changes(), []);
    await runtime.remove(id, o);
    assert.deepEqual(changes(), [`DELETE /images/${id}`]);
  });

  test('is done where somebody else was faster, and failed where not', async (t) => {
    const boom: EngineReply = [500, { message: 'unrecognized image ID' }];
    const { engine, runtime } = await engineFor(t, { [`DELETE /images/${id}`]: boom });
    assert.match(await fault(() => runtime.remove(id, o)), /^failed: .*unrecognized image ID$/);
    engine.replies.set(`DELETE /images/${id}`, (response) => {
      for (const one of [id, ...tags]) engine.replies.delete(`GET /images/${one}/json`);
      response.writeHead(500).end(JSON.stringify(boom[1 as never]));
    });
    await runtime.remove(id, o);
  });

  test('by many at once is one', async (t) => {
    const { runtime, changes } = await engineFor(t, {
      [`DELETE /images/${id}`]: (response) => setTimeout(() => response.writeHead(200).end('[]'), 50),
    });
    await Promise.all([id, ...tags, id, id].map((one) => runtime.remove(one, o)));
    assert.deepEqual(changes(), [`DELETE /images/${id}`]);
  });
});
