import assert from 'node:assert/strict';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { RegistryService } from '../proxy/registry-service.js';
import { RouteTable } from '../routing/route-table.js';
import { AddressRanges } from '../settings/address-range.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { FakePolicy } from '../testing/fake-policy.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { FakeUpstream, upstreamResponse } from '../testing/fake-upstream.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { TokenService } from '../token/token-service.js';
import { FrontServer } from './front-server.js';
import { Listener } from './listener.js';

const digest = `sha256:${'0'.repeat(64)}`;

/** A front whose parts fail as the test wants it. */
async function start(t: TestContext) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const metrics = new FakeMetrics();
  const upstream = new FakeUpstream(async () => upstreamResponse(200, { 'content-length': '5' }, 'hello'));
  const verifier = new FakeVerifier('local', { alice: { password: 'pw' } });
  const policy = new FakePolicy(() => ['pull']);
  const tokens = new FakeTokenIssuer(clock);
  const route = { prefix: '', upstream: 'one', rewrite: '', ns: [] };
  const routes = new RouteTable(new URL('https://docker.test'), [route], new Map([['one', upstream]]));
  const parts = { routes, verifier, policy, tokens, clock, log };
  const front = new FrontServer(
    {
      ...parts,
      registry: new RegistryService(parts),
      token: new TokenService({ ...parts, otherServices: [] }),
      trustedProxies: new AddressRanges([]),
      limits: { requestsPerAddress: 100, requestsPerPrincipal: 100 },
    },
    { log, metrics },
  );
  const listener = await Listener.open({ host: '127.0.0.1', port: 0, handle: front.handle });
  t.after(() => listener.drain(0));
  const ask = (path: string, method = 'GET') =>
    new Promise<{ status: number; text: string; headers: IncomingHttpHeaders }>((resolve, reject) => {
      const authorization = `Basic ${Buffer.from('alice:pw').toString('base64')}`;
      const { port } = listener.address;
      const options = { host: '127.0.0.1', port, path, method, agent: false, headers: { authorization } };
      const asked = httpRequest(options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
        );
      });
      asked.on('error', reject);
      asked.end();
    });
  return { ask, log, metrics, upstream, policy, verifier };
}

describe('FrontServer', () => {
  for (const path of ['/v2/app/tags/list', '/token?scope=repository:app:pull']) {
    test(`a bug behind ${path}: a bare UNKNOWN, and its stack in the log`, async (t) => {
      const { ask, log, policy } = await start(t);
      policy.decide = async () => {
        throw new TypeError('inside is not a function');
      };
      const answer = await ask(path);
      assert.equal(answer.status, 500);
      assert.equal(answer.text, '{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}');
      const [line] = log.at('error');
      assert.match(String(line?.fields.stack), /inside is not a function[\s\S]*at /);
      assert.equal(line?.fields.requestId, answer.headers['x-request-id']);
      while (log.at('warn').length === 0) await new Promise((resolve) => setImmediate(resolve));
      const [last] = log.at('warn');
      assert.equal(last?.fields.status, 500);
    });
  }

  test('every answer has an id of its own, which no client chooses', async (t) => {
    const { ask } = await start(t);
    const ids = await Promise.all(
      ['/v2/', '/v2/', '/nothing', '/token', '/token/jwks.json'].map(
        async (path) => (await ask(path)).headers['x-request-id'],
      ),
    );
    assert.equal(new Set(ids).size, ids.length);
    for (const id of ids) assert.match(String(id), /^[0-9a-f-]{36}$/);
  });

  test('a header that cannot be sent on: the body is let go, and the client gets an answer', async (t) => {
    const { ask, upstream } = await start(t);
    const response = upstreamResponse(200, { 'content-length': '5', etag: 'a\nb' }, 'hello');
    upstream.answer = async () => response;
    const answer = await ask(`/v2/app/blobs/${digest}`);
    assert.equal(answer.status, 500);
    assert.equal(response.body?.destroyed, true);
  });

  test('the body of a HEAD is let go', async (t) => {
    const { ask, upstream } = await start(t);
    const response = upstreamResponse(200, { 'content-length': '5' }, 'hello');
    upstream.answer = async () => response;
    assert.equal((await ask(`/v2/app/blobs/${digest}`, 'HEAD')).status, 200);
    assert.equal(response.body?.destroyed, true);
  });

  test('a broken verifier is 503, and never a challenge', async (t) => {
    const { ask, verifier } = await start(t);
    verifier.broken = true;
    for (const path of ['/v2/', '/v2/app/tags/list', '/token?scope=repository:app:pull']) {
      const answer = await ask(path);
      assert.equal(answer.status, 503, path);
      assert.equal(answer.headers['www-authenticate'], undefined);
    }
  });

  test('metrics: one request, its bytes and its time', async (t) => {
    const { ask, log, metrics } = await start(t);
    await ask(`/v2/app/blobs/${digest}`);
    await ask('/token');
    // They are counted when the answer has left, and the client may have it before.
    while (log.entries.length < 2) await new Promise((resolve) => setImmediate(resolve));
    const labels = { operation: 'blob', method: 'GET', status: '200', upstream: 'one' };
    assert.equal(metrics.value('requests_total', labels), 1);
    assert.equal(metrics.value('sent_bytes_total', { upstream: 'one' }), 5);
    assert.equal(metrics.observed('request_duration_seconds', { operation: 'blob' }).length, 1);
    assert.equal(metrics.value('token_requests_total', { status: '200' }), 1);
  });
});
