import assert from 'node:assert/strict';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import * as x509 from '@peculiar/x509';
import { FilePath } from '../settings/file-path.js';
import { checkAuthorities, checkTlsPair } from './check-tls-pair.js';
import { printPath } from './problem.js';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tls-pair-'));
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({ name: 'CN=test', keys });
  const pem = certificate.toString('pem');
  const key = x509.PemConverter.encode(
    await webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  );
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const lock = { cipher: 'aes-256-cbc', passphrase: 'x' } as const;
  const files = {
    'tls.crt': pem,
    'tls.key': key,
    'other.key': privateKey.export({ type: 'pkcs8', format: 'pem' }),
    'old.key': privateKey.export({ type: 'sec1', format: 'pem' }),
    'locked.key': privateKey.export({ type: 'pkcs8', format: 'pem', ...lock }),
    'old-locked.key': privateKey.export({ type: 'sec1', format: 'pem', ...lock }),
    'damaged.crt': pem.replace(/\n.{20}/, '\n'),
    'damaged.key': key.replace(/\n.{20}/, '\n'),
    'broken-chain.crt': `${pem}\n${pem.replace(/\n.{20}/, '\n')}`,
    both: `${pem}\n${key}`,
    large: 'x'.repeat(1024 * 1024 + 1),
    text: 'hunter2',
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
});
after(() => rm(directory, { recursive: true }));

for (const [name, certificate, key, expected] of [
  ['a good pair', 'tls.crt', 'tls.key', []],
  ['both in one file', 'both', 'both', []],
  ['absent files, which others tell of', 'absent', 'absent', []],
  [
    'the files swapped',
    'tls.key',
    'tls.crt',
    [
      'tls.certificate: tls.key holds no certificate; expected PEM with BEGIN CERTIFICATE',
      'tls.key: tls.crt holds no private key; expected PEM with BEGIN PRIVATE KEY',
    ],
  ],
  [
    'a certificate that is none, without its key',
    'text',
    'absent',
    ['tls.certificate: text holds no certificate; expected PEM with BEGIN CERTIFICATE'],
  ],
  [
    'an encrypted key',
    'tls.crt',
    'locked.key',
    ['tls.key: locked.key holds an encrypted private key; expected one without a passphrase'],
  ],
  [
    'an encrypted key of the old form',
    'tls.crt',
    'old-locked.key',
    ['tls.key: old-locked.key holds an encrypted private key; expected one without a passphrase'],
  ],
  [
    'a damaged certificate',
    'damaged.crt',
    'tls.key',
    ['tls.certificate: damaged.crt holds a damaged certificate'],
  ],
  ['a damaged key', 'tls.crt', 'damaged.key', ['tls.key: damaged.key holds a damaged private key']],
  ['a large file', 'large', 'tls.key', ['tls.certificate: large is larger than 1048576 bytes']],
  ...['other.key', 'old.key'].map(
    (other) =>
      [
        `a key of another certificate, ${other}`,
        'tls.crt',
        other,
        [
          "tls: the certificate and the key do not belong together; the server's own certificate comes first in its file",
        ],
      ] as const,
  ),
] as const) {
  it(name, async () => assert.deepEqual(await check(certificate, key), expected));
}

it('a chain with a damaged certificate', async () => {
  assert.match((await check('broken-chain.crt', 'tls.key')).join(), /^tls: TLS cannot use the certificate/);
});

for (const [ca, expected] of [
  ['tls.crt', []],
  ['absent', []],
  ['text', ['tls.clientCertificates.ca: text holds no certificate; expected PEM with BEGIN CERTIFICATE']],
  ['damaged.crt', ['tls.clientCertificates.ca: damaged.crt holds a damaged certificate']],
] as const) {
  it(`authorities of client certificates: ${ca}`, async () => {
    const path = ['tls', 'clientCertificates'];
    const findings = await checkAuthorities({ ca: new FilePath(ca, 'file') }, path, directory);
    assert.deepEqual(
      findings.map((one) => `${printPath(one.path)}: ${one.message}`),
      expected,
    );
  });
}

async function check(certificate: string, key: string): Promise<readonly string[]> {
  const pair = { certificate: new FilePath(certificate, 'file'), key: new FilePath(key, 'file') };
  const findings = await checkTlsPair(pair, ['tls'], directory);
  return findings.map(({ path, message }) => `${printPath(path)}: ${message}`);
}
