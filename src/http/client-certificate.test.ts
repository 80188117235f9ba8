import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { before, describe, type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { RouteTable } from '../routing/route-table.js';
import { AddressRanges } from '../settings/address-range.js';
import { certify, createAuthority, type TestCertificate } from '../testing/certificates.js';
import { FakeLog, FakeMetrics } from '../testing/index.js';
import { Exchange } from './exchange.js';
import { ExchangeLog } from './exchange-log.js';

let authority: TestCertificate;
let alice: TestCertificate;
let proxy: TestCertificate;
before(async () => {
  authority = await createAuthority({ name: 'authority' });
  [alice, proxy] = await Promise.all([
    certify(authority, { name: 'alice' }),
    certify(authority, { name: 'proxy' }),
  ]);
});

const header = 'x-client-cert';
const form = () => encodeURIComponent(alice.certificate);
/** The peer of these tests is 127.0.0.1. */
const trusting = ['127.0.0.1'];
const trustingOthers = ['192.0.2.0/24'];

interface Asked {
  readonly trusted: readonly string[];
  readonly headers?: readonly string[];
  readonly setting?: string | undefined;
  /** Over TLS, with this certificate. */
  readonly shown?: TestCertificate;
}

/** @returns the exchange of one request */
async function ask(
  t: TestContext,
  { trusted, headers = [], setting = header, shown }: Asked,
): Promise<Exchange> {
  const parts = {
    routes: new RouteTable(new URL('https://docker.test'), [], new Map()),
    trustedProxies: new AddressRanges(trusted),
    ...(setting !== '' && { clientCertificateHeader: setting }),
  };
  let arrive: (exchange: Exchange) => void;
  const arrived = new Promise<Exchange>((resolve) => {
    arrive = resolve;
  });
  const limits = { maxHeaderSize: 32_768 };
  const serve: RequestListener = (request, response) => arrive(new Exchange(request, response, parts));
  const tls = {
    key: proxy.privateKey,
    cert: proxy.certificate,
    ca: authority.certificate,
    requestCert: true,
  };
  const server = shown ? createTlsServer({ ...limits, ...tls }, serve) : createServer(limits, serve);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const certificate = { ca: authority.certificate, cert: shown?.certificate, key: shown?.privateKey };
  const socket = shown ? connectTls({ port, host: '127.0.0.1', ...certificate }) : connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(`GET / HTTP/1.1\r\n${['Host: docker.test', ...headers].join('\r\n')}\r\n\r\n`);
  return arrived;
}

function nameIn({ connection }: Exchange): string | undefined {
  const { peerCertificate } = connection;
  return peerCertificate && /CN=(.*)/.exec(new X509Certificate(peerCertificate).subject)?.[1];
}

describe('the certificate of a client (threat 17)', () => {
  for (const [what, asked, name, fault] of [
    [
      'a trusted proxy’s header',
      () => ({ trusted: trusting, headers: [`X-Client-Cert: ${form()}`] }),
      'alice',
    ],
    [
      'the header of anybody else',
      () => ({ trusted: trustingOthers, headers: [`X-Client-Cert: ${form()}`] }),
    ],
    [
      'anybody else who says a trusted proxy passed it on',
      () => ({
        trusted: trustingOthers,
        headers: [`X-Client-Cert: ${form()}`, 'X-Forwarded-For: 192.0.2.1', 'X-Real-IP: 192.0.2.1'],
      }),
    ],
    [
      'a trusted proxy, for a client from elsewhere',
      () => ({ trusted: trusting, headers: [`X-Client-Cert: ${form()}`, 'X-Forwarded-For: 203.0.113.9'] }),
      'alice',
    ],
    ['where no proxy is trusted', () => ({ trusted: [], headers: [`X-Client-Cert: ${form()}`] })],
    [
      'where no header is configured',
      () => ({ trusted: trusting, headers: [`X-Client-Cert: ${form()}`], setting: '' }),
    ],
    ['another header', () => ({ trusted: trusting, headers: [`X-Other: ${form()}`] })],
    ['no header', () => ({ trusted: trusting })],
    ['an empty header', () => ({ trusted: trusting, headers: ['X-Client-Cert:'] })],
    [
      'the header twice',
      () => ({ trusted: trusting, headers: [`X-Client-Cert: ${form()}`, `X-Client-Cert: ${form()}`] }),
      undefined,
      /more than once/,
    ],
    [
      'the header twice, once empty',
      () => ({ trusted: trusting, headers: ['X-Client-Cert:', `x-client-cert: ${form()}`] }),
      undefined,
      /more than once/,
    ],
    [
      'a header that is too large',
      () => ({ trusted: trusting, headers: [`X-Client-Cert: ${form()}${'%0A'.repeat(6000)}`] }),
      undefined,
      /larger than 16384/,
    ],
    [
      'a header with something else',
      () => ({ trusted: trusting, headers: ['X-Client-Cert: (null)'] }),
      undefined,
      /none of the forms/,
    ],
    [
      'a header with base64 of something else',
      () => ({ trusted: trusting, headers: ['X-Client-Cert: aGVsbG8='] }),
      undefined,
      /no certificate/,
    ],
    ['our own handshake', () => ({ trusted: trustingOthers, shown: alice }), 'alice'],
    [
      'our own handshake, whatever the header says',
      () => ({ trusted: trustingOthers, shown: proxy, headers: [`X-Client-Cert: ${form()}`] }),
      'proxy',
    ],
    ['a trusted proxy’s own handshake', () => ({ trusted: trusting, shown: proxy })],
    [
      'a trusted proxy’s own handshake, and its header',
      () => ({ trusted: trusting, shown: proxy, headers: [`X-Client-Cert: ${form()}`] }),
      'alice',
    ],
    [
      'a trusted proxy’s own handshake, and its header that nobody can read',
      () => ({ trusted: trusting, shown: proxy, headers: ['X-Client-Cert: x'] }),
      undefined,
      /no certificate/,
    ],
    [
      'a trusted proxy’s own handshake, where no header is configured',
      () => ({ trusted: trusting, shown: proxy, setting: '' }),
    ],
  ] as readonly (readonly [string, () => Asked, string?, RegExp?])[]) {
    test(`${what}: ${name ?? 'none'}`, async (t) => {
      const exchange = await ask(t, asked());
      assert.equal(nameIn(exchange), name);
      assert.match(exchange.certificateFault ?? 'fine', fault ?? /^fine$/);
    });
  }

  test('a header that does not count is told once in ten seconds, without what is in it', async (t) => {
    const log = new FakeLog();
    const exchanges = new ExchangeLog(log, new FakeMetrics());
    const exchange = await ask(t, { trusted: trusting, headers: ['X-Client-Cert: hunter2'] });
    for (let i = 0; i < 5; i++) exchanges.certificate(exchange);
    exchanges.certificate(await ask(t, { trusted: trusting }));
    const [line, ...more] = log.at('warn');
    assert.equal(more.length, 0);
    assert.deepEqual(line?.fields, {
      event: 'client-certificate-header',
      requestId: exchange.id,
      peer: '127.0.0.1',
      reason: 'what is in it is no certificate',
      unlogged: 0,
    });
    assert.doesNotMatch(log.text, /hunter2/);
  });
});
