import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../src/reference/digest.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import {
  type Ask,
  assertError,
  assertErrorBody,
  basic,
  closeUpload,
  type Front,
  locationOf,
  openUpload,
  parseMessages,
  passwords,
  patchUpload,
  pushBlob,
  pushImage,
  type RawMessage,
  sendRaw,
  startFront,
  type User,
} from '../harness/index.js';

const mebibyte = 1024 * 1024;
const bytes = Buffer.from('hello world');
const digest = digestOf(bytes);

async function start(t: TestContext): Promise<{ front: Front; registry: MemoryRegistry; ask: Ask }> {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  const front = await frontOf(t, registry.url);
  return { front, registry, ask: (path, options) => front.sendAs('alice', path, options) };
}

function frontOf(t: TestContext, url: string, settings = ''): Promise<Front> {
  return startFront(
    t,
    `
upstreams: { one: { url: "${url}" } }
routes: [{ prefix: "", upstream: one }]
${settings}`,
  );
}

function head(method: string, path: string, user: User | undefined, lines: readonly string[]): string {
  const authorization = user === undefined ? [] : [`Authorization: ${basic(user, passwords[user])}`];
  return [`${method} ${path} HTTP/1.1`, 'Host: docker.test', ...authorization, ...lines, '', ''].join('\r\n');
}

/** Waits until a condition holds, 10 s at most. */
async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1_000) assert.fail(`not within 10 s: ${what}`);
    await sleep(10);
  }
}

/** A client that writes what it is told, when it is told. */
function rawClient(t: TestContext, { port }: Front, first: string) {
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  let received = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (piece: Buffer) => {
    received = Buffer.concat([received, piece]);
  });
  socket.write(first);
  const message = async (number: number): Promise<RawMessage> => {
    await until(() => parseMessages(received).length > number, `message ${number}`);
    return parseMessages(received)[number] ?? assert.fail('no message');
  };
  return { socket, message, received: () => received };
}

describe('Expect: 100-continue', () => {
  const expect = (length: number) => ['Expect: 100-continue', `Content-Length: ${length}`];

  for (const [what, user, path, status, code] of [
    ['nobody', undefined, '/v2/app/blobs/uploads/?digest=', 401, 'UNAUTHORIZED'],
    ['a wrong rule', 'bob', '/v2/app/blobs/uploads/?digest=', 403, 'DENIED'],
    ['a session of nobody', 'alice', '/v2/app/blobs/uploads/x?digest=', 404, 'BLOB_UPLOAD_UNKNOWN'],
  ] as const) {
    test(`${what}: ${status} at once, and no 100 before it`, async (t) => {
      const { front, registry } = await start(t);
      const method = path.includes('/x?') ? 'PUT' : 'POST';
      const { messages, end } = await sendRaw(front.port, head(method, path + digest, user, expect(100)));
      assert.deepEqual(
        messages.map((one) => one.status),
        [status],
      );
      assertErrorBody(messages[0]?.body ?? '', code);
      assert.equal(messages[0]?.headers.get('connection'), 'close');
      assert.equal(end, 'closed', 'the body is not waited for');
      assert.deepEqual(registry.requests, []);
    });
  }

  for (const expectation of ['100-continue', '100-Continue']) {
    test(`who may push is asked to go on (${expectation})`, async (t) => {
      const { front, registry } = await start(t);
      const path = `/v2/app/blobs/uploads/?digest=${digest}`;
      const lines = [`Expect: ${expectation}`, `Content-Length: ${bytes.length}`];
      const client = rawClient(t, front, head('POST', path, 'alice', lines));
      assert.equal((await client.message(0)).status, 100);
      client.socket.write(bytes);
      assert.equal((await client.message(1)).status, 201);
      assert.ok(registry.store.blob('app', digest), 'the blob is not there');
    });
  }

  test('a manifest too, and a chunked body', async (t) => {
    const { front, ask } = await start(t);
    const image = tinyImageFor('amd64', 'hello');
    await pushImage(ask, 'app', '1', image);
    const lines = [
      'Expect: 100-continue',
      'Transfer-Encoding: chunked',
      `Content-Type: ${image.root.mediaType}`,
    ];
    const client = rawClient(t, front, head('PUT', '/v2/app/manifests/2', 'alice', lines));
    assert.equal((await client.message(0)).status, 100);
    client.socket.write(`${image.root.bytes.length.toString(16)}\r\n`);
    client.socket.write(image.root.bytes);
    client.socket.write('\r\n0\r\n\r\n');
    assert.equal((await client.message(1)).status, 201);
  });

  test('and the form of a token request', async (t) => {
    const { front } = await start(t);
    const form = `grant_type=password&username=bob&password=${passwords.bob}&scope=repository:open/app:pull`;
    const lines = [...expect(form.length), 'Content-Type: application/x-www-form-urlencoded'];
    const client = rawClient(t, front, head('POST', '/token', undefined, lines));
    assert.equal((await client.message(0)).status, 100);
    client.socket.write(form);
    assert.equal((await client.message(1)).status, 200);
  });

  test('a body that is too large is not asked for', async (t) => {
    const { front } = await start(t);
    const { messages } = await sendRaw(
      front.port,
      head('PUT', '/v2/app/manifests/1', 'alice', expect(4 * mebibyte + 1)),
    );
    assert.deepEqual(
      messages.map((one) => one.status),
      [413],
    );
  });
});

