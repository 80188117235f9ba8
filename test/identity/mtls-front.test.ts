import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { certify, createAuthority, type TestCertificate } from '../../src/testing/certificates.js';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { basic, bearer, claimsOf, type Front, sharedScope, startFront } from '../harness/index.js';
import { issueCertificate } from './harness/client-certificates.js';
import { sendTls } from './harness/tls-client.js';

const manifest = '/v2/open/app/manifests/1';
const pull = '/token?service=docker.test&scope=repository:open/app:pull';

describe('a proxy that takes client certificates by its own TLS', () => {
  const scope = sharedScope();
  let server: TestCertificate;
  let authority: TestCertificate;
  let node: TestCertificate;
  let other: TestCertificate;
  let expired: TestCertificate;
  let nameless: TestCertificate;
  let front: Front;

  before(async () => {
    [server, authority] = await Promise.all([createAuthority(), createAuthority({ name: 'nodes' })]);
    const ended = { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 };
    [node, other, expired, nameless] = await Promise.all([
      certify(authority, { name: 'node-1' }),
      certify(authority, { name: 'node-2' }),
      certify(authority, { name: 'node-1', ...ended }),
      issueCertificate(authority, { subject: 'O=Example' }),
    ]);
    const registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('open/app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
externalUrl: https://docker.test
tls: { certificate: tls.crt, key: tls.key, clientCertificates: { ca: nodes.pem } }
audit: {}
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: anyone, type: anonymous }
  - { id: nodes, type: mtls, ca: nodes.pem }
policy:
  - { names: ["nodes:node-1"], repositories: ["open/**"], actions: [pull] }
`,
      {
        files: {
          'tls.crt': server.certificate,
          'tls.key': server.privateKey,
          'nodes.pem': authority.certificate,
        },
      },
    );
  });

  const send = (path: string, client?: TestCertificate, headers: Readonly<Record<string, string>> = {}) =>
    sendTls(front.port, path, { ca: server.certificate, client, headers });
  const tokenOf = async (
    path: string,
    client?: TestCertificate,
    headers?: Readonly<Record<string, string>>,
  ) => {
    const answer = await send(path, client, headers);
    assert.equal(answer.status, 200, answer.text);
    return (JSON.parse(answer.text) as { token: string }).token;
  };

  test('challenges who has only a certificate, gives a token for it, and that pulls', async () => {
    for (const path of ['/v2/', manifest]) {
      const { status, challenge } = await send(path, node);
      assert.deepEqual(
        [status, challenge?.startsWith('Bearer realm="https://docker.test/token"')],
        [401, true],
      );
    }
    const token = await tokenOf(pull, node);
    assert.equal(claimsOf(token).sub, 'nodes:node-1');
    assert.equal((await send(manifest, node, { authorization: bearer(token) })).status, 200);
  });

  test('gives one without a scope too: a certificate is something to show', async () => {
    const token = await tokenOf('/token?service=docker.test', node);
    assert.deepEqual([claimsOf(token).sub, claimsOf(token).access], ['nodes:node-1', []]);
    assert.equal((await send('/v2/', node, { authorization: bearer(token) })).status, 200);
    assert.equal((await send('/token?service=docker.test')).status, 401);
  });

  test('knows the certificate where the reserved user name is shown, with any password', async () => {
    const authorization = basic('_mtls', 'x');
    assert.equal((await send('/v2/', node, { authorization })).status, 200);
    assert.equal((await send(manifest, node, { authorization })).status, 200);
    assert.equal(claimsOf(await tokenOf(pull, node, { authorization })).sub, 'nodes:node-1');
    assert.equal((await send('/v2/', undefined, { authorization })).status, 401);
    await front.logLine(({ reason }) =>
      /no client certificate came with the connection/.test(String(reason)),
    );
  });

  test('refuses what no rule allows', async () => {
    assert.deepEqual(claimsOf(await tokenOf(pull, other)).access, []);
    const authorization = basic('_mtls', 'x');
    assert.equal((await send(manifest, other, { authorization })).status, 403);
  });

  test('is anonymous to who shows nothing, and nobody to who shows a wrong password beside it', async () => {
    assert.equal(claimsOf(await tokenOf(pull)).sub, '', 'anonymous');
    const authorization = basic('alice', 'wrong');
    assert.equal((await send(pull, node, { authorization })).status, 401);
  });

  test('tells in the audit log that a certificate was refused', async () => {
    assert.equal((await send(pull, nameless)).status, 401);
    const line = await front.logLine(
      ({ event, reason }) => event === 'refusal' && /has no common name/.test(String(reason)),
    );
    assert.deepEqual([line.result, line.object, line.error], ['refused', 'token', 'UNAUTHORIZED']);
  });

  test('lets nobody in whose certificate has ended', async () => {
    await assert.rejects(send(pull, expired), /hang up|ECONNRESET|certificate expired|alert/);
  });

  test('tells the principal in the audit log', async () => {
    await tokenOf(pull, node);
    const line = await front.logLine(({ event, granted }) => event === 'login' && granted !== undefined);
    assert.deepEqual([line.principal, line.verifier, line.result], ['nodes:node-1', 'nodes', 'ok']);
  });
});
