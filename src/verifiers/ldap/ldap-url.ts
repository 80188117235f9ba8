import { z } from 'zod';
import { isLoopbackHost } from '../../settings/secure-url.js';

const expected = 'expected ldaps://HOST[:PORT] or ldap://HOST[:PORT]';

/** One directory server (RFC 4516, host and port only). */
export interface LdapServer {
  /** With TLS from the first byte: `ldaps`. */
  readonly secure: boolean;
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
  /** `host:port`, as logs name it. */
  readonly name: string;
}

export const ldapUrl = () =>
  z
    .string({ error: expected })
    .refine((text) => parseLdapUrl(text) !== undefined, { error: expected, abort: true })
    .transform((text) => parseLdapUrl(text) as LdapServer)
    .meta({ title: 'URL' });

/** @returns undefined where it has a path, a query, credentials, another scheme, or no host */
export function parseLdapUrl(text: string): LdapServer | undefined {
  // For a scheme it does not know WHATWG's parser takes almost anything as a host.
  const match = /^(ldaps?):\/\/(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?\/?$/i.exec(text);
  if (match === null) return undefined;
  const [, scheme = '', name = ''] = match;
  const secure = scheme.toLowerCase() === 'ldaps';
  const port = match[3] === undefined ? (secure ? 636 : 389) : Number(match[3]);
  if (port < 1 || port > 65_535) return undefined;
  return { secure, host: name.replace(/^\[|\]$/g, ''), port, name: `${name}:${port}` };
}

/** True where nobody on a network can listen. */
export function isLocal({ host }: LdapServer): boolean {
  return isLoopbackHost(host.includes(':') ? `[${host}]` : host);
}