describe('a client that is refused while it sends', () => {
  for (const [what, user, status] of [
    ['nobody', undefined, 401],
    ['a wrong rule', 'bob', 403],
  ] as const) {
    test(`${what}: it reads the whole ${status} after 8 MiB`, async (t) => {
      const { front } = await start(t);
      const size = 8 * mebibyte;
      const lines = [`Content-Length: ${size}`];
      const client = rawClient(t, front, head('PATCH', '/v2/app/blobs/uploads/x', user, lines));
      client.socket.pause();
      await new Promise<void>((resolve, reject) => {
        client.socket.once('close', () => reject(new Error('the connection was cut')));
        client.socket.write(Buffer.alloc(size), () => resolve());
      });
      client.socket.resume();
      const answer = await client.message(0);
      assert.equal(answer.status, status);
      assertErrorBody(answer.body, status === 401 ? 'UNAUTHORIZED' : 'DENIED');
    });
  }
});

describe('an upload that is cut', () => {
  const part = Buffer.alloc(100_000, 'x');

  for (const [how, leave] of [
    ['resets', (socket: Socket) => socket.resetAndDestroy()],
    ['closes', (socket: Socket) => socket.destroy()],
  ] as const) {
    for (const [framing, lines, first] of [
      ['with a length', ['Content-Length: 1000000'], part],
      [
        'chunked',
        ['Transfer-Encoding: chunked'],
        Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
      ],
    ] as const) {
      for (const method of ['PATCH', 'PUT'] as const) {
        test(`a client ${how} in mid-${method} ${framing}: the upstream’s connection is cut, a retry succeeds`, async (t) => {
          const { front, registry, ask } = await start(t);
          const session = await openUpload(ask, 'app');
          const path = method === 'PUT' ? `${session}?digest=${digestOf(part)}` : session;
          const client = rawClient(t, front, head(method, path, 'alice', lines));
          client.socket.write(first);
          const up = await registry.waitFor((request) => request.method === method);
          await until(() => up.receivedBytes === part.length, 'what was sent reaches the upstream');
          leave(client.socket);
          await up.settled;
          assert.equal(up.closedEarly, true);
          assert.equal(registry.store.blob('app', digestOf(part)), undefined);
          const line = await front.logLine((one) => one.status === 499);
          assert.equal(line.reason, 'the client went away');
          assert.equal(line.received, part.length);
          const answer = await pushBlob(ask, 'app', Buffer.concat([part, part]));
          assert.equal(answer.status, 201, answer.text);
        });
      }
    }
  }

  test('the upstream cuts in mid-PATCH: 503, and the session goes on', async (t) => {
    const { registry, ask } = await start(t);
    const session = await openUpload(ask, 'app');
    registry.faults.add({ method: 'PATCH' }, { reset: true }, 1);
    const large = Buffer.alloc(8 * mebibyte, 'y');
    assertError(await patchUpload(ask, session, large), 503, 'UNAVAILABLE');
    const status = await ask(session);
    assert.deepEqual([status.status, status.headers.range], [204, '0-0']);
    const patched = await patchUpload(ask, locationOf(status), large);
    assert.equal(patched.status, 202, patched.text);
    assert.equal((await closeUpload(ask, locationOf(patched), digestOf(large))).status, 201);
  });

  test('the upstream restarts: 503 while it is away, then the client starts anew', async (t) => {
    const { front, registry, ask } = await start(t);
    const session = await openUpload(ask, 'app');
    await registry.close();
    assertError(await patchUpload(ask, session, bytes), 503, 'UNAVAILABLE');
    assertError(await ask('/v2/app/blobs/uploads/', { method: 'POST' }), 503, 'UNAVAILABLE');
    const again = await startMemoryRegistry({ port: Number(new URL(registry.url).port) });
    t.after(() => again.close());
    assertError(await patchUpload(ask, session, bytes), 404, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal((await pushBlob(ask, 'app', bytes)).status, 201);
    assert.ok(again.store.blob('app', digest), 'the blob is not there');
    assert.equal(front.logLines().filter((line) => line.stack !== undefined).length, 0, front.log());
  });

  test('a session outlives the proxy, and goes on at a replica with the same keys', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    const keys = mkdtempSync(join(tmpdir(), 'keys-'));
    t.after(() => rmSync(keys, { recursive: true, force: true }));
    const settings = `token: { keys: { directory: "${keys}" } }`;
    const [first, second] = [
      await frontOf(t, registry.url, settings),
      await frontOf(t, registry.url, settings),
    ];
    const session = await openUpload((path, options) => first.sendAs('alice', path, options), 'app');
    await first.stop();
    const ask: Ask = (path, options) => second.sendAs('alice', path, options);
    const patched = await patchUpload(ask, session, bytes);
    assert.equal(patched.status, 202, patched.text);
    assert.equal((await closeUpload(ask, locationOf(patched), digest)).status, 201);
  });
});

