import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { requireProgram } from '../../testing/index.js';
import { readSignedData, SignedDataError, verifiedContent } from './signed-data.js';
import { signerAmong } from './signer-of.js';

const content = '{\n  "accountId" : "111122223333"\n}';

/** Keys and certificates of signers, and what openssl signs by them. Gone after the test. */
function signers(t: TestContext, openssl: string) {
  const directory = mkdtempSync(join(tmpdir(), 'cms-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const run = (...args: readonly string[]) =>
    execFileSync(openssl, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  writeFileSync(join(directory, 'content'), content);
  // The types of the strings in names: not left to the configuration of this machine.
  for (const mask of ['utf8only', 'default']) {
    const sections = `[req]\nstring_mask = ${mask}\ndistinguished_name = none\n[none]\n`;
    writeFileSync(join(directory, `${mask}.cnf`), sections);
  }
  interface Subject {
    readonly serial?: number;
    readonly name?: string;
    readonly strings?: 'utf8only' | 'default';
  }
  const certify = (file: string, key: readonly string[], subject: Subject = {}) => {
    const { serial = 5, name = '/C=US/O=Example', strings = 'utf8only' } = subject;
    const kind = [
      '-addext',
      'subjectKeyIdentifier=hash',
      '-config',
      `${strings}.cnf`,
      '-subj',
      name,
      '-set_serial',
      String(serial),
      '-days',
      '2',
    ];
    run('req', '-x509', '-nodes', ...key, ...kind, '-out', `${file}.pem`);
  };
  const newKey = (name: string, ...kind: readonly string[]) => ['-newkey', ...kind, '-keyout', `${name}.key`];
  run('genpkey', '-genparam', '-algorithm', 'DSA', '-pkeyopt', 'dsa_paramgen_bits:1024', '-out', 'dsa.param');
  run('genpkey', '-paramfile', 'dsa.param', '-out', 'dsa.key');
  certify('rsa', newKey('rsa', 'rsa:2048'));
  certify('second', newKey('second', 'rsa:2048'), { serial: 6 });
  certify('weak', newKey('weak', 'rsa:1024'));
  certify('ec', newKey('ec', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'));
  certify('dsa', ['-new', '-key', 'dsa.key']);
  // Others with the key of the first one, each with something else in its name or number.
  for (const [file, subject] of [
    ['printable', { strings: 'default' }],
    ['numbered', { serial: 133 }],
    ['negative', { serial: -123 }],
    ['renamed', { name: '/C=US/O=Example2' }],
  ] as const) {
    copyFileSync(join(directory, 'rsa.key'), join(directory, `${file}.key`));
    certify(file, ['-new', '-key', 'rsa.key'], subject);
  }
  return {
    /** @param by the command, and who signs */
    sign: (command: 'smime' | 'cms', by: string, ...more: readonly string[]) =>
      run(
        ...[command, '-sign', '-binary', '-outform', 'DER', '-in', 'content', '-signer', `${by}.pem`],
        ...['-inkey', `${by}.key`, ...more],
      ),
    certificate: (name: string) => new X509Certificate(readFileSync(join(directory, `${name}.pem`))),
  };
}

type Signers = ReturnType<typeof signers>;

const inside = ['-nodetach'];

const accepted: readonly (readonly [what: string, sign: (s: Signers) => Buffer, isDirect?: true])[] = [
  ['smime in BER, without certificates', (s) => s.sign('smime', 'rsa', ...inside, '-stream', '-nocerts')],
  ['smime in BER', (s) => s.sign('smime', 'rsa', ...inside, '-stream')],
  ['smime in DER', (s) => s.sign('smime', 'rsa', ...inside)],
  ['cms in DER', (s) => s.sign('cms', 'rsa', ...inside)],
  ['cms in BER', (s) => s.sign('cms', 'rsa', ...inside, '-stream')],
  ['cms with SHA-384', (s) => s.sign('cms', 'rsa', ...inside, '-md', 'sha384')],
  ['cms with SHA-512', (s) => s.sign('cms', 'rsa', ...inside, '-md', 'sha512')],
  ['smime without attributes', (s) => s.sign('smime', 'rsa', ...inside, '-noattr'), true],
  ['cms without attributes', (s) => s.sign('cms', 'rsa', ...inside, '-noattr'), true],
  ['cms with other certificates', (s) => s.sign('cms', 'rsa', ...inside, '-certfile', 'second.pem')],
];

const refused: readonly (readonly [what: string, sign: (s: Signers) => Buffer, expected: RegExp])[] = [
  ['without its content', (s) => s.sign('cms', 'rsa'), /a signature, but no content$/],
  [
    'by two',
    (s) => s.sign('cms', 'rsa', ...inside, '-signer', 'second.pem', '-inkey', 'second.key'),
    /one signer$/,
  ],
  ['with SHA-1', (s) => s.sign('smime', 'rsa', ...inside, '-md', 'sha1'), /another digest than SHA-256/],
  ['with MD5', (s) => s.sign('smime', 'rsa', ...inside, '-md', 'md5'), /another digest than SHA-256/],
  ['with DSA and SHA-1', (s) => s.sign('smime', 'dsa', ...inside, '-md', 'sha1'), /another digest than/],
  ['with DSA', (s) => s.sign('cms', 'dsa', ...inside, '-md', 'sha256'), /another signature than RSA PKCS#1/],
  ['with ECDSA', (s) => s.sign('cms', 'ec', ...inside), /another signature than RSA PKCS#1/],
  [
    'with RSA-PSS',
    (s) => s.sign('cms', 'rsa', ...inside, '-keyopt', 'rsa_padding_mode:pss'),
    /another signature than RSA PKCS#1/,
  ],
  ['with a key identifier', (s) => s.sign('cms', 'rsa', ...inside, '-keyid'), /another version than 1/],
  [
    'as content of another type',
    (s) => s.sign('cms', 'rsa', ...inside, '-econtent_type', 'pkcs7-encryptedData'),
    /another/,
  ],
  ['by a weak key', (s) => s.sign('cms', 'weak', ...inside), /its RSA key has 1024 bits, under 2048$/],
];

/** As a verifier does it: whose certificate is it, and did its key sign? */
function open(
  bytes: Uint8Array,
  certificates: readonly X509Certificate[],
  o?: { signedAttributes: 'optional' },
) {
  const read = readSignedData(bytes);
  const [signer] = signerAmong(read, certificates);
  assert.ok(signer !== undefined, 'the signer is among the certificates');
  return verifiedContent(read, signer.publicKey, o).toString();
}

test('what openssl signs', async (t) => {
  const openssl = requireProgram(t, 'openssl', 'openssl');
  if (openssl === undefined) return;
  const all = signers(t, openssl);
  const certificates = ['second', 'rsa'].map(all.certificate);
  for (const [what, sign, isDirect] of accepted) {
    await t.test(`${what} gives its content`, () => {
      const bytes = sign(all);
      assert.equal(open(bytes, certificates, { signedAttributes: 'optional' }), content);
      if (isDirect) assert.throws(() => open(bytes, certificates), /no signed attributes$/);
      else assert.equal(open(bytes, certificates), content);
    });
  }
  for (const [what, sign, expected] of refused) {
    await t.test(`${what} is refused`, () => {
      const bytes = sign(all);
      assert.throws(
        () => open(bytes, [all.certificate('weak')]),
        (error) => error instanceof SignedDataError && expected.test(error.message),
      );
    });
  }
  await t.test('has the certificates that were put into it', () => {
    const embedded = (...more: readonly string[]) =>
      readSignedData(all.sign('cms', 'rsa', ...inside, ...more)).certificates.map(
        (der) => new X509Certificate(der).serialNumber,
      );
    assert.deepEqual(embedded('-nocerts'), []);
    assert.deepEqual(embedded(), ['05']);
    assert.deepEqual(embedded('-certfile', 'second.pem').sort(), ['05', '06']);
  });
  await t.test('is not by a certificate that is beside it', () => {
    const read = readSignedData(all.sign('cms', 'rsa', ...inside, '-certfile', 'second.pem'));
    const embedded = read.certificates.map((der) => new X509Certificate(der));
    assert.deepEqual(
      signerAmong(read, embedded).map(({ serialNumber }) => serialNumber),
      ['05'],
    );
    assert.throws(() => verifiedContent(read, all.certificate('second').publicKey), /signer's key$/);
  });
  await t.test('is by the certificate with the same issuer and number, byte by byte', () => {
    const others = ['rsa', 'second', 'printable', 'numbered', 'negative', 'renamed'].map(all.certificate);
    for (const by of ['rsa', 'printable', 'numbered', 'negative', 'renamed']) {
      const read = readSignedData(all.sign('cms', by, ...inside));
      assert.deepEqual(
        signerAmong(read, others).map(({ fingerprint256 }) => fingerprint256),
        [all.certificate(by).fingerprint256],
        by,
      );
    }
    assert.deepEqual(signerAmong(readSignedData(all.sign('cms', 'rsa', ...inside)), []), []);
  });
});
