import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthority, type TestCertificate } from '../testing/certificates.js';
import { FakeMetrics } from '../testing/index.js';
import type { Listener, ListenerLimits } from './listener.js';
import type { RefusalReason } from './listener-metrics.js';
import { get, open, RawConnection } from './raw-connection.test.js';

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

const wide: ListenerLimits = {
  connections: 100,
  connectionsPerAddress: 100,
  headerTime: 60_000,
  idle: 60_000,
};
const answerDone: Handle = (_, response) => response.end('done');

function* pieces(size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= 65_536) yield Buffer.alloc(65_536);
}

class Counted {
  readonly metrics = new FakeMetrics();

  refused(reason: RefusalReason): number {
    return this.metrics.value('connection_refusals_total', { listener: 'front', reason });
  }

  get all(): number {
    const reasons = ['connections', 'address', 'tls', 'headers-slow', 'headers-large', 'malformed'] as const;
    return [...reasons, 'pipelining' as const, 'idle' as const].reduce(
      (sum, one) => sum + this.refused(one),
      0,
    );
  }

  /** Waits until so many connections are open. */
  async open(count: number): Promise<void> {
    while (this.metrics.value('connections', { listener: 'front' }) !== count) await sleep(10);
  }
}

async function listen(t: TestContext, handle: Handle, limits: Partial<ListenerLimits>, more = {}) {
  const counted = new Counted();
  const options = { limits: { ...wide, ...limits }, metrics: counted.metrics, ...more };
  return { listener: await open(t, handle, options), counted };
}

