import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RegistryMethod } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import { digestOf } from '../reference/digest.js';
import { startMemoryRegistry } from '../testing/index.js';
import { failsWith, openUpstream, operations, type Settings } from './opened-upstream.test.js';

const digest = digestOf(Buffer.from('hello'));

/** An open registry whose uploads are answered by the test. */
async function startUploads(t: TestContext, answer: RequestListener, settings: Settings = {}) {
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    request.on('error', () => {});
    if (request.url === '/v2/') response.end('{}');
    else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const opened = await openUpstream(t, url, settings);
  const session = `${url}/v2/team/app/blobs/uploads/1`;
  return {
    ...opened,
    /** A PATCH of a session, a closing PUT, a POST of a whole blob. */
    send: (method: RegistryMethod, body?: Readable, headers: Readonly<Record<string, string>> = {}) =>
      opened.fetch(
        method,
        operations.upload('team/app', {
          ...(method !== 'POST' && { session }),
          ...(method !== 'PATCH' && { digest }),
        }),
        { headers, ...(body && { body }) },
      ),
  };
}

/** Bytes without end, as fast as they are taken. */
function endless(): Readable & { readonly given: number } {
  const piece = Buffer.alloc(64 * 1024);
  let given = 0;
  const body = new Readable({
    read() {
      given += piece.length;
      this.push(piece);
    },
  });
  return Object.defineProperty(body, 'given', { get: () => given }) as Readable & { given: number };
}

/** These pieces, with a pause before each. */
function slow(pause: number, ...pieces: readonly string[]): Readable {
  return Readable.from(
    (async function* () {
      for (const piece of pieces) {
        await sleep(pause);
        yield Buffer.from(piece);
      }
    })(),
    { objectMode: false },
  );
}

const accepted = { location: '/v2/team/app/blobs/uploads/1', range: '0-4' };

