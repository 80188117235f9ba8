import { type CryptoKey, createLocalJWKSet, errors, type JWK, type JWSHeaderParameters } from 'jose';
import { RegistryError } from '../../errors.js';

/** RFC 7518 section 3.3: shorter ones must not be used. */
const minRsaBytes = 256;

/** The public keys of one issuer, as they were at one time. */
export interface KeySet {
  /** How many of them are of use. */
  readonly size: number;
  /**
   * The key a token's header asks for: by `kid`, and by `alg`. Keys that a header brings along (`jwk`, `jku`, `x5c`)
   * are never looked at (threat 1).
   *
   * @throws jose's JWKSNoMatchingKey; JWKSMultipleMatchingKeys where there is no `kid` and several keys fit;
   *   RegistryError UNAVAILABLE where the issuer's key is broken
   */
  find(header: JWSHeaderParameters): Promise<CryptoKey>;
}

/**
 * Reads a JSON Web Key Set (RFC 7517), or a SPIFFE bundle. Only public keys for signatures are taken: symmetric keys,
 * those with a private half (everybody has them), short RSA keys and those for other uses are left out.
 *
 * @throws an Error where it is no key set
 */
export function parseKeySet(text: string): KeySet {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
  const keys = typeof parsed === 'object' && parsed !== null && 'keys' in parsed ? parsed.keys : undefined;
  if (!Array.isArray(keys)) throw new Error('it is not a JSON Web Key Set: it has no list of keys');
  const usable = keys.filter(isUsable).map(withoutUse);
  const find = createLocalJWKSet({ keys: usable });
  return {
    size: usable.length,
    async find(header) {
      try {
        return await find(header);
      } catch (error) {
        if (isNoKey(error)) throw error;
        throw new RegistryError('UNAVAILABLE', {
          reason: 'a key of the issuer cannot be used',
          cause: error,
        });
      }
    },
  };
}

/** True for what `find` throws about a token, and not about the set. */
function isNoKey(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}

function isUsable(value: unknown): value is JWK {
  if (typeof value !== 'object' || value === null) return false;
  const { kty, use, n, d } = value as Readonly<Record<string, unknown>>;
  if (typeof d !== 'undefined') return false;
  if (use !== undefined && use !== 'sig' && use !== 'jwt-svid') return false;
  if (kty === 'RSA') return typeof n === 'string' && Buffer.from(n, 'base64url').length >= minRsaBytes;
  return kty === 'EC' || kty === 'OKP';
}

/** SPIFFE's `use` (SPIFFE Trust Domain and Bundle section 4.2.2) is none that JOSE knows. */
function withoutUse({ use: _use, ...key }: JWK): JWK {
  return key as JWK;
}
