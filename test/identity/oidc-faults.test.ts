import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { describeError } from '../../src/errors.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { bearerCredentials } from '../../src/testing/conformance/verifier.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { discoveryPath, type Fault, keysPath, startMockIssuer } from './harness/mock-issuer.js';
import { openOidc } from './harness/open-oidc.js';

const o = { signal: new AbortController().signal };
const now = () => Math.floor(Date.now() / 1000);

function answer(
  status: number,
  body: string | object,
  headers: Readonly<Record<string, string>> = {},
): Fault {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return (_request, response) => response.writeHead(status, headers).end(text);
}

/** Sends a piece from time to time, for as long as anybody listens. */
function trickle(response: ServerResponse): void {
  response.write('{"keys":[');
  const timer = setInterval(() => response.write(' '), 20);
  response.on('close', () => clearInterval(timer));
}

async function setUp(
  t: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
  name?: (url: string) => string,
) {
  const issuer = await startMockIssuer(['ES256'], name);
  t.after(() => issuer.close());
  const iss = name?.(issuer.url) ?? issuer.url;
  const opened = await openOidc(t, { issuer: iss, audiences: ['registry'], ...settings });
  const token = await issuer.sign({}, { iss, sub: 'alice', aud: 'registry', exp: now() + 3600 });
  return { issuer, ...opened, credentials: bearerCredentials(token) };
}

