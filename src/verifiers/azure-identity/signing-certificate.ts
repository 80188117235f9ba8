import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import {
  alternativeNames,
  decode,
  hasNameConstraints,
  hasNoExtensionTwice,
  maySign,
  onlyKnownCriticals,
} from '../mtls/extensions.js';
import { readGeneralNames } from '../mtls/general-names.js';
import { keyFault, signatureFault } from '../mtls/strength.js';
import { isValidAt } from '../mtls/validity.js';

/** Of the public cloud, US Government and the cloud that 21Vianet operates. That of Germany is closed. */
const domains = ['metadata.azure.com', 'metadata.azure.us', 'metadata.azure.cn'];

/** `serverAuth` and `anyExtendedKeyUsage` (RFC 5280 section 4.2.1.12): they are certificates of TLS servers. */
const serverUsages: readonly string[] = ['1.3.6.1.5.5.7.3.1', '2.5.29.37.0'];

/** True for what Azure's metadata services are called: one of the domains, or below it. @param name in lower case */
export function isMetadataName(name: string): boolean {
  return domains.some((domain) => name === domain || name.endsWith(`.${domain}`));
}

/** For messages: anybody may have chosen it. */
export function commonNameOf(names: string): string {
  const name = /^CN=(?<name>.*)$/m.exec(names)?.groups?.name ?? '';
  return JSON.stringify(name.slice(0, 80));
}

/**
 * What speaks against a certificate as that of a metadata service; who issued it is not looked at. Microsoft puts the
 * name into the alternative names, and has its documents verified by these.
 *
 * @param now milliseconds since the epoch
 * @returns undefined where nothing does
 */
export function signerFault(certificate: X509Certificate, now: number): string | undefined {
  if (certificate.ca) return 'it is the certificate of an authority';
  try {
    const decoded = decode(certificate);
    if (!hasNoExtensionTwice(decoded)) return 'it has an extension twice';
    const encoded = alternativeNames(decoded);
    const names = encoded && readGeneralNames(encoded);
    if (names?.dnsNames.some(isMetadataName) !== true) return `it is not for ${domains.join(', ')}`;
    if (!isValidAt(certificate, now))
      return `it is valid from ${certificate.validFrom} to ${certificate.validTo}`;
    if (!onlyKnownCriticals(decoded)) return 'it has a critical extension that is not understood';
    if (!maySign(decoded)) return 'its key usage is not for signatures (digitalSignature)';
    if (!isForServers(decoded)) return 'its extended key usage is not for servers (serverAuth)';
    return signatureFault(decoded) ?? keyFault(certificate.publicKey);
  } catch {
    return 'it cannot be understood'; // what the library says quotes the certificate
  }
}

/**
 * What speaks against a certificate as that of an authority (RFC 5280 section 6.1.4). To be asked before its key verifies
 * anything; that takes no signature.
 *
 * @param place.below how many authorities stand between it and the signer
 * @param place.isRoot trusted by itself: what it says of itself by its own signature nobody relies on
 * @param place.now milliseconds since the epoch
 */
export function authorityFault(
  certificate: X509Certificate,
  { below, isRoot, now }: { readonly below: number; readonly isRoot: boolean; readonly now: number },
): string | undefined {
  if (!certificate.ca) return 'it is not the certificate of an authority';
  if (!isValidAt(certificate, now))
    return `it is valid from ${certificate.validFrom} to ${certificate.validTo}`;
  try {
    const decoded = decode(certificate);
    if (!hasNoExtensionTwice(decoded)) return 'it has an extension twice';
    if (hasNameConstraints(decoded)) return 'it has name constraints, which are not enforced here';
    if (!onlyKnownCriticals(decoded)) return 'it has a critical extension that is not understood';
    const { pathLength } = decoded.getExtension(x509.BasicConstraintsExtension) ?? {};
    if (pathLength !== undefined && below > pathLength) return 'it may not have so many authorities below it';
    if (!mayIssue(decoded)) return 'its key usage is not for certificates (keyCertSign)';
    if (isRoot) return keyFault(certificate.publicKey);
    if (!isForServers(decoded)) return 'its extended key usage is not for servers (serverAuth)';
    return signatureFault(decoded) ?? keyFault(certificate.publicKey);
  } catch {
    return 'it cannot be understood';
  }
}

function isForServers(certificate: x509.X509Certificate): boolean {
  const usages = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages;
  return usages === undefined || usages.some((usage) => serverUsages.includes(String(usage)));
}

/** RFC 5280 section 4.2.1.3: conforming authorities say what their key is for. */
function mayIssue(certificate: x509.X509Certificate): boolean {
  const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages;
  return usages !== undefined && (usages & x509.KeyUsageFlags.keyCertSign) !== 0;
}
