import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { Listener } from '../http/listener.js';
import { FilePath } from '../settings/file-path.js';
import { FakeLog } from '../testing/index.js';
import { type CertifiedKey, createAuthority } from '../token-issuers/certificate-authority.js';
import { TlsFiles } from './tls-files.js';

const paths = { certificate: new FilePath('tls.crt', 'file'), key: new FilePath('tls.key', 'file') };

test('renewed certificates are served to new connections; a half-written pair changes nothing', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tls-files-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  const [first, second] = await Promise.all([createAuthority(Date.now()), createAuthority(Date.now())]);
  write('tls.crt', first.certificate);
  write('tls.key', first.privateKey);
  const files = await TlsFiles.open(paths, directory);
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    tls: files.pair,
    handle: (_, response) => response.end(),
  });
  t.after(() => listener.drain(0).then(() => undefined));
  const log = new FakeLog();
  const replaced: string[] = [];
  const stop = files.watch(
    (pair) => {
      replaced.push(pair.certificate);
      listener.replaceCertificate(pair);
    },
    log,
    20,
  );
  t.after(stop);
  assert.equal(await served(listener), pemBody(first));

  write('tls.crt', second.certificate);
  while (!log.text.includes('the old one stays')) await sleep(20);
  assert.equal(await served(listener), pemBody(first), 'the key is not the new certificate’s yet');

  write('tls.key', second.privateKey);
  while (replaced.length === 0) await sleep(20);
  assert.equal(await served(listener), pemBody(second));
  assert.ok(!log.text.includes('PRIVATE'), 'no key is in the log');
});

/** The certificate a new connection is shown, as base64. */
function served({ address }: Listener): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: address.port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().raw.toString('base64'));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

function pemBody({ certificate }: CertifiedKey): string {
  return certificate.replace(/-----[^-]+-----|\s/g, '');
}
