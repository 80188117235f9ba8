import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { PulledBody } from '../protocol/pulled-body.js';
import { ClientGone } from './client-gone.js';
import { sendBody } from './send-body.js';

interface Outcome {
  readonly sent: number;
  readonly error?: unknown;
}

/** Sends a body to a client over the loopback interface. */
async function exchange(
  t: TestContext,
  body: Readable,
  length: number | undefined,
  options: { readonly leaveAfter?: number } = {},
): Promise<{ outcome: Outcome; received: string; whole: boolean }> {
  let settle: (outcome: Outcome) => void;
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  const server = createServer((_, response) => {
    response.writeHead(200, length === undefined ? {} : { 'content-length': length });
    response.flushHeaders();
    sendBody(body, response, length).then(settle);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const client = await new Promise<{ received: string; whole: boolean }>((resolve, reject) => {
    const asked = httpRequest({ port, host: '127.0.0.1', agent: false }, (response) => {
      let received = '';
      response.on('data', (piece: Buffer) => {
        received += piece.toString('latin1');
        if (options.leaveAfter !== undefined && received.length >= options.leaveAfter) response.destroy();
      });
      response.on('error', () => undefined);
      response.once('close', () => resolve({ received, whole: response.complete }));
    });
    asked.on('error', reject);
    asked.end();
  });
  return { outcome: await outcome, ...client };
}

function pieces(...texts: readonly string[]): Readable {
  return Readable.from(
    texts.map((text) => Buffer.from(text)),
    { objectMode: false },
  );
}

/** Gives some bytes, and fails. */
function failing(text: string): Readable {
  return Readable.from(
    (async function* () {
      yield Buffer.from(text);
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error('broken');
    })(),
    { objectMode: false },
  );
}

/** Pieces in one buffer, one after the other; then an error, or the end. */
class Pulled extends PulledBody {
  readonly #texts: string[];
  readonly #error: Error | undefined;
  readonly #buffer = Buffer.alloc(100);

  constructor(texts: readonly string[], error?: Error) {
    super();
    this.#texts = [...texts];
    this.#error = error;
  }

  async pull(): Promise<Buffer | undefined> {
    await new Promise((resolve) => setImmediate(resolve));
    const text = this.#texts.shift();
    if (text !== undefined) return this.#buffer.subarray(0, this.#buffer.write(text));
    if (this.#error !== undefined) throw this.#error;
    return undefined;
  }
}

describe('sendBody of what is pulled', () => {
  test('the pieces arrive as they were when they were pulled', async (t) => {
    for (const length of [11, undefined]) {
      const body = new Pulled(['hello', ' ', 'world']);
      const { outcome, received, whole } = await exchange(t, body, length);
      assert.deepEqual(
        { outcome, received, whole },
        { outcome: { sent: 11 }, received: 'hello world', whole: true },
      );
      assert.equal(body.destroyed, true);
    }
  });

  test('read as a stream it gives copies', async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of new Pulled(['hello', ' ', 'world'])) chunks.push(chunk as Buffer);
    assert.equal(Buffer.concat(chunks).toString(), 'hello world');
  });

  for (const [what, body, length] of [
    ['shorter than its length', () => new Pulled(['hello']), 11],
    ['longer than its length', () => new Pulled(['hello', ' world and more']), 11],
    ['that fails', () => new Pulled(['hello'], new Error('broken')), 11],
    ['that fails, without a length', () => new Pulled(['hello'], new Error('broken')), undefined],
  ] as const) {
    test(`a body ${what}: the client never sees it whole`, async (t) => {
      const source = body();
      const { outcome, whole } = await exchange(t, source, length);
      assert.equal(whole, false);
      assert.ok(
        outcome.error instanceof Error && !(outcome.error instanceof ClientGone),
        'it is no fault of ours',
      );
      assert.equal(source.destroyed, true);
    });
  }

  test('a client that leaves while nothing comes is let go at once', async (t) => {
    const body = new Pulled(['hello']);
    const pull = body.pull.bind(body);
    let pulls = 0;
    body.pull = () => (++pulls === 1 ? pull() : new Promise(() => {}));
    const { outcome } = await exchange(t, body, 11, { leaveAfter: 5 });
    assert.ok(outcome.error instanceof ClientGone, 'it counts as a fault of ours');
    assert.equal(outcome.sent, 5);
    assert.equal(body.destroyed, true);
  });
});

describe('sendBody', () => {
  test('a body with its length', async (t) => {
    const { outcome, received, whole } = await exchange(t, pieces('hello ', 'world'), 11);
    assert.deepEqual(
      { outcome, received, whole },
      { outcome: { sent: 11 }, received: 'hello world', whole: true },
    );
  });

  test('a body without a length', async (t) => {
    const { outcome, received, whole } = await exchange(t, pieces('hello ', 'world'), undefined);
    assert.deepEqual(
      { outcome, received, whole },
      { outcome: { sent: 11 }, received: 'hello world', whole: true },
    );
  });

  test('an empty body', async (t) => {
    for (const length of [0, undefined]) {
      const { outcome, received, whole } = await exchange(t, pieces(), length);
      assert.deepEqual({ outcome, received, whole }, { outcome: { sent: 0 }, received: '', whole: true });
    }
  });

  for (const [what, body, length] of [
    ['shorter than its length', () => pieces('hello'), 11],
    ['longer than its length', () => pieces('hello', ' world and more'), 11],
    ['that fails', () => failing('hello'), 11],
    ['that fails, without a length', () => failing('hello'), undefined],
  ] as const) {
    test(`a body ${what}: the client never sees it whole`, async (t) => {
      const source = body();
      const { outcome, whole } = await exchange(t, source, length);
      assert.equal(whole, false);
      assert.ok(
        outcome.error instanceof Error && !(outcome.error instanceof ClientGone),
        'outcome.error instanceof Error && !(outcome.error instanceof ClientGone)',
      );
      assert.equal(source.destroyed, true);
    });
  }

  test('a body that was destroyed without an error is not whole', async (t) => {
    const body = new Readable({ read() {} });
    body.push('hello');
    setImmediate(() => body.destroy());
    const { outcome, whole } = await exchange(t, body, undefined);
    assert.equal(whole, false);
    assert.ok(outcome.error instanceof Error, 'outcome.error instanceof Error');
  });

  test('a client that leaves: the body is destroyed, and it is no fault of ours', async (t) => {
    const body = new Readable({
      read() {
        this.push(Buffer.alloc(65_536, 'a'));
      },
    });
    const { outcome } = await exchange(t, body, undefined, { leaveAfter: 100_000 });
    assert.ok(outcome.error instanceof ClientGone, 'outcome.error instanceof ClientGone');
    assert.equal(body.destroyed, true);
    assert.ok(outcome.sent > 0, 'outcome.sent > 0');
  });

  test('a slow client slows the body down', async (t) => {
    let read = 0;
    const body = new Readable({
      highWaterMark: 65_536,
      read() {
        read += 65_536;
        this.push(read > 64 * 1024 * 1024 ? null : Buffer.alloc(65_536, 'a'));
      },
    });
    const server = createServer((_, response) => void sendBody(body, response, undefined));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    t.after(() => server.closeAllConnections());
    const { port } = server.address() as AddressInfo;
    const response = await new Promise<Readable>((resolve) => {
      httpRequest({ port, host: '127.0.0.1', agent: false }, resolve).end();
    });
    response.pause();
    let before = -1;
    while (before !== read) {
      before = read;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(read < 32 * 1024 * 1024, `${read} bytes were read for a client that reads nothing`);
    response.destroy();
  });
});
