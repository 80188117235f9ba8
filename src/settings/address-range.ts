import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

/** `10.0.0.0/8`, `2001:db8::/32` or a single address. */
export const addressRange = () =>
  z
    .string({ error: 'expected an address or a range such as 10.0.0.0/8' })
    .refine(isAddressRange, 'expected an address or a range such as 10.0.0.0/8')
    .meta({ title: 'address or range' });

export function isAddressRange(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  // A zone says nothing on another machine, and addresses are compared without it.
  if (family === 0 || more.length > 0 || address.includes('%')) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** Matches addresses against ranges; an IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) counts as IPv4. */
export class AddressRanges {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  constructor(ranges: readonly string[]) {
    this.#isEmpty = ranges.length === 0;
    for (const range of ranges) {
      const [address = '', bits] = range.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.#list.addSubnet(
        address,
        bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits),
        family,
      );
    }
  }

  includes(address: string): boolean {
    // Asked for each request, and mostly nothing is configured.
    if (this.#isEmpty) return false;
    const plain = plainAddress(address);
    const family = isIP(plain);
    return family !== 0 && this.#list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
  }
}

/** An address without IPv6's IPv4 mapping and zone: `::ffff:10.0.0.1` is `10.0.0.1`. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%');
  const bare = zone < 0 ? address : address.slice(0, zone);
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(bare) ? bare.slice(7) : bare;
}
