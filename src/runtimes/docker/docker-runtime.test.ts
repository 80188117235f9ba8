import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { RuntimeError } from '../../contracts/runtime.js';
import { type ImagePattern, parseImagePattern } from '../../settings/image-pattern.js';
import { failureOf, options, rejectsWhenAborted } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { FakeLog } from '../../testing/fake-log.js';
import { type EngineReply, ScriptedEngine } from '../../testing/scripted-engine.js';
import { DockerRuntime } from './docker-runtime.js';

const o = options();
const hex = '0123456789abcdef'.repeat(4);
const id = `sha256:${hex}`;
const digest = `sha256:${'d'.repeat(64)}`;
const record = {
  Id: id,
  RepoTags: ['busybox:1', 'docker.example.com/a:1', '<none>:<none>'],
  RepoDigests: [`busybox@${digest}`, '<none>@<none>'],
  Size: 7,
};

async function engineFor(t: TestContext, replies: Readonly<Record<string, EngineReply>>, patience?: number) {
  const engine = await new ScriptedEngine().listen();
  t.after(() => engine.close());
  for (const [asked, reply] of Object.entries(replies)) engine.replies.set(asked, reply);
  const pinned = ['docker.io/library/*', '*.example.org/**'].map(parseImagePattern);
  const runtime = new DockerRuntime({
    path: engine.path,
    pinned: pinned.filter((pattern): pattern is ImagePattern => pattern !== undefined),
    clock: new FakeClock(),
    log: new FakeLog(),
    stallTimeout: 60_000,
    ...(patience && { patience }),
  });
  t.after(() => runtime.close());
  return { engine, runtime };
}

async function fault(call: () => Promise<unknown>): Promise<string> {
  const error = await failureOf(call);
  assert.ok(error instanceof RuntimeError, `${error}`);
  return `${error.fault}: ${error.message}`;
}

