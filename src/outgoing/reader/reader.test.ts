import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext, createServer as createTlsServer } from 'node:tls';
import { PulledBody } from '../../protocol/pulled-body.js';
import { certify, createAuthority } from '../../testing/certificates.js';
import type { ReaderAnswer } from './connection.js';
import { Reader, type ReaderSettings } from './reader.js';

type Answering = (socket: Socket, request: number, head: string) => void;

interface Server {
  readonly url: string;
  /** Heads, in the order in which they came. */
  readonly heads: readonly string[];
  connections(): number;
}

/** Hands each request to `answer` with its number, from 1. */
async function serve(
  t: TestContext,
  answer: Answering,
  tls?: { key: string; cert: string },
): Promise<Server> {
  const heads: string[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const take = (socket: Socket) => {
    connections += 1;
    open.add(socket);
    let read = '';
    socket.on('error', () => {}).on('close', () => open.delete(socket));
    socket.on('data', (bytes: Buffer) => {
      read += bytes.toString('latin1');
      for (let end = read.indexOf('\r\n\r\n'); end >= 0; end = read.indexOf('\r\n\r\n')) {
        heads.push(read.slice(0, end));
        read = read.slice(end + 4);
        answer(socket, heads.length, heads.at(-1) ?? '');
      }
    });
  };
  const server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const { port } = server.address() as { port: number };
  const url = tls === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`;
  return { url, heads, connections: () => connections };
}

const never = new AbortController().signal;

function reading(t: TestContext, settings: Partial<ReaderSettings> = {}) {
  const timeouts = { connect: 2_000, headers: 2_000, idle: 2_000 };
  const reader = new Reader({ timeouts, connections: 8, ...settings });
  t.after(() => reader.close());
  return (url: string, { path = '/v2/x', signal = never, headers = {} } = {}) =>
    reader.get({ url: new URL(path, url), headers, signal });
}

const plain = (body: string | Buffer, more = '') =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\n${more}Content-Length: ${body.length}\r\n\r\n`),
    Buffer.from(body),
  ]);

