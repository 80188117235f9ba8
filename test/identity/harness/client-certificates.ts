import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { TestCertificate } from '../../../src/testing/certificates.js';

const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const hour = 3_600_000;

export interface ClientCertificateOptions {
  /** RFC 4514, outermost first; or relative names as they are. Default: `CN=alice`. */
  readonly subject?: string | readonly Readonly<Record<string, string[]>>[];
  /** Alternative names. */
  readonly names?: readonly { readonly type: 'dns' | 'email' | 'url' | 'upn'; readonly value: string }[];
  /** DER of the alternative names, in place of `names`. */
  readonly rawNames?: Uint8Array;
  /** Object identifiers; absent: the certificate does not say what it is for. */
  readonly usages?: readonly string[];
  /** It may sign others. */
  readonly isAuthority?: boolean;
  /** Milliseconds since the epoch. Default: an hour ago, and in an hour. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly more?: readonly x509.Extension[];
}

/** An authority, or a certificate of one, with whatever a test wants in it. */
export async function issueCertificate(
  authority: TestCertificate | undefined,
  options: ClientCertificateOptions = {},
): Promise<TestCertificate> {
  const { subject = 'CN=alice', notBefore = Date.now() - hour, notAfter = Date.now() + hour } = options;
  const keys = (await webcrypto.subtle.generateKey(p256, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const name = typeof subject === 'string' ? subject : subject.map((one) => ({ ...one }));
  const signer = authority?.keys ?? keys;
  const issuer = authority && new x509.X509Certificate(authority.certificate).subjectName.toJSON();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(8).toString('hex')}`,
    subject: name,
    issuer: issuer ?? name,
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: p256,
    extensions: extensionsOf(options),
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const privateKey = x509.PemConverter.encode(der, 'PRIVATE KEY');
  return { certificate: certificate.toString('pem'), privateKey, keys };
}

/** The certificate's DER. */
export function derOf({ certificate }: Pick<TestCertificate, 'certificate'>): Buffer {
  return Buffer.from(x509.PemConverter.decodeFirst(certificate));
}

function extensionsOf({ names, rawNames, usages, isAuthority = false, more = [] }: ClientCertificateOptions) {
  return [
    new x509.BasicConstraintsExtension(isAuthority, undefined, true),
    ...(names ? [new x509.SubjectAlternativeNameExtension([...names])] : []),
    ...(rawNames ? [new x509.Extension('2.5.29.17', false, rawNames)] : []),
    ...(usages ? [new x509.ExtendedKeyUsageExtension([...usages])] : []),
    ...more,
  ];
}
