import { isIP } from 'node:net';
import { AddressRanges } from '../settings/address-range.js';

const loopback = new AddressRanges(['127.0.0.0/8', '::1/128']);

/** Loopback, link-local, private and carrier-grade NAT addresses: what is reached from inside only. */
const internal = new AddressRanges([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::/127',
  '64:ff9b::/96',
  'fc00::/7',
  'fe80::/10',
]);

/** True for `localhost` and literal loopback addresses. */
export function isLoopbackHost(url: URL): boolean {
  const address = literalAddress(url);
  return address === undefined ? isLocalName(url) : loopback.includes(address);
}

/** True for `localhost` and literal addresses that are reached from inside only. Names are not resolved. */
export function isInternalHost(url: URL): boolean {
  const address = literalAddress(url);
  return address === undefined ? isLocalName(url) : internal.includes(address);
}

function literalAddress(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  return isIP(host) === 0 ? undefined : host;
}

function isLocalName(url: URL): boolean {
  const host = url.hostname.replace(/\.$/, '');
  return host === 'localhost' || host.endsWith('.localhost');
}
