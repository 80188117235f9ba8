import { createHash, type X509Certificate } from 'node:crypto';
import type { AttributeValue } from '../../contracts/principal.js';
import { printDistinguishedName, type RelativeNames, valuesOf } from './distinguished-name.js';
import {
  alternativeNames,
  decode,
  hasNoExtensionTwice,
  isForClients,
  maySign,
  onlyKnownCriticals,
} from './extensions.js';
import { type GeneralNames, readGeneralNames } from './general-names.js';
import { spiffeIdOf } from './spiffe-id.js';
import { keyFault, signatureFault } from './strength.js';

/** What a client's certificate calls its subject. */
export interface ClientNames extends GeneralNames {
  /** RFC 4514, in one line. */
  readonly subject: string;
  readonly commonNames: readonly string[];
  readonly spiffeId?: string;
}

const noNames: GeneralNames = { dnsNames: [], emails: [], uris: [] };

/**
 * Reads a certificate that one of our authorities has signed.
 *
 * @returns why it cannot be used by a client, for operators, where it cannot
 */
export function readClientNames(certificate: X509Certificate): ClientNames | string {
  if (certificate.ca) return 'it is the certificate of an authority';
  try {
    const decoded = decode(certificate);
    if (!hasNoExtensionTwice(decoded)) return 'it has an extension twice';
    if (!onlyKnownCriticals(decoded)) return 'it has a critical extension that is not understood';
    if (!isForClients(decoded)) return 'its extended key usage is not for clients (clientAuth)';
    if (!maySign(decoded)) return 'its key usage is not for signatures (digitalSignature)';
    const weakness = signatureFault(decoded) ?? keyFault(certificate.publicKey);
    if (weakness !== undefined) return weakness;
    const encoded = alternativeNames(decoded);
    const others = encoded === undefined ? noNames : readGeneralNames(encoded);
    if (others === undefined) return 'its alternative names cannot be understood';
    const names: RelativeNames = decoded.subjectName.toJSON();
    const spiffeId = spiffeIdOf(others.uris);
    return {
      ...others,
      subject: printDistinguishedName(names),
      commonNames: valuesOf(names, 'CN'),
      ...(spiffeId !== undefined && { spiffeId }),
    };
  } catch {
    return 'it cannot be understood'; // what the library says quotes the certificate
  }
}

/** What rules can speak of; names that are not there have no attribute. */
export function attributesOf(
  names: ClientNames,
  { raw, serialNumber }: X509Certificate,
): Readonly<Record<string, AttributeValue>> {
  const { subject, commonNames, spiffeId, dnsNames, emails, uris } = names;
  const [commonName] = commonNames;
  return {
    fingerprint: createHash('sha256').update(raw).digest('hex'),
    serialNumber: serialNumber.toLowerCase(),
    ...(subject !== '' && { subject }),
    ...(commonNames.length === 1 && commonName !== undefined && { subjectCommonName: commonName }),
    ...(spiffeId !== undefined && { spiffeId }),
    ...(dnsNames.length > 0 && { dnsNames }),
    ...(emails.length > 0 && { emails }),
    ...(uris.length > 0 && { uris }),
  };
}
