import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import * as x509 from '@peculiar/x509';
import type { ClientCredentials, Principal, Verifier } from '../../src/contracts/index.js';
import { describeError, RegistryError } from '../../src/errors.js';
import { Secret } from '../../src/secret.js';
import type { TestCertificate } from '../../src/testing/certificates.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  FakeClock,
  FakeLog,
  FakeMetrics,
  passwordCredentials,
} from '../../src/testing/index.js';
import { driver } from '../../src/verifiers/mtls.js';
import { type ClientCertificateOptions, derOf, issueCertificate } from './harness/client-certificates.js';

const hour = 3_600_000;
const o = { signal: new AbortController().signal };
const address = '192.0.2.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

let authority: TestCertificate;
/** Of the same name as the other, with another key. */
let impostor: TestCertificate;
before(async () => {
  const subject = 'O=Example,CN=authority';
  [authority, impostor] = await Promise.all([
    issueCertificate(undefined, { subject, isAuthority: true }),
    issueCertificate(undefined, { subject, isAuthority: true }),
  ]);
});

interface Opening {
  readonly settings?: object;
  readonly ca?: string;
  readonly clock?: FakeClock;
  readonly log?: FakeLog;
}

async function open(t: TestContext, { settings, ca, clock, log }: Opening = {}): Promise<Verifier> {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'mtls-test-'));
  t.after(() => rmSync(baseDirectory, { recursive: true, force: true }));
  writeFileSync(join(baseDirectory, 'clients.pem'), ca ?? authority.certificate);
  const config = driver.config.parse({ ca: 'clients.pem', ...settings });
  return driver.open(config, {
    id: 'nodes',
    baseDirectory,
    clock: clock ?? new FakeClock(Date.now()),
    log: log ?? new FakeLog(),
    metrics: new FakeMetrics(),
    state: undefined as never,
  });
}

function by(peerCertificate: Uint8Array | undefined, shown: ClientCredentials['shown'] = { kind: 'none' }) {
  return { shown, connection: { address, ...(peerCertificate && { peerCertificate }) } };
}

const password = (username: string, text = 'x'): ClientCredentials['shown'] => ({
  kind: 'password',
  username,
  password: new Secret(text),
});

async function client(options?: ClientCertificateOptions, signer = authority): Promise<Buffer> {
  return derOf(await issueCertificate(signer, options));
}

/** @returns the principal, or why there is none */
async function outcome(verifier: Verifier, credentials: ClientCredentials): Promise<Principal | string> {
  try {
    return (await verifier.verify(credentials, o)) ?? 'not mine';
  } catch (error) {
    assert.ok(error instanceof RegistryError && error.code === 'UNAUTHORIZED', describeError(error));
    return error.reason ?? '';
  }
}

