import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { type Front, type LogLine, send, sharedScope, startFront } from '../harness/index.js';

describe('what operators see', () => {
  const scope = sharedScope();
  const image = tinyImageFor('amd64', 'hello');
  const blob = image.blobs[0] ?? assert.fail();
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('team/app', '1', image);
    front = await startFront(
      scope,
      `
trustedProxies: [127.0.0.1]
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "open/", upstream: one, rewrite: team/ }, { prefix: "closed/", upstream: one, rewrite: team/ }]
`,
    );
  });

  const lineOf = (id: unknown) => front.logLine((line) => line.requestId === id);

  /** Sends a request, and reads what was logged of it. */
  async function logged(ask: Promise<{ headers: Record<string, unknown> }>): Promise<LogLine> {
    const { time, seconds, ...line } = await lineOf((await ask).headers['x-request-id']);
    assert.ok(Date.parse(String(time)) > 0, 'Date.parse(String(time)) > 0');
    if (line.event === 'access') assert.ok(typeof seconds === 'number' && seconds >= 0, 'seconds');
    return line;
  }

  const common = (requestId: unknown) => ({ requestId, address: '203.0.113.9', host: 'docker.test' });
  const from = { 'x-forwarded-for': '203.0.113.9' };

  test('the access line of a pull by tag', async () => {
    const line = await logged(front.sendAs('bob', '/v2/open/app/manifests/1', { headers: from }));
    assert.deepEqual(line, {
      ...common(line.requestId),
      level: 'info',
      event: 'access',
      message: 'access',
      method: 'GET',
      operation: 'manifest',
      user: 'bob',
      principal: 'local:bob',
      verifier: 'local',
      rule: 'policy[1]',
      action: 'pull',
      repository: 'open/app',
      reference: '1',
      digest: image.root.digest,
      upstream: 'one',
      upstreamRepository: 'team/app',
      status: 200,
      bytes: image.root.bytes.length,
    });
  });

  test('the access line of a blob, with a token', async () => {
    const token = await front.token('bob', ['repository:open/app:pull']);
    const headers = { ...from, authorization: `Bearer ${token}` };
    const line = await logged(front.send(`/v2/open/app/blobs/${blob.digest}`, { headers }));
    assert.deepEqual(line, {
      ...common(line.requestId),
      level: 'info',
      event: 'access',
      message: 'access',
      method: 'GET',
      operation: 'blob',
      principal: 'local:bob',
      verifier: 'local',
      action: 'pull',
      repository: 'open/app',
      reference: blob.digest,
      digest: blob.digest,
      upstream: 'one',
      upstreamRepository: 'team/app',
      status: 200,
      bytes: blob.size,
    });
  });

  test('the access line of a refusal has who, what and why', async () => {
    const line = await logged(front.sendAs('bob', '/v2/closed/app/manifests/1', { headers: from }));
    assert.deepEqual(line, {
      ...common(line.requestId),
      level: 'info',
      event: 'access',
      message: 'access',
      method: 'GET',
      operation: 'manifest',
      user: 'bob',
      principal: 'local:bob',
      verifier: 'local',
      action: 'pull',
      repository: 'closed/app',
      reference: '1',
      status: 403,
      bytes: 0,
      error: 'DENIED',
      reason: 'DENIED: no rule allows it',
    });
  });

  test('the token line: who asked, through which verifier, for what; what was granted, by which rule', async () => {
    const asked = ['repository:open/app:pull,push', 'repository:closed/app:pull', 'odd'];
    const query = new URLSearchParams(asked.map((one): [string, string] => ['scope', one]));
    const line = await logged(front.sendAs('bob', `/token?service=docker.test&${query}`, { headers: from }));
    assert.deepEqual(line, {
      ...common(line.requestId),
      level: 'info',
      event: 'token',
      message: 'token',
      method: 'GET',
      user: 'bob',
      principal: 'local:bob',
      verifier: 'local',
      service: 'docker.test',
      asked,
      granted: ['repository:open/app:pull'],
      rules: ['policy[1]'],
      status: 200,
    });
  });

  test('the token line of a refusal', async () => {
    const headers = { ...from, authorization: `Basic ${Buffer.from('bob:wrong').toString('base64')}` };
    const line = await logged(front.send('/token?scope=repository:open/app:pull', { headers }));
    assert.equal(line.status, 401);
    assert.equal(line.error, 'UNAUTHORIZED');
    assert.equal(line.principal, undefined);
    assert.equal(line.user, 'bob');
    assert.deepEqual(line.asked, ['repository:open/app:pull']);
    assert.equal(line.granted, undefined);
  });

  test('what a client writes cannot make a line of its own', async () => {
    const before = front.logLines().length;
    const forged = '\n{"event":"access","principal":"local:root"}\n';
    await logged(
      front.send(`/token?service=${encodeURIComponent(forged)}&scope=${encodeURIComponent(forged)}`, {
        headers: from,
      }),
    );
    const lines = front.logLines().slice(before);
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.event, 'token');
  });

  test('a transfer that the upstream cut is told as such, although its status was 200', async () => {
    const remove = registry.faults.add({ path: '/blobs/' }, { cutAfter: 10 });
    const line = await logged(front.sendAs('bob', `/v2/open/app/blobs/${blob.digest}`));
    remove();
    assert.equal(line.status, 200);
    assert.ok(Number(line.bytes) <= 10, 'Number(line.bytes) <= 10');
    assert.equal(typeof line.reason, 'string');
    assert.equal(line.level, 'warn');
  });

  test('metrics count by operation, status and upstream, and name nothing a client chose', async () => {
    await front.sendAs('bob', '/v2/open/only-in-this-test/manifests/a-tag');
    await front.send('/v2/open/app/manifests/1', { method: 'PURGE' });
    const text = await front.metrics();
    assert.match(
      text,
      /registry_proxy_requests_total\{operation="manifest",method="GET",status="200",upstream="one"\} [1-9]/,
    );
    assert.match(
      text,
      /registry_proxy_requests_total\{operation="manifest",method="other",status="405",upstream="none"\} 1/,
    );
    assert.match(text, /registry_proxy_token_requests_total\{status="200"\} [1-9]/);
    assert.match(text, /registry_proxy_sent_bytes_total\{upstream="one"\} [1-9]/);
    assert.match(text, /registry_proxy_request_duration_seconds_count\{operation="blob"\} [1-9]/);
    assert.match(text, /upstream_requests_total\{upstream="one",status="2xx"\} [1-9]/);
    for (const chosen of ['only-in-this-test', 'a-tag', 'bob', 'PURGE', '203.0.113.9']) {
      assert.ok(!text.includes(chosen), chosen);
    }
  });

  for (const [path, status, type] of [
    ['/livez', 200, 'text/plain; charset=utf-8'],
    ['/readyz', 200, 'text/plain; charset=utf-8'],
    ['/metrics', 200, 'text/plain; version=0.0.4; charset=utf-8'],
    ['/metrics?x=y', 200, 'text/plain; version=0.0.4; charset=utf-8'],
    ['/v2/', 404, 'text/plain; charset=utf-8'],
    ['/', 404, 'text/plain; charset=utf-8'],
  ] as const) {
    test(`admin ${path}: ${status}`, async () => {
      const answer = await send(front.adminPort, path);
      assert.equal(answer.status, status);
      assert.equal(answer.headers['content-type'], type);
      const head = await send(front.adminPort, path, { method: 'HEAD' });
      assert.equal(head.status, status);
      assert.equal(head.body.length, 0);
      assert.equal((await send(front.adminPort, path, { method: 'POST', body: 'x' })).status, 405);
    });
  }

  test('what is for operators is not on the front', async () => {
    for (const path of ['/livez', '/readyz', '/metrics']) assert.equal((await front.send(path)).status, 404);
  });

  test('readyz says when we drain, and livez goes on', async (t) => {
    const draining = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
drainTimeout: 30s
`,
    );
    const remove = registry.faults.add({ path: '/manifests/draining' }, { delay: 60_000 });
    t.after(remove);
    const leaving = new AbortController();
    const slow = draining
      .sendAs('alice', '/v2/team/app/manifests/draining', { signal: leaving.signal })
      .catch(() => undefined);
    await registry.waitFor((request) => request.path.endsWith('/draining'));
    const stopping = draining.stop();
    assert.equal((await send(draining.adminPort, '/readyz')).status, 503);
    assert.equal((await send(draining.adminPort, '/livez')).status, 200);
    leaving.abort();
    await slow;
    await stopping;
    await assert.rejects(send(draining.adminPort, '/livez'), { code: 'ECONNREFUSED' });
  });

  test('the public keys of our tokens', async () => {
    const answer = await front.send('/token/jwks.json');
    assert.equal(answer.status, 200);
    const { keys } = JSON.parse(answer.text) as { keys: Record<string, string>[] };
    assert.ok(keys.length > 0, 'keys.length > 0');
    for (const key of keys) {
      for (const secret of ['d', 'p', 'q', 'k', 'dp', 'dq', 'qi']) assert.equal(key[secret], undefined);
    }
    assert.equal((await front.send('/token/jwks.json', { method: 'POST' })).status, 405);
    assert.equal((await front.send('/token/ca.pem')).status, 200);
  });
});
