import { z } from 'zod';

const expected =
  'expected an https URL without credentials, such as https://sso.example.com; plain http only to this machine itself';

/**
 * An https URL, with a path or without, that secrets may be sent to; http only to a loopback address, where nobody can
 * listen. Parses to the text as it was written: an issuer's identifier is compared by its characters.
 */
export const secureUrl = () =>
  z.string({ error: expected }).refine(isSecureUrl, expected).meta({ title: 'URL' });

const discovery = /\/\.well-known\/(?:openid-configuration|oauth-authorization-server)\b/i;

/** False where an issuer is written as the address of its document, which is found by itself. */
export function isPlainIssuer(issuer: string): boolean {
  return !discovery.test(issuer);
}

/** What to say of an issuer that is not plain. */
export const expectedPlainIssuer =
  'expected the issuer, as tokens name it (`iss`): leave out /.well-known/…, which is found by itself';

/** A `secureUrl` that is an issuer's identifier (OpenID Connect Discovery 1.0 section 2, RFC 8414 section 2). */
export const issuerUrl = () => secureUrl().refine(isPlainIssuer, expectedPlainIssuer).meta({ title: 'URL' });

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
