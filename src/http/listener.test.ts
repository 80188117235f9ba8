import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { Listener } from './listener.js';
import { get, open, RawConnection } from './raw-connection.test.js';

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers when the test says so. */
function held(): { handle: Handle; arrived: Promise<void>; answer(): void } {
  const responses: ServerResponse[] = [];
  let arrive: () => void;
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  return {
    handle: (_, response) => {
      responses.push(response);
      arrive();
    },
    arrived,
    answer: () => {
      for (const response of responses) response.end('done');
    },
  };
}

describe('Listener', () => {
  test('an address that cannot be had is one line', async (t) => {
    const first = await open(t, (_, response) => response.end());
    const { port } = first.address;
    await assert.rejects(Listener.open({ host: '127.0.0.1', port, handle: () => undefined }), {
      message: `cannot listen on 127.0.0.1:${port}: another program uses this port (EADDRINUSE)`,
    });
  });

  test('connections are kept alive, for longer than load balancers wait', async (t) => {
    const listener = await open(t, (_, response) => response.end('done'));
    const client = new RawConnection(listener, get + get);
    await client.received('done');
    assert.match(client.text, /keep-alive: timeout=([6-9]\d|\d{3,})/i);
    client.socket.destroy();
  });

  test('drain waits for what is under way', async (t) => {
    const { handle, arrived, answer } = held();
    const listener = await open(t, handle);
    const client = new RawConnection(listener, get);
    await arrived;
    const drained = listener.drain(30_000);
    answer();
    assert.deepEqual(await drained, { cut: 0 });
    await client.closed;
    assert.match(client.text, /connection: close[\s\S]*done$/i);
  });

  test('drain cuts what does not end, and counts it', async (t) => {
    const { handle, arrived } = held();
    const listener = await open(t, handle);
    const clients = [new RawConnection(listener, get), new RawConnection(listener, get)];
    await arrived;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(await listener.drain(50), { cut: 2 });
    await Promise.all(clients.map((client) => client.closed));
  });

  test('drain closes idle connections and refuses new ones', async (t) => {
    const listener = await open(t, (_, response) => response.end('done'));
    const used = new RawConnection(listener, get);
    await used.received('done');
    const fresh = new RawConnection(listener, '');
    const half = new RawConnection(listener, 'GET / HTTP/1.1\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await listener.drain(30_000);
    await Promise.all([used.closed, fresh.closed, half.closed]);
    const late = new RawConnection({ address: { port: 1 } } as Listener, get);
    await late.closed;
  });

  test('a request without Host, and one with an unknown expectation, is answered in our words', async (t) => {
    const listener = await open(t, (_, response) => response.end('done'));
    for (const [text, status] of [
      ['GET / HTTP/1.1\r\n\r\n', 400],
      ['GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n', 417],
      ['FROB / HTTP/1.1\r\n\r\n', 400],
    ] as const) {
      const client = new RawConnection(listener, text);
      await client.closed;
      assert.match(client.text, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*"code":"UNSUPPORTED"`));
    }
    const old = new RawConnection(listener, 'GET / HTTP/1.0\r\n\r\n');
    await old.closed;
    assert.match(old.text, /^HTTP\/1\.1 200 /);
    assert.deepEqual(await listener.drain(1000), { cut: 0 });
  });

  test('the body that waits for 100-continue is asked for by the handler alone', async (t) => {
    let ask = () => {};
    const listener = await open(t, (request, response) => {
      request.on('end', () => response.end('done')).resume();
      ask = () => response.writeContinue();
      response.writeProcessing(); // so that the test knows we are here
    });
    const client = new RawConnection(
      listener,
      'PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n',
    );
    await client.received('102 Processing');
    assert.doesNotMatch(client.text, /100 Continue/);
    ask();
    await client.received('100 Continue');
    client.socket.write('x');
    await client.received('done');
    client.socket.destroy();
  });
});
