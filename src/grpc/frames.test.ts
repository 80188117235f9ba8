import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CallFailure } from './call-failure.js';
import { frame, maxMessageSize, readMessage } from './frames.js';

const oneByteAtATime = (bytes: Buffer) => [...bytes].map((byte) => Buffer.from([byte]));

/** A stream of these pieces. It ends after them, unless the test says otherwise. */
function streamOf(pieces: readonly Buffer[], ends = true): PassThrough {
  const stream = new PassThrough();
  for (const piece of pieces) stream.write(piece);
  if (ends) stream.end();
  return stream;
}

function prefix(flag: number, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(flag, 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

describe('a message', () => {
  test('is read as it was written, however it was cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.array(fc.nat(70)), async (bytes, cuts) => {
        const framed = frame(bytes);
        const places = [0, ...cuts.map((cut) => cut % framed.length).sort((a, b) => a - b), framed.length];
        const pieces = places.slice(1).map((end, i) => framed.subarray(places[i], end));
        const message = await readMessage(streamOf(pieces));
        assert.ok(message.bytes.equals(bytes), 'the same bytes');
        assert.equal(message.isCompressed, false);
      }),
    );
  });

  test('of the largest size is read', async () => {
    const bytes = Buffer.alloc(maxMessageSize, 5);
    const message = await readMessage(streamOf([frame(bytes)]));
    assert.ok(message.bytes.equals(bytes), `${message.bytes.length} bytes`);
  });

  test('that was read leaves nobody listening', async () => {
    const { signal } = new AbortController();
    const stream = streamOf([frame(Buffer.alloc(1))]);
    const before = stream.listenerCount('close');
    await readMessage(stream, { signal });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    assert.equal(stream.listenerCount('close'), before);
  });

  test('that is compressed says so', async () => {
    const message = await readMessage(streamOf([prefix(1, 3), Buffer.from('abc')]));
    assert.deepEqual(message, { bytes: Buffer.from('abc'), isCompressed: true });
  });

  for (const [what, pieces, status, text] of [
    ['nothing', [], 13, 'the message cannot be read: no message came'],
    ['half a prefix', [Buffer.alloc(3)], 13, 'the message cannot be read: it ended after 3 of 5 bytes'],
    [
      'half a message',
      [prefix(0, 9), Buffer.alloc(4)],
      13,
      'the message cannot be read: it ended after 9 of 14 bytes',
    ],
    [
      'two messages',
      [frame(Buffer.alloc(2)), frame(Buffer.alloc(2))],
      13,
      'the message cannot be read: more than one message came',
    ],
    [
      'a byte too many',
      oneByteAtATime(Buffer.alloc(6)),
      13,
      'the message cannot be read: more than one message came',
    ],
    [
      'an unknown flag',
      [prefix(2, 0)],
      13,
      'the message cannot be read: its first byte is 2, which gRPC does not know',
    ],
    [
      '16 MiB and a byte',
      [prefix(0, maxMessageSize + 1)],
      8,
      'the message has 16777217 bytes, and at most 16777216 are taken',
    ],
    [
      '4 GiB',
      oneByteAtATime(prefix(0, 2 ** 32 - 1)),
      8,
      'the message has 4294967295 bytes, and at most 16777216 are taken',
    ],
  ] as const) {
    test(`that is ${what} is refused with status ${status}`, async () => {
      const expected = new CallFailure(status, text);
      await assert.rejects(readMessage(streamOf(pieces)), expected);
    });
  }

  test('that is too large is refused before it has come, and the rest is thrown away', async () => {
    const stream = streamOf([prefix(0, 11)], false);
    await assert.rejects(readMessage(stream, { maxSize: 10 }), { status: 8 });
    for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(65_536));
    stream.end();
    await new Promise((resolve) => stream.once('end', resolve));
  });

  test('of a stream that is closed before, or ends before its time, is not waited for', async () => {
    const closed = streamOf([prefix(0, 3)], false);
    closed.destroy();
    await assert.rejects(readMessage(closed), { status: 1 });
    const closing = streamOf([prefix(0, 3)], false);
    const reading = readMessage(closing);
    closing.destroy();
    await assert.rejects(reading, { status: 1 });
    const ended = streamOf([frame(Buffer.alloc(1))]);
    await readMessage(ended);
    await assert.rejects(readMessage(ended), { status: 1 });
  });

  test("of a stream that fails gives the stream's error", async () => {
    const stream = streamOf([prefix(0, 3)], false);
    const reading = readMessage(stream);
    const error = new Error('reset');
    stream.destroy(error);
    await assert.rejects(reading, error);
  });

  test('is not waited for when nobody wants it any more', async () => {
    const over = new AbortController();
    const stream = streamOf([prefix(0, 3)], false);
    const listeners = () => ['data', 'end', 'error', 'close'].map((event) => stream.listenerCount(event));
    const before = listeners();
    const reading = readMessage(stream, { signal: over.signal });
    const reason = new Error('the client has gone');
    over.abort(reason);
    await assert.rejects(reading, reason);
    await assert.rejects(readMessage(stream, { signal: over.signal }), reason);
    assert.deepEqual(listeners(), before);
    stream.destroy();
  });
});
