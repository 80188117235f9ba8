import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** Object identifiers of extensions (RFC 5280 section 4.2.1). */
const identifiers = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
} as const;

const known: readonly string[] = Object.values(identifiers);

const nameConstraints = '2.5.29.30';

/** `anyExtendedKeyUsage` is good for everything (RFC 5280 section 4.2.1.12). */
const clientUsages: readonly string[] = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

/** A certificate with its extensions. Of bytes that OpenSSL has read: the same ones are looked at. */
export function decode({ raw }: X509Certificate): x509.X509Certificate {
  return new x509.X509Certificate(raw);
}

/** RFC 5280 section 4.2: who does not understand a critical extension must refuse the certificate. */
export function onlyKnownCriticals({ extensions }: x509.X509Certificate): boolean {
  return extensions.every(({ type, critical }) => !critical || known.includes(type));
}

/**
 * True for an authority that may issue for some names alone (RFC 5280 section 4.2.1.10). These are not looked at, so that
 * nobody may rely on it, also where the extension is not critical, as authorities have it for the sake of old programs.
 */
export function hasNameConstraints({ extensions }: x509.X509Certificate): boolean {
  return extensions.some(({ type }) => type === nameConstraints);
}

/** True where no extension is there twice (RFC 5280 section 4.2): programs differ in which of them they believe. */
export function hasNoExtensionTwice({ extensions }: x509.X509Certificate): boolean {
  return new Set(extensions.map(({ type }) => type)).size === extensions.length;
}

/** True where it is for clients, or does not say what it is for. */
export function isForClients(certificate: x509.X509Certificate): boolean {
  const usages = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages;
  return usages === undefined || usages.some((usage) => clientUsages.includes(String(usage)));
}

/** True where its key may sign a handshake (RFC 5280 section 4.2.1.3), or it does not say what its key is for. */
export function maySign(certificate: x509.X509Certificate): boolean {
  const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages;
  return usages === undefined || (usages & x509.KeyUsageFlags.digitalSignature) !== 0;
}

/** DER of `SubjectAltName`; undefined where there is none. */
export function alternativeNames(certificate: x509.X509Certificate): Uint8Array | undefined {
  const extension = certificate.getExtension<x509.Extension>(identifiers.subjectAlternativeName);
  return extension === null ? undefined : new Uint8Array(extension.value);
}
