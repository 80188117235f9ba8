import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Verifier } from '../../src/contracts/index.js';
import { requireProgram } from '../../src/testing/programs.js';
import { driver } from '../../src/verifiers/mtls.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { type OpensslOptions, opensslCertificates } from './harness/openssl-certificates.js';
import { refusedBy } from './harness/refused-by.js';

const rsa = (bits: number) => [`rsa:${bits}`];
const curve = (name: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`];
const pss = ['-sigopt', 'rsa_padding_mode:pss'];

async function open(t: TestContext, ca: string): Promise<Verifier> {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'mtls-strength-'));
  t.after(() => rmSync(baseDirectory, { recursive: true, force: true }));
  writeFileSync(join(baseDirectory, 'clients.pem'), ca);
  const { verifier } = await openVerifier(t, driver, { ca: 'clients.pem' }, { baseDirectory });
  return verifier;
}

function login(verifier: Verifier, pem: string) {
  const peerCertificate = new X509Certificate(pem).raw;
  return verifier.verify(
    { shown: { kind: 'none' }, connection: { address: '192.0.2.1', peerCertificate } },
    o,
  );
}

describe("a client's certificate", () => {
  const weak = /its signature is not by SHA-256 or better/;
  const rows: readonly (readonly [
    what: string,
    authority: readonly string[],
    options: OpensslOptions,
    refused?: RegExp,
  ])[] = [
    ['of RSA and SHA-256', rsa(2048), { key: rsa(2048), signature: ['-sha256'] }],
    ['of RSA and SHA-512', rsa(2048), { signature: ['-sha512'] }],
    ['of RSA-PSS and SHA-256', rsa(2048), { signature: ['-sha256', ...pss] }],
    ['of P-256 and SHA-384', curve('prime256v1'), { key: curve('secp384r1'), signature: ['-sha384'] }],
    ['of Ed25519', ['ed25519'], { key: ['ed25519'], signature: [] }],
    ['of Ed448', ['ed448'], { key: ['ed448'], signature: [] }],
    ['signed with MD5', rsa(2048), { signature: ['-md5'] }, weak],
    ['signed with SHA-1', rsa(2048), { signature: ['-sha1'] }, /not by SHA-256 or better \(SHA-1\)/],
    ['signed with RSA-PSS and SHA-1', rsa(2048), { signature: ['-sha1', ...pss] }, weak],
    ['signed with ECDSA and SHA-1', curve('prime256v1'), { signature: ['-sha1'] }, weak],
    ['signed with SHA-224', rsa(2048), { signature: ['-sha224'] }, weak],
    ['of a short RSA key', rsa(2048), { key: rsa(1024) }, /its RSA key has 1024 bits, under 2048/],
    ['of a slightly short RSA key', rsa(2048), { key: rsa(2040) }, /its RSA key has 2040 bits/],
    [
      'of a short curve',
      rsa(2048),
      { key: curve('prime192v1') },
      /a curve that is not accepted \(prime192v1\)/,
    ],
    ['for signatures', rsa(2048), { extensions: ['keyUsage=critical,digitalSignature,keyEncipherment'] }],
    [
      'for encryption alone',
      rsa(2048),
      { extensions: ['keyUsage=critical,keyEncipherment'] },
      /its key usage is not for signatures \(digitalSignature\)/,
    ],
    [
      'for encryption, not critical',
      rsa(2048),
      { extensions: ['keyUsage=keyAgreement'] },
      /digitalSignature/,
    ],
  ];
  for (const [what, key, options, reason] of rows) {
    it(`${what} is ${reason === undefined ? 'accepted' : 'refused'}`, async (t) => {
      const openssl = requireProgram(t, 'openssl', 'openssl');
      if (openssl === undefined) return;
      const { authority, client, pem } = opensslCertificates(t, openssl);
      const signature = key[0]?.startsWith('ed') ? [] : ['-sha256'];
      const ca = authority({ key, signature });
      const answer = login(await open(t, pem(ca)), pem(client(ca, options)));
      if (reason === undefined) assert.equal((await answer)?.name, 'alice');
      else await refusedBy(answer, 'UNAUTHORIZED', reason);
    });
  }
});

describe('an authority', () => {
  for (const [what, options, message] of [
    [
      'of a short RSA key',
      { key: rsa(1024) },
      /certificate 1 cannot be relied on: its RSA key has 1024 bits/,
    ],
    [
      'of a short curve',
      { key: curve('prime192v1') },
      /certificate 1 cannot be relied on: its key is on a curve/,
    ],
  ] as const) {
    it(`${what} is not opened with`, async (t) => {
      const openssl = requireProgram(t, 'openssl', 'openssl');
      if (openssl === undefined) return;
      const { authority, pem } = opensslCertificates(t, openssl);
      await assert.rejects(open(t, pem(authority(options))), { message });
    });
  }

  it('that another one signed with SHA-1 is not opened with; one that signed itself so is', async (t) => {
    const openssl = requireProgram(t, 'openssl', 'openssl');
    if (openssl === undefined) return;
    const { authority, client, pem } = opensslCertificates(t, openssl);
    const root = authority({ key: rsa(2048), signature: ['-sha1'] });
    const message = /certificate 1 cannot be relied on: its signature is not by SHA-256 or better \(SHA-1\)$/;
    const between = { extensions: ['basicConstraints=CA:TRUE'], signature: ['-sha1'] };
    await assert.rejects(open(t, pem(authority(between, root))), { message });
    assert.equal((await login(await open(t, pem(root)), pem(client(root))))?.name, 'alice');
  });
});