async function bytesOf(answer: ReaderAnswer | undefined): Promise<Buffer> {
  assert.ok(answer !== undefined, 'it was not read here');
  const pieces: Buffer[] = [];
  for await (const piece of answer.body as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

const textOf = async (answer: ReaderAnswer | undefined) => (await bytesOf(answer)).toString('latin1');

/** By `pull`, with a client that takes its time. */
async function hashOf(answer: ReaderAnswer | undefined, pause: () => Promise<unknown>): Promise<string> {
  assert.ok(answer?.body instanceof PulledBody, 'it came as a whole');
  const hash = createHash('sha256');
  for (let piece = await answer.body.pull(); piece !== undefined; piece = await answer.body.pull()) {
    await pause();
    hash.update(piece);
  }
  return hash.digest('hex');
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('an answer that is read', () => {
  test('has its status, headers and bytes; connections are used again', async (t) => {
    const server = await serve(t, (socket, request) => {
      socket.write(plain(`body ${request}`, 'Docker-Content-Digest: x\r\nA: 1\r\na: 2\r\n'));
    });
    const get = reading(t);
    for (const request of [1, 2, 3]) {
      const answer = await get(server.url, { path: '/v2/a%20b?x=1', headers: { accept: '*/*' } });
      assert.equal(answer?.status, 200);
      assert.equal(answer.headers.get('docker-content-digest'), 'x');
      assert.equal(answer.headers.get('a'), '1, 2');
      assert.equal(await textOf(answer), `body ${request}`);
    }
    assert.equal(server.connections(), 1);
    const { host } = new URL(server.url);
    const lines = ['GET /v2/a%20b?x=1 HTTP/1.1', `host: ${host}`, 'connection: keep-alive', 'accept: */*'];
    assert.equal(server.heads[0], lines.join('\r\n'));
  });

  test('may come byte by byte, or with all else at once', async (t) => {
    const body = 'x'.repeat(300);
    const server = await serve(t, async (socket) => {
      for (const byte of plain(body)) {
        socket.write(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
    });
    assert.equal(await textOf(await reading(t)(server.url)), body);
  });

  for (const [what, head, keeps] of [
    ['no body', 'HTTP/1.1 204 No Content\r\n\r\n', true],
    ['nothing changed', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', true],
    ['an empty body', 'HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n', true],
    ['an end', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', false],
    ['hardly any time', 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n', false],
  ] as const) {
    test(`with ${what}`, async (t) => {
      const server = await serve(t, (socket) => void socket.write(head));
      const get = reading(t);
      assert.equal(await textOf(await get(server.url)), '');
      assert.equal(await textOf(await get(server.url)), '');
      assert.equal(server.connections(), keeps ? 1 : 2);
    });
  }

  for (const scheme of ['http', 'https'] as const) {
    test(`is the same for clients of every speed, over ${scheme}, on few connections`, async (t) => {
      const authority = await createAuthority();
      const { certificate, privateKey } = await certify(authority, { name: 'server' });
      const bodies = [100, 16_384, 70_000, 1_048_576, 9_000_001].map((size) => randomBytes(size));
      const server = await serve(
        t,
        (socket, _, head) => {
          const body = bodies[Number(/^GET \/(\d)/.exec(head)?.[1])] as Buffer;
          socket.write(plain(body));
        },
        scheme === 'https' ? { key: privateKey, cert: certificate } : undefined,
      );
      const secureContext = createSecureContext({ ca: authority.certificate });
      const get = reading(t, { connections: 4, secureContext });
      const paces = [
        async () => {},
        () => new Promise((resolve) => setImmediate(resolve)),
        () => sleep(Math.random() * 8),
      ];
      const client = async (first: number) => {
        for (let i = 0; i < 6; i++) {
          const which = (first + i) % bodies.length;
          const body = bodies[which] as Buffer;
          const answer = await get(server.url, { path: `/${which}` });
          const pace = paces[(first + i) % paces.length] as () => Promise<unknown>;
          const hash =
            answer?.body instanceof PulledBody ? await hashOf(answer, pace) : sha256(await bytesOf(answer));
          assert.equal(hash, sha256(body), `${body.length} other bytes`);
        }
      };
      await Promise.all(Array.from({ length: 24 }, (_, i) => client(i)));
      assert.equal(server.connections(), 4);
    });
  }

  test('waits no longer in memory than a buffer’s worth, when nobody reads it', async (t) => {
    let sent = 0;
    const body = Buffer.alloc(64 * 1024 * 1024);
    const server = await serve(t, (socket) => {
      Readable.from(pieces(plain(body)))
        .on('data', (piece: Buffer) => {
          sent += piece.length;
        })
        .pipe(socket);
    });
    const answer = await reading(t)(server.url);
    await sleep(300);
    const before = sent;
    assert.ok(before < 32 * 1024 * 1024, `${before} bytes were taken`);
    assert.equal((await bytesOf(answer)).length, body.length);
  });
});

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

describe('an answer that is left to others', () => {
  const ok = 'HTTP/1.1 200 OK\r\n';
  for (const [what, text] of Object.entries({
    'in chunks': `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'in chunks and with a length': `${ok}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok`,
    'without a length': `${ok}\r\nok`,
    'with two lengths': `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok`,
    'with a list of lengths': `${ok}Content-Length: 2, 2\r\n\r\nok`,
    'with a signed length': `${ok}Content-Length: +2\r\n\r\nok`,
    'with a hexadecimal length': `${ok}Content-Length: 0x2\r\n\r\nok`,
    'with a folded header': `${ok}A: b\r\n c\r\nContent-Length: 2\r\n\r\nok`,
    'with a blank before the colon': `${ok}Content-Length : 2\r\n\r\nok`,
    'with a lone line feed': `${ok}A: b\nContent-Length: 2\r\n\r\nok`,
    'with a NUL': `${ok}A: \0\r\nContent-Length: 2\r\n\r\nok`,
    'of HTTP/1.0': 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    'that is no HTTP': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    'before which another comes': `HTTP/1.1 103 Early Hints\r\n\r\n${ok}Content-Length: 2\r\n\r\nok`,
    'that becomes another protocol': 'HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n',
    'with a length and no content': 'HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok',
    'with a giant head': `${ok}A: ${'x'.repeat(20_000)}\r\nContent-Length: 2\r\n\r\nok`,
  })) {
    test(what, async (t) => {
      const server = await serve(t, (socket) => void socket.write(text, 'latin1'));
      const get = reading(t);
      assert.equal(await get(server.url), undefined);
      assert.equal(await get(server.url), undefined);
      assert.equal(server.heads.length, 1, 'the origin was asked again');
    });
  }

  test('a refusal in chunks says nothing of what is not refused', async (t) => {
    const server = await serve(t, (socket, request) => {
      const refusal = 'HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
      socket.write(request === 1 ? refusal : plain('ok'));
    });
    const get = reading(t);
    assert.equal(await get(server.url), undefined);
    assert.equal(await textOf(await get(server.url)), 'ok');
    assert.equal(server.connections(), 2);
  });
});

describe('bytes too many', () => {
  const second = plain('evil');

  test('with the body are no answer to the next request', async (t) => {
    const server = await serve(t, (socket, request) => {
      socket.write(request === 1 ? Buffer.concat([plain('good'), second]) : plain('right'));
    });
    const get = reading(t);
    assert.equal(await textOf(await get(server.url)), 'good');
    assert.equal(await textOf(await get(server.url)), 'right');
    assert.equal(server.connections(), 2);
  });

  test('after a large body are no answer to the next request', async (t) => {
    const body = randomBytes(3_000_000);
    const server = await serve(t, (socket, request) => {
      socket.write(request === 1 ? Buffer.concat([plain(body), second]) : plain('right'));
    });
    const get = reading(t);
    const first = await get(server.url);
    assert.equal(await hashOf(first, () => sleep(1)), sha256(body));
    assert.equal(await textOf(await get(server.url)), 'right');
    assert.equal(server.connections(), 2);
  });

  test('that come later, while nobody asks, close the connection', async (t) => {
    const server = await serve(t, (socket, request) => {
      socket.write(request === 1 ? plain('good') : plain('right'));
      if (request === 1) setTimeout(() => socket.write(second), 20);
    });
    const get = reading(t);
    assert.equal(await textOf(await get(server.url)), 'good');
    await sleep(100);
    assert.equal(await textOf(await get(server.url)), 'right');
    assert.equal(server.connections(), 2);
  });

  test('a body that is given up is not read on as the next answer', async (t) => {
    const server = await serve(t, (socket, request) => {
      socket.write(request === 1 ? plain(Buffer.alloc(5_000_000, 'x')) : plain('right'));
    });
    const get = reading(t);
    (await get(server.url))?.body.destroy();
    assert.equal(await textOf(await get(server.url)), 'right');
    assert.equal(server.connections(), 2);
  });
});

describe('a connection that fails', () => {
  const failing = (code: string) => (error: unknown) => {
    assert.equal((error as NodeJS.ErrnoException).code, code);
    return true;
  };

  test('before an answer', async (t) => {
    const server = await serve(t, (socket) => void socket.destroy());
    await assert.rejects(reading(t)(server.url), failing('UND_ERR_SOCKET'));
  });

  test('in the middle of a head', async (t) => {
    const server = await serve(t, (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Le'));
    await assert.rejects(reading(t)(server.url), failing('UND_ERR_SOCKET'));
  });

  for (const received of [0, 10, 5_000_000]) {
    test(`after ${received} bytes of a body: those are given, and no end`, async (t) => {
      const body = randomBytes(6_000_000);
      const whole = plain(body);
      const server = await serve(t, (socket) => {
        socket.end(whole.subarray(0, whole.length - body.length + received));
      });
      const answer = await reading(t)(server.url);
      const got: Buffer[] = [];
      assert.ok(answer !== undefined, 'it was not read here');
      await assert.rejects(async () => {
        for await (const piece of answer.body as AsyncIterable<Buffer>) got.push(piece);
      }, failing('UND_ERR_SOCKET'));
      assert.ok(Buffer.concat(got).equals(body.subarray(0, received)), `${Buffer.concat(got).length} bytes`);
    });
  }

  test('that is not there, not trusted, or not in time', async (t) => {
    const get = reading(t, { timeouts: { connect: 2_000, headers: 100, idle: 100 } });
    await assert.rejects(get('http://127.0.0.1:1'), failing('ECONNREFUSED'));
    const { certificate, privateKey } = await createAuthority();
    const tls = await serve(t, () => {}, { key: privateKey, cert: certificate });
    await assert.rejects(get(tls.url), failing('DEPTH_ZERO_SELF_SIGNED_CERT'));
    const silent = await serve(t, () => {});
    await assert.rejects(get(silent.url), failing('UND_ERR_HEADERS_TIMEOUT'));
    const stalled = await serve(t, (socket) => void socket.write(plain('0123456789').subarray(0, -5)));
    await assert.rejects(get(stalled.url).then(bytesOf), failing('UND_ERR_BODY_TIMEOUT'));
  });

  test('for its name is not the certificate’s', async (t) => {
    const authority = await createAuthority();
    const { certificate, privateKey } = await certify(authority, { name: 'server' });
    const server = await serve(t, (socket) => void socket.write(plain('ok')), {
      key: privateKey,
      cert: certificate,
    });
    const secureContext = createSecureContext({ ca: authority.certificate });
    const other = server.url.replace('localhost', '127.0.0.2');
    await assert.rejects(reading(t, { secureContext })(other), /127\.0\.0\.2|ECONNREFUSED/);
    assert.equal(server.heads.length, 0);
  });
});

describe('a reader that leaves', () => {
  test('while it waits for a connection, for a head, for a body', async (t) => {
    const server = await serve(t, (socket, request) => {
      if (request === 2) socket.write(plain(Buffer.alloc(5_000_000)).subarray(0, 4_000_000));
      if (request === 3) socket.write(plain('right'));
    });
    const get = reading(t, { connections: 1 });
    const leave = async (what: Promise<unknown>, leaving: AbortController) => {
      await sleep(50);
      leaving.abort(new Error('left'));
      await assert.rejects(what, /left/);
    };
    const [first, queued, second] = [new AbortController(), new AbortController(), new AbortController()];
    const head = get(server.url, { signal: first.signal });
    await leave(get(server.url, { signal: queued.signal }), queued);
    await leave(head, first);
    const answer = await get(server.url, { signal: second.signal });
    await leave(bytesOf(answer), second);
    assert.equal(await textOf(await get(server.url)), 'right');
    assert.equal(server.connections(), 3);
  });

  test('when all has come already, leaves what has come', async (t) => {
    const server = await serve(t, (socket) => void socket.write(plain('ok')));
    const leaving = new AbortController();
    const get = reading(t);
    const answer = await get(server.url, { signal: leaving.signal });
    leaving.abort(new Error('left'));
    assert.equal(await textOf(answer), 'ok');
    assert.equal(await textOf(await get(server.url)), 'ok');
    assert.equal(server.connections(), 1);
  });

  test('who waits for a connection for too long is told', async (t) => {
    const server = await serve(t, () => {});
    const get = reading(t, { connections: 1, timeouts: { connect: 50, headers: 5_000, idle: 50 } });
    const leaving = new AbortController();
    const first = get(server.url, { signal: leaving.signal });
    first.catch(() => {});
    const narrow = reading(t, { connections: 1, timeouts: { connect: 50, headers: 60, idle: 50 } });
    const both = await Promise.allSettled([narrow(server.url), narrow(server.url)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    leaving.abort();
  });

  test('no header gets a second line', async (t) => {
    const server = await serve(t, (socket) => void socket.write(plain('ok')));
    const get = reading(t);
    await assert.rejects(get(server.url, { headers: { accept: 'a\r\nx: y' } }), TypeError);
    await assert.rejects(get(server.url, { headers: { 'a b': 'c' } }), TypeError);
    assert.equal(server.heads.length, 0);
  });
});
