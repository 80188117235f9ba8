import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import {
  assertError,
  assertErrorBody,
  basic,
  type Front,
  parseMessages,
  passwords,
  sendRaw,
  startFront,
} from '../harness/index.js';

const mebibyte = 1024 * 1024;
const digest = `sha256:${'0'.repeat(64)}`;

async function startWith(t: TestContext, url: string, more = ''): Promise<Front> {
  return startFront(
    t,
    `
upstreams: { one: { url: "${url}", timeouts: { headers: 1s, idle: 1s }, ${more} } }
routes: [{ prefix: "", upstream: one }]
`,
    { files: { secret: 'pw' } },
  );
}

/** An upstream that answers anything but pings with what the test says. */
async function startUpstream(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = await startLoopbackServer((request, response) => {
    if (request.url === '/v2/') response.end('{}');
    else answer(request, response);
  });
  t.after(() => server.close());
  return server.url;
}

/** Writes until nobody reads any more. */
function writeForever(response: ServerResponse, piece: Buffer): void {
  const next = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on('drain', next);
  response.on('error', () => undefined);
  next();
}

async function startOpen(t: TestContext): Promise<Front> {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('app', '1', tinyImageFor('amd64', 'hello'));
  return startWith(t, registry.url);
}

/** Sends pieces, a second apart, until the server has had enough. @returns what it said */
function drip(
  port: number,
  first: string,
  piece: () => string,
  limit: number,
): Promise<{ text: Buffer; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const received: Buffer[] = [];
    const dripping = setInterval(() => socket.writable && socket.write(piece()), 1_000);
    const finish = (closed: boolean) => {
      clearInterval(dripping);
      clearTimeout(timer);
      socket.destroy();
      resolve({ text: Buffer.concat(received), closed });
    };
    const timer = setTimeout(() => finish(false), limit);
    socket.on('data', (data: Buffer) => received.push(data));
    socket.on('error', () => undefined);
    socket.once('close', () => finish(true));
    socket.write(first);
  });
}

