import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { closeUnlessRead, endAnswer, hasBody, hasUnreadBody } from './end-answer.js';

const mebibyte = 1024 * 1024;
const refusal = Buffer.from('{"errors":[{"code":"UNAUTHORIZED"}]}'.padEnd(2_000));

/** A server that refuses everything, and what it knows of its requests. */
async function start(t: TestContext, { waits = false, complete = false } = {}) {
  const requests: IncomingMessage[] = [];
  const ended: Promise<void>[] = [];
  const endedAtOnce: boolean[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    requests.push(request);
    while (complete && !request.complete) await nextTurn();
    response.writeHead(401, { 'content-length': refusal.length, ...closeUnlessRead(request) });
    ended.push(endAnswer(response, request.method === 'HEAD' ? undefined : refusal, waits));
    endedAtOnce.push(response.writableEnded);
  };
  const server = createServer(serve);
  server.on('checkContinue', serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const open = (head: string) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => undefined);
    socket.write(head);
    return socket;
  };
  return { open, requests, ended, endedAtOnce };
}

/** Writes pieces, as many as there are, or until the connection is gone. */
function pour(socket: Socket, piece: Buffer, count: number): Promise<void> {
  let left = count;
  return new Promise((resolve) => {
    const write = () => {
      while (left > 0 && !socket.destroyed) {
        left--;
        if (!socket.write(piece)) return;
      }
      if (left === 0) resolve();
    };
    socket.on('drain', write).once('close', resolve);
    write();
  });
}

/** All that comes until the server closes the connection, within 20 s. */
async function readAll(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece)).resume();
  for (let i = 0; !socket.closed && !socket.readableEnded; i++) {
    if (i > 2_000) assert.fail('the connection was not closed within 20 s');
    await sleep(10);
  }
  return Buffer.concat(pieces).toString('latin1');
}

function assertWhole(text: string): void {
  assert.match(text, /^HTTP\/1\.1 401 /);
  assert.match(text, /\r\nconnection: close\r\n/i);
  assert.ok(text.endsWith(`\r\n\r\n${refusal.toString('latin1')}`), `not whole: ${text.length} characters`);
}

describe('endAnswer', () => {
  for (const [what, head, piece, end] of [
    ['with a length', `Content-Length: ${8 * mebibyte}`, Buffer.alloc(mebibyte), ''],
    [
      'chunked',
      'Transfer-Encoding: chunked',
      Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(mebibyte), Buffer.from('\r\n')]),
      '0\r\n\r\n',
    ],
  ] as const) {
    test(`a client that sends 8 MiB ${what} before it reads gets its answer whole`, async (t) => {
      const { open } = await start(t);
      const socket = open(`PUT / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`);
      socket.pause();
      await pour(socket, piece, 8);
      socket.write(end);
      assertWhole(await readAll(socket));
    });
  }

  test('a client that waits to be asked is answered at once, and its body not waited for', async (t) => {
    const { open, ended, endedAtOnce } = await start(t, { waits: true });
    const head = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n';
    assertWhole(await readAll(open(head)));
    await Promise.all(ended);
    assert.deepEqual(endedAtOnce, [true]);
  });

  test('a client that stops sending is let go, and sooner than one that sends a byte now and then', async (t) => {
    const { open } = await start(t);
    const head = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc';
    const dripping = open(head);
    await new Promise((resolve) => dripping.once('readable', resolve));
    const stopping = open(head);
    const drip = setInterval(() => dripping.writable && dripping.write('x'), 200);
    t.after(() => clearInterval(drip));
    const ended: string[] = [];
    await Promise.all(
      Object.entries({ stopping, dripping }).map(async ([who, socket]) => {
        assertWhole(await readAll(socket));
        ended.push(who);
      }),
    );
    assert.deepEqual(ended, ['stopping', 'dripping']);
  });

  test('a client that never stops sending is read for a while only', async (t) => {
    const { open, requests } = await start(t);
    const socket = open('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n');
    socket.resume();
    await pour(socket, Buffer.alloc(mebibyte), 100_000);
    const read = requests[0]?.socket.bytesRead ?? 0;
    assert.ok(read > 16 * mebibyte && read < 64 * mebibyte, `${read} bytes`);
  });

  test('a client that leaves meanwhile is let go', async (t) => {
    const { open, ended, requests } = await start(t);
    const socket = open('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.resetAndDestroy();
    await ended[0];
    assert.equal(requests[0]?.destroyed, true);
  });

  for (const [what, request] of [
    ['no body', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a body that has arrived', 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc'],
    ['an empty body', 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'],
  ] as const) {
    test(`with ${what} the connection goes on`, async (t) => {
      const { open, requests } = await start(t, { complete: true });
      const socket = open(request);
      const answers = async (count: number) => {
        for (let i = 0; text.split('HTTP/1.1 401').length <= count; i++) {
          if (i > 1_000) assert.fail(`no answer within 10 s: ${text}`);
          await sleep(10);
        }
      };
      let text = '';
      socket.on('data', (piece: Buffer) => {
        text += piece.toString('latin1');
      });
      await answers(1);
      socket.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
      await answers(2);
      assert.equal(requests.length, 2);
    });
  }

  for (const [headers, complete, has, unread] of [
    [{}, false, false, false],
    [{ 'content-length': '0' }, false, false, false],
    [{ 'content-length': '1' }, false, true, true],
    [{ 'content-length': '1' }, true, true, false],
    [{ 'transfer-encoding': 'chunked' }, false, true, true],
    [{ 'transfer-encoding': 'chunked' }, true, true, false],
  ] as const) {
    test(`${JSON.stringify(headers)}, ${complete ? 'complete' : 'under way'}: body ${has}, unread ${unread}`, () => {
      const request = { headers, complete } as unknown as IncomingMessage;
      assert.equal(hasBody(request), has);
      assert.equal(hasUnreadBody(request), unread);
      assert.deepEqual(closeUnlessRead(request), unread ? { connection: 'close' } : {});
    });
  }
});
