import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credential } from '../../contracts/credential-source.js';
import { type PullOptions, type PullProgress, RuntimeError } from '../../contracts/runtime.js';
import { RegistryError } from '../../errors.js';
import { parseImageReference } from '../../reference/image-reference.js';
import { Secret } from '../../secret.js';
import { failureOf, keepsSecret } from '../../testing/conformance/suite.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { basicCredential } from '../../testing/fake-credential-source.js';
import { FakeLog } from '../../testing/fake-log.js';
import { type EngineReply, ScriptedEngine } from '../../testing/scripted-engine.js';
import { DockerRuntime } from './docker-runtime.js';

const id = `sha256:${'1'.repeat(64)}`;
const digest = `sha256:${'2'.repeat(64)}`;
const name = 'docker.example.com/team/app:1';
const inspected = {
  Id: id,
  RepoTags: [name],
  RepoDigests: [`docker.example.com/team/app@${digest}`],
  Size: 5,
};
const done = { status: `Status: Downloaded newer image for ${name}` };

/** Milliseconds. */
const long = 60_000;
const short = 150;
/** Long enough for a busy machine, where a pull must not be given up. */
const middle = 600;

/** An engine that reports this of a pull, and has the image afterwards. */
async function engineOf(t: TestContext, reply: EngineReply | readonly object[]): Promise<ScriptedEngine> {
  const engine = await new ScriptedEngine().listen();
  t.after(() => engine.close());
  const isReport = Array.isArray(reply) && typeof reply[0] !== 'number';
  engine.replies.set('POST /images/create', isReport ? reporting(reply as object[]) : (reply as EngineReply));
  engine.replies.set(`GET /images/${name}/json`, [200, inspected]);
  return engine;
}

function reporting(lines: readonly object[]): EngineReply {
  return (response) => response.end(lines.map((line) => `${JSON.stringify(line)}\r\n`).join(''));
}

function write(response: ServerResponse, line: object): void {
  response.write(`${JSON.stringify(line)}\r\n`);
}

function runtimeAt(t: TestContext, engine: ScriptedEngine, stallTimeout = long): DockerRuntime {
  const parts = { path: engine.path, pinned: [], clock: new FakeClock(), log: new FakeLog() };
  const runtime = new DockerRuntime({ ...parts, stallTimeout });
  t.after(() => runtime.close());
  return runtime;
}

function pull(runtime: DockerRuntime, image = name, o: Partial<PullOptions> = {}): Promise<string> {
  return runtime.pull(parseImageReference(image), { signal: new AbortController().signal, ...o });
}

async function fault(call: () => Promise<unknown>): Promise<string> {
  const error = await failureOf(call);
  if (error instanceof RegistryError) return `${error.code}: ${error.reason}`;
  assert.ok(error instanceof RuntimeError, `${error}`);
  return `${error.fault}: ${error.message}`;
}

function event() {
  let happen = () => {};
  const happened = new Promise<void>((resolve) => {
    happen = resolve;
  });
  return { happen, happened };
}

describe('what the engine is asked to pull', () => {
  const images: readonly (readonly [asked: string, fromImage: string, tag: string, inspects: string])[] = [
    [name, 'docker.example.com/team/app', '1', name],
    ['docker.example.com/a', 'docker.example.com/a', 'latest', 'docker.example.com/a:latest'],
    ['busybox', 'docker.io/library/busybox', 'latest', 'docker.io/library/busybox:latest'],
    ['127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b', 'c', '127.0.0.1:5000/a/b:c'],
    [`a/b@${digest}`, 'docker.io/a/b', digest, `docker.io/a/b@${digest}`],
    [`a/b:1@${digest}`, 'docker.io/a/b', digest, `docker.io/a/b@${digest}`],
    ['[::1]:5000/a:1', '[::1]:5000/a', '1', '[::1]:5000/a:1'],
  ];
  for (const [asked, fromImage, tag, inspects] of images) {
    test(asked, async (t) => {
      const engine = await engineOf(t, [done]);
      const found = { ...inspected, RepoTags: [inspects], RepoDigests: [`a/b@${digest}`] };
      engine.replies.set(`GET /images/${inspects}/json`, [200, found]);
      assert.equal(await pull(runtimeAt(t, engine), asked), id);
      assert.deepEqual(engine.asked, ['POST /images/create', `GET /images/${inspects}/json`]);
      assert.deepEqual(engine.requests.at(-2)?.query, { fromImage, tag });
      assert.equal(engine.requests.at(-2)?.headers['x-registry-auth'], undefined);
    });
  }
});

