import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startMemoryRegistry } from '../../src/testing/index.js';
import {
  type Ask,
  assertError,
  basic,
  type Front,
  openUpload,
  passwords,
  patchUpload,
  sendRaw,
  startFront,
} from '../harness/index.js';

const mebibyte = 1024 * 1024;

function startWith(t: TestContext, url: string, idle: string): Promise<Front> {
  return startFront(
    t,
    `
limits: { idle: ${idle} }
upstreams: { one: { url: "${url}" } }
routes: [{ prefix: "", upstream: one }]
`,
  );
}

function* pieces(count: number): Generator<Buffer> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(65_536, 'a');
}

describe('threat 21: giant manifests that are pushed, and pushes that stop', () => {
  for (const [what, body] of [
    ['with its length', () => Buffer.alloc(5 * mebibyte)],
    ['chunked', () => Readable.from([Buffer.alloc(5 * mebibyte)])],
    ['without end', () => Readable.from(pieces(1_500))],
  ] as const) {
    test(`a giant manifest ${what} that is pushed: 413, and nothing goes up`, async (t) => {
      const registry = await startMemoryRegistry();
      t.after(() => registry.close());
      const front = await startWith(t, registry.url, '1h');
      const options = { method: 'PUT', body: body() };
      const answer = await front.sendAs('alice', '/v2/app/manifests/1', options).catch(() => undefined);
      // A client that goes on for long after the answer may lose it.
      if (what !== 'without end') assert.ok(answer !== undefined, 'no answer');
      if (answer !== undefined) assertError(answer, 413, 'MANIFEST_INVALID');
      const line = await front.logLine((one) => one.event === 'access');
      assert.equal(line.status, 413);
      assert.ok(Number(line.received ?? 0) < 5 * mebibyte, `${line.received} bytes were read`);
      assert.ok(
        registry.requests.every(({ method }) => method === 'GET'),
        'it went up',
      );
    });
  }

  for (const [what, method, path, body] of [
    ['a push that stops', 'PATCH', undefined, 'hello'],
    ['a push that never begins', 'PATCH', undefined, ''],
    ['a manifest that stops', 'PUT', '/v2/app/manifests/1', '{'],
  ] as const) {
    test(`${what}: the client is cut, and the upstream with it`, async (t) => {
      const registry = await startMemoryRegistry();
      t.after(() => registry.close());
      const front = await startWith(t, registry.url, '1s');
      const session = await openUpload((target, options) => front.sendAs('alice', target, options), 'app');
      const head = `${method} ${path ?? session} HTTP/1.1\r\nHost: docker.test\r\nContent-Length: 1000\r\n`;
      const authorization = `Authorization: ${basic('alice', passwords.alice)}\r\n`;
      const { end } = await sendRaw(front.port, `${head}${authorization}\r\n${body}`, { wait: 30_000 });
      assert.notEqual(end, 'open');
      const line = await front.logLine((one) => one.event === 'access' && one.method === method);
      assert.deepEqual([line.status, line.reason], [503, 'cut by us: limits.idle'], JSON.stringify(line));
      assert.match(await front.metrics(), /^registry_proxy_transfers_cut_total\{.*by="us"\} 1$/m);
      const up = registry.requests.find((request) => request.method === method);
      await up?.settled;
      assert.notEqual(up?.finished, true);
      assert.match(await front.metrics(), /^registry_proxy_requests_open 0$/m);
    });
  }

  test('a push that goes on slowly is not cut', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    const front = await startWith(t, registry.url, '4s');
    const ask: Ask = (target, options) => front.sendAs('alice', target, options);
    const slow = Readable.from(
      (async function* () {
        for (let i = 0; i < 12; i++) {
          yield Buffer.from('x');
          await sleep(500);
        }
      })(),
    );
    const patched = await patchUpload(ask, await openUpload(ask, 'app'), slow);
    assert.equal(patched.status, 202, patched.text);
    assert.equal(patched.headers.range, '0-11');
  });

  test('a push that waits for the upstream to store it is not cut', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    const front = await startWith(t, registry.url, '1s');
    const ask: Ask = (target, options) => front.sendAs('alice', target, options);
    const session = await openUpload(ask, 'app');
    registry.faults.add({ method: 'PATCH' }, { delay: 3_500 }, 1);
    const patched = await patchUpload(ask, session, Readable.from([Buffer.from('hello')]));
    assert.equal(patched.status, 202, patched.text);
  });
});
