import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../contracts/runtime.js';
import { FakeClock } from '../testing/fake-clock.js';
import { type CriAnswer, FakeCriRuntime } from '../testing/fake-cri-runtime.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { type RawAnswer, rawAnswer } from '../testing/raw-grpc-client.js';
import { CriSocket, driver } from './cri.js';

const never = new AbortController().signal;
const headers = { ':path': '/runtime.v1.ImageService/ImageFsInfo', 'content-type': 'application/grpc' };
const alone = { endStream: true };
const fine: CriAnswer = ({ stream }) => stream.respond({ ':status': 200, 'grpc-status': '0' }, alone);

interface Opened {
  readonly socket: CriSocket;
  readonly log: FakeLog;
  readonly metrics: FakeMetrics;
}

function open(
  t: TestContext,
  path: string,
  { patience = 5_000, greetingTimeout }: { patience?: number; greetingTimeout?: number } = {},
): Opened {
  const [log, metrics] = [new FakeLog(), new FakeMetrics()];
  const options = { path, patience, log, metrics, ...(greetingTimeout && { greetingTimeout }) };
  const socket = new CriSocket(options);
  t.after(() => socket.close());
  return { socket, log, metrics };
}

async function fake(t: TestContext, answer: CriAnswer = fine): Promise<FakeCriRuntime> {
  const runtime = await FakeCriRuntime.start(answer);
  t.after(() => runtime.close());
  return runtime;
}

async function ask(socket: CriSocket): Promise<RawAnswer> {
  const stream = await socket.begin(headers, { signal: never });
  const answer = rawAnswer(stream);
  stream.end();
  return answer;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.fail(`not so after 5 s: ${what}`);
}

async function failure(call: Promise<unknown>): Promise<RuntimeError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof RuntimeError, `a RuntimeError, not ${String(error)}`);
  return error;
}

test('calls go over one connection', async (t) => {
  const runtime = await fake(t);
  const { socket, metrics } = open(t, runtime.path);
  for (let i = 0; i < 3; i++) assert.equal((await ask(socket)).isHeadersAlone, true, 'answered');
  assert.equal(runtime.sessions.length, 1, 'one session');
  assert.equal(socket.isConnected, true, 'connected');
  assert.equal(metrics.value('runtime_connected'), 1, 'and the metric says so');
  assert.equal(runtime.calls[0]?.rawHeaders.join(' ').includes(':authority localhost'), true, 'authority');
});

test('a call waits for a runtime that comes later, and the log says both once', async (t) => {
  const runtime = new FakeCriRuntime(fine);
  t.after(() => runtime.close());
  const { socket, log, metrics } = open(t, runtime.path);
  const answer = ask(socket);
  await until('it was tried', () => log.entries.length > 0);
  assert.equal(metrics.value('runtime_connected'), 0, 'not connected yet');
  await runtime.listen();
  assert.equal((await answer).isHeadersAlone, true, 'answered');
  assert.deepEqual(
    log.entries.map(({ level, message }) => `${level}: ${message}`),
    [
      'warn: the container runtime cannot be reached yet; calls wait, and it is tried again',
      'info: connected to the container runtime',
    ],
  );
});

describe('what keeps a call from being begun is said in one line', () => {
  const cases: Readonly<
    Record<string, readonly [make: (path: string) => Promise<Server | undefined>, says: RegExp]>
  > = {
    'no socket': [async () => undefined, /ENOENT: there is no such socket$/],
    'a file': [
      async (path) => {
        writeFileSync(path, '');
        return undefined;
      },
      /ECONNREFUSED: nobody listens at this socket$/,
    ],
    'one that closes at once': [
      (path) => serve(path, (socket) => socket.destroy()),
      /closes connections at once$/,
    ],
    'one that says nothing': [
      (path) => serve(path, () => {}),
      /accepts connections, and says nothing for 0\.2s$/,
    ],
    'one that speaks something else': [
      (path) =>
        serve(path, (socket) =>
          socket.write('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'.repeat(5)),
        ),
      /does not speak HTTP\/2 \(ERR_HTTP2_\w+\)$/,
    ],
  };
  for (const [name, [make, says]] of Object.entries(cases)) {
    test(name, async (t) => {
      const directory = mkdtempSync(join(tmpdir(), 'drp-cri-'));
      t.after(() => rmSync(directory, { recursive: true }));
      const path = join(directory, 'r.sock');
      const server = await make(path);
      t.after(() => server?.close());
      const { socket, log } = open(t, path, { patience: 300, greetingTimeout: 200 });
      await until('it was tried', () => log.entries.length > 0);
      const error = await failure(socket.begin(headers, { signal: never }));
      assert.equal(error.fault, 'unavailable');
      assert.match(error.message, says);
      assert.ok(
        error.message.startsWith(`the container runtime at unix://${path} cannot be reached: `),
        error.message,
      );
      assert.doesNotMatch(error.message, /\n/, 'one line');
      assert.equal(log.entries.length, 1, `told once: ${log.text}`);
      assert.equal(socket.isConnected, false, 'not connected');
    });
  }

  async function serve(path: string, onSocket: (socket: Socket) => void): Promise<Server> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume();
      onSocket(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return server;
  }
});