/** Each is a 503 with a reason that names what is wrong, and ends with the fault. */
describe('an issuer that answers wrongly', () => {
  const keys = (list: unknown) => answer(200, { keys: list });
  const discovery = (more: object) => (url: string) =>
    answer(200, { issuer: url, jwks_uri: `${url}${keysPath}`, ...more });
  const table: Record<
    string,
    { path: string; fault: (url: string) => Fault; reason: RegExp; isSlow?: true }
  > = {
    'discovery: 500': {
      path: discoveryPath,
      fault: () => answer(500, 'no'),
      reason: /openid-configuration: answered 500/,
    },
    'discovery: not there': { path: discoveryPath, fault: () => answer(404, 'no'), reason: /answered 404/ },
    'discovery: a page': { path: discoveryPath, fault: () => answer(200, '<html>'), reason: /is not JSON/ },
    'discovery: no keys named': {
      path: discoveryPath,
      fault: discovery({ jwks_uri: undefined }),
      reason: /jwks_uri/,
    },
    'discovery: another issuer': {
      path: discoveryPath,
      fault: discovery({ issuer: 'https://evil.example.com' }),
      reason: /names the issuer "https:\/\/evil\.example\.com", not http/,
    },
    'discovery: the issuer with a slash': {
      path: discoveryPath,
      fault: (url) => discovery({ issuer: `${url}/` })(url),
      reason: /names the issuer "http:\/\/127\.0\.0\.1:\d+\/", not/,
    },
    'discovery: keys by plain http': {
      path: discoveryPath,
      fault: discovery({ jwks_uri: 'http://keys.example.com/jwks' }),
      reason: /jwks_uri that is not an https URL/,
    },
    'discovery: keys in a file': {
      path: discoveryPath,
      fault: discovery({ jwks_uri: 'file:///etc/passwd' }),
      reason: /jwks_uri that is not an https URL/,
    },
    'keys: 500': { path: keysPath, fault: () => answer(500, 'no'), reason: /\/jwks: answered 500/ },
    'keys: garbage': {
      path: keysPath,
      fault: () => answer(200, '\u0000{'),
      reason: /\/jwks: it is not JSON/,
    },
    'keys: no list': { path: keysPath, fault: () => answer(200, { keys: {} }), reason: /no list of keys/ },
    'keys: null': { path: keysPath, fault: () => answer(200, 'null'), reason: /no list of keys/ },
    'keys: 2 MB': {
      path: keysPath,
      fault: () => keys([{ kty: 'EC', filler: 'x'.repeat(2_000_000) }]),
      reason: /larger than 1048576 bytes/,
    },
    'keys: a redirect': {
      path: keysPath,
      fault: (url) => answer(302, '', { location: `${url}/elsewhere` }),
      reason: /answered 302; redirects are not followed/,
    },
    'keys: nothing': { path: keysPath, fault: () => () => {}, reason: /no answer/, isSlow: true },
    'keys: for ever': {
      path: keysPath,
      fault: () => (_, response) => trickle(response),
      reason: /no answer/,
      isSlow: true,
    },
    'keys: cut short': {
      path: keysPath,
      fault: () => (_, response) => {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{"keys":[', () => response.destroy());
      },
      reason: /no answer/,
    },
  };
  for (const [what, { path, fault, reason, isSlow }] of Object.entries(table)) {
    it(what, async (t) => {
      const { issuer, verifier, clock, credentials } = await setUp(t, isSlow && { timeout: '300ms' });
      issuer.faults.set(path, fault(issuer.url));
      const error = await rejectsWith(() => verifier.verify(credentials, o), 'UNAVAILABLE');
      assert.match(describeError(error), reason);
      assert.ok(!issuer.requests.includes('/elsewhere'), 'a redirect was followed');
      if (isSlow) return; // its good answers might not be quick enough, either
      issuer.faults.clear();
      clock.advance(10_000);
      assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
    });
  }

  it('is asked at most once in some seconds', async (t) => {
    const { issuer, verifier, clock, credentials } = await setUp(t);
    issuer.faults.set(discoveryPath, answer(500, 'no'));
    for (let i = 0; i < 10; i++) await rejectsWith(() => verifier.verify(credentials, o), 'UNAVAILABLE');
    assert.equal(issuer.requests.length, 1);
    clock.advance(5_000);
    for (let i = 0; i < 10; i++) await rejectsWith(() => verifier.verify(credentials, o), 'UNAVAILABLE');
    assert.equal(issuer.requests.length, 2);
  });

  it('keeps nobody who has left', async (t) => {
    const { issuer, verifier, credentials } = await setUp(t, { timeout: '20s' });
    const waiting: ServerResponse[] = [];
    issuer.faults.set(keysPath, (_, response) => void waiting.push(response));
    const leaving = new AbortController();
    const left = verifier.verify(credentials, { signal: leaving.signal });
    const stays = verifier.verify(credentials, o);
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const reason = new Error('gone');
    leaving.abort(reason);
    await assert.rejects(left, reason);
    issuer.faults.clear();
    assert.equal(waiting.length, 1, 'they share one question');
    const { d: _d, ...key } = issuer.keys[0] ?? {};
    waiting[0]?.end(JSON.stringify({ keys: [key] }));
    assert.equal((await stays)?.name, 'alice');
  });
});

describe('an issuer', () => {
  it('with a path', async (t) => {
    const name = (url: string) => `${url}/realms/acme`;
    const { issuer, verifier, credentials } = await setUp(t, {}, name);
    issuer.faults.set(
      `/realms/acme${discoveryPath}`,
      answer(200, { issuer: name(issuer.url), jwks_uri: `${issuer.url}${keysPath}` }),
    );
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
  });

  it('with a slash at its end', async (t) => {
    const { issuer, verifier, credentials } = await setUp(t, {}, (url) => `${url}/`);
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
    assert.equal(issuer.requests[0], discoveryPath);
  });

  it('without discovery', async (t) => {
    const keys = await startMockIssuer(['ES256']);
    t.after(() => keys.close());
    const iss = 'https://sso.example.com';
    const { verifier } = await openOidc(t, {
      issuer: iss,
      audiences: ['a'],
      jwksUri: `${keys.url}${keysPath}`,
    });
    const token = await keys.sign({}, { iss, sub: 'alice', aud: 'a', exp: now() + 60 });
    assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice');
    assert.deepEqual(keys.requests, [keysPath]);
  });

  it('whose keys are somewhere else', async (t) => {
    const { issuer, verifier, credentials } = await setUp(t);
    const { d: _d, ...key } = issuer.keys[0] ?? {};
    const elsewhere = await startLoopbackServer((_request, response) =>
      response.end(JSON.stringify({ keys: [key] })),
    );
    t.after(() => elsewhere.close());
    issuer.faults.set(discoveryPath, answer(200, { issuer: issuer.url, jwks_uri: `${elsewhere.url}/keys` }));
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
  });

  it('that is closed meanwhile leaves nothing behind', async (t) => {
    const { issuer, verifier, credentials, log } = await setUp(t, { timeout: '20s' });
    issuer.faults.set(discoveryPath, () => {});
    const waiting = verifier.verify(credentials, o);
    while (issuer.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.all([rejectsWith(() => waiting, 'UNAVAILABLE'), verifier.close()]);
    assert.equal(log.text, '');
  });
});
