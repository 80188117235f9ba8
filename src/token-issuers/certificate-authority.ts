import { type KeyObject, randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

/** P-256 with SHA-256: ES256, which every verifier of registry tokens knows. */
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/**
 * Years. The certificates only carry keys to registries that want `x5c`; a key's life is ended by its rotation. A
 * certificate that ran out would stop those registries for nothing.
 */
const validity = 20;

export interface CertifiedKey {
  /** PKCS#8 PEM. */
  readonly privateKey: string;
  /** PEM. */
  readonly certificate: string;
}

/** A self-signed authority: what other registries are told to trust, once. */
export async function createAuthority(now: number): Promise<CertifiedKey> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=docker-registry-proxy token authority',
    ...common(now),
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { privateKey: await exportPrivate(keys.privateKey), certificate: certificate.toString('pem') };
}

/** A new signing key with a certificate of this authority. */
export async function certifyNewKey(
  authority: { readonly privateKey: KeyObject; readonly certificate: string },
  now: number,
): Promise<CertifiedKey> {
  const keys = await generateKeys();
  const issuer = new x509.X509Certificate(authority.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=docker-registry-proxy token signer',
    ...common(now),
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey(
      'pkcs8',
      authority.privateKey.export({ format: 'der', type: 'pkcs8' }),
      algorithm,
      false,
      ['sign'],
    ),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return { privateKey: await exportPrivate(keys.privateKey), certificate: certificate.toString('pem') };
}

function common(now: number) {
  const notAfter = new Date(now);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + validity);
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and never shortened
  return {
    serialNumber: serial.toString('hex'),
    notBefore: new Date(now - 24 * 3_600_000), // other machines' clocks may be behind
    notAfter,
    signingAlgorithm: algorithm,
  };
}

function generateKeys() {
  return webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

async function exportPrivate(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}
