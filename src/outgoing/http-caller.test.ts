import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { z } from 'zod';
import { describeError } from '../errors.js';
import { serverKeys } from '../settings/server-keys.js';
import { createAuthority } from '../testing/certificates.js';
import { closesTwice, rejectsWhenAborted, rejectsWith } from '../testing/conformance/suite.js';
import { startLoopbackServer, type TlsFiles } from '../testing/loopback-server.js';
import { HttpCaller } from './http-caller.js';

const o = { signal: new AbortController().signal };
const settings = z.strictObject(serverKeys);

/** Milliseconds: for tests where a wait that is not ended would take a minute. */
const atOnce = { timeout: 20_000 };

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

async function setUp(
  t: TestContext,
  listener: RequestListener,
  { timeout = '10s', tls, ca }: { timeout?: string; tls?: TlsFiles; ca?: string } = {},
) {
  const asked: Asked[] = [];
  const server = await startLoopbackServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    asked.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers, body });
    listener(request, response);
  }, tls && { tls });
  t.after(() => server.close());
  const caller = await HttpCaller.open(settings.parse({ timeout, ...(ca && { ca }) }), '/');
  t.after(() => caller.close());
  return { caller, server, asked, at: (path = '/') => new URL(path, server.url) };
}

/** Sends a byte from time to time, for as long as anybody listens. */
function trickle(response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), 10);
  response.on('close', () => clearInterval(timer));
}

