import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type AddressRanges, plainAddress } from '../settings/address-range.js';
import { forwardedCertificate } from './forwarded-certificate.js';

/** Bytes of a header; a certificate has one to four thousand. */
const maxHeader = 16_384;

/** What came with a connection. */
export interface ShownCertificate {
  /** DER. */
  readonly certificate?: Uint8Array;
  /** Why a trusted proxy's header does not count, in words that tell nothing of it. */
  readonly fault?: string;
}

/**
 * The client's certificate: the one of our own handshake, or, where the peer itself is a trusted proxy, the one in its
 * header (threat 17). Which address the client has does not matter here, and the certificate that a trusted proxy shows
 * for itself is never the client's.
 *
 * @param header its name in lower case; undefined: none counts
 */
export function clientCertificate(
  request: IncomingMessage,
  trusted: AddressRanges,
  header: string | undefined,
): ShownCertificate {
  if (!trusted.includes(plainAddress(request.socket.remoteAddress ?? ''))) return ofHandshake(request);
  if (header === undefined) return {};
  const values = request.headersDistinct[header] ?? [];
  const [value = ''] = values;
  if (values.length > 1) return { fault: 'it came more than once' };
  if (value === '') return {}; // some proxies send it empty where the client has none
  if (value.length > maxHeader) return { fault: `it is larger than ${maxHeader} bytes` };
  const certificate = forwardedCertificate(value);
  return typeof certificate === 'string' ? { fault: certificate } : parsed(certificate);
}

/** Only the certificate, whatever stands behind it. */
function parsed(der: Uint8Array): ShownCertificate {
  try {
    return { certificate: new X509Certificate(der).raw };
  } catch {
    return { fault: 'what is in it is no certificate' };
  }
}

/** The listener lets no certificate in that it did not verify. */
function ofHandshake({ socket }: IncomingMessage): ShownCertificate {
  if (!('getPeerCertificate' in socket) || typeof socket.getPeerCertificate !== 'function') return {};
  const certificate: unknown = socket.getPeerCertificate()?.raw;
  return certificate instanceof Uint8Array ? { certificate } : {};
}
