import type { X509Certificate } from 'node:crypto';
import { readSignedData, type SignedData, SignedDataError, verifiedContent } from '../cms/signed-data.js';
import { signerAmong } from '../cms/signer-of.js';
import { refused } from '../machine/shown-proof.js';
import { orRefused } from '../machine/signed-message.js';
import { isValidAt } from '../mtls/validity.js';
import { type IdentityDocument, readIdentityDocument } from './identity-document.js';
import type { RegionCertificates } from './region-certificates.js';

/**
 * What AWS signed, by a certificate of the region that the document is of.
 *
 * @param signed PKCS #7, as BER
 * @param now milliseconds since the epoch
 * @throws RegistryError UNAUTHORIZED
 */
export function readVerifiedDocument(
  signed: Buffer,
  pinned: RegionCertificates,
  now: number,
): IdentityDocument {
  const message = orRefused('its document cannot be read', () => readSignedData(signed));
  // AWS embeds none. Whoever does wants it to be trusted.
  if (message.certificates.length > 0) throw refused('certificates are embedded in its document');
  const { content, signers } = verify(message, pinned.certificates);
  const document = readIdentityDocument(content);
  const { instanceId, region } = document;
  const regions = signers.flatMap((signer) => pinned.regionsOf(signer));
  if (!regions.includes(region)) {
    const by = [...new Set(regions)].join(', ');
    throw refused(`the document of ${instanceId} says that it is of ${region}, and ${by} signed it`);
  }
  if (!signers.some((signer) => isValidAt(signer, now))) {
    throw refused(`the certificate that ${instanceId} is vouched for by is not valid now (${region})`);
  }
  return document;
}

interface Verified {
  readonly content: Buffer;
  /** More than one where a certificate is pinned for several regions. */
  readonly signers: readonly X509Certificate[];
}

function verify(message: SignedData, certificates: readonly X509Certificate[]): Verified {
  const candidates = signerAmong(message, certificates);
  const signers: X509Certificate[] = [];
  let content: Buffer | undefined;
  let failure: SignedDataError | undefined;
  for (const candidate of candidates) {
    try {
      content = verifiedContent(message, candidate.publicKey);
      signers.push(candidate);
    } catch (error) {
      if (!(error instanceof SignedDataError)) throw error;
      failure = error;
    }
  }
  if (content !== undefined) return { content, signers };
  if (failure !== undefined) throw refused(`its document is not signed well: ${failure.message}`, failure);
  const serial = message.signer.serialNumber.toString(16).slice(0, 40);
  throw refused(
    `its document is signed by a certificate that is not pinned (serial number ${serial}); is its region's in \`certificates\`?`,
  );
}
