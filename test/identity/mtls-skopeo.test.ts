import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { certify, createAuthority } from '../../src/testing/certificates.js';
import { requireProgram, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { freePort } from '../e2e/harness/free-port.js';
import { startFront } from '../harness/index.js';

test('skopeo pulls and logs in with a client certificate', { timeout: 120_000 }, async (t) => {
  const skopeo = requireProgram(t, 'skopeo', 'skopeo');
  if (skopeo === undefined) return;
  const [server, authority] = await Promise.all([createAuthority(), createAuthority({ name: 'nodes' })]);
  const node = await certify(authority, { name: 'node-1' });
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('open/app', '1', tinyImageFor('amd64', 'hello'));
  registry.putImage('closed/app', '1', tinyImageFor('amd64', 'hello'));
  const host = `127.0.0.1:${await freePort()}`;
  const settings = `
listen: ${host}
externalUrl: https://${host}
tls: { certificate: tls.crt, key: tls.key, clientCertificates: { ca: nodes.pem } }
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
verifiers: [{ id: nodes, type: mtls, ca: nodes.pem }]
policy: [{ names: ["nodes:node-1"], repositories: ["open/**"], actions: [pull] }]
`;
  const files = {
    'tls.crt': server.certificate,
    'tls.key': server.privateKey,
    'nodes.pem': authority.certificate,
  };
  await startFront(t, settings, { files });
  const directory = mkdtempSync(join(tmpdir(), 'skopeo-mtls-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const certificates = join(directory, 'certs');
  mkdirSync(certificates);
  const write = (name: string, content: string) =>
    writeFileSync(join(certificates, name), content, { mode: 0o600 });
  const authfile = join(directory, 'auth.json');
  /** @returns what it printed */
  const run = async (...args: readonly string[]) => {
    const common = ['--authfile', authfile, '--cert-dir', certificates];
    const [command = '', ...rest] = args;
    const { stdout } = await promisify(execFile)(skopeo, [command, ...common, ...rest], { timeout: 60_000 });
    return stdout;
  };
  write('ca.crt', server.certificate);
  await assert.rejects(run('inspect', '--raw', `docker://${host}/open/app:1`), /unauthorized/);
  write('client.cert', node.certificate);
  write('client.key', node.privateKey);
  assert.match(await run('inspect', '--raw', `docker://${host}/open/app:1`), /"schemaVersion":2/);
  await assert.rejects(run('inspect', '--raw', `docker://${host}/closed/app:1`), /unauthorized|denied/);
  assert.match(await run('login', '-u', '_mtls', '-p', 'x', host), /Login Succeeded/);
});