describe('what the registry is to be shown', () => {
  const secret = new Secret('t?o>k~ün');
  const shown: readonly (readonly [image: string, credential: Credential, json: object])[] = [
    [
      name,
      basicCredential('älice', 'p:w'),
      { username: 'älice', password: 'p:w', serveraddress: 'docker.example.com' },
    ],
    [
      'a/b',
      { kind: 'identity-token', token: secret },
      { identitytoken: secret.reveal(), serveraddress: 'https://index.docker.io/v1/' },
    ],
    [
      '127.0.0.1:5000/a',
      { kind: 'registry-token', token: secret },
      { registrytoken: secret.reveal(), serveraddress: '127.0.0.1:5000' },
    ],
  ];
  for (const [image, credential, json] of shown) {
    test(`${credential.kind} at ${image}`, async (t) => {
      const engine = await engineOf(t, [404, { message: 'manifest unknown' }]);
      await fault(() => pull(runtimeAt(t, engine), image, { credential }));
      const header = String(engine.requests.at(-1)?.headers['x-registry-auth']);
      // As Go's base64.URLEncoding reads it: the engine takes anything else for nothing.
      assert.match(header, /^(?:[\w-]{4})*(?:[\w-]{2}==|[\w-]{3}=)?$/);
      assert.deepEqual(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')), json);
    });
  }

  test('is told to nobody else', async (t) => {
    const credential = basicCredential('alice', 'hunter2/+');
    const message = `Get "https://alice:hunter2%2F%2B@a/": denied for hunter2/+ hunter2%2F%2B ${Buffer.from('alice:hunter2/+').toString('base64')}`;
    for (const reply of [[{ errorDetail: { message } }], [500, { message }]] as const) {
      const engine = await engineOf(t, reply as EngineReply);
      const error = await failureOf(() => pull(runtimeAt(t, engine), name, { credential }));
      keepsSecret(error, 'hunter2');
      keepsSecret(error, Buffer.from('alice:hunter2/+').toString('base64'));
    }
  });
});

describe('how a report is read', () => {
  const message = `manifest for ${name} not found: manifest unknown`;
  const refused: readonly (readonly [
    what: string,
    reply: EngineReply | readonly object[],
    expected: RegExp,
  ])[] = [
    ['an error as an answer', [404, { message }], /^MANIFEST_UNKNOWN: manifest for /],
    [
      'an error as the last line',
      [
        { status: 'Pulling from a', id: '1' },
        { errorDetail: { message }, error: message },
      ],
      /^MANIFEST_UNKNOWN: manifest for /,
    ],
    ['an error in its old form alone', [{ error: message }], /^MANIFEST_UNKNOWN: manifest for /],
    ['an error that is empty', [{ errorDetail: {} }], /^failed: .*no reason/],
    ['an error of another form', [{ errorDetail: 'text', error: 7 }], /^failed: .*no reason/],
    ['an error with a code', [{ errorDetail: { code: 502, message: '?' } }], /^UNAVAILABLE: \?$/],
    ['an error, and more', [{ error: message }, done], /^MANIFEST_UNKNOWN/],
    ['an answer that is no JSON', (response) => response.writeHead(500).end('boom'), /^failed: boom$/],
    ['nothing', (response) => response.end(), /^failed: .*reported nothing/],
    [
      'a line that is no JSON',
      (response) => response.end('{"status":"a"}\n{"status":"\n'),
      /^failed: .*no JSON object$/,
    ],
    ['a line that is no object', (response) => response.end('[]\n'), /^failed: .*no JSON object$/],
    [
      'a giant line',
      (response) => response.end(`{"status":"${'a'.repeat(2_000_000)}"}\n`),
      /^failed: .*1 MiB$/,
    ],
    ['a giant line without an end', (response) => response.write('a'.repeat(2_000_000)), /^failed: .*1 MiB$/],
    [
      'a connection that is cut before an answer',
      (response) => response.destroy(),
      /^unavailable: .*docker\.sock/,
    ],
  ];
  for (const [what, reply, expected] of refused) {
    test(what, async (t) => {
      const engine = await engineOf(t, reply);
      assert.match(await fault(() => pull(runtimeAt(t, engine))), expected);
      assert.deepEqual(engine.asked, ['POST /images/create'], 'what is there already is no answer');
    });
  }

  test('a connection that is cut in the middle', async (t) => {
    const engine = await engineOf(t, async (response) => {
      write(response, { status: 'Pulling fs layer', id: 'a' });
      await sleep(20);
      response.destroy();
    });
    assert.match(await fault(() => pull(runtimeAt(t, engine))), /^unavailable: .*docker\.sock/);
  });

  test('in chunks of one byte, with letters of several', async (t) => {
    const text = `${JSON.stringify({ status: 'Pulling ü€😀' })}\r\n\r\n${JSON.stringify({ error: 'denied: ü€😀' })}`;
    const engine = await engineOf(t, async (response) => {
      for (const byte of Buffer.from(text)) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      response.end();
    });
    assert.equal(await fault(() => pull(runtimeAt(t, engine))), 'DENIED: denied: ü€😀');
  });

  test('the image is not there afterwards, or another one is', async (t) => {
    const engine = await engineOf(t, [done]);
    const runtime = runtimeAt(t, engine);
    engine.replies.set(`GET /images/${name}/json`, [200, { ...inspected, RepoTags: ['other:1'] }]);
    assert.match(await fault(() => pull(runtime)), /^failed: .*has no docker\.example\.com/);
    engine.replies.delete(`GET /images/${name}/json`);
    assert.match(await fault(() => pull(runtime)), /^failed: .*has no docker\.example\.com/);
  });

  test('progress is bytes and layers', async (t) => {
    const layer = (id: string, status: string, current?: number, total?: number, units?: string) => ({
      ...{ id, status },
      ...(current !== undefined && { progressDetail: { current, total, units } }),
    });
    const engine = await engineOf(t, [
      layer('1', 'Pulling from team/app'),
      layer('aaa', 'Already exists'),
      layer('bbb', 'Pulling fs layer'),
      layer('ccc', 'Pulling fs layer'),
      layer('bbb', 'Downloading', 10, 100),
      layer('bbb', 'Downloading', 10, 100),
      layer('ccc', 'Downloading', 30),
      layer('bbb', 'Download complete'),
      layer('bbb', 'Extracting', 50, 100),
      layer('bbb', 'Pull complete'),
      layer('ccc', 'Extracting', 2, undefined, 's'),
      layer('ccc', 'Pull complete'),
      { status: `Digest: ${digest}` },
      done,
    ]);
    const told: PullProgress[] = [];
    await pull(runtimeAt(t, engine), name, { onProgress: (progress) => told.push(progress) });
    assert.deepEqual(
      told.map(({ bytes, layers: { done, total } }) => `${bytes} ${done}/${total}`),
      // biome-ignore format: one a line of the report
      ['0 0/0', '0 1/1', '0 1/2', '0 1/3', '10 1/3', '40 1/3', '40 1/3', '130 1/3', '130 2/3', '130 2/3', '130 3/3', '130 3/3', '130 3/3'],
    );
  });
});

describe('a pull that is given up', () => {
  /** Until the request was cut. */
  const cut = (response: ServerResponse) => new Promise<void>((resolve) => response.on('close', resolve));

  test('by whoever asked, wherever it is', { timeout: 10_000 }, async (t) => {
    for (const lines of [[], [{ id: 'a', status: 'Downloading' }]]) {
      const connection = event();
      const request = event();
      const engine = await engineOf(t, (response) => {
        for (const line of lines) write(response, line);
        void cut(response).then(connection.happen);
        request.happen();
      });
      const stop = new AbortController();
      const reason = new Error('nobody waits any more');
      const pulling = failureOf(() => pull(runtimeAt(t, engine), name, { signal: stop.signal }));
      await request.happened;
      stop.abort(reason);
      assert.equal(await pulling, reason);
      await connection.happened;
    }
  });

  const silent: readonly (readonly [what: string, report: (response: ServerResponse) => unknown])[] = [
    ['an engine that does not answer', () => {}],
    ['an engine that falls silent', (response) => write(response, { id: 'a', status: 'Downloading' })],
    [
      'an engine that says the same for ever',
      (response) => {
        const line = { id: 'a', status: 'Downloading', progressDetail: { current: 7, total: 9 } };
        const timer = setInterval(() => write(response, line), 10);
        response.on('close', () => clearInterval(timer));
      },
    ],
    [
      'a layer that waits while nothing else moves',
      (response) => write(response, { id: 'a', status: 'Waiting' }),
    ],
  ];
  for (const [what, report] of silent) {
    test(`for ${what}`, { timeout: 10_000 }, async (t) => {
      const connection = event();
      const engine = await engineOf(t, (response) => {
        void cut(response).then(connection.happen);
        report(response);
      });
      assert.match(await fault(() => pull(runtimeAt(t, engine, short))), /^stalled: .*no progress for 150ms/);
      await connection.happened;
    });
  }

  /** Reports `line` once, is then silent three times as long as a pull may be, and done. */
  const slowly = (line: object) => async (response: ServerResponse) => {
    write(response, line);
    await sleep(3 * middle);
    response.end(JSON.stringify(done));
  };

  test('not while a layer is extracted, for ten times as long', { timeout: 10_000 }, async (t) => {
    const engine = await engineOf(t, slowly({ id: 'a', status: 'Extracting' }));
    assert.equal(await pull(runtimeAt(t, engine, middle)), id);
  });

  test('not while it waits for its turn and another pull moves', { timeout: 10_000 }, async (t) => {
    const engine = await engineOf(t, (response, request) => {
      if (request.url?.includes('waits')) return slowly({ id: 'a', status: 'Waiting' })(response);
      let current = 0;
      const timer = setInterval(
        () => write(response, { id: 'b', status: 'Downloading', progressDetail: { current: ++current } }),
        10,
      );
      response.on('close', () => clearInterval(timer));
    });
    engine.replies.set('GET /images/docker.io/a/waits:latest/json', [
      200,
      { ...inspected, RepoTags: ['a/waits:latest'] },
    ]);
    const runtime = runtimeAt(t, engine, middle);
    const stop = new AbortController();
    const moving = failureOf(() => pull(runtime, name, { signal: stop.signal }));
    assert.equal(await pull(runtime, 'a/waits'), id);
    stop.abort(new Error('enough'));
    await moving;
  });
});
