import assert from 'node:assert/strict';
import { before, describe, type TestContext, test } from 'node:test';
import { certify, createAuthority, type TestCertificate } from '../../src/testing/certificates.js';
import { requireProgram } from '../../src/testing/index.js';
import { claimsOf, type Front, startFront } from '../harness/index.js';
import { type Nginx, startNginx } from './harness/nginx.js';
import { sendTls } from './harness/tls-client.js';

const pull = '/token?service=docker.test&scope=repository:open/app:pull';

/** As the guide has it. */
const location = (port: number) => `
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
      proxy_buffering off;
      proxy_request_buffering off;
`;

describe('a proxy behind nginx, which takes client certificates', () => {
  let server: TestCertificate;
  let authority: TestCertificate;
  let node: TestCertificate;
  let other: TestCertificate;
  let foreign: TestCertificate;
  before(async () => {
    [server, authority] = await Promise.all([createAuthority(), createAuthority({ name: 'nodes' })]);
    [node, other, foreign] = await Promise.all([
      certify(authority, { name: 'node-1' }),
      certify(authority, { name: 'node-2' }),
      createAuthority({ name: 'foreign' }),
    ]);
  });

  const settings = (trusted: string) => `
trustedProxies: [${trusted}]
clientCertificateHeader: X-Client-Cert
routes: [{ prefix: "", upstream: one }]
upstreams: { one: { url: "http://127.0.0.1:9" } }
verifiers: [{ id: nodes, type: mtls, ca: nodes.pem }]
policy: [{ names: ["nodes:node-1"], repositories: ["open/**"], actions: [pull] }]
`;

  async function open(t: TestContext): Promise<{ front: Front; nginx: Nginx } | undefined> {
    const program = requireProgram(t, 'nginx', 'nginx');
    if (program === undefined) return undefined;
    const front = await startFront(t, settings('127.0.0.1'), {
      files: { 'nodes.pem': authority.certificate },
    });
    const nginx = await startNginx(t, program, {
      certificate: server.certificate,
      key: server.privateKey,
      clientAuthorities: authority.certificate,
      location: location(front.port),
    });
    return { front, nginx };
  }

  async function subject(
    { port }: Nginx | Front,
    client?: TestCertificate,
    headers?: Readonly<Record<string, string>>,
  ) {
    const answer = await sendTls(port, pull, { ca: server.certificate, client, ...(headers && { headers }) });
    if (answer.status !== 200) return answer.status;
    return claimsOf((JSON.parse(answer.text) as { token: string }).token).sub;
  }

  test('sees the certificate that nginx saw, and no other', async (t) => {
    const { front, nginx } = (await open(t)) ?? {};
    if (front === undefined || nginx === undefined) return;
    assert.equal(await subject(nginx, node), 'nodes:node-1');
    assert.equal(await subject(nginx, other), 'nodes:node-2');
    assert.equal(await subject(nginx), 401);
    assert.equal(await subject(nginx, foreign), 400, 'nginx refuses it');
    const forged = { 'x-client-cert': encodeURIComponent(node.certificate) };
    assert.equal(await subject(nginx, undefined, forged), 401, 'nginx takes away what a client sends');
    assert.equal(await subject(nginx, other, forged), 'nodes:node-2', 'nginx replaces what a client sends');
    assert.equal(await subject(nginx, other, { x_client_cert: forged['x-client-cert'] }), 'nodes:node-2');
    assert.doesNotMatch(front.log(), /client-certificate-header/);
  });

  test('sees none where nginx is not a trusted proxy', async (t) => {
    const { front, nginx } = (await open(t)) ?? {};
    if (front === undefined || nginx === undefined) return;
    assert.equal(await subject(nginx, node), 'nodes:node-1');
    front.configure(settings('192.0.2.1'));
    await front.reload();
    assert.equal(await subject(nginx, node), 401);
    const header = encodeURIComponent(node.certificate);
    const path = '/token?service=docker.test';
    assert.equal((await front.send(path, { headers: { 'x-client-cert': header } })).status, 401);
  });

  test('a header that it cannot read is no certificate, and the log says so', async (t) => {
    const front = await startFront(t, settings('127.0.0.1'), {
      files: { 'nodes.pem': authority.certificate },
    });
    const ask = (value: string | readonly string[]) =>
      front.send(pull, { headers: { 'x-client-cert': value } });
    const header = encodeURIComponent(node.certificate);
    assert.equal((await ask(header)).status, 200);
    assert.equal((await ask([header, header])).status, 401);
    const line = await front.logLine(({ event }) => event === 'client-certificate-header');
    assert.deepEqual([line.reason, line.peer], ['it came more than once', '127.0.0.1']);
  });
});