describe('bounds of connections', { concurrency: true, timeout: 60_000 }, () => {
  let certificate: TestCertificate;
  before(async () => {
    certificate = await createAuthority();
  });
  const plainAndTls = ['plain', 'TLS'] as const;
  const client = (listener: Listener, kind: (typeof plainAndTls)[number], first: string) =>
    new RawConnection(listener, first, kind === 'TLS' ? {} : undefined);
  const listenWith = (
    t: TestContext,
    kind: (typeof plainAndTls)[number],
    handle: Handle,
    limits: Partial<ListenerLimits>,
  ) => {
    const { certificate: pem, privateKey: key } = certificate;
    return listen(t, handle, limits, kind === 'TLS' ? { tls: { certificate: pem, key } } : {});
  };

  for (const kind of plainAndTls) {
    for (const [reason, limits] of [
      ['address', { connectionsPerAddress: 2 }],
      ['connections', { connections: 2 }],
    ] as const) {
      test(`over ${kind}, too many are closed before a word: ${reason}`, async (t) => {
        const { listener, counted } = await listenWith(t, kind, answerDone, limits);
        const [first, second] = [client(listener, kind, ''), client(listener, kind, '')];
        assert.ok((await first.ask()) && (await second.ask()), 'two are served');
        const third = client(listener, kind, get);
        await third.closed;
        assert.equal(third.text, '');
        assert.equal(counted.refused(reason), 1);
        assert.ok(await first.ask(), 'those that are open stay');

        first.socket.destroy();
        await counted.open(1);
        assert.ok(await client(listener, kind, '').ask(), 'the place is free again');
        assert.equal(counted.all, 1);
      });
    }

    test(`over ${kind}, headers that drip in: 408`, async (t) => {
      const { listener, counted } = await listenWith(t, kind, answerDone, { headerTime: 1_000 });
      const slow = client(listener, kind, 'GET / HTTP/1.1\r\nHost: ');
      const dripping = setInterval(() => slow.socket.write('x'), 100);
      t.after(() => clearInterval(dripping));
      await slow.closed;
      assert.match(slow.text, /^HTTP\/1\.1 408 [\s\S]*"code":"UNSUPPORTED"/);
      assert.deepEqual([counted.refused('headers-slow'), counted.all], [1, 1]);
    });

    test(`over ${kind}, an upload that stops is cut`, async (t) => {
      const { listener, counted } = await listenWith(t, kind, (request) => request.resume(), { idle: 500 });
      const upload = client(listener, kind, 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc');
      await upload.closed;
      assert.equal(upload.text, '');
      assert.deepEqual([counted.refused('idle'), counted.all], [1, 1]);
    });

    test(`over ${kind}, a download that nobody reads is cut, and what it holds is released`, async (t) => {
      let gone: Promise<unknown> = Promise.reject(new Error('no request came'));
      gone.catch(() => undefined);
      const { listener, counted } = await listenWith(
        t,
        kind,
        (_, response) => {
          gone = new Promise((resolve) => response.once('close', resolve));
          response.write(Buffer.alloc(16 * 1024 * 1024));
        },
        { idle: 500 },
      );
      const download = client(listener, kind, get);
      await download.received('\r\n\r\n');
      download.socket.pause();
      await gone;
      assert.deepEqual([counted.refused('idle'), counted.all], [1, 1]);
      await counted.open(0);
      download.socket.destroy();
    });

    test(`over ${kind}, what is slow but moves is not cut`, async (t) => {
      const size = 24 * 1024 * 1024;
      const { listener, counted } = await listenWith(
        t,
        kind,
        (request, response) => {
          request.resume().once('end', () => Readable.from(pieces(size)).pipe(response));
        },
        { idle: 3_000 },
      );
      const slow = client(listener, kind, 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n');
      slow.socket.removeAllListeners('data');
      let bytes = 0;
      slow.socket.on('data', (piece: Buffer) => {
        bytes += piece.length;
        slow.socket.pause();
        setTimeout(() => slow.socket.resume(), 20);
      });
      for (let i = 0; i < 8; i++) {
        await sleep(500);
        slow.socket.write('x');
      }
      while (bytes < size && !slow.socket.destroyed) await sleep(50);
      assert.ok(bytes > size, `${bytes} bytes came`);
      assert.equal(counted.all, 0);
      slow.socket.destroy();
    });
  }

  test('what is cut does not look whole, even to HTTP/1.0 without a length', async (t) => {
    const { listener, counted } = await listen(t, (_, response) => response.write('half'), { idle: 500 });
    const old = new RawConnection(listener, 'GET / HTTP/1.0\r\n\r\n');
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => old.socket.once('error', resolve));
    await old.received('half');
    assert.equal((await Promise.race([failed, old.closed]))?.code, 'ECONNRESET');
    assert.equal(counted.refused('idle'), 1);
  });

  test('a handshake that does not begin, or is none, is closed', async (t) => {
    const { listener, counted } = await listenWith(t, 'TLS', answerDone, { headerTime: 500 });
    await new RawConnection(listener, '').closed;
    assert.equal(counted.refused('tls'), 1);
    await new RawConnection(listener, get).closed;
    assert.equal(counted.refused('tls'), 2);
    await counted.open(0);
  });

  test('a client that goes away before the handshake is not counted, and not kept', async (t) => {
    const { listener, counted } = await listenWith(t, 'TLS', answerDone, {});
    const port = new RawConnection(listener, '');
    await port.connected;
    port.socket.end();
    await port.closed;
    await counted.open(0);
    assert.equal(counted.all, 0);
  });

  test('a trusted proxy has no bound of its own, until a reload takes the trust away', async (t) => {
    const limits = { ...wide, connectionsPerAddress: 1, connections: 3 };
    const isTrusted = (address: string) => address === '127.0.0.1';
    const { listener, counted } = await listen(t, answerDone, limits, { isTrusted });
    const clients = [1, 2, 3].map(() => new RawConnection(listener, ''));
    for (const one of clients) assert.ok(await one.ask(), 'served');
    await new RawConnection(listener, get).closed;
    assert.equal(counted.refused('connections'), 1);

    listener.adjust({ limits: { ...limits, connections: 10 }, isTrusted: () => false });
    await new RawConnection(listener, get).closed;
    assert.equal(counted.refused('address'), 1);
    for (const one of clients) assert.ok(await one.ask(), 'those that are open stay');
  });

  test('other times take effect while it runs: headers at once, idle with the next request', async (t) => {
    const { listener, counted } = await listen(
      t,
      (request, response) => request.resume().once('end', () => response.end('done')),
      {},
    );
    const used = new RawConnection(listener, '');
    assert.ok(await used.ask(), 'served');
    const slow = new RawConnection(listener, 'GET / HTTP/1.1\r\n');
    await counted.open(2);
    listener.adjust({ limits: { ...wide, headerTime: 1_000, idle: 500 }, isTrusted: () => false });
    used.socket.write('PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc');
    await Promise.all([used.closed, slow.closed]);
    assert.deepEqual([counted.refused('idle'), counted.refused('headers-slow'), counted.all], [1, 1, 2]);
  });

  test('another time takes effect while it runs: handshakes', async (t) => {
    const { listener, counted } = await listenWith(t, 'TLS', answerDone, {});
    listener.adjust({ limits: { ...wide, headerTime: 500 }, isTrusted: () => false });
    await new RawConnection(listener, '').closed;
    assert.deepEqual([counted.refused('tls'), counted.all], [1, 1]);
  });

  test('a connection that is kept alive may wait for longer than one in a transfer', async (t) => {
    const { listener, counted } = await listen(t, answerDone, { idle: 300 });
    const used = new RawConnection(listener, '');
    assert.ok(await used.ask(), 'served');
    await sleep(1_000);
    assert.ok(await used.ask(), 'served again');
    assert.equal(counted.all, 0);
  });

  for (const [what, text, status, reason] of [
    ['no request', 'what?\r\n\r\n', 400, 'malformed'],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'malformed'],
    ['large headers', `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(40_000)}\r\n\r\n`, 431, 'headers-large'],
    ['101 headers', `GET / HTTP/1.1\r\nHost: x\r\n${'A: a\r\n'.repeat(100)}\r\n`, 431, 'headers-large'],
    ['1000 headers', `GET / HTTP/1.1\r\nHost: x\r\n${'A: a\r\n'.repeat(999)}\r\n`, 431, 'headers-large'],
  ] as const) {
    test(`${what}: ${status}, counted as ${reason}`, async (t) => {
      const { listener, counted } = await listen(t, answerDone, {});
      const one = new RawConnection(listener, text);
      await one.closed;
      assert.match(one.text, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*"code":"UNSUPPORTED"`));
      assert.deepEqual([counted.refused(reason), counted.all], [1, 1]);
    });
  }

  test('100 headers are taken', async (t) => {
    const { listener, counted } = await listen(t, answerDone, {});
    const one = new RawConnection(listener, `GET / HTTP/1.1\r\nHost: x\r\n${'A: a\r\n'.repeat(99)}\r\n`);
    await one.received('done');
    assert.equal(counted.all, 0);
    one.socket.destroy();
  });

  test('too many requests that wait on one connection: it is closed', async (t) => {
    const { listener, counted } = await listen(t, () => undefined, {});
    await new RawConnection(listener, get.repeat(18)).closed;
    assert.deepEqual([counted.refused('pipelining'), counted.all], [1, 1]);
  });

  test('a client that leaves in the middle of its headers or its body is not counted', async (t) => {
    const { listener, counted } = await listen(t, (request) => request.resume(), {});
    for (const part of ['GET / HT', 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc']) {
      const one = new RawConnection(listener, part);
      await counted.open(1);
      await sleep(50);
      one.socket.end();
      await one.closed;
      await counted.open(0);
    }
    assert.equal(counted.all, 0);
  });

  test('drain ends handshakes, and a download that nobody reads', async (t) => {
    const { listener, counted } = await listenWith(
      t,
      'TLS',
      (_, response) => response.write(Buffer.alloc(16 * 1024 * 1024)),
      {},
    );
    const handshake = new RawConnection(listener, '');
    const download = new RawConnection(listener, get, {});
    await download.received('\r\n\r\n');
    download.socket.pause();
    await counted.open(2);
    assert.deepEqual(await listener.drain(100), { cut: 1 });
    await handshake.closed;
    await counted.open(0);
    download.socket.destroy();
  });
});
