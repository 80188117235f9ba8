import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RouteTable } from '../routing/route-table.js';
import { AddressRanges } from '../settings/address-range.js';
import { ClientGone } from './client-gone.js';
import { Exchange } from './exchange.js';

const parts = {
  routes: new RouteTable(new URL('https://docker.test'), [], new Map()),
  trustedProxies: new AddressRanges(['127.0.0.1']),
};

/** Sends the head of a request. @returns its exchange, the client's socket and what came back over it */
async function open(t: TestContext, text: string) {
  let arrive: (exchange: Exchange) => void;
  const arrived = new Promise<Exchange>((resolve) => {
    arrive = resolve;
  });
  const serve = (request: IncomingMessage, response: ServerResponse) =>
    arrive(new Exchange(request, response, parts));
  const server = createServer(serve);
  server.on('checkContinue', serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  let received = '';
  socket.on('error', () => undefined);
  socket.on('data', (piece: Buffer) => {
    received += piece.toString('latin1');
  });
  socket.write(text);
  return { exchange: await arrived, socket, received: () => received };
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1_000) assert.fail(`not within 10 s: ${what}`);
    await sleep(10);
  }
}

describe('Exchange', () => {
  test('who is there, and under which host', async (t) => {
    const { exchange } = await open(
      t,
      'GET / HTTP/1.1\r\nHost: docker.test\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n',
    );
    assert.equal(exchange.host.service, 'docker.test');
    assert.deepEqual(exchange.connection, { address: '203.0.113.9' });
    assert.equal(exchange.response.getHeader('x-request-id'), exchange.id);
    assert.deepEqual([exchange.received, exchange.shown], [0, undefined]);
  });

  for (const [method, framing, has] of [
    ['PUT', 'Content-Length: 5', true],
    ['POST', 'Transfer-Encoding: chunked', true],
    ['PATCH', 'Content-Length: 5', true],
    ['PUT', 'Content-Length: 0', false],
    ['POST', 'X-A: b', false],
    ['GET', 'Content-Length: 5', false],
    ['DELETE', 'Content-Length: 5', false],
  ] as const) {
    test(`${method} with ${framing}: ${has ? 'one body, however often it is asked for' : 'no body'}`, async (t) => {
      const { exchange } = await open(t, `${method} / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
      const body = exchange.body();
      assert.equal(body !== undefined, has);
      assert.equal(exchange.body(), body);
    });
  }

  for (const [what, head, asked] of [
    ['a client that waits', 'HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n', true],
    ['a client that does not', 'HTTP/1.1\r\nHost: a\r\n', false],
    ['a client of HTTP/1.0, which knows no 100', 'HTTP/1.0\r\nExpect: 100-continue\r\n', false],
  ] as const) {
    test(`${what} is asked for its body ${asked ? 'once' : 'by nothing'}`, async (t) => {
      const { exchange, received } = await open(t, `PUT / ${head}Content-Length: 5\r\n\r\n`);
      exchange.askForBody();
      exchange.askForBody();
      exchange.response.writeHead(200, { 'content-length': 2 });
      exchange.response.write('ok');
      await until(() => received().endsWith('ok'), 'the answer');
      assert.equal(received().split(' 100 Continue\r\n\r\n').length, asked ? 2 : 1, received());
    });
  }

  test('an answer to HEAD has no body', async (t) => {
    const { exchange, received, socket } = await open(
      t,
      'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    );
    exchange.response.writeHead(200, { 'content-length': 2 });
    await exchange.end(Buffer.from('ok'));
    await until(() => socket.closed, 'the end');
    assert.ok(received().endsWith('\r\n\r\n'), received());
  });

  test('a client that is answered while its body was read by half gets the answer whole', async (t) => {
    const size = 8 * 1024 * 1024;
    const { exchange, socket, received } = await open(
      t,
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`,
    );
    socket.pause();
    const written = new Promise<void>((resolve, reject) => {
      socket.write(Buffer.alloc(size), (error) => (error ? reject(error) : resolve()));
    });
    const body = exchange.body() ?? assert.fail('no body');
    await new Promise<void>((resolve) => body.once('readable', resolve));
    body.read(1); // and no more, and nobody destroys it
    exchange.response.writeHead(403, { 'content-length': 2, connection: 'close' });
    await exchange.end(Buffer.from('no'));
    await written;
    socket.resume();
    await until(() => received().endsWith('\r\n\r\nno'), 'the answer');
    assert.ok(exchange.received < size, `${exchange.received} bytes were read for nobody`);
  });

  test('the signal tells that the client went before it was answered, and nothing else', async (t) => {
    const gone = await open(t, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    gone.socket.destroy();
    await until(() => gone.exchange.signal.aborted, 'the signal');
    assert.ok(gone.exchange.signal.reason instanceof ClientGone, String(gone.exchange.signal.reason));
    const answered = await open(t, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    answered.exchange.response.writeHead(204);
    await answered.exchange.end();
    await until(() => answered.socket.closed, 'the end');
    await until(() => answered.exchange.response.closed, 'the answer is done');
    assert.equal(answered.exchange.signal.aborted, false);
  });
});
