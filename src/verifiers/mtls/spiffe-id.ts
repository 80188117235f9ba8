/** Bytes (SPIFFE-ID section 2.3). */
const maxLength = 2048;
const maxTrustDomain = 255;
const grammar = /^spiffe:\/\/([a-z0-9._-]+)((?:\/[a-zA-Z0-9._-]+)*)$/;

/** A valid SPIFFE ID (SPIFFE-ID section 2): one spelling for each, without ports, queries and dot segments. */
export function isSpiffeId(text: string): boolean {
  const match = text.length <= maxLength ? grammar.exec(text) : null;
  if (match === null) return false;
  const [, trustDomain = '', path = ''] = match;
  return (
    trustDomain.length <= maxTrustDomain && !path.split('/').some((part) => part === '.' || part === '..')
  );
}

/**
 * The SPIFFE ID of a certificate: exactly one URI, and that a valid one (X509-SVID section 2).
 *
 * @param uris all of the certificate's
 */
export function spiffeIdOf(uris: readonly string[]): string | undefined {
  const [only] = uris;
  return uris.length === 1 && only !== undefined && isSpiffeId(only) ? only : undefined;
}