describe('the body of an upload', () => {
  const framings: readonly (readonly [
    string,
    Readonly<Record<string, string>>,
    Readable | undefined,
    Readonly<Record<string, string>>,
  ])[] = [
    ['with its length', { 'content-length': '5' }, Readable.from(['hello']), { 'content-length': '5' }],
    ['without', {}, Readable.from(['hello']), { 'transfer-encoding': 'chunked' }],
    [
      'of a range and a type',
      { 'content-length': '5', 'content-range': '0-4', 'content-type': 'application/octet-stream' },
      Readable.from(['hello']),
      { 'content-length': '5', 'content-range': '0-4', 'content-type': 'application/octet-stream' },
    ],
    ['without bytes', { 'content-length': '0' }, Readable.from([]), { 'content-length': '0' }],
    ['that is none', {}, undefined, { 'content-length': '0' }],
    ['that turns out to be empty', {}, Readable.from([]), { 'content-length': '0' }],
  ];
  for (const [name, headers, body, expected] of framings) {
    test(`${name} goes up as ${JSON.stringify(expected)}`, async (t) => {
      let seen: Readonly<Record<string, unknown>> = {};
      const { send } = await startUploads(t, (request, response) => {
        seen = request.headers;
        request.resume().once('end', () => response.writeHead(202, accepted).end());
      });
      const noise = { accept: 'x', range: 'bytes=0-1', 'if-none-match': 'x', authorization: 'x' };
      await send('PATCH', body, { ...noise, ...headers });
      const { host: _, connection: __, 'user-agent': ___, ...rest } = seen;
      assert.deepEqual(rest, { ...expected, 'accept-encoding': 'identity' });
    });
  }

  for (const [name, length, code] of [
    ['shorter than its length', '10', 'SIZE_INVALID'],
    ['longer than its length', '3', 'SIZE_INVALID'],
  ] as const) {
    test(`${name} is ${code}, and the upstream’s connection is cut`, async (t) => {
      let cut: Promise<unknown> | undefined;
      const { send } = await startUploads(t, (request) => {
        cut = once(request, 'close');
        request.resume();
      });
      const body = Readable.from([Buffer.from('he'), Buffer.from('llo')]);
      await assert.rejects(send('PUT', body, { 'content-length': length }), failsWith(code));
      await cut;
    });
  }

  for (const failed of [new Error('the client left'), undefined]) {
    test(`that the client cuts ${failed ? 'with an error' : 'silently'} cuts the upstream’s connection`, async (t) => {
      const remote = await startMemoryRegistry();
      t.after(() => remote.close());
      const { fetch } = await openUpstream(t, remote.url);
      const { location } = await fetch('POST', operations.upload('team/app'));
      const body = new Readable({ read() {} });
      body.push('hello');
      const session = operations.upload('team/app', { session: location?.href ?? '' });
      const asked = fetch('PATCH', session, { body });
      asked.catch(() => {});
      const request = await remote.waitFor(({ method }) => method === 'PATCH');
      body.destroy(failed);
      await assert.rejects(asked, failsWith('BLOB_UPLOAD_INVALID', /the client cut/));
      await request.settled;
      assert.ok(request.closedEarly, 'request.closedEarly');
    });
  }

  test('that has failed before it was sent is an error, and sends nothing', async (t) => {
    let asked = 0;
    const { send } = await startUploads(t, () => asked++);
    const body = Readable.from(['hello']);
    body.destroy();
    await assert.rejects(send('PATCH', body), failsWith('BLOB_UPLOAD_INVALID'));
    assert.equal(asked, 0);
  });

  const early: readonly (readonly [number, string | undefined])[] = [
    [202, undefined],
    [413, 'SIZE_INVALID'],
    [429, 'TOOMANYREQUESTS'],
    [500, 'UNAVAILABLE'],
  ];
  for (const [status, code] of early) {
    for (const connection of ['keep-alive', 'close']) {
      test(`that is answered ${status} before its end (${connection}) is let go, and the answer counts`, async (t) => {
        const { send } = await startUploads(t, (_request, response) => {
          response.writeHead(status, { ...accepted, connection, 'content-length': '2' }).end('{}');
        });
        const body = endless();
        const closed = once(body, 'close');
        if (code === undefined) assert.equal((await send('PATCH', body)).status, status);
        else {
          await assert.rejects(send('PATCH', body), (error) => {
            assert.ok(error instanceof RegistryError && error.code === code, describeError(error));
            return true;
          });
        }
        await closed;
      });
    }
  }

  for (const method of ['PATCH', 'PUT', 'POST'] as const) {
    test(`an upstream that is cut in the middle of a ${method} is UNAVAILABLE`, async (t) => {
      const { send } = await startUploads(t, (request) => {
        request.once('data', () => request.socket.resetAndDestroy());
      });
      const body = endless();
      await assert.rejects(send(method, body), failsWith('UNAVAILABLE', /no answer from/));
      assert.ok(body.destroyed, 'body.destroyed');
    });
  }

  test('aborting cuts the connection in its middle', async (t) => {
    const remote = await startMemoryRegistry();
    t.after(() => remote.close());
    const { fetch } = await openUpstream(t, remote.url);
    const { location } = await fetch('POST', operations.upload('team/app'));
    const session = operations.upload('team/app', { session: location?.href ?? '' });
    const controller = new AbortController();
    const body = new Readable({ read() {} });
    body.push('hello');
    const asked = fetch('PATCH', session, { body, signal: controller.signal });
    const request = await remote.waitFor(({ method }) => method === 'PATCH');
    controller.abort(new Error('the client left'));
    await assert.rejects(asked, /the client left/);
    await request.settled;
    assert.ok(request.closedEarly, 'request.closedEarly');
    assert.ok(body.destroyed, 'body.destroyed');
  });

  test('is not begun before there is a connection for it', async (t) => {
    let answers = 0;
    const timeouts = { connect: '100ms', headers: '1s' };
    const settings = { timeouts, connections: 1 };
    const { send } = await startUploads(
      t,
      (request) => {
        answers++;
        request.resume();
      },
      settings,
    );
    const first = new Readable({ read() {} });
    first.push('hello');
    const busy = send('PATCH', first).catch((error: unknown) => error);
    const body = new Readable({ read: () => assert.fail('it was read') });
    await assert.rejects(send('PATCH', body), (error) => /no connection/.test(describeError(error)));
    assert.ok(body.destroyed, 'body.destroyed');
    first.destroy();
    assert.ok((await busy) instanceof RegistryError, 'the first one ended otherwise');
    assert.equal(answers, 1);
  });
});