describe('the status of an image', () => {
  test('is what the engine knows, in the words of CRI', async (t) => {
    const { runtime } = await engineFor(t, {
      'GET /images/docker.io/library/busybox:1/json': [200, { ...record, Config: { User: '7:8' } }],
    });
    assert.deepEqual(await runtime.status('busybox:1', o), {
      id,
      repoTags: ['docker.io/library/busybox:1', 'docker.example.com/a:1'],
      repoDigests: [`docker.io/library/busybox@${digest}`],
      size: 7,
      user: { uid: 7 },
      pinned: true,
    });
  });

  /** The engine takes a name for the beginning of an id, and one of its stores any digest for an id. */
  const asked: readonly (readonly [image: string, inspects: string, isFound: boolean, found?: object])[] = [
    ['docker.example.com/a:1', 'docker.example.com/a:1', true],
    ['docker.example.com/a:2', 'docker.example.com/a:2', false],
    ['docker.example.com/a', 'docker.example.com/a:latest', false],
    ['DOCKER.example.com/a:1', 'docker.example.com/a:1', true],
    ['index.docker.io/busybox:1', 'docker.io/library/busybox:1', true],
    [`busybox@${digest}`, `docker.io/library/busybox@${digest}`, true],
    [`busybox:other@${digest}`, `docker.io/library/busybox@${digest}`, true],
    [`busybox@${id}`, `docker.io/library/busybox@${id}`, true],
    [`busybox@sha256:${'e'.repeat(64)}`, `docker.io/library/busybox@sha256:${'e'.repeat(64)}`, false],
    [id, id, true],
    [hex, id, true],
    [hex.slice(0, 12), hex.slice(0, 12), true],
    [`sha256:${hex.slice(0, 9)}`, hex.slice(0, 9), true],
    [hex.slice(0, 4), hex.slice(0, 4), true],
    ['abcdef', 'abcdef', false],
    ['abcdef', 'abcdef', true, { RepoTags: ['abcdef:latest'] }],
    ['sha256:abcdef', 'abcdef', false, { RepoTags: ['abcdef:latest'] }],
  ];
  for (const [image, inspects, isFound, found = {}] of asked) {
    test(`${image}: ${isFound ? 'found' : 'another image is no answer'}`, async (t) => {
      const { engine, runtime } = await engineFor(t, {
        [`GET /images/${inspects}/json`]: [200, { ...record, ...found }],
      });
      assert.equal((await runtime.status(image, o))?.id, isFound ? id : undefined);
      assert.deepEqual(engine.asked, [`GET /images/${inspects}/json`]);
    });
  }

  test('of a digest alone, where the engine knows it by its repository only', async (t) => {
    const { engine, runtime } = await engineFor(t, {
      'GET /images/json': [200, [record]],
      [`GET /images/${id}/json`]: [200, { ...record, Config: { User: 'www' } }],
    });
    assert.deepEqual((await runtime.status(digest, o))?.user, { username: 'www' });
    assert.deepEqual(engine.asked, [
      `GET /images/${digest}/json`,
      'GET /images/json',
      `GET /images/${id}/json`,
    ]);
  });

  test('of what cannot be a name is not asked for', async (t) => {
    const { engine, runtime } = await engineFor(t, {});
    for (const text of [
      '../../containers/json',
      'a?b',
      'a#b',
      'a b',
      'a//b',
      `a@sha256:${'z'.repeat(64)}`,
      '',
    ]) {
      assert.equal(await runtime.status(text, o), undefined, text);
      assert.deepEqual(await runtime.list({ ...o, image: text }), [], text);
    }
    assert.deepEqual(engine.asked, []);
  });

  for (const [user, expected] of [
    ['0', { uid: 0 }],
    ['65534:65534', { uid: 65534 }],
    ['www-data', { username: 'www-data' }],
    ['www-data:100', { username: 'www-data' }],
    ['-1', { username: '-1' }],
    ['99999999999999999999', { username: '99999999999999999999' }],
    [':100', undefined],
    ['', undefined],
    [null, undefined],
  ] as const) {
    test(`the user ${JSON.stringify(user)}`, async (t) => {
      const { runtime } = await engineFor(t, {
        [`GET /images/${id}/json`]: [200, { ...record, Config: { User: user } }],
      });
      assert.deepEqual((await runtime.status(id, o))?.user, expected);
    });
  }

  test('an image without names, bytes and configuration has a size', async (t) => {
    const bare = { Id: id, RepoTags: null, RepoDigests: null, Size: 0 };
    const { runtime } = await engineFor(t, { [`GET /images/${id}/json`]: [200, bare] });
    const expected = { id, repoTags: [], repoDigests: [], size: 1, pinned: false };
    assert.deepEqual(await runtime.status(id, o), expected);
  });

  for (const [what, reply, expected] of [
    [
      'an error',
      [500, { message: 'boom\nat https://x.example.com/?token=secret' }],
      /^failed: .*500 .*: boom at https:\/\/x\.example\.com\/\?…$/,
    ],
    ['a full disk', [500, { message: 'write /a: no space left on device' }], /^full: /],
    ['another form', [200, { Id: '' }], /^failed: .*cannot be understood$/],
    ['no JSON', (response) => response.end('<html>'), /^failed: .*cannot be understood$/],
    ['nothing', (response) => response.destroy(), /^unavailable: .*it closed the connection$/],
    [
      'half an answer',
      (response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{');
        setImmediate(() => response.destroy());
      },
      /^unavailable: /,
    ],
  ] as readonly (readonly [string, EngineReply, RegExp])[]) {
    test(`an engine that answers with ${what}`, async (t) => {
      const { runtime } = await engineFor(t, { [`GET /images/${id}/json`]: reply });
      assert.match(await fault(() => runtime.status(id, o)), expected);
    });
  }

  test('is not waited for without end, nor after nobody waits', { timeout: 10_000 }, async (t) => {
    const { runtime } = await engineFor(t, { [`GET /images/${id}/json`]: () => {} }, 200);
    assert.match(await fault(() => runtime.status(id, o)), /^unavailable: .*no answer within 1 s$/);
    await rejectsWhenAborted((aborted) => runtime.status(id, aborted));
    const stop = new AbortController();
    const asking = failureOf(() => runtime.status(id, { signal: stop.signal }));
    stop.abort('enough');
    assert.equal(await asking, 'enough');
  });
});

describe('the list of images', () => {
  const other = { Id: `sha256:${'f'.repeat(64)}`, RepoTags: ['[::1]:5000/a/b:2'], RepoDigests: [], Size: 9 };
  const list: readonly (readonly [image: string | undefined, ids: readonly string[]])[] = [
    [undefined, [id, other.Id]],
    ['busybox:1', [id]],
    ['busybox', [id]],
    ['docker.io/library/busybox', [id]],
    ['docker.example.com/a', [id]],
    ['busybox:2', []],
    ['busy', []],
    [`busybox@${digest}`, [id]],
    [digest, [id]],
    [id, [id]],
    [hex.slice(0, 8), [id]],
    ['ffff', [other.Id]],
    ['[::1]:5000/a/b:2', [other.Id]],
    ['[::1]:5000/a/b', [other.Id]],
  ];
  for (const [image, ids] of list) {
    test(`for ${image ?? 'all'}`, async (t) => {
      const { engine, runtime } = await engineFor(t, { 'GET /images/json': [200, [record, other]] });
      const found = await runtime.list({ ...o, ...(image !== undefined && { image }) });
      assert.deepEqual(
        found.map((one) => one.id),
        ids,
      );
      assert.deepEqual(engine.requests.at(-1)?.query, {});
    });
  }

  test('keeps all tags of an image, and says which is pinned', async (t) => {
    const { runtime } = await engineFor(t, { 'GET /images/json': [200, [record, other]] });
    const [found] = await runtime.list({ ...o, image: 'docker.example.com/a:1' });
    assert.deepEqual(found?.repoTags, ['docker.io/library/busybox:1', 'docker.example.com/a:1']);
    assert.deepEqual(
      (await runtime.list(o)).map(({ pinned }) => pinned),
      [true, false],
    );
  });

  test('that is none', async (t) => {
    const { engine, runtime } = await engineFor(t, { 'GET /images/json': [500, { message: 'boom' }] });
    assert.match(await fault(() => runtime.list(o)), /^failed: .*answers 500 to GET \/images\/json: boom$/);
    engine.replies.set('GET /images/json', [200, [{}]]);
    assert.match(await fault(() => runtime.list(o)), /^failed: .*cannot be understood$/);
  });
});

test('an engine that ends does not answer any more, whatever is kept of what it said', async (t) => {
  const { engine, runtime } = await engineFor(t, {
    'GET /info': [200, { DockerRootDir: '/nowhere/docker' }],
    'GET /images/json': [200, []],
  });
  await runtime.fsInfo(o);
  await runtime.ping(o);
  await engine.stop();
  assert.equal((await runtime.fsInfo(o)).length, 1, 'it is kept');
  assert.match(await fault(() => runtime.ping(o)), /^unavailable: /);
  await engine.listen();
  await runtime.ping(o);
  engine.replies.set('GET /_ping', [500, { message: 'boom' }]);
  assert.match(await fault(() => runtime.ping(o)), /^failed: .*answers 500 to GET \/_ping: boom$/);
});
