import type { X509Certificate } from 'node:crypto';
import { BerError, integer, readBer, tags } from './ber.js';
import { Fields } from './fields.js';
import type { SignedData, SignerInfo } from './signed-data.js';

/**
 * @returns those whose issuer and serial number are the signer's: none, one, or more where an authority gave a number
 *   twice. Nothing of that proves that they signed.
 */
export function signerAmong(
  { signer }: SignedData,
  certificates: readonly X509Certificate[],
): readonly X509Certificate[] {
  return certificates.filter((certificate) => {
    const { issuer, serialNumber } = nameOf(certificate) ?? {};
    return serialNumber === signer.serialNumber && issuer?.equals(signer.issuer) === true;
  });
}

/**
 * From the bytes (RFC 5280 section 4.1): names in one line, as OpenSSL prints them, can be alike and not the same.
 *
 * @returns undefined where it is larger or deeper than what is read here
 */
function nameOf({ raw }: X509Certificate): SignerInfo | undefined {
  try {
    const certificate = new Fields(readBer(raw), tags.sequence, 'the certificate');
    const fields = new Fields(certificate.any(), tags.sequence, 'the certificate');
    fields.optional(tags.context0); // its version
    const serialNumber = integer(fields.any());
    fields.any(); // the algorithm of its signature
    return { serialNumber, issuer: Buffer.from(fields.any().bytes) };
  } catch (error) {
    if (error instanceof BerError) return undefined;
    throw error;
  }
}
