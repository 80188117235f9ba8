import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { createServer as createHttp1Server } from 'node:http';
import {
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { frame, maxMessageSize, readMessage } from './frames.js';
import { temporaryDirectory } from './grpc-server-client.test.js';
import { endWithStatus } from './status.js';
import { callUnary, type UnaryCall, UnaryCallError } from './unary-call.js';

type Handle = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function listen(t: TestContext, server: Server): Promise<string> {
  const path = join(await temporaryDirectory(), 's');
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
  });
  server.listen(path);
  await once(server, 'listening');
  t.after(() => void server.close());
  return path;
}

function serve(t: TestContext, handle: Handle): Promise<string> {
  const http = createHttp2Server({ maxSessionMemory: 128 });
  http.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    handle(stream, headers);
  });
  return listen(
    t,
    createServer((socket) => void http.emit('connection', socket)),
  );
}

const ask = (path: string, more: Partial<UnaryCall> = {}) =>
  callUnary({ path, method: 'ImageFsInfo', request: Buffer.from('asked'), timeout: 10_000, ...more });

/** Answers with these bytes, and OK. */
const answer =
  (...pieces: readonly Buffer[]): Handle =>
  (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    for (const piece of pieces) stream.write(piece);
    endWithStatus(stream, 0, '');
  };

