import { isIPv4, isIPv6 } from 'node:net';
import { plainAddress } from '../settings/address-range.js';

/**
 * Whom to hold responsible for an address: an IPv4 address is itself, an IPv6 address stands for its /64, for whoever
 * has one address of that has all of them.
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address;
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const groups = groupsOf(plain);
  if (isMapped(groups) || isTranslated(groups)) {
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.');
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}

/** `::ffff:192.0.2.1`: an IPv4 address as a socket for both has it (RFC 4291 section 2.5.5.2). */
function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

/** `64:ff9b::192.0.2.1`: the whole IPv4 internet in one /64, behind a translator (RFC 6052 section 2.1). */
function isTranslated(groups: readonly number[]): boolean {
  return groups[0] === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0);
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
