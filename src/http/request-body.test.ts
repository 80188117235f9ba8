import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { ClientGone } from './client-gone.js';
import { RequestBody } from './request-body.js';

const mebibyte = 1024 * 1024;

interface Received {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: RequestBody;
  readonly begun: () => number;
}

/** A client that writes what a test says, and the request that arrives of it. */
async function exchange(
  t: TestContext,
  head: string,
): Promise<Received & { socket: Socket; answer: () => string }> {
  let arrive: (received: Received) => void;
  const arrived = new Promise<Received>((resolve) => {
    arrive = resolve;
  });
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    let begun = 0;
    const begin = () => {
      begun++;
      if (request.headers.expect !== undefined) response.writeContinue();
    };
    arrive({ request, response, body: new RequestBody(request, begin), begun: () => begun });
  };
  const server = createServer(serve);
  server.on('checkContinue', serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  let answer = '';
  socket.on('error', () => undefined);
  socket.on('data', (piece: Buffer) => {
    answer += piece.toString('latin1');
  });
  socket.write(`PUT / HTTP/1.1\r\nHost: a\r\n${head}`);
  return { ...(await arrived), socket, answer: () => answer };
}

function read(body: RequestBody): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    body.on('data', (piece: Buffer) => pieces.push(piece));
    body.once('end', () => resolve(Buffer.concat(pieces)));
    body.once('error', reject);
  });
}

/** Waits until a condition holds, 10 s at most. */
async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1_000) assert.fail(`not within 10 s: ${what}`);
    await sleep(10);
  }
}

/** Waits until a number has stayed the same for a while. */
async function settled(value: () => number): Promise<number> {
  for (let same = 0, last = value(); same < 20; ) {
    await sleep(10);
    same = value() === last ? same + 1 : 0;
    last = value();
  }
  return value();
}

describe('RequestBody', () => {
  test('a tiny body that arrived with its head', async (t) => {
    const { body, request, begun } = await exchange(t, 'Content-Length: 5\r\n\r\nhello');
    await until(() => request.complete, 'the whole request');
    assert.equal(body.received, 0, 'nothing is read that nobody asked for');
    assert.equal((await read(body)).toString(), 'hello');
    assert.deepEqual([body.received, begun()], [5, 1]);
  });

  test('chunks, as they come', async (t) => {
    const { body, socket } = await exchange(t, 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    const whole = read(body);
    await until(() => body.received === 5, 'the first chunk');
    socket.write('6\r\n world\r\n0\r\n\r\n');
    assert.equal((await whole).toString(), 'hello world');
    assert.equal(body.received, 11);
  });

  test('no bytes, chunked', async (t) => {
    const { body } = await exchange(t, 'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
    assert.equal((await read(body)).length, 0);
  });

  test('what 100-continue waits for comes with the first read, once', async (t) => {
    const head = 'Content-Length: 5\r\nExpect: 100-continue\r\n\r\n';
    const { body, begun, socket, answer } = await exchange(t, head);
    for (let i = 0; i < 5; i++) await nextTurn();
    assert.equal(begun(), 0, 'nobody has read yet');
    const whole = read(body);
    await until(() => answer().startsWith('HTTP/1.1 100 Continue\r\n\r\n'), 'the 100');
    socket.write('he');
    await until(() => body.received === 2, 'two bytes');
    socket.write('llo');
    assert.equal((await whole).toString(), 'hello');
    assert.equal(begun(), 1);
  });

  test('a reader that stops holds the client back, and memory with it', async (t) => {
    const size = 64 * mebibyte;
    const { body, socket } = await exchange(t, `Content-Length: ${size}\r\n\r\n`);
    const piece = Buffer.alloc(mebibyte, 'x');
    let left = size / mebibyte;
    const write = () => {
      while (left > 0) {
        left--;
        if (!socket.write(piece)) return;
      }
    };
    socket.on('drain', write);
    write();
    await new Promise<void>((resolve) => body.once('readable', resolve));
    body.read(1);
    const held = await settled(() => body.received);
    assert.ok(held < mebibyte, `${held} bytes were read for nobody`);
    assert.ok(left > 0, 'the client was not held back');
    let rest = 1;
    body.on('data', (more: Buffer) => {
      rest += more.length;
    });
    await new Promise<void>((resolve) => body.once('end', resolve));
    assert.equal(rest, size);
  });

  test('destroyed, it leaves the connection to the answer, and reads nothing more', async (t) => {
    const { body, request, response, socket, answer } = await exchange(
      t,
      'Content-Length: 100000\r\n\r\nhello',
    );
    body.resume();
    await until(() => body.received === 5, 'the first bytes');
    body.destroy();
    await new Promise<void>((resolve) => body.once('close', resolve));
    assert.equal(request.destroyed, false);
    assert.equal(request.isPaused(), true);
    socket.write('world');
    response.writeHead(403, { 'content-length': 2, connection: 'close' });
    response.end('no');
    await until(() => answer().endsWith('\r\n\r\nno'), 'the answer');
    assert.equal(body.received, 5);
  });

  test('destroyed before anybody read it', async (t) => {
    const { body, begun, response, answer } = await exchange(t, 'Content-Length: 5\r\n\r\nhello');
    body.destroy(new Error('not wanted'));
    await new Promise<void>((resolve) => body.once('close', resolve));
    assert.equal(begun(), 0);
    response.end('ok');
    await until(() => answer().includes('ok'), 'the answer');
  });

  for (const [what, head] of [
    ['with a length', 'Content-Length: 10\r\n\r\nhello'],
    ['chunked', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
  ] as const) {
    for (const [how, leave] of [
      ['resets the connection', (socket: Socket) => socket.resetAndDestroy()],
      ['closes the connection', (socket: Socket) => socket.destroy()],
      ['ends its side', (socket: Socket) => socket.end()],
    ] as const) {
      test(`a client that ${how} in the middle of a body ${what}: it fails, and never ends`, async (t) => {
        const { body, socket } = await exchange(t, head);
        const whole = read(body);
        await until(() => body.received === 5, 'the first bytes');
        leave(socket);
        await assert.rejects(whole, ClientGone);
      });
    }
  }

  test('a client that had gone before anybody read: it fails at once', { timeout: 60_000 }, async (t) => {
    for (const head of ['Content-Length: 10\r\n\r\nhello', 'Content-Length: 5\r\n\r\nhello']) {
      const { body, request, socket, begun } = await exchange(t, head);
      socket.resetAndDestroy();
      await until(() => request.destroyed, 'the client is seen to go');
      await assert.rejects(read(body), ClientGone);
      assert.equal(begun(), 0);
    }
  });

  test('a failure that nobody listens to ends no program', async (t) => {
    const { body, socket } = await exchange(t, 'Content-Length: 10\r\n\r\nhello');
    body.resume();
    await until(() => body.received === 5, 'the first bytes');
    socket.destroy();
    await until(() => body.destroyed, 'the failure');
    assert.ok(body.errored instanceof ClientGone, String(body.errored));
  });
});
