import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { requireProgram, startMemoryRegistry } from '../testing/index.js';
import { failsWith, openUpstream, operations } from './opened-upstream.test.js';

/** @returns undefined where there is no openssl to make one; the test was skipped then */
function certificate(t: TestContext) {
  if (requireProgram(t, 'openssl', 'openssl') === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'upstream-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return { directory, file: cert, cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

/** A forward proxy that only tunnels, and asks for a password. */
async function startProxy(t: TestContext, authorization: string) {
  const tunnels: string[] = [];
  const server = createServer();
  server.on('connect', (request, client) => {
    if (request.headers['proxy-authorization'] !== authorization) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    tunnels.push(request.url ?? '');
    const { hostname, port } = new URL(`http://${request.url}`);
    const remote = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      remote.pipe(client);
      client.pipe(remote);
    });
    remote.on('error', () => client.destroy());
    client.on('error', () => remote.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, tunnels };
}

describe('reaching an upstream', () => {
  test('over TLS needs trust in its certificate, which `ca` adds', async (t) => {
    const tls = certificate(t);
    if (tls === undefined) return;
    const remote = await startMemoryRegistry({ tls });
    t.after(() => remote.close());
    const without = await openUpstream(t, remote.url);
    await assert.rejects(
      without.fetch('GET', operations.ping),
      failsWith(
        'UNAVAILABLE',
        /^no answer from 127\S+: its certificate is not trusted: name its authority as `ca`$/,
      ),
    );
    const trusting = await openUpstream(t, remote.url, { ca: tls.file });
    assert.equal((await trusting.fetch('GET', operations.ping)).status, 200);
  });

  test('with a certificate for another name, or without TLS, says so', async (t) => {
    const tls = certificate(t);
    if (tls === undefined) return;
    const other = await startMemoryRegistry({ tls, host: '127.0.0.2' });
    t.after(() => other.close());
    const named = await openUpstream(t, other.url, { ca: tls.file });
    await assert.rejects(
      named.fetch('GET', operations.ping),
      failsWith('UNAVAILABLE', /is for another name$/),
    );
    const plain = await startMemoryRegistry();
    t.after(() => plain.close());
    const asked = await openUpstream(t, plain.url.replace('http:', 'https:'));
    await assert.rejects(
      asked.fetch('GET', operations.ping),
      failsWith('UNAVAILABLE', /: it does not speak TLS here: is it http:\/\/\?$/),
    );
  });

  test('in plain http where TLS is spoken is UNAVAILABLE, and a warning asks for the scheme, once', async (t) => {
    const gateway = await startMemoryRegistry();
    t.after(() => gateway.close());
    // As nginx answers plain http on a port for TLS.
    gateway.faults.add(
      {},
      { answer: { status: 400, body: '<html>The plain HTTP request was sent to HTTPS port' } },
    );
    const { fetch, logged } = await openUpstream(t, gateway.url);
    for (let i = 0; i < 2; i++) {
      await assert.rejects(
        fetch('GET', operations.tags('team/app')),
        failsWith('UNAVAILABLE', /answers 400 without a registry error/),
      );
    }
    const warned = logged.filter((line) => /\/v2\/: is it a registry, and is the scheme right\?/.test(line));
    assert.equal(warned.length, 1);
    assert.match(warned[0] ?? '', /"upstream":"test".*"status":400/);
  });

  test('a CA file that is missing or empty is said at start', async (t) => {
    const directory = certificate(t)?.directory;
    if (directory === undefined) return;
    const empty = join(directory, 'empty');
    writeFileSync(empty, '');
    await assert.rejects(openUpstream(t, 'https://localhost', { ca: empty }), /no PEM certificate/);
    await assert.rejects(
      openUpstream(t, 'https://localhost', { ca: `${empty}2` }),
      /cannot read the CA file/,
    );
  });

  test('through a proxy, with TLS and without, with its password', async (t) => {
    const tls = certificate(t);
    if (tls === undefined) return;
    const authorization = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    const proxy = await startProxy(t, authorization);
    for (const options of [{}, { tls }]) {
      const remote = await startMemoryRegistry(options);
      t.after(() => remote.close());
      const settings = { ca: tls.file, proxy: `http://me:p%40ss@${proxy.host}` };
      const { fetch, upstream } = await openUpstream(t, remote.url, settings);
      assert.equal((await fetch('GET', operations.ping)).status, 200);
      assert.ok(proxy.tunnels.includes(remote.host), 'proxy.tunnels.includes(remote.host)');
      await upstream.close();
      const wrong = await openUpstream(t, remote.url, { ca: tls.file, proxy: `http://me:no@${proxy.host}` });
      await assert.rejects(wrong.fetch('GET', operations.ping), failsWith('UNAVAILABLE'));
      await wrong.upstream.close();
    }
  });

  test('Docker Hub is known by its names', async (t) => {
    for (const host of ['docker.io', 'registry-1.docker.io', 'index.docker.io', 'hub.docker.com']) {
      const { upstream } = await openUpstream(t, `https://${host}`);
      assert.equal(upstream.registry, 'docker.io');
      assert.equal(upstream.canonicalName('alpine'), 'library/alpine');
      assert.equal(upstream.canonicalName('library/alpine'), 'library/alpine');
    }
    const { upstream } = await openUpstream(t, 'https://evil-docker.io');
    assert.equal(upstream.canonicalName('alpine'), 'alpine');
    const own = await openUpstream(t, 'https://gcr.io', { defaultNamespace: 'team' });
    assert.equal(own.upstream.canonicalName('alpine'), 'team/alpine');
  });
});