describeVerifierConformance(
  'mtls',
  async (t) => {
    const alice = await client();
    return {
      verifier: await open(t),
      id: 'nodes',
      valid: [
        { credentials: by(alice), principal: { name: 'alice', kind: 'machine', groups: [] } },
        { credentials: by(alice, password('_mtls')), principal: { name: 'alice' } },
      ],
      invalid: [
        by(undefined, password('_mtls', 'some-password')),
        by(await client({ notAfter: Date.now() - 1000, notBefore: Date.now() - hour })),
        by(await client({ subject: 'O=Example' }), password('_mtls', 'some-password')),
      ],
      foreign: [
        by(await client({}, impostor)),
        by(await client({}, impostor), password('_mtls')),
        by(Buffer.from('no certificate')),
        by(alice, password('alice')),
        by(alice, { kind: 'bearer', token: new Secret('a.b.c') }),
        passwordCredentials('alice', 'wonderland'),
        bearerCredentials('a.b.c'),
      ],
    };
  },
  [
    'where it cannot verify now it is UNAVAILABLE, never undefined',
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('a client certificate', () => {
  test('gives its names as attributes, and ends with it', async (t) => {
    const notAfter = Math.floor(Date.now() / 1000) * 1000 + 600_000;
    const names = [
      { type: 'dns', value: 'Node-1.Example.com' },
      { type: 'email', value: 'alice@example.com' },
      { type: 'url', value: 'spiffe://example.com/node/1' },
    ] as const;
    const der = await client({ subject: 'C=DE,O=Example,CN=node-1', names, usages: [clientAuth], notAfter });
    const found = await outcome(await open(t), by(der));
    assert.deepEqual(found, {
      verifier: 'nodes',
      name: 'node-1',
      kind: 'machine',
      groups: [],
      attributes: {
        fingerprint: createHash('sha256').update(der).digest('hex'),
        serialNumber: new X509Certificate(der).serialNumber.toLowerCase(),
        subject: 'CN=node-1,O=Example,C=DE',
        subjectCommonName: 'node-1',
        spiffeId: 'spiffe://example.com/node/1',
        dnsNames: ['node-1.example.com'],
        emails: ['alice@example.com'],
        uris: ['spiffe://example.com/node/1'],
      },
      expiresAt: notAfter,
    });
  });

  const dns = (...values: string[]) => ({ names: values.map((value) => ({ type: 'dns' as const, value })) });
  const url = (...values: string[]) => ({ names: values.map((value) => ({ type: 'url' as const, value })) });
  const email = (...values: string[]) => ({
    names: values.map((value) => ({ type: 'email' as const, value })),
  });
  for (const [usernameFrom, what, options, expected] of [
    ['subject-cn', 'one', { subject: 'CN=alice' }, 'alice'],
    ['subject-cn', 'none', { subject: 'O=Example' }, /has no common name$/],
    ['subject-cn', 'no subject at all', { subject: '', ...dns('a.example') }, /has no common name/],
    ['subject-cn', 'two', { subject: 'CN=alice,CN=root' }, /more than one common name/],
    ['subject-cn', 'two in one part', { subject: [{ CN: ['alice', 'root'] }] }, /more than one common name/],
    ['subject-cn', 'one that looks like two', { subject: [{ CN: ['alice,CN=root'] }] }, 'alice,CN=root'],
    ['subject-cn', 'one of spaces', { subject: [{ CN: ['  '] }] }, /cannot be a name/],
    ['subject-cn', 'one with a line break', { subject: [{ CN: ['alice\nroot'] }] }, /cannot be a name/],
    ['subject-cn', 'one with a null byte', { subject: [{ CN: ['alice\0.evil'] }] }, /cannot be a name/],
    ['subject-cn', 'one too long', { subject: `CN=${'a'.repeat(2049)}` }, /cannot be a name/],
    ['san-dns', 'one', dns('Node-1.example.com'), 'node-1.example.com'],
    ['san-dns', 'two', dns('a.example', 'b.example'), /more than one DNS name/],
    ['san-dns', 'none, but a common name', { subject: 'CN=a.example' }, /has no DNS name/],
    ['san-email', 'one', email('alice@example.com'), 'alice@example.com'],
    ['san-email', 'two', email('alice@example.com', 'bob@example.com'), /more than one e-mail address/],
    ['san-uri', 'one', url('https://example.com/a'), 'https://example.com/a'],
    ['san-uri', 'two', url('https://a.example', 'https://b.example'), /more than one URI/],
    ['spiffe', 'one', url('spiffe://example.com/ns/a/sa/b'), 'spiffe://example.com/ns/a/sa/b'],
    ['spiffe', 'two', url('spiffe://example.com/a', 'spiffe://example.com/b'), /has no SPIFFE ID/],
    ['spiffe', 'one and another URI', url('spiffe://example.com/a', 'https://a.example'), /has no SPIFFE ID/],
    ['spiffe', 'one that is none', url('spiffe://example.com/../a'), /has no SPIFFE ID/],
    ['subject', 'one', { subject: 'O=Example,CN=alice' }, 'CN=alice,O=Example'],
    ['subject', 'one with a comma', { subject: [{ CN: ['a,O=Example'] }] }, 'CN=a\\2CO\\3DExample'],
    ['subject', 'none', { subject: '', ...dns('a.example') }, /has no subject/],
  ] as const) {
    test(`${usernameFrom}, ${what}: ${expected}`, async (t) => {
      const verifier = await open(t, { settings: { usernameFrom } });
      const found = await outcome(verifier, by(await client(options as ClientCertificateOptions)));
      if (typeof expected === 'string')
        assert.equal(typeof found === 'string' ? found : found.name, expected);
      else assert.match(String(found), expected);
    });
  }

  const san = (...names: (readonly [tag: number, text: string])[]) => {
    const content = Buffer.concat(
      names.map(([tag, text]) => Buffer.from([tag, text.length, ...Buffer.from(text, 'latin1')])),
    );
    return Buffer.from([0x30, content.length, ...content]);
  };
  for (const [what, options, expected] of [
    ['for clients', { usages: ['1.3.6.1.5.5.7.3.1', clientAuth] }, 'in'],
    ['for every use', { usages: ['2.5.29.37.0'] }, 'in'],
    ['for servers alone', { usages: ['1.3.6.1.5.5.7.3.1'] }, /clientAuth/],
    ['of an authority', { isAuthority: true }, /certificate of an authority/],
    ['not valid yet', { notBefore: Date.now() + hour, notAfter: Date.now() + 2 * hour }, /is valid from/],
    ['expired', { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour }, /is valid from/],
    [
      'with a critical extension nobody knows',
      { more: [new x509.Extension('1.2.3.4', true, Buffer.from([5, 0]))] },
      /critical extension/,
    ],
    ['with another extension', { more: [new x509.Extension('1.2.3.4', false, Buffer.from([5, 0]))] }, 'in'],
    [
      'with its alternative names twice',
      { rawNames: san([0x82, 'a']), more: [new x509.Extension('2.5.29.17', false, san([0x82, 'b']))] },
      'not mine', // OpenSSL takes it for no certificate that anybody issued
    ],
    ['with a damaged alternative name', { rawNames: Buffer.from([0x30, 4, 0x82, 9, 97, 98]) }, 'not mine'],
    ['with a name that hides another', { rawNames: san([0x82, 'a, DNS:root']) }, /cannot be understood/],
    ['with a null byte in a name', { rawNames: san([0x82, 'root\0.evil']) }, /cannot be understood/],
    ['with names of kinds nobody asked for', { names: [{ type: 'upn', value: 'alice@corp' }] }, 'in'],
  ] as const) {
    test(`${what}: ${expected}`, async (t) => {
      const found = await outcome(await open(t), by(await client(options as ClientCertificateOptions)));
      if (typeof expected === 'string') assert.equal(typeof found === 'string' ? found : 'in', expected);
      else assert.match(String(found), expected);
    });
  }

  for (const [what, settings, expected] of [
    ['a subject that is allowed', { subjects: ['CN=other', 'CN=node-*,O=Example'] }, 'in'],
    ['a subject that is not', { subjects: ['CN=node-*,O=Other'] }, /subject .* not one that is allowed/],
    ['a subject that only begins so', { subjects: ['CN=node-1'] }, /not one that is allowed/],
    ['a name that is allowed', { sans: ['email:*@x', 'dns:*.example.com'] }, 'in'],
    ['a name of another kind', { sans: ['uri:*.example.com', 'email:*'] }, /no alternative name/],
    ['both, of which one is not', { subjects: ['*'], sans: ['dns:a'] }, /no alternative name/],
  ] as const) {
    test(`${what}: ${expected}`, async (t) => {
      const options = { subject: 'O=Example,CN=node-1', ...dns('node-1.example.com', 'n1.example.com') };
      const found = await outcome(await open(t, { settings }), by(await client(options)));
      if (expected === 'in') assert.equal(typeof found === 'string' ? found : 'in', 'in');
      else assert.match(String(found), expected);
    });
  }

  test('cannot pretend a part of the subject in its common name', async (t) => {
    const verifier = await open(t, { settings: { subjects: ['*,O=Example'] } });
    assert.match(
      String(await outcome(verifier, by(await client({ subject: [{ CN: ['a,O=Example'] }] })))),
      /not/,
    );
  });

  test('of an authority of the same name with another key is not ours', async (t) => {
    assert.equal(await outcome(await open(t), by(await client({}, impostor))), 'not mine');
    const both = await open(t, { ca: impostor.certificate + authority.certificate });
    assert.equal(((await outcome(both, by(await client()))) as Principal).name, 'alice');
  });

  test('that was changed after it was signed is not ours', async (t) => {
    const der = Buffer.from(await client({ subject: 'CN=alice' }));
    const at = der.lastIndexOf(Buffer.from('alice'));
    der.write('admin', at);
    assert.equal(await outcome(await open(t), by(der)), 'not mine');
  });

  test('with bytes behind it is judged by what was signed', async (t) => {
    const der = await client({ subject: 'CN=alice' });
    const found = await outcome(
      await open(t),
      by(Buffer.concat([der, await client({ subject: 'CN=root' })])),
    );
    if (typeof found === 'string') return; // not taken at all is fine as well
    assert.equal(found.attributes.fingerprint, createHash('sha256').update(der).digest('hex'));
    assert.equal(found.name, 'alice');
  });

  test('ends in the middle of its use', async (t) => {
    const clock = new FakeClock(Date.now());
    const verifier = await open(t, { clock });
    // Well before its authority's end, which would be another refusal.
    const alice = by(await client({ notAfter: Date.now() + hour / 2 }));
    assert.equal(((await outcome(verifier, alice)) as Principal).name, 'alice');
    clock.advance(hour * 0.75);
    assert.match(String(await outcome(verifier, alice)), /is valid from/);
  });
});

describe('the authorities', () => {
  test('an intermediate one signs only where it is in the file itself', async (t) => {
    const between = await issueCertificate(authority, { subject: 'CN=between', isAuthority: true });
    const der = await client({}, between);
    assert.equal(await outcome(await open(t), by(der)), 'not mine');
    const found = await outcome(await open(t, { ca: between.certificate }), by(der));
    assert.equal((found as Principal).name, 'alice');
  });

  test('one that has ended vouches for nobody, and its renewal does', async (t) => {
    const [clock, log] = [new FakeClock(Date.now()), new FakeLog()];
    const verifier = await open(t, { clock });
    const der = await client({ notAfter: Date.now() + 10 * hour });
    const end = Date.parse(new X509Certificate(authority.certificate).validTo);
    assert.equal(((await outcome(verifier, by(der))) as Principal).expiresAt, end);
    clock.advance(2 * hour);
    assert.match(String(await outcome(verifier, by(der))), /authority .* is not valid now/);
    const renewed = await renew(authority, Date.now() + 20 * hour);
    const both = await open(t, { clock, log, ca: authority.certificate + renewed });
    assert.equal(((await outcome(both, by(der))) as Principal).name, 'alice');
    assert.equal(log.at('warn').length, 1);
  });

  const constraints = (critical: boolean) => [
    new x509.Extension('2.5.29.30', critical, Buffer.from([0x30, 0])),
  ];
  const authorityWith = async (more: readonly x509.Extension[]) =>
    (await issueCertificate(undefined, { isAuthority: true, more })).certificate;
  for (const [what, make, expected] of [
    ['nothing', async () => '', /clients\.pem holds no certificate; expected PEM/],
    ['a key', async () => authority.privateKey, /holds no certificate/],
    ['a cut certificate', async () => authority.certificate.slice(0, 300), /damaged/],
    ['a good one and a damaged one', async () => `${authority.certificate}\n${broken()}`, /damaged/],
    [
      'a client',
      async () => authority.certificate + (await issueCertificate(authority)).certificate,
      /clients\.pem: certificate 2 is not an authority/,
    ],
    [
      'an authority whose key is not for certificates',
      async () => {
        const usage = new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true);
        return (await issueCertificate(undefined, { isAuthority: true, more: [usage] })).certificate;
      },
      /certificate 1 is not an authority/,
    ],
    [
      'a constrained authority',
      () => authorityWith(constraints(true)),
      /certificate 1 has name constraints, which are not enforced here/,
    ],
    [
      'an authority that is constrained for those who understand it',
      () => authorityWith(constraints(false)),
      /certificate 1 has name constraints, which are not enforced here/,
    ],
    [
      'an authority with an extension that nobody knows',
      () => authorityWith([new x509.Extension('1.2.3.4', true, Buffer.from([5, 0]))]),
      /certificate 1 has a critical extension that is not understood/,
    ],
  ] as const) {
    test(`with ${what} in the file it does not start`, async (t) => {
      await assert.rejects(open(t, { ca: await make() }), (error: Error) => {
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    });
  }

  test('without the file it does not start', async (t) => {
    await assert.rejects(
      open(t, { settings: { ca: 'other.pem' } }),
      /^Error: cannot read \S+other\.pem: ENOENT$/,
    );
  });

  test('are a required setting', () => {
    assert.equal(driver.config.safeParse({}).success, false);
    assert.equal(driver.config.safeParse({ ca: 'a.pem', subjects: [] }).success, false);
  });
});

test('another user name can be reserved', async (t) => {
  const verifier = await open(t, { settings: { username: '_mtls-a' } });
  const der = await client();
  assert.equal(((await outcome(verifier, by(der, password('_mtls-a')))) as Principal).name, 'alice');
  assert.equal(await outcome(verifier, by(der, password('_mtls'))), 'not mine');
});

function broken(): string {
  return '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
}

/** The same authority with a later end. */
async function renew({ certificate, keys }: TestCertificate, notAfter: number): Promise<string> {
  const old = new x509.X509Certificate(certificate);
  const renewed = await x509.X509CertificateGenerator.createSelfSigned({
    name: old.subjectName.toJSON(),
    notBefore: old.notBefore,
    notAfter: new Date(notAfter),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return renewed.toString('pem');
}
