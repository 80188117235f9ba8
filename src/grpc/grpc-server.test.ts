import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { grpcStatus } from '../protocol/grpc-status.js';
import { FakeLog, FakeMetrics } from '../testing/index.js';
import type { CallFront } from './call-front.js';
import { frame, maxMessageSize, readMessage } from './frames.js';
import { GrpcServer } from './grpc-server.js';
import { TestClient, temporaryDirectory, until } from './grpc-server-client.test.js';
import { endWithStatus } from './status.js';

/** Sends back what it is sent. */
class Echo implements CallFront {
  readonly paths: string[] = [];

  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.paths.push(String(headers[':path']));
    readMessage(stream).then(
      ({ bytes }) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.write(frame(bytes));
        endWithStatus(stream, grpcStatus.OK, '');
      },
      () => endWithStatus(stream, grpcStatus.INTERNAL, 'no message'),
    );
  }
}

/** Holds each call until the test answers it. */
class Held implements CallFront {
  readonly streams: ServerHttp2Stream[] = [];

  handle(stream: ServerHttp2Stream): void {
    this.streams.push(stream);
  }

  answer(): void {
    for (const stream of this.streams) endWithStatus(stream, grpcStatus.OK, '');
  }
}

async function open<Front extends CallFront>(t: TestContext, front: Front) {
  const path = join(await temporaryDirectory(), 's');
  const [log, metrics] = [new FakeLog(), new FakeMetrics()];
  const socket = { address: { path }, mode: 0o600, directoryMode: 0o700 };
  const server = await GrpcServer.open({ socket, front, log, metrics });
  t.after(() => server.close());
  const counted = (method: string, code: string) => metrics.value('cri_calls_total', { method, code });
  return { server, path, log, metrics, front, counted, client: new TestClient(t, path) };
}

const unimplemented = /^only runtime\.v1\.ImageService is served here/;

