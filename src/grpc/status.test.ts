import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, createServer, type ServerHttp2Stream } from 'node:http2';
import { createServer as createSocketServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { statusName } from '../protocol/grpc-status.js';
import { TestClient, temporaryDirectory, until } from './grpc-server-client.test.js';
import {
  decodeStatusMessage,
  encodeStatusMessage,
  endWithStatus,
  parseTimeout,
  printTimeout,
} from './status.js';

describe('a status message', () => {
  for (const [message, encoded] of [
    ['', ''],
    ['not found', 'not found'],
    ['100% of a~', '100%25 of a~'],
    ['two\nlines\r', 'two%0Alines%0D'],
    ['Größe', 'Gr%C3%B6%C3%9Fe'],
    ['😀', '%F0%9F%98%80'],
    ['\u007f\u0000', '%7F%00'],
  ] as const) {
    test(`${JSON.stringify(message)} is written as ${encoded}`, () => {
      assert.equal(encodeStatusMessage(message), encoded);
      assert.equal(decodeStatusMessage(encoded), message);
    });
  }

  for (const [encoded, message] of [
    ['100%', '100%'],
    ['%zz %4', '%zz %4'],
    ['%C3%B6 %c3%b6', 'ö ö'],
    ['Gr\u00c3\u00b6\u00c3\u009fe', 'Größe'],
  ] as const) {
    test(`${JSON.stringify(encoded)} is read as ${JSON.stringify(message)}`, () => {
      assert.equal(decodeStatusMessage(encoded), message);
    });
  }

  test('any text comes back, and is plain ASCII on the way', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (message) => {
        const encoded = encodeStatusMessage(message);
        assert.match(encoded, /^[ -~]*$/);
        assert.equal(decodeStatusMessage(encoded), message);
      }),
    );
  });

  test('one that is too long loses its end, and no half of a character is left', () => {
    const encoded = encodeStatusMessage(`RegistryUnavailable: ${'ß'.repeat(5_000)}`);
    assert.ok(encoded.length <= 4096, `${encoded.length} bytes`);
    assert.ok(encoded.length > 4000, `${encoded.length} bytes`);
    assert.match(decodeStatusMessage(encoded), /^RegistryUnavailable: ß+\.\.\.$/);
  });
});

describe('a timeout', () => {
  for (const [text, milliseconds] of [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['10S', 10_000],
    ['1m', 1],
    ['1500u', 1.5],
    ['1000000n', 1],
    ['0n', 0],
    ['99999999H', 2 ** 31 - 1],
    ['', undefined],
    ['10', undefined],
    ['10s', undefined],
    ['123456789S', undefined],
    ['-1S', undefined],
    ['1.5S', undefined],
    ['1S ', undefined],
    [undefined, undefined],
    [['1S', '2S'], undefined],
  ] as const) {
    test(`${JSON.stringify(text)} is ${milliseconds} ms`, () => {
      assert.equal(parseTimeout(text), milliseconds);
    });
  }

  test('that is written has at most eight digits, and is read as nearly the same', () => {
    const any = fc.double({ min: 0, max: 2 ** 31 - 1, noNaN: true });
    fc.assert(
      fc.property(any, (milliseconds) => {
        const text = printTimeout(milliseconds);
        assert.match(text, /^\d{1,8}[Smu]$/);
        const read = parseTimeout(text) ?? Number.NaN;
        assert.ok(
          Math.abs(read - milliseconds) <= Math.max(0.0006, milliseconds / 1_000),
          `${text} for ${milliseconds}`,
        );
      }),
    );
    assert.equal(printTimeout(-5), '0u');
    assert.equal(printTimeout(Number.POSITIVE_INFINITY), '2147484S');
  });
});

test('a code that gRPC does not know counts as UNKNOWN', () => {
  assert.deepEqual([0, 14, 99, -1, Number.NaN].map(statusName), [
    'OK',
    'UNAVAILABLE',
    'UNKNOWN',
    'UNKNOWN',
    'UNKNOWN',
  ]);
});

describe('a call that is ended with a status', () => {
  async function serve(t: TestContext, handle: (stream: ServerHttp2Stream) => void): Promise<TestClient> {
    const path = join(await temporaryDirectory(), 's');
    const http = createServer({ maxSessionMemory: 1_024 });
    http.on('stream', (stream) => {
      stream.on('error', () => undefined);
      handle(stream);
    });
    const server = createSocketServer((socket) => void http.emit('connection', socket)).listen(path);
    await once(server, 'listening');
    t.after(() => void server.close());
    return new TestClient(t, path);
  }

  test('before anything was sent: headers alone, whatever the client still sends', async (t) => {
    const client = await serve(t, (stream) => endWithStatus(stream, 14, 'no runtime: 100%'));
    for (const body of [Buffer.alloc(5), Buffer.alloc(15 * 1024 * 1024)]) {
      const { headers, trailers, bytes, reset } = await client.call('PullImage', body);
      assert.equal(headers[':status'], 200);
      assert.equal(headers['content-type'], 'application/grpc');
      assert.equal(headers['grpc-status'], '14');
      assert.equal(headers['grpc-message'], 'no runtime: 100%25');
      assert.deepEqual([Object.keys(trailers).length, bytes.length, reset], [0, 0, 0]);
    }
  });

  test('after headers and data: in trailers, and nothing of the data is lost', async (t) => {
    const answer = Buffer.alloc(3 * 1024 * 1024, 7);
    const client = await serve(t, (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write(answer);
      endWithStatus(stream, 4, 'too late');
      endWithStatus(stream, 0, 'a second one is not sent');
    });
    const { headers, trailers, bytes, reset } = await client.call('ListImages');
    assert.equal(headers['grpc-status'], undefined);
    assert.deepEqual([trailers['grpc-status'], trailers['grpc-message']], ['4', 'too late']);
    assert.ok(bytes.equals(answer), `${bytes.length} bytes came`);
    assert.equal(reset, 0);
  });

  test('an OK needs no message', async (t) => {
    const client = await serve(t, (stream) => endWithStatus(stream, 0, ''));
    const { headers } = await client.call('RemoveImage');
    assert.deepEqual([headers['grpc-status'], headers['grpc-message']], ['0', undefined]);
  });

  test('one that the client has reset is left alone', async (t) => {
    const seen: ServerHttp2Stream[] = [];
    const client = await serve(t, (stream) => void seen.push(stream));
    const stream = client.begin('PullImage');
    await until('the call has come', () => seen.length === 1);
    stream.close(constants.NGHTTP2_CANCEL);
    const [ended] = seen;
    assert.ok(ended, 'the call has come');
    await until('it is closed', () => ended.closed);
    endWithStatus(ended, 1, 'too late');
    assert.equal(ended.headersSent, false);
  });
});
