import { isIP } from 'node:net';
import { z } from 'zod';

/** Where a server listens. */
export interface ListenAddress {
  /** An IP address without brackets, `localhost`, or `::`, which takes IPv4 as well. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
}

const grammar = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9a-z.-]*)):(\d{1,5})$/;
const expected = 'expected an address and a port such as 0.0.0.0:5000, [::]:5000 or :5000';

/** `0.0.0.0:5000`, `[::1]:5000`, or `:5000` for every address of the machine. */
export const listenAddress = () =>
  z
    .string({ error: expected })
    .refine((text) => parseListenAddress(text) !== undefined, { error: expected, abort: true })
    .transform((text) => parseListenAddress(text) ?? { host: '', port: 0 })
    .meta({ title: 'address:port' });

/** @returns undefined where the text is no such address */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = grammar.exec(text);
  if (!match) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? { host: bracketed, port } : undefined;
  if (plain === '') return { host: '::', port };
  return plain === 'localhost' || isIP(plain ?? '') === 4 ? { host: plain ?? '', port } : undefined;
}

export function printListenAddress(address: ListenAddress): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
