import { randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const rsa = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
} as const;
const hour = 3_600_000;

export interface TestCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PKCS#8 PEM. */
  readonly privateKey: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface TestCertificateOptions {
  /** Default: `test`. */
  readonly name?: string;
  /** Milliseconds since the Unix epoch, told in whole seconds. Default: an hour ago, and in an hour. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** DNS names it is for beside `localhost` and the loopback addresses. */
  readonly hosts?: readonly string[];
  /** Default: P-256. */
  readonly kind?: 'p256' | 'rsa';
}

/** An authority that signed itself, good for `localhost` and the loopback addresses as well. */
export function createAuthority(options: TestCertificateOptions = {}): Promise<TestCertificate> {
  return create(options, undefined);
}

/** A certificate of this authority. */
export function certify(
  authority: TestCertificate,
  options: TestCertificateOptions = {},
): Promise<TestCertificate> {
  return create(options, authority);
}

async function create(
  {
    name = 'test',
    notBefore = Date.now() - hour,
    notAfter = Date.now() + hour,
    kind,
    hosts = [],
  }: TestCertificateOptions,
  authority: TestCertificate | undefined,
): Promise<TestCertificate> {
  const algorithm = kind === 'rsa' ? rsa : p256;
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const signer = authority?.keys ?? keys;
  const issuer = authority && new x509.X509Certificate(authority.certificate).subject;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(8).toString('hex')}`,
    subject: `CN=${name}`,
    issuer: issuer ?? `CN=${name}`,
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: signer.privateKey.algorithm.name === p256.name ? p256 : rsa,
    extensions: [
      new x509.BasicConstraintsExtension(authority === undefined, undefined, true),
      new x509.SubjectAlternativeNameExtension([
        ...['localhost', ...hosts].map((value) => ({ type: 'dns', value }) as const),
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ]),
    ],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return {
    certificate: certificate.toString('pem'),
    privateKey: x509.PemConverter.encode(der, 'PRIVATE KEY'),
    keys,
  };
}
