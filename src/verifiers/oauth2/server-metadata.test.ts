import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { describeError, RegistryError } from '../../errors.js';
import { HttpCaller } from '../../outgoing/http-caller.js';
import { FilePath } from '../../settings/file-path.js';
import { certify, createAuthority } from '../../testing/certificates.js';
import { FakeClock } from '../../testing/fake-clock.js';
import { startLoopbackServer } from '../../testing/loopback-server.js';
import { ServerMetadata } from './server-metadata.js';

const o = { signal: new AbortController().signal };
const minute = 60_000;

async function setUp(t: TestContext, answer: (path: string, response: ServerResponse, url: string) => void) {
  const paths: string[] = [];
  const server = await startLoopbackServer((request, response) => {
    paths.push(request.url ?? '');
    answer(request.url ?? '', response, server.url);
  });
  const http = await HttpCaller.open({ timeout: 500, ca: undefined, proxy: undefined }, '/');
  t.after(() => Promise.all([server.close(), http.close()]));
  const clock = new FakeClock();
  const open = (path = '') => {
    const metadata = new ServerMetadata(`${server.url}${path}`, http, clock);
    t.after(() => metadata.close());
    return metadata;
  };
  return { server, paths, clock, open };
}

const document = (issuer: string, more: object = {}) =>
  JSON.stringify({ issuer, token_endpoint: `${issuer}/token`, ...more });

async function unavailable(call: Promise<unknown>, reason: RegExp): Promise<void> {
  const error = await call.then(
    () => assert.fail('expected a refusal'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, describeError(error));
  assert.equal(error.code, 'UNAVAILABLE');
  assert.match(error.reason ?? '', reason);
}

describe('the endpoints of an authorization server', () => {
  it('are found once for many logins, and anew after ten minutes', async (t) => {
    const { paths, clock, open, server } = await setUp(t, (_path, response, url) =>
      response.end(document(url)),
    );
    const metadata = open();
    const all = await Promise.all([1, 2, 3].map(() => metadata.endpoint('token_endpoint', o)));
    assert.deepEqual(all.map(String), Array(3).fill(`${server.url}/token`));
    assert.deepEqual(paths, ['/.well-known/openid-configuration']);
    clock.advance(10 * minute);
    await metadata.endpoint('token_endpoint', o);
    assert.equal(paths.length, 2);
    clock.advance(-minute); // set back: how old it is cannot be told
    await metadata.endpoint('token_endpoint', o);
    assert.equal(paths.length, 3);
  });

  it('are found where OAuth alone puts them, in front of the path', async (t) => {
    const { paths, open, server } = await setUp(t, (path, response, url) => {
      if (path === '/.well-known/oauth-authorization-server/realms/corp')
        response.end(document(`${url}/realms/corp`));
      else response.writeHead(404).end();
    });
    const found = await open('/realms/corp').endpoint('token_endpoint', o);
    assert.equal(found.href, `${server.url}/realms/corp/token`);
    assert.equal(paths[0], '/realms/corp/.well-known/openid-configuration');
  });

  it('stay known while the server gives no others, which is asked once a minute', async (t) => {
    let up = true;
    const { paths, clock, open } = await setUp(t, (_path, response, url) =>
      up ? response.end(document(url)) : response.writeHead(500).end(),
    );
    const metadata = open();
    await metadata.endpoint('token_endpoint', o);
    up = false;
    clock.advance(10 * minute);
    for (let i = 0; i < 3; i++) await metadata.endpoint('token_endpoint', o);
    assert.equal(paths.length, 2);
    clock.advance(minute);
    up = true;
    await metadata.endpoint('token_endpoint', o);
    assert.equal(paths.length, 3);
  });

  const cases: Readonly<
    Record<string, readonly [(response: ServerResponse, url: string) => unknown, RegExp]>
  > = {
    'of another issuer': [(response) => response.end(document('https://other.example')), /names the issuer/],
    'with a slash more': [(response, url) => response.end(document(`${url}/`)), /names the issuer/],
    'without an issuer': [(response) => response.end('{}'), /has no issuer/],
    'that is a page': [(response) => response.end('<h1>Hello</h1>'), /has no issuer/],
    'that is elsewhere': [
      (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
      /redirects are not followed/,
    ],
    'that is not there': [(response) => response.writeHead(404).end(), /404: is `issuer` right/],
    'without the endpoint': [
      (response, url) => response.end(document(url, { token_endpoint: undefined })),
      /names no token_endpoint/,
    ],
    'with an endpoint over plain http': [
      (response, url) => response.end(document(url, { token_endpoint: 'http://sso.example.com/token' })),
      /not an https URL/,
    ],
    'with an endpoint that is no URL': [
      (response, url) => response.end(document(url, { token_endpoint: '/token' })),
      /not an https URL/,
    ],
  };
  for (const [name, [answer, reason]] of Object.entries(cases)) {
    it(`are unknown by a document ${name}`, async (t) => {
      const { open } = await setUp(t, (_path, response, url) => void answer(response, url));
      await unavailable(open().endpoint('token_endpoint', o), reason);
    });
  }

  it('are not on a port of this machine for an issuer that is elsewhere', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'metadata-'));
    const authority = await createAuthority({ name: 'authority' });
    const { certificate: cert, privateKey: key } = await certify(authority);
    writeFileSync(join(directory, 'ca.pem'), authority.certificate);
    const server = await startLoopbackServer(
      (_request, response) =>
        response.end(document(server.url, { userinfo_endpoint: 'http://127.0.0.1:9/userinfo' })),
      { tls: { cert, key } },
    );
    const ca = new FilePath('ca.pem', 'file');
    const http = await HttpCaller.open({ timeout: 2000, ca, proxy: undefined }, directory);
    const metadata = new ServerMetadata(server.url, http, new FakeClock());
    t.after(async () => {
      await Promise.all([metadata.close(), server.close(), http.close()]);
      rmSync(directory, { recursive: true });
    });
    assert.equal((await metadata.endpoint('token_endpoint', o)).href, `${server.url}/token`);
    await unavailable(metadata.endpoint('userinfo_endpoint', o), /not an https URL/);
  });
});