describe('the gRPC server', { concurrency: true, timeout: 120_000 }, () => {
  test('hands over calls of the image service, known or not', async (t) => {
    const { client, front, server, path } = await open(t, new Echo());
    assert.equal(server.path, path);
    const methods = ['PullImage', 'StreamImages', 'NewIn_2030'];
    for (const method of methods) {
      const { trailers, bytes } = await client.call(method, frame(Buffer.from('hello')));
      assert.equal(trailers['grpc-status'], '0');
      assert.ok(bytes.equals(frame(Buffer.from('hello'))), String(bytes));
    }
    assert.deepEqual(
      front.paths,
      methods.map((method) => `/runtime.v1.ImageService/${method}`),
    );
  });

  for (const path of [
    '/runtime.v1.RuntimeService/Version',
    '/runtime.v1alpha2.ImageService/ListImages',
    '/grpc.health.v1.Health/Check',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/containerd.services.images.v1.Images/List',
    '/runtime.v1.ImageService/',
    '/runtime.v1.ImageService',
    '/runtime.v1.ImageService/../RuntimeService/Version',
    '/runtime.v1.ImageService/..%2FRuntimeService%2FVersion',
    '/runtime.v1.ImageService/%50ullImage',
    '/runtime.v1.ImageService/PullImage?x=1',
    '/runtime.v1.ImageService/PullImage#x',
    '/runtime.v1.ImageService/PullImage/',
    '/runtime.v1.ImageService//PullImage',
    '//runtime.v1.ImageService/PullImage',
    '/runtime.v1.imageservice/PullImage',
    '/runtimeXv1.ImageService/PullImage',
    '/x/runtime.v1.ImageService/PullImage',
    '/',
  ]) {
    test(`answers ${path} itself`, async (t) => {
      const { client, front, counted } = await open(t, new Echo());
      const answer = await client.call(path);
      assert.equal(answer.headers[':status'], 200);
      assert.equal(answer.headers['grpc-status'], '12');
      assert.match(String(answer.headers['grpc-message']), unimplemented);
      assert.deepEqual(front.paths, []);
      assert.equal(counted('other', 'UNIMPLEMENTED'), 1);
    });
  }

  for (const path of ['http://localhost/runtime.v1.ImageService/PullImage', '*', 'PullImage']) {
    test(`does not take ${path}, which is no path in HTTP/2`, async (t) => {
      const { client, front } = await open(t, new Echo());
      const { reset } = await client.call('', Buffer.alloc(5), { ':path': path });
      assert.equal(reset, constants.NGHTTP2_PROTOCOL_ERROR);
      assert.deepEqual(front.paths, []);
    });
  }

  for (const [what, headers, status, code] of [
    ['application/grpc+proto', { 'content-type': 'application/grpc+proto' }, 200, undefined],
    ['application/grpc;charset=x', { 'content-type': 'application/grpc;charset=x' }, 200, undefined],
    ['application/grpc-web', { 'content-type': 'application/grpc-web' }, 415, undefined],
    ['application/json', { 'content-type': 'application/json' }, 415, undefined],
    ['no content type', { 'content-type': '' }, 415, undefined],
    ['GET', { ':method': 'GET' }, 200, '12'],
    ['PUT', { ':method': 'PUT' }, 200, '12'],
  ] as const) {
    test(`${what} is ${status}${code ? ` with status ${code}` : ''}`, async (t) => {
      const { client, front } = await open(t, new Echo());
      const answer = await client.call('ListImages', Buffer.alloc(5), headers);
      assert.equal(answer.headers[':status'], status);
      assert.equal(answer.headers['grpc-status'], code);
      assert.equal(front.paths.length, status === 200 && code === undefined ? 1 : 0);
    });
  }

  test('a client of another make understands it', async (t) => {
    const { path } = await open(t, new Echo());
    const client = new Client(`unix://${path}`, credentials.createInsecure());
    t.after(() => client.close());
    const same = (bytes: Buffer) => bytes;
    const ask = (method: string) =>
      new Promise<Buffer | undefined>((resolve, reject) => {
        const done = (error: Error | null, answer?: Buffer) => (error ? reject(error) : resolve(answer));
        client.makeUnaryRequest(method, same, same, Buffer.from('hello'), done);
      });
    assert.equal(String(await ask('/runtime.v1.ImageService/ListImages')), 'hello');
    await assert.rejects(ask('/runtime.v1.RuntimeService/Version'), { code: 12, details: unimplemented });
  });

  test('a front that throws, though it must not, costs its call alone', async (t) => {
    const throwing: CallFront = {
      handle: () => {
        throw new Error('a bug');
      },
    };
    const { client, log, counted, server } = await open(t, throwing);
    const { headers } = await client.call('ListImages');
    assert.deepEqual(
      [headers['grpc-status'], headers['grpc-message']],
      ['13', 'internal error of kubelet-image-service'],
    );
    assert.deepEqual(
      log.at('error').map(({ fields }) => fields),
      [{ error: 'a bug' }],
    );
    server.use(new Echo());
    assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
    await until('it is counted', () => counted('ListImages', 'INTERNAL') === 1);
  });

  test('16 MiB pass both ways, and 15 MiB twenty times at once', async (t) => {
    const { client } = await open(t, new Echo());
    const largest = frame(Buffer.alloc(maxMessageSize, 'x'));
    const { trailers, bytes } = await client.call('ListImages', largest);
    assert.equal(trailers['grpc-status'], '0');
    assert.ok(bytes.equals(largest), `${bytes.length} bytes came back`);
    const large = frame(Buffer.alloc(15 * 1024 * 1024, 'y'));
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.call('ListImages', large)));
    for (const answer of answers) {
      assert.equal(answer.trailers['grpc-status'], '0', `reset with ${answer.reset}`);
      assert.ok(answer.bytes.equals(large), `${answer.bytes.length} bytes came back`);
    }
  });

  test('calls that nobody reads do not stop others', async (t) => {
    const { client, server, front } = await open(t, new Held());
    const body = Buffer.alloc(2 * 1024 * 1024);
    for (let i = 0; i < 20; i++) client.begin('PullImage').end(body);
    await until('all have come', () => front.streams.length === 20);
    server.use(new Echo());
    assert.equal(
      (await client.call('ListImages', frame(Buffer.alloc(100_000)))).trailers['grpc-status'],
      '0',
    );
  });

  test('answers that nobody reads do not stop other calls', async (t) => {
    const { client } = await open(t, new Echo());
    const large = frame(Buffer.alloc(15 * 1024 * 1024));
    for (let i = 0; i < 3; i++) {
      const stream = client.begin('ListImages');
      stream.end(large);
      await once(stream, 'response');
    }
    assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
  });

  test('calls are counted by method and status, and connections are seen', async (t) => {
    const { client, counted, metrics, server } = await open(t, new Echo());
    await client.call('PullImage');
    await client.call('PullImage', Buffer.alloc(3));
    await client.call('Made_up_by_the_client');
    await client.call('/grpc.health.v1.Health/Check');
    server.use(new Held());
    const stream = client.begin('ImageStatus');
    await until('it has come', () => stream.id !== undefined);
    stream.close(constants.NGHTTP2_CANCEL);
    await until('the cancelled one is counted', () => counted('ImageStatus', 'CANCELLED') === 1);
    assert.deepEqual(
      [
        counted('PullImage', 'OK'),
        counted('PullImage', 'INTERNAL'),
        counted('other', 'OK'),
        counted('other', 'UNIMPLEMENTED'),
      ],
      [1, 1, 1, 1],
    );
    assert.doesNotMatch(metrics.text, /Made_up/);
    assert.equal(metrics.value('cri_sessions'), 1);
    await client.close();
    await until('it has gone', () => metrics.value('cri_sessions') === 0);
  });
});