describe('the time of an upload', () => {
  test('a client may pause longer than the upstream may', async (t) => {
    const timeouts = { connect: '2s', headers: '1s', idle: '500ms', commit: '20s' };
    let received = 0;
    const { send } = await startUploads(
      t,
      (request, response) => {
        request.on('data', (piece) => {
          received += piece.length;
        });
        request.once('end', () => response.writeHead(202, accepted).end());
      },
      { timeouts },
    );
    // Pieces that fill the connection for a moment; undici looks at its own timers twice a second.
    const piece = 'x'.repeat(200_000);
    const response = await send('PATCH', slow(1_200, piece, piece, piece));
    assert.equal(response.status, 202);
    assert.equal(received, 600_000);
  });

  test('an upstream that takes little by little gets all the time it needs', async (t) => {
    const timeouts = { connect: '20s', headers: '1s', idle: '1500ms', commit: '20s' };
    const size = 16 * 1024 * 1024;
    let received = 0;
    const { send } = await startUploads(
      t,
      async (request, response) => {
        for await (const piece of request as AsyncIterable<Buffer>) {
          const before = Math.floor(received / 524_288);
          received += piece.length;
          if (Math.floor(received / 524_288) > before) await sleep(100);
        }
        response.writeHead(202, accepted).end();
      },
      { timeouts },
    );
    const pieces = Array.from({ length: size / 65_536 }, () => Buffer.alloc(65_536));
    const response = await send('PATCH', Readable.from(pieces), { 'content-length': String(size) });
    assert.equal(response.status, 202);
    assert.equal(received, size);
  });

  test('an upstream that takes nothing is given up, and no more than it takes is read', async (t) => {
    const timeouts = { headers: '1h', idle: '300ms', commit: '1h' };
    const { send } = await startUploads(t, (request) => request.pause(), { timeouts });
    const body = endless();
    await assert.rejects(send('PATCH', body), (error) => {
      assert.ok(failsWith('UNAVAILABLE')(error), String(error));
      assert.match(describeError(error), /took nothing within 300 ms/);
      return true;
    });
    assert.ok(body.destroyed, 'body.destroyed');
    assert.ok(body.given < 64 * 1024 * 1024, `${body.given} bytes were read ahead`);
  });

  const committing: readonly (readonly [RegistryMethod, (() => Readable) | undefined])[] = [
    ['PUT', undefined],
    ['PUT', () => Readable.from(['hello'])],
    ['POST', () => Readable.from(['hello'])],
    ['PATCH', () => Readable.from(['hello'])],
  ];
  for (const [method, body] of committing) {
    const what = `${method} ${body ? 'with' : 'without'} a body`;
    test(`${what}: the registry has \`commit\` to answer, not \`headers\``, async (t) => {
      const timeouts = { connect: '1s', headers: '1s', idle: '1s', commit: '20s' };
      const { send } = await startUploads(
        t,
        (request, response) => {
          request.resume().once('end', async () => {
            await sleep(3_500); // undici looks at its own timers twice a second
            response.writeHead(method === 'PATCH' ? 202 : 201, accepted).end();
          });
        },
        { timeouts },
      );
      assert.ok((await send(method, body?.())).status < 300, 'it did not succeed');
    });

    test(`${what}: not longer than \`commit\``, async (t) => {
      const timeouts = { connect: '20s', headers: '1h', idle: '1h', commit: '200ms' };
      const { send } = await startUploads(t, (request) => request.resume(), { timeouts });
      await assert.rejects(send(method, body?.()), failsWith('UNAVAILABLE'));
    });
  }
});
