import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type ServedFront, serveCriFront } from '../../test/harness/served-front.js';
import { RawGrpcClient } from '../testing/raw-grpc-client.js';
import { frame } from './frames.js';

const preface = 24;
const [dataFrame, headersFrame, settingsFrame] = [0, 1, 4];
const [endStream, endHeaders, acknowledged] = [1, 4, 1];

function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A server that answers each call with a status that Node's own does not send: written by hand (RFC 9113, RFC 7541). */
async function serveStatus(t: TestContext, status: string, more: readonly Buffer[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'drp-odd-'));
  const path = join(directory, 's.sock');
  const server = createServer((socket) => {
    let received = Buffer.alloc(0);
    let start = preface;
    socket.on('error', () => {});
    socket.write(http2Frame(settingsFrame, 0, 0));
    socket.on('data', (piece) => {
      received = Buffer.concat([received, piece]);
      while (received.length >= start + 9) {
        const end = start + 9 + received.readUIntBE(start, 3);
        if (received.length < end) return;
        const [type, flags, stream] = [
          received[start + 3],
          received[start + 4],
          received.readUInt32BE(start + 5),
        ];
        start = end;
        if (type === settingsFrame && flags !== acknowledged) {
          socket.write(http2Frame(settingsFrame, acknowledged, 0));
        }
        if (type !== headersFrame) continue;
        // A literal without indexing, named by entry 8 of the static table: `:status`.
        const block = Buffer.concat([Buffer.of(0x08, status.length), Buffer.from(status)]);
        const last = more.length === 0 ? endStream : 0;
        socket.write(http2Frame(headersFrame, endHeaders | last, stream, block));
        for (const [i, bytes] of more.entries()) {
          socket.write(http2Frame(dataFrame, i === more.length - 1 ? endStream : 0, stream, bytes));
        }
      }
    });
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

async function front(t: TestContext, path: string): Promise<{ served: ServedFront; client: RawGrpcClient }> {
  const served = await serveCriFront(path);
  t.after(() => served.close());
  const client = new RawGrpcClient(served.path);
  t.after(() => client.close());
  return { served, client };
}

describe('a status that HTTP does not know costs its call alone', () => {
  for (const method of ['ListImages', 'PullImage']) {
    for (const status of ['600', '700', '999']) {
      for (const [what, more] of [
        ['in headers alone', []],
        ['before data', [Buffer.from('half'), Buffer.from('half')]],
      ] as const) {
        test(`${method}: ${status} ${what}`, async (t) => {
          const { served, client } = await front(t, await serveStatus(t, status, more));
          for (let i = 0; i < 2; i++) {
            const { headers } = await client.call(`/runtime.v1.ImageService/${method}`, frame(Buffer.of()));
            assert.equal(headers[headers.indexOf('grpc-status') + 1], '2', headers.join(' '));
            assert.match(headers.join(' '), new RegExp(`answers with HTTP status ${status}`));
          }
          assert.equal(served.log.at('error').length, 0, served.log.text);
        });
      }
    }
  }

  for (const status of ['204', '304', '599']) {
    test(`${status} passes`, async (t) => {
      const { client } = await front(t, await serveStatus(t, status, []));
      const { headers } = await client.call('/runtime.v1.ImageService/ListImages', frame(Buffer.of()));
      assert.deepEqual(headers.slice(0, 2), [':status', status]);
    });
  }
});
