import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FilePath } from '../settings/file-path.js';
import { certify, createAuthority } from '../testing/certificates.js';
import { readTlsFiles } from './tls-files.js';

const file = (name: string) => new FilePath(name, 'file');
const pair = { certificate: file('tls.crt'), key: file('tls.key'), minVersion: 'TLSv1.3' } as const;

describe('the files of TLS', () => {
  let directory: string;
  const texts: Record<string, string> = {};
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tls-files-'));
    const [authority, other] = await Promise.all([createAuthority(), createAuthority()]);
    const leaf = await certify(authority);
    Object.assign(texts, {
      'tls.crt': authority.certificate,
      'tls.key': authority.privateKey,
      'renewed.key': other.privateKey,
      'ca.pem': `a comment\n${authority.certificate}\n${other.certificate}`,
      'text.pem': 'hunter2',
      'empty.pem': '',
      'leaf.pem': leaf.certificate,
      'damaged.pem': `${authority.certificate}\n${other.certificate.replace(/\n.{20}/, '\n')}`,
      'short.pem': `${authority.certificate}\n${other.certificate.slice(0, 200)}`,
    });
    for (const [name, text] of Object.entries(texts)) writeFileSync(join(directory, name), text);
  });
  after(() => rmSync(directory, { recursive: true }));

  test('are read as they are', async () => {
    const read = await readTlsFiles(
      { ...pair, clientCertificates: { ca: file('ca.pem'), required: true } },
      directory,
    );
    assert.deepEqual(read, {
      certificate: texts['tls.crt'],
      key: texts['tls.key'],
      minVersion: 'TLSv1.3',
      clientCertificates: { ca: texts['ca.pem'], required: true },
    });
    assert.equal((await readTlsFiles(pair, directory)).clientCertificates, undefined);
  });

  test('of which only one is renewed are an error without the key', async () => {
    await assert.rejects(readTlsFiles({ ...pair, key: file('renewed.key') }, directory), (error: Error) => {
      assert.match(error.message, /key values mismatch/);
      assert.doesNotMatch(error.message, /PRIVATE/);
      return true;
    });
  });

  for (const [name, message] of [
    ['absent.pem', /^cannot read .*absent\.pem$/],
    ['text.pem', /^text\.pem holds no certificate; expected PEM with BEGIN CERTIFICATE$/],
    // Node would take it for the public authorities.
    ['empty.pem', /^empty\.pem holds no certificate/],
    ['damaged.pem', /^damaged\.pem holds a damaged certificate$/],
    ['short.pem', /^short\.pem holds a damaged certificate$/],
    ['leaf.pem', /^leaf\.pem holds no root authority/],
  ] as const) {
    test(`do not take ${name} for authorities`, async () => {
      await assert.rejects(
        readTlsFiles({ ...pair, clientCertificates: { ca: file(name), required: false } }, directory),
        { message },
      );
    });
  }
});