describe('threat 21: slow-loris, giant headers, manifests and token bodies', { concurrency: true }, () => {
  test('headers that drip in: 408, and the connection is closed', async (t) => {
    const front = await startOpen(t);
    const { text, closed } = await drip(
      front.port,
      'GET /v2/ HTTP/1.1\r\nHost: docker.test\r\n',
      () => 'X-A: b\r\n',
      40_000,
    );
    assert.equal(closed, true);
    const [answer] = parseMessages(text);
    assert.equal(answer?.status, 408);
    assertErrorBody(answer?.body ?? '', 'UNSUPPORTED');
  });

  test('a token form that drips in: 408, and the connection is closed', async (t) => {
    const front = await startOpen(t);
    const head = 'POST /token HTTP/1.1\r\nHost: docker.test\r\nContent-Length: 10000\r\n\r\n';
    const { text, closed } = await drip(front.port, head, () => 'x', 40_000);
    assert.equal(closed, true);
    const [answer] = parseMessages(text);
    assert.equal(answer?.status, 408);
    assertErrorBody(answer?.body ?? '', 'SIZE_INVALID');
    assert.deepEqual(
      front.logLines().filter((line) => line.stack !== undefined),
      [],
    );
  });

  for (const [what, lines] of [
    ['one giant header', `X-A: ${'a'.repeat(100_000)}\r\n`],
    ['many headers', 'X-A: aaaaaaaaaaaaaaaaaaaa\r\n'.repeat(5_000)],
    ['a giant Authorization', `Authorization: Basic ${'a'.repeat(100_000)}\r\n`],
  ] as const) {
    test(`${what}: 431`, async (t) => {
      const front = await startOpen(t);
      const { messages } = await sendRaw(
        front.port,
        `GET /v2/ HTTP/1.1\r\nHost: docker.test\r\n${lines}\r\n`,
      );
      assert.equal(messages[0]?.status, 431);
      assertErrorBody(messages[0]?.body ?? '', 'UNSUPPORTED');
      assert.equal((await front.sendAs('alice', '/v2/app/manifests/1')).status, 200);
    });
  }

  test('a giant target: 431', async (t) => {
    const front = await startOpen(t);
    const { messages } = await sendRaw(
      front.port,
      `GET /v2/${'a'.repeat(100_000)} HTTP/1.1\r\nHost: docker.test\r\n\r\n`,
    );
    assert.equal(messages[0]?.status, 431);
  });

  test('a giant token form, with a length and without: 413', async (t) => {
    const front = await startOpen(t);
    const sized = await front
      .send('/token', { method: 'POST', body: 'a'.repeat(10 * mebibyte) })
      .catch(() => undefined);
    if (sized !== undefined) assertError(sized, 413, 'SIZE_INVALID');
    const endless = Readable.from(
      (function* () {
        for (let i = 0; i < 1000; i++) yield Buffer.alloc(65_536, 'a');
      })(),
    );
    const answer = await front.send('/token', { method: 'POST', body: endless }).catch(() => undefined);
    if (answer !== undefined) assertError(answer, 413, 'SIZE_INVALID');
    await front.logLine((line) => line.event === 'token' && line.status === 413);
    const small = await front.send('/token', { method: 'POST', body: 'a'.repeat(70_000) });
    assertError(small, 413, 'SIZE_INVALID');
  });

  for (const [what, write] of [
    [
      'with its length',
      (response: ServerResponse) =>
        response.writeHead(200, { 'content-length': 5 * mebibyte }).end(Buffer.alloc(5 * mebibyte)),
    ],
    ['chunked', (response: ServerResponse) => response.end(Buffer.alloc(5 * mebibyte))],
    ['without end', (response: ServerResponse) => writeForever(response, Buffer.alloc(65_536, 'a'))],
  ] as const) {
    test(`a giant manifest ${what}: refused`, async (t) => {
      const front = await startWith(t, await startUpstream(t, (_, response) => void write(response)));
      const answer = await front.sendAs('alice', '/v2/app/manifests/1');
      assertError(answer, 400, 'MANIFEST_INVALID');
    });

    test(`a giant list of tags ${what}: bounded`, async (t) => {
      const front = await startWith(t, await startUpstream(t, (_, response) => void write(response)));
      assertError(await front.sendAs('alice', '/v2/app/tags/list'), 503, 'UNAVAILABLE');
    });
  }

  for (const [what, write] of [
    ['giant', (response: ServerResponse) => response.end(`{"token":"${'a'.repeat(mebibyte)}"}`)],
    ['endless', (response: ServerResponse) => writeForever(response, Buffer.alloc(65_536, ' '))],
  ] as const) {
    test(`a ${what} body of an upstream's token endpoint: refused`, async (t) => {
      let origin = '';
      const server = await startLoopbackServer((request, response) => {
        if (request.url?.startsWith('/token')) write(response);
        else
          response.writeHead(401, { 'www-authenticate': `Bearer realm="${origin}/token",service="x"` }).end();
      });
      t.after(() => server.close());
      origin = server.url;
      const front = await startWith(
        t,
        origin,
        'credentials: { type: static, username: robot, password: { file: secret } }',
      );
      assertError(await front.sendAs('alice', '/v2/app/manifests/1'), 503, 'UNAVAILABLE');
    });
  }

  test('an upstream that never answers: 503', async (t) => {
    const front = await startWith(t, await startUpstream(t, () => undefined));
    for (const what of ['manifests/1', `blobs/${digest}`, 'tags/list']) {
      assertError(await front.sendAs('alice', `/v2/app/${what}`), 503, 'UNAVAILABLE');
    }
  });

  test('an upstream whose blob stops coming: the transfer is cut', async (t) => {
    const url = await startUpstream(t, (_, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('a');
    });
    const answer = await (await startWith(t, url)).sendAs('alice', `/v2/app/blobs/${digest}`);
    assert.equal(answer.whole, false);
  });

  test('an upstream with giant headers: 503', async (t) => {
    const url = await startUpstream(t, (_, response) => {
      for (let i = 0; i < 100; i++) response.setHeader(`x-${i}`, 'a'.repeat(4_000));
      response.end('{}');
    });
    assertError(await (await startWith(t, url)).sendAs('alice', '/v2/app/manifests/1'), 503, 'UNAVAILABLE');
  });

  test('an upstream whose error has no end: the client still gets its answer', async (t) => {
    const url = await startUpstream(t, (_, response) => {
      response.writeHead(404);
      writeForever(response, Buffer.alloc(65_536, 'a'));
    });
    assertError(
      await (await startWith(t, url)).sendAs('alice', '/v2/app/manifests/1'),
      404,
      'MANIFEST_UNKNOWN',
    );
  });

  test('a client that never reads what it asked for holds no more than its own connection', async (t) => {
    const front = await startOpen(t);
    const sockets = Array.from({ length: 50 }, () => connect(front.port, '127.0.0.1'));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    const request = `GET /v2/app/manifests/1 HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${basic('alice', passwords.alice)}\r\n\r\n`;
    for (const socket of sockets) {
      socket.pause();
      socket.write(request.repeat(20));
    }
    assert.equal((await front.sendAs('alice', '/v2/app/manifests/1')).status, 200);
  });
});