describe('a runtime that is restarted', () => {
  test('while nothing runs: the next call goes to the new one', async (t) => {
    const runtime = await fake(t);
    const { socket, log } = open(t, runtime.path);
    await ask(socket);
    await runtime.kill();
    await until('the loss is known', () => !socket.isConnected);
    const waiting = ask(socket);
    await runtime.listen();
    assert.equal((await waiting).isHeadersAlone, true, 'answered by the new one');
    await ask(socket);
    assert.deepEqual(
      log.entries.map(({ message }) => message),
      [
        'connected to the container runtime',
        'the connection to the container runtime is lost; connecting again',
        'connected to the container runtime again',
      ],
    );
  });

  test('in mid-call: the call is lost, the next is not', async (t) => {
    const runtime = await fake(t, () => {});
    const { socket } = open(t, runtime.path);
    const answer = ask(socket);
    await until('it came', () => runtime.openStreams === 1);
    await runtime.kill();
    assert.deepEqual((await answer).headers, [], 'no answer');
    runtime.answer = fine;
    await runtime.listen();
    assert.equal((await ask(socket)).isHeadersAlone, true, 'answered');
  });

  test('five times', async (t) => {
    const runtime = await fake(t);
    const { socket } = open(t, runtime.path);
    for (let i = 0; i < 5; i++) {
      await until('connected', () => socket.isConnected);
      await runtime.kill();
      await until('the loss is known', () => !socket.isConnected);
      await runtime.listen();
      assert.equal((await ask(socket)).isHeadersAlone, true, 'answered');
    }
  });
});

test('a session whose end is announced finishes its calls, and new ones use another', async (t) => {
  let finish = () => {};
  const runtime = await fake(t, (call) => {
    finish = () => fine(call, Promise.resolve());
  });
  const { socket } = open(t, runtime.path);
  const running = ask(socket);
  await until('it came', () => runtime.calls.length === 1);
  const finishFirst = finish;
  runtime.sessions[0]?.goaway();
  await until('a second session', () => runtime.sessions.length === 2 && socket.isConnected);
  runtime.answer = fine;
  assert.equal((await ask(socket)).isHeadersAlone, true, 'a new call');
  assert.notEqual(runtime.calls[1]?.stream.session, runtime.calls[0]?.stream.session, 'on another session');
  finishFirst();
  assert.equal((await running).isHeadersAlone, true, 'the running one');
});

test('a call on a session that Node knows to be ending is begun on the next', async (t) => {
  const runtime = await fake(t);
  const { socket } = open(t, runtime.path);
  await ask(socket);
  // All of these are begun before the event of the GOAWAY is heard of, or after; none may be lost.
  runtime.sessions[0]?.goaway();
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(socket)));
  assert.ok(
    answers.every(({ isHeadersAlone, rstCode }) => isHeadersAlone || rstCode === 7),
    'answered, or refused unseen',
  );
  assert.equal((await ask(socket)).isHeadersAlone, true, 'answered');
});

test('a peer that comes and goes is not asked in a tight circle', async (t) => {
  const runtime = await fake(t);
  let connections = 0;
  const { socket, log } = open(t, runtime.path);
  const timer = setInterval(() => {
    if (runtime.sessions.length === 0) return;
    connections += 1;
    runtime.cut();
  }, 5);
  t.after(() => clearInterval(timer));
  await sleep(1_000);
  clearInterval(timer);
  assert.ok(connections >= 2 && connections < 12, `${connections} connections in a second`);
  assert.equal((await ask(socket)).isHeadersAlone, true, 'it is used once it stays');
  assert.ok(log.entries.length < 30, 'few lines');
});

describe('signals and ends', () => {
  test('whoever does not wait any more is let go', async (t) => {
    const { socket } = open(t, '/nonexistent/drp.sock', { patience: 60_000 });
    const reason = new Error('gone');
    const controller = new AbortController();
    const call = socket.begin(headers, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await assert.rejects(call, reason);
    await assert.rejects(socket.begin(headers, { signal: controller.signal }), reason);
  });

  test('close ends waiting calls, running ones and the metric', async (t) => {
    const runtime = await fake(t, () => {});
    const { socket, metrics } = open(t, runtime.path);
    const running = ask(socket);
    await until('it came', () => runtime.openStreams === 1);
    await socket.close();
    await socket.close();
    assert.deepEqual((await running).headers, [], 'the running call is cut');
    assert.equal(metrics.text.includes('runtime_connected'), false, 'the gauge is gone');
    assert.match((await failure(socket.begin(headers, { signal: never }))).message, /not used any more/);
    await until('the runtime has no session', () => runtime.sessions.length === 0);

    const waiting = open(t, '/nonexistent/drp.sock', { patience: 60_000 }).socket;
    const call = failure(waiting.begin(headers, { signal: never }));
    await waiting.close();
    assert.equal((await call).fault, 'unavailable');
  });
});

describe('the configuration', () => {
  test('opens without a runtime', async (t) => {
    const config = driver.config.parse({ endpoint: 'unix:///nonexistent/drp.sock' });
    assert.deepEqual(config, { endpoint: { path: '/nonexistent/drp.sock' }, patience: 10_000 });
    const runtime = await driver.open(config, {
      id: 'runtime',
      baseDirectory: '/',
      clock: new FakeClock(),
      log: new FakeLog(),
      metrics: new FakeMetrics(),
    });
    t.after(() => runtime.close());
    assert.equal(runtime.kind, 'cri');
  });

  const refused: readonly (readonly [settings: Record<string, unknown>, says: RegExp])[] = [
    [{}, /expected unix:\/\/\//],
    [{ endpoint: '/run/containerd/containerd.sock' }, /unix:\/\/\/run/],
    [{ endpoint: 'unix:///run/a.sock', patience: '1h' }, /at most 5m/],
    [{ endpoint: 'unix:///run/a.sock', patience: 10 }, /expected a duration/],
    [{ endpoint: 'unix:///run/a.sock', timeout: '1s' }, /timeout/],
  ];
  for (const [settings, says] of refused) {
    test(`${JSON.stringify(settings)} is refused`, () => {
      const { success, error } = driver.config.safeParse(settings);
      assert.equal(success, false);
      assert.match(JSON.stringify(error?.issues), says);
    });
  }
});