describe('an upstream that is slower than the client', () => {
  test('holds the client back, and gets every byte', async (t) => {
    const size = 96 * mebibyte;
    let take: () => void = () => undefined;
    let taken = 0;
    const server = await startLoopbackServer((request: IncomingMessage, response: ServerResponse) => {
      if (request.method === 'POST') {
        response.writeHead(202, { location: `${request.url}1` }).end();
      } else if (request.method === 'PATCH') {
        take = () => request.resume();
        request.on('data', (piece: Buffer) => {
          taken += piece.length;
        });
        request.pause();
        request.once('end', () => response.writeHead(202, { location: request.url ?? '' }).end());
      } else {
        response.end('{}');
      }
    });
    t.after(() => server.close());
    const front = await frontOf(t, server.url);
    const session = await openUpload((path, options) => front.sendAs('alice', path, options), 'app');
    const client = rawClient(t, front, head('PATCH', session, 'alice', [`Content-Length: ${size}`]));
    const piece = Buffer.alloc(mebibyte);
    let left = size / mebibyte;
    const write = () => {
      while (left > 0) {
        left--;
        if (!client.socket.write(piece)) return;
      }
    };
    client.socket.on('drain', write);
    write();
    for (let same = 0, last = left; same < 30; last = left) {
      await sleep(10);
      same = left === last ? same + 1 : 0;
    }
    assert.ok(left > size / mebibyte / 2, `only ${left} MiB are held back`);
    take();
    assert.equal((await client.message(0)).status, 202);
    assert.equal(taken, size);
  });
});
