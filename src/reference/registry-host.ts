import { RegistryError } from '../errors.js';
import { shorten } from './repository-name.js';

/** distribution/reference `domain`: a DNS name, an IPv4 address or a bracketed IPv6 address, and an optional port. */
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const grammar = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);

declare const brand: unique symbol;

/** A registry's `host[:port]` in lower case, such as `gcr.io` or `localhost:5050`. */
export type RegistryHost = string & { readonly [brand]: 'RegistryHost' };

export function isRegistryHost(text: string): boolean {
  return text.length <= 261 && grammar.test(text);
}

/** @throws RegistryError NAME_INVALID */
export function parseRegistryHost(text: string): RegistryHost {
  if (!isRegistryHost(text)) {
    throw new RegistryError('NAME_INVALID', {
      message: 'invalid registry host',
      detail: { host: shorten(text) },
    });
  }
  return text.toLowerCase() as RegistryHost;
}
