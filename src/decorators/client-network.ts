import { isIPv4, isIPv6 } from 'node:net';
import { plainAddress } from '../settings/address-range.js';

/**
 * Whom to hold responsible for an address: an IPv4 address is itself, an IPv6 address stands for its /64, for whoever
 * has one address of that has all of them.
 */
export function clientNetwork(address: string): string {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const groups = groupsOf(plain);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.');
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}

/**
 * The wider network of an address, of which one customer of a provider may have all: a /24 of IPv4, a /48 of IPv6. For
 * sharing among those who wait, where being in one with a neighbour costs little.
 */
export function widerNetwork(address: string): string {
  const network = clientNetwork(address);
  const groups = network.split(isIPv4(network) ? '.' : ':');
  if (isIPv4(network)) return `${groups.slice(0, 3).join('.')}.0/24`;
  return network.endsWith('::/64') ? `${groups.slice(0, 3).join(':')}::/48` : network;
}

/** The eight groups of an IPv6 address (RFC 4291 section 2.2). */
function groupsOf(address: string): readonly number[] {
  // The URL parser turns a dotted end into two groups.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [before = '', after] = canonical.split('::');
  const parse = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [parse(before), parse(after ?? '')];
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}