describe('a unary call', { concurrency: true, timeout: 60_000 }, () => {
  test('asks as gRPC says, and gives what is answered', async (t) => {
    let seen: IncomingHttpHeaders = {};
    const path = await serve(t, (stream, headers) => {
      seen = headers;
      readMessage(stream).then(({ bytes }) =>
        answer(frame(Buffer.from(`${bytes}, answered`)))(stream, headers),
      );
    });
    assert.deepEqual(await ask(path), { status: 0, message: '', bytes: Buffer.from('asked, answered') });
    assert.equal(seen[':path'], '/runtime.v1.ImageService/ImageFsInfo');
    assert.equal(seen[':authority'], 'localhost:80');
    assert.deepEqual(
      [seen['content-type'], seen.te, seen['grpc-timeout']],
      ['application/grpc', 'trailers', '10000m'],
    );
  });

  test('carries 16 MiB both ways', async (t) => {
    const path = await serve(t, (stream, headers) => {
      readMessage(stream).then(({ bytes }) => answer(frame(bytes))(stream, headers));
    });
    const request = Buffer.alloc(maxMessageSize, 'x');
    const { status, bytes } = await ask(path, { request });
    assert.equal(status, 0);
    assert.ok(bytes.equals(request), `${bytes.length} bytes came back`);
  });

  test('gives a status that comes before all of its 16 MiB were taken', async (t) => {
    const path = await serve(t, (stream) => endWithStatus(stream, 12, 'not here'));
    const answered = await ask(path, { request: Buffer.alloc(maxMessageSize) });
    assert.deepEqual(answered, { status: 12, message: 'not here', bytes: Buffer.alloc(0) });
  });

  for (const [what, handle] of [
    ['headers alone', (stream) => endWithStatus(stream, 12, 'für später')],
    [
      'trailers',
      (stream) => {
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        endWithStatus(stream, 12, 'für später');
      },
    ],
    [
      'trailers after a message',
      (stream) => {
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.write(frame(Buffer.from('not looked at')));
        endWithStatus(stream, 12, 'für später');
      },
    ],
  ] as const satisfies readonly (readonly [string, Handle])[]) {
    test(`gives a status in ${what}`, async (t) => {
      const path = await serve(t, handle);
      assert.deepEqual(await ask(path), { status: 12, message: 'für später', bytes: Buffer.alloc(0) });
    });
  }

  for (const [what, handle, reason] of [
    [
      'is another server',
      (stream) => stream.respond({ ':status': 404 }, { endStream: true }),
      'is no image service: it answers HTTP 404',
    ],
    [
      'gives no status',
      (stream) => stream.respond({ ':status': 200 }, { endStream: true }),
      'did not answer well: the message cannot be read: no message came',
    ],
    [
      'gives a message and no status',
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.end(frame(Buffer.alloc(1)));
      },
      'gave no gRPC status',
    ],
    ['gives OK and no message', answer(), 'did not answer well: the message cannot be read: no message came'],
    [
      'gives OK and two messages',
      answer(frame(Buffer.alloc(1)), frame(Buffer.alloc(1))),
      'did not answer well: the message cannot be read: more than one message came',
    ],
    [
      'gives a message of 16 MiB and more',
      answer(Buffer.from([0, 1, 0, 0, 1])),
      'did not answer well: the message has 16777217 bytes, and at most 16777216 are taken',
    ],
    [
      'resets the call',
      (stream) => stream.close(2),
      'broke the call off: Stream closed with error code NGHTTP2_INTERNAL_ERROR',
    ],
    ['ends the connection', (stream) => stream.session?.destroy(), 'closed the call without an answer'],
  ] as const satisfies readonly (readonly [string, Handle, string])[]) {
    test(`to who ${what} fails in one line`, async (t) => {
      const path = await serve(t, handle);
      await assert.rejects(ask(path), new UnaryCallError(`unix://${path} ${reason}`));
    });
  }

  test('to nobody fails in one line', async () => {
    const directory = await temporaryDirectory();
    const path = join(directory, 's');
    await assert.rejects(ask(path), new UnaryCallError(`there is no socket at unix://${path}`));
    await assert.rejects(ask(join(path, 's')), new UnaryCallError(`there is no socket at unix://${path}/s`));

    const server = createServer().listen(`${path}.1`);
    await once(server, 'listening');
    await rename(`${path}.1`, path);
    server.close();
    await assert.rejects(ask(path), new UnaryCallError(`nobody listens at unix://${path}`));

    await writeFile(`${path}.2`, '');
    await assert.rejects(ask(`${path}.2`), new UnaryCallError(`nobody listens at unix://${path}.2`));
  });

  test('to who does not speak HTTP/2 fails in one line', async (t) => {
    const path = await listen(
      t,
      createHttp1Server((_, response) => response.end('hello')),
    );
    await assert.rejects(ask(path), { message: new RegExp(`^unix://${path} does not speak gRPC: [^\\n]+$`) });
  });

  test('to who closes the connection at once fails in one line', async (t) => {
    const path = await listen(
      t,
      createServer((socket) => socket.destroy()),
    );
    await assert.rejects(ask(path), {
      name: 'UnaryCallError',
      message: new RegExp(`^unix://${path} [^\\n]+$`),
    });
  });

  for (const [what, makePath] of [
    ['says nothing', (t: TestContext) => listen(t, createServer())],
    ['does not answer', (t: TestContext) => serve(t, () => undefined)],
    ['does not end its answer', (t: TestContext) => serve(t, (stream) => stream.respond({ ':status': 200 }))],
    [
      'goes on answering',
      (t: TestContext) =>
        serve(t, (stream) => {
          stream.respond({ ':status': 200 });
          stream.write(Buffer.from([0, 0, 255, 0, 0]));
          const timer = setInterval(() => stream.write('x'), 20);
          stream.on('close', () => clearInterval(timer));
        }),
    ],
  ] as const) {
    test(`to who ${what} ends when its time is over`, async (t) => {
      const path = await makePath(t);
      await assert.rejects(
        ask(path, { timeout: 300 }),
        new UnaryCallError(`unix://${path} did not answer within 0.3s`),
      );
    });
  }

  test('ends when nobody wants its answer any more, and leaves no connection', async (t) => {
    const server = createServer();
    const path = await listen(t, server);
    const over = new AbortController();
    const reason = new Error('enough');
    server.once('connection', () => over.abort(reason));
    await assert.rejects(ask(path, { signal: over.signal }), reason);
    await assert.rejects(ask(path, { signal: over.signal }), reason);
    await new Promise((resolve) => server.close(resolve));
  });
});
