import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../src/reference/digest.js';
import { type MemoryRegistry, mediaTypes, startMemoryRegistry } from '../../src/testing/index.js';
import {
  type Ask,
  basic,
  type Front,
  openUpload,
  passwords,
  putManifest,
  sharedScope,
  startFront,
} from '../harness/index.js';

const part = Buffer.from('{"schemaVersion":2}');
const digest = digestOf(part);
const chunk = `${part.length.toString(16)}\r\n${part.toString()}\r\n`;

/** All bytes of something whose digest is right, in a message that is not whole. */
const framings: Readonly<Record<string, readonly string[]>> = {
  'with a length': [`Content-Length: ${part.length + 1}`, '', part.toString()],
  'in chunks': ['Transfer-Encoding: chunked', '', chunk],
  'in chunks, within one': ['Transfer-Encoding: chunked', '', `${chunk}5\r\n`],
  'in chunks, before the last line': ['Transfer-Encoding: chunked', '', `${chunk}0\r\n`],
};

const ends: Readonly<Record<string, (socket: Socket) => unknown>> = {
  'ends its side': (socket) => socket.end(),
  'closes the connection': (socket) => socket.destroy(),
  'resets the connection': (socket) => socket.resetAndDestroy(),
};

/** Waits until a condition holds, 10 s at most. */
async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1_000) assert.fail(`not within 10 s: ${what}`);
    await sleep(10);
  }
}

describe('threat 11: a truncated upload becomes a blob', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry({ verifyBlobs: false });
    scope.after(() => registry.close());
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
  });

  beforeEach(() => {
    registry.store.deleteBlob('app', digest);
    registry.forgetRequests();
  });

  const ask: Ask = (path, options) => front.sendAs('alice', path, options);

  const accessLines = () => front.logLines().filter((line) => line.event === 'access').length;

  function sendPart(method: string, path: string, framing: readonly string[]): Socket {
    const socket = connect(front.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    const lines = [
      `${method} ${path} HTTP/1.1`,
      'Host: docker.test',
      `Authorization: ${basic('alice', passwords.alice)}`,
      `Content-Type: ${mediaTypes.manifest}`,
    ];
    socket.write([...lines, ...framing].join('\r\n'));
    return socket;
  }

  for (const [framing, lines] of Object.entries(framings)) {
    for (const [how, leave] of Object.entries(ends)) {
      for (const method of ['PUT', 'POST', 'PATCH'] as const) {
        test(`${method} ${framing}, and the client ${how}: no blob`, async () => {
          const session = method === 'POST' ? '/v2/app/blobs/uploads/' : await openUpload(ask, 'app');
          const path = method === 'PATCH' ? session : `${session}?digest=${digest}`;
          registry.forgetRequests();
          const logged = accessLines();
          const socket = sendPart(method, path, lines);
          const up = await registry.waitFor((request) => request.method === method);
          await until(() => up.receivedBytes === part.length, 'what was sent reaches the upstream');
          leave(socket);
          await up.settled;
          await until(() => accessLines() > logged, 'the request is logged');
          socket.destroy();
          assert.equal(up.finished, false, `the upstream answered ${up.status}`);
          assert.equal(registry.store.blob('app', digest), undefined);
        });
      }

      test(`a manifest ${framing}, and the client ${how}: nothing goes up`, async () => {
        const logged = accessLines();
        const socket = sendPart('PUT', '/v2/app/manifests/cut', lines);
        await sleep(50); // it may have been read or not; nothing outside tells
        leave(socket);
        await until(() => accessLines() > logged, 'the request is logged');
        socket.destroy();
        assert.ok(
          registry.requests.every((request) => request.method !== 'PUT'),
          'a part of it went up',
        );
        assert.equal(registry.store.manifest('app', 'cut'), undefined);
      });
    }
  }

  test('the same, whole, is one', async () => {
    const path = `/v2/app/blobs/uploads/?digest=${digest}`;
    assert.equal((await ask(path, { method: 'POST', body: part })).status, 201);
    assert.ok(registry.store.blob('app', digest), 'there is no blob');
    const put = await putManifest(ask, 'app', 'whole', { bytes: part, mediaType: mediaTypes.manifest });
    assert.equal(put.status, 201, put.text);
  });
});
