import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { type AddressRanges, plainAddress } from '../settings/address-range.js';

/**
 * The client's address: the peer's, or behind trusted proxies the last one in X-Forwarded-For that is not itself a
 * trusted proxy. What an untrusted peer says about itself does not count (threat 17).
 */
export function clientAddress(request: IncomingMessage, trusted: AddressRanges): string {
  let address = plainAddress(request.socket.remoteAddress ?? '');
  if (!trusted.includes(address)) return address;
  const hops = [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  for (const hop of hops.reverse()) {
    const candidate = plainAddress(withoutPort(hop.trim()));
    if (isIP(candidate) === 0) return address;
    address = candidate;
    if (!trusted.includes(address)) return address;
  }
  return address;
}

/** Some proxies write `1.2.3.4:5678` and `[::1]:5678` (RFC 7239 section 6 has both forms). */
function withoutPort(hop: string): string {
  const match = /^(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+))(?::\d{1,5})?$/.exec(hop);
  return match?.[1] ?? match?.[2] ?? hop;
}
