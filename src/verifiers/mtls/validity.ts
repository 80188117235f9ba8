import type { X509Certificate } from 'node:crypto';

/** When a certificate ends, in milliseconds since the epoch. */
export function endOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

/** False also where a time cannot be understood. @param now milliseconds since the epoch */
export function isValidAt(certificate: X509Certificate, now: number): boolean {
  return Date.parse(certificate.validFrom) <= now && now < endOf(certificate);
}
