import type { ClientCredentials } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';

type Shown = ClientCredentials['shown'];

const maxLength = 32_768;

/**
 * What an `Authorization` header shows (RFC 7617, RFC 6750). An empty Basic pair counts as nothing shown: podman and
 * others send it when they are logged out.
 *
 * @throws RegistryError UNAUTHORIZED where it is there and cannot be understood: that is never anonymous
 */
export function parseAuthorization(header: string | undefined): Shown {
  if (header === undefined || header === '') return { kind: 'none' };
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([!-~]+) *$/.exec(header) ?? [];
  if (header.length <= maxLength && value !== '') {
    if (scheme.toLowerCase() === 'bearer') return { kind: 'bearer', token: new Secret(value) };
    const pair = scheme.toLowerCase() === 'basic' ? basicPair(value) : undefined;
    if (pair !== undefined) {
      return pair.username === '' && pair.password.isEmpty ? { kind: 'none' } : { kind: 'password', ...pair };
    }
  }
  throw new RegistryError('UNAUTHORIZED', { reason: 'the Authorization header cannot be understood' });
}

function basicPair(value: string): { username: string; password: Secret } | undefined {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) return undefined;
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0
    ? undefined
    : { username: text.slice(0, colon), password: new Secret(text.slice(colon + 1)) };
}