describe('a call', () => {
  it('sends what it is given, and gives what is answered', async (t) => {
    const { caller, asked, at } = await setUp(t, (_request, response) => {
      response.writeHead(418, { 'X-Some': 'thing', 'set-cookie': ['a=1', 'b=2'] }).end('tea: ü');
    });
    const headers = { authorization: 'Bearer x', 'content-type': 'text/plain' };
    const answer = await caller.call({ url: at('/a/b?c=d'), method: 'POST', headers, body: 'bödy', ...o });
    assert.deepEqual([answer.status, answer.text], [418, 'tea: ü']);
    assert.equal(answer.headers.get('x-some'), 'thing');
    assert.equal(answer.headers.get('set-cookie'), 'a=1, b=2');
    const [{ method, path, body, headers: sent } = { headers: {} } as Asked] = asked;
    assert.deepEqual([method, path, body], ['POST', '/a/b?c=d', 'bödy']);
    assert.deepEqual([sent.authorization, sent.accept], ['Bearer x', 'application/json']);
  });

  it('does not follow redirects: a secret reaches one host only', async (t) => {
    const other = await setUp(t, (_request, response) => response.end());
    for (const status of [301, 302, 303, 307, 308]) {
      const { caller, at, asked } = await setUp(t, (_request, response) =>
        response.writeHead(status, { location: other.server.url }).end(),
      );
      const headers = { authorization: 'Bearer secret' };
      assert.equal((await caller.call({ url: at(), headers, ...o })).status, status);
      const byFetch = await caller.fetch(at(), { headers, redirect: 'follow' });
      assert.deepEqual([byFetch.status, asked.length], [status, 2]);
    }
    assert.deepEqual(other.asked, []);
  });

  it('takes an answer of 1 MiB, and no larger one, whether its length is told or not', async (t) => {
    const { caller, at } = await setUp(t, (request, response) => {
      const text = 'x'.repeat(Number(request.url?.slice(2)));
      if (request.url?.startsWith('/c')) response.write(' ');
      response.end(text);
    });
    const limit = 1024 * 1024;
    assert.equal((await caller.call({ url: at(`/l${limit}`), ...o })).text.length, limit);
    for (const path of [`/l${limit + 1}`, `/c${limit}`]) {
      const error = await rejectsWith(() => caller.call({ url: at(path), ...o }), 'UNAVAILABLE');
      assert.match(describeError(error), /larger than 1048576 bytes/);
    }
  });

  for (const [what, listener] of Object.entries<RequestListener>({
    'never answers': () => {},
    'sends its headers and nothing more': (_request, response) => response.flushHeaders(),
    'sends its body byte by byte': (_request, response) => trickle(response),
  })) {
    it(`is not kept waiting by a server that ${what}`, async (t) => {
      const { caller, at } = await setUp(t, listener, { timeout: '200ms' });
      const error = await rejectsWith(() => caller.call({ url: at(), ...o }), 'UNAVAILABLE');
      assert.match(describeError(error), /no answer from 127\.0\.0\.1:\d+/);
    });
  }

  it('a body that is cut short is no answer', async (t) => {
    const { caller, at } = await setUp(t, (_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"active":true', () => response.destroy());
    });
    await rejectsWith(() => caller.call({ url: at(), ...o }), 'UNAVAILABLE');
  });

  it('where nobody listens there is no answer, and none of what was sent is told', async (t) => {
    const { caller, server, at } = await setUp(t, () => {});
    await server.close();
    const headers = { authorization: 'Bearer hunter2' };
    const call = () => caller.call({ url: at('/path?token=hunter2'), headers, body: 'hunter2', ...o });
    const error = await rejectsWith(call, 'UNAVAILABLE');
    assert.match(describeError(error), /no answer from 127\.0\.0\.1:\d+.*ECONNREFUSED/);
    assert.ok(!describeError(error).includes('hunter2'), 'a secret would be logged');
  });

  it(
    'ends with who asked: before it is sent, while it waits, and in the middle of a body',
    atOnce,
    async (t) => {
      const responses: ServerResponse[] = [];
      const { caller, asked, at } = await setUp(
        t,
        (request, response) => {
          if (request.url === '/body') response.write('{');
          responses.push(response);
        },
        { timeout: '1m' },
      );
      await rejectsWhenAborted((aborted) => caller.call({ url: at(), ...aborted }));
      assert.deepEqual(asked, []);
      for (const path of ['/wait', '/body']) {
        const leaving = new AbortController();
        const call = caller.call({ url: at(path), signal: leaving.signal });
        while (responses.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        const response = responses.pop();
        const closed = new Promise((resolve) => response?.on('close', resolve));
        const reason = new Error('gone');
        leaving.abort(reason);
        await assert.rejects(call, reason);
        await closed; // the server is told
      }
    },
  );

  it('can be closed twice; what is under way ends', async (t) => {
    const { caller, asked, at } = await setUp(t, () => {});
    const call = rejectsWith(() => caller.call({ url: at(), ...o }), 'UNAVAILABLE');
    while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await closesTwice(caller);
    await call;
  });
});

describe('fetch', () => {
  it('takes what libraries give it', async (t) => {
    const { caller, asked, at } = await setUp(t, (_request, response) =>
      response.setHeader('content-type', 'application/json').end('{"a":1}'),
    );
    const body = new URLSearchParams({ grant_type: 'x y' });
    const answer = await caller.fetch(at('/token').href, {
      method: 'POST',
      headers: new Headers({ 'Content-Type': 'application/x-www-form-urlencoded' }),
      body,
    });
    assert.deepEqual([answer.status, await answer.json()], [200, { a: 1 }]);
    assert.deepEqual([asked[0]?.method, asked[0]?.body], ['POST', 'grant_type=x+y']);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.equal((await caller.fetch(new Request(at('/other')))).status, 200);
    assert.equal(asked[1]?.path, '/other');
  });

  it('knows answers without a body', async (t) => {
    const { caller, at } = await setUp(t, (_request, response) => response.writeHead(204).end());
    const answer = await caller.fetch(at());
    assert.deepEqual([answer.status, answer.body], [204, null]);
  });

  it('ends with its signal', async (t) => {
    const { caller, at } = await setUp(t, () => {});
    const reason = new Error('gone');
    await assert.rejects(caller.fetch(at(), { signal: AbortSignal.abort(reason) }), reason);
  });
});

describe('trust', () => {
  async function authority(t: TestContext) {
    const directory = mkdtempSync(join(tmpdir(), 'ca-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const { certificate, privateKey } = await createAuthority();
    const ca = join(directory, 'ca.pem');
    writeFileSync(ca, certificate);
    return { ca, tls: { cert: certificate, key: privateKey } };
  }

  it('is in what `ca` names', async (t) => {
    const { ca, tls } = await authority(t);
    const { caller, at } = await setUp(t, (_request, response) => response.end('ok'), { tls, ca });
    assert.equal((await caller.call({ url: at(), ...o })).text, 'ok');
  });

  for (const [what, withOther] of [
    ['no `ca`', false],
    ['the `ca` of somebody else', true],
  ] as const) {
    it(`with ${what}: no answer, nothing is sent, and the operator is told what to do`, async (t) => {
      const { tls } = await authority(t);
      const other = withOther ? { ca: (await authority(t)).ca } : {};
      const { caller, asked, at } = await setUp(t, (_request, response) => response.end(), { tls, ...other });
      const error = await rejectsWith(() => caller.call({ url: at(), ...o }), 'UNAVAILABLE');
      assert.match(describeError(error), /certificate is not trusted: name its authority as `ca`/);
      assert.deepEqual(asked, []);
    });
  }

  it('a `ca` that is not there fails at the start', async () => {
    const opening = HttpCaller.open(settings.parse({ ca: 'none.pem' }), '/nowhere');
    await assert.rejects(opening, /cannot read the CA file \/nowhere\/none\.pem: ENOENT/);
  });
});
