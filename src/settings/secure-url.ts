import { z } from 'zod';

const expected =
  'expected an https URL without credentials, such as https://sso.example.com; plain http only to this machine itself';

/**
 * An https URL, with a path or without, that secrets may be sent to; http only to a loopback address, where nobody can
 * listen. Parses to the text as it was written: an issuer's identifier is compared by its characters.
 */
export const secureUrl = () =>
  z.string({ error: expected }).refine(isSecureUrl, expected).meta({ title: 'URL' });

export function isSecureUrl(text: string): boolean {
  // WHATWG's parser forgives what a person should know of: tabs, backslashes, `https:host`.
  if (!/^https?:\/\/[^\s\\#@]+$/i.test(text) || !URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || isLoopbackHost(hostname);
}

/** True for a host, as URLs write it, that no other machine can listen at. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
