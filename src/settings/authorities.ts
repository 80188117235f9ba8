import { X509Certificate } from 'node:crypto';

/**
 * Finds what is wrong with a file of certificate authorities. TLS itself reads up to the first damaged certificate and
 * is silent, and takes an empty list for "whoever the public authorities signed".
 *
 * @param pem of one or more certificates
 * @returns undefined where all is well; else what to say after the file's name
 */
export function authoritiesFault(pem: string): string | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const begun = pem.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
  if (begun === 0) return 'holds no certificate; expected PEM with BEGIN CERTIFICATE';
  const certificates = blocks.map(parse);
  if (blocks.length < begun || certificates.includes(undefined)) return 'holds a damaged certificate';
  // Node 20 cannot be told to trust an intermediate authority by itself: every client would be refused.
  if (!certificates.some((certificate) => certificate?.verify(certificate.publicKey))) {
    return 'holds no root authority, one that signed itself: add it';
  }
  return undefined;
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