describe('the gRPC server and its clients', { concurrency: true, timeout: 120_000 }, () => {
  for (const [what, headers] of [
    ['a header of 100 kB', { large: 'x'.repeat(100_000) }],
    [
      '100 kB of headers',
      Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`n${i}`, 'x'.repeat(1_000)])),
    ],
    ['1000 headers', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`n${i}`, 'x']))],
  ] as const) {
    test(`${what} cost the call, and the next one is served`, async (t) => {
      const { client, path, front } = await open(t, new Echo());
      const flood = new TestClient(t, path, { maxSendHeaderBlockLength: 1 << 20 });
      await flood.call('ListImages'); // the bounds count as soon as the client has answered to them
      const refused = await flood.call('ListImages', Buffer.alloc(5), headers);
      assert.equal(refused.headers[':status'], undefined);
      assert.notEqual(refused.reset, 0);
      assert.equal(front.paths.length, 1);
      assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
      assert.equal((await new TestClient(t, path).call('ListImages')).trailers['grpc-status'], '0');
    });
  }

  test('300 calls that are cancelled leave nothing behind', async (t) => {
    const { client, front, counted, server } = await open(t, new Held());
    const streams = Array.from({ length: 300 }, () => client.begin('PullImage'));
    await until('all have come', () => front.streams.length === 300);
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    await until('all are counted', () => counted('PullImage', 'CANCELLED') === 300);
    assert.ok(
      front.streams.every((stream) => stream.destroyed),
      'all are closed',
    );
    server.use(new Echo());
    assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
    assert.deepEqual(await server.drain(10_000, Promise.resolve()), { cut: 0 });
  });

  test('a connection that breaks in the middle of calls ends these', async (t) => {
    const { client, front, metrics } = await open(t, new Held());
    for (let i = 0; i < 10; i++) client.begin('PullImage').write(Buffer.alloc(100));
    await until('all have come', () => front.streams.length === 10);
    client.socket.destroy();
    await until('all are closed', () => front.streams.every((stream) => stream.destroyed));
    assert.equal(metrics.value('cri_sessions'), 0);
  });

  for (const [what, bytes] of [
    ['HTTP/1.1', `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(100)}\r\n`],
    ['noise', Buffer.alloc(100_000, 255)],
    ['half a preface', 'PRI * HTTP/2.0\r\n'],
    ['a preface and noise', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(10_000)}`],
    ['nothing', ''],
  ] as const) {
    test(`a client that sends ${what} costs its connection alone`, async (t) => {
      const { client, path, log, metrics } = await open(t, new Echo());
      await client.call('ListImages');
      const other = connect(path);
      other.on('error', () => undefined).resume();
      other.end(bytes);
      await once(other, 'close');
      await until('it is forgotten', () => metrics.value('cri_sessions') === 1);
      assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
      assert.deepEqual([...log.at('error'), ...log.at('warn')], []);
    });
  }

  test('calls that HTTP/2 refuses for the name of the socket are explained once', async (t) => {
    const { client, path, log, front, metrics } = await open(t, new Echo());
    await client.call('ListImages');
    for (let i = 0; i < 2; i++) {
      const old = new TestClient(t, path);
      const { reset } = await old.call('ImageFsInfo', Buffer.alloc(5), {
        ':authority': path,
        'user-agent': 'grpc-go/1.38.0',
      });
      assert.equal(reset, constants.NGHTTP2_PROTOCOL_ERROR);
      await old.close();
      await until('it is forgotten', () => metrics.value('cri_sessions') === 1);
    }
    assert.equal(front.paths.length, 1);
    assert.equal(log.entries.length, 1);
    assert.match(log.text, /kubelet must be 1\.29 or newer/);
  });

  test('a connection that was not used is not explained', async (t) => {
    const { path, log, metrics } = await open(t, new Echo());
    const idle = new TestClient(t, path);
    await once(idle.session, 'remoteSettings');
    for (let i = 0; i < 3; i++) await new Promise((resolve) => idle.session.ping(resolve));
    await idle.close();
    connect(path).destroy();
    await until('they have gone', () => metrics.value('cri_sessions') <= 1);
    assert.deepEqual(log.entries, []);
  });
});

describe('the gRPC server, as it changes and stops', { concurrency: true, timeout: 120_000 }, () => {
  test('another front gets later calls, and running ones stay with theirs', async (t) => {
    const { client, server, front: first } = await open(t, new Held());
    const running = client.call('PullImage');
    await until('it has come', () => first.streams.length === 1);
    const second = new Echo();
    let isUnused = false;
    const unused = server.use(second).then(() => {
      isUnused = true;
    });
    await client.call('ListImages');
    assert.deepEqual([first.streams.length, second.paths.length, isUnused], [1, 1, false]);
    first.answer();
    assert.equal((await running).headers['grpc-status'], '0');
    await unused;
    await server.use(new Held()); // at once: nothing runs
  });

  test('a drain serves old and new calls, on old and new connections, until all is done', async (t) => {
    const { client, server, path, front } = await open(t, new Held());
    const pull = client.call('PullImage');
    await until('the pull has come', () => front.streams.length === 1);
    let becomeIdle = () => {};
    const whenIdle = new Promise<void>((resolve) => {
      becomeIdle = resolve;
    });
    const drained = server.drain(60_000, whenIdle);
    server.use(new Echo());
    assert.equal((await client.call('ImageStatus')).trailers['grpc-status'], '0');
    const late = new TestClient(t, path);
    assert.equal((await late.call('ImageStatus')).trailers['grpc-status'], '0');
    const closed = [client, late].map(({ session }) => once(session, 'close'));

    front.answer();
    assert.equal((await pull).headers['grpc-status'], '0');
    becomeIdle();
    assert.deepEqual(await drained, { cut: 0 });
    await Promise.all(closed);
    await assert.rejects(once(connect(path), 'connect'), { code: 'ENOENT' });
  });

  test('a call under way at the end of a drain may still end, and its answer is written', async (t) => {
    const drain = async () => {
      const { client, server, front, path } = await open(t, new Held());
      const call = client.call('ListImages');
      await until('it has come', () => front.streams.length === 1);
      const drained = server.drain(60_000, Promise.resolve());
      await until('no more are taken', async () => !(await readdir(join(path, '..'))).includes('s'));
      front.answer();
      assert.equal((await call).headers['grpc-status'], '0');
      assert.deepEqual(await drained, { cut: 0 });
    };
    // One alone has its answer written before anybody looks.
    await Promise.all(Array.from({ length: 12 }, drain));
  });

  test('a drain whose time is over cuts what is left, and says so to who waits', async (t) => {
    const { client, server, front, counted } = await open(t, new Held());
    const calls = [client.call('PullImage'), client.call('PullImage')];
    const begun = client.call('StreamImages');
    await until('they have come', () => front.streams.length === 3);
    const last = front.streams.find((stream) => stream.id === 5);
    last?.respond({ ':status': 200 }, { waitForTrailers: true });
    await until('its headers are there', () => last?.headersSent);
    const never = new Promise<void>(() => undefined);
    assert.deepEqual(await server.drain(100, never), { cut: 3 });
    for (const { headers } of await Promise.all(calls)) {
      assert.equal(headers['grpc-status'], '14');
      assert.equal(headers['grpc-message'], 'kubelet-image-service is stopping; ask again');
    }
    assert.equal((await begun).trailers['grpc-status'], undefined);
    assert.ok(
      front.streams.every((stream) => stream.destroyed),
      'all are closed',
    );
    assert.equal(counted('PullImage', 'UNAVAILABLE'), 2);
  });

  test('a drain does not mind what it waits for', async (t) => {
    const { server } = await open(t, new Held());
    assert.deepEqual(await server.drain(60_000, Promise.reject(new Error('lost'))), { cut: 0 });
  });

  test('a drain ends at once when all is closed', async (t) => {
    const { server } = await open(t, new Held());
    const never = new Promise<void>(() => undefined);
    const drained = server.drain(3_600_000, never);
    await server.close();
    assert.deepEqual(await drained, { cut: 0 });
    assert.deepEqual(await server.drain(3_600_000, never), { cut: 0 });
  });

  test('is closed at once, and a second time', async (t) => {
    const { client, server, front, path, metrics } = await open(t, new Held());
    const call = client.call('PullImage');
    await until('it has come', () => front.streams.length === 1);
    await Promise.all([server.close(), server.close()]);
    assert.equal((await call).headers[':status'], undefined);
    assert.equal(metrics.value('cri_sessions'), 0);
    await assert.rejects(once(connect(path), 'connect'), { code: 'ENOENT' });
  });

  test('two at one socket: the second one gives up', async (t) => {
    const { path, client } = await open(t, new Echo());
    const socket = { address: { path }, mode: 0o600, directoryMode: 0o700 };
    const parts = { front: new Echo(), log: new FakeLog(), metrics: new FakeMetrics() };
    await assert.rejects(GrpcServer.open({ socket, ...parts }), {
      message: `cannot listen at unix://${path}: another program listens there: stop it, or use another path`,
    });
    assert.equal((await client.call('ListImages')).trailers['grpc-status'], '0');
  });
});
