import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { CallOptions, Clock } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { Claims } from '../claims/claim-path.js';
import type { IssuerKeys } from './issuer-keys.js';

/** Signatures by the issuer alone: with HS* whoever verifies could also sign, and `none` is no signature. */
export const algorithms = [
  ...['RS256', 'RS384', 'RS512'],
  ...['PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519'],
];

/**
 * An issuer signs more than identities with the same keys, logout tokens and security events among them (RFC 8725
 * section 3.11). `JOSE` is of JWT-SVIDs, `at+jwt` of access tokens (RFC 9068).
 */
const types = ['jwt', 'jose', 'at+jwt'];

/** Seconds since the epoch: the end of the year 9999, the last one that dates can be written of. */
const latestTime = 253_402_300_799;

/** What a token must be beyond signed. */
export interface Expected {
  /** Absent: `iss` is not looked at. Only where the keys are nobody else's. */
  readonly issuer?: string;
  /** One of them must be in `aud`. */
  readonly audiences: readonly string[];
  /** Milliseconds that clocks may differ. */
  readonly clockSkew: number;
  /** Milliseconds since `iat`, which is then required. */
  readonly maxAge?: number;
  /** Some of `algorithms`; all where it is missing. */
  readonly algorithms?: readonly string[];
}

export interface VerifiedToken {
  /** Of the bytes that were verified. */
  readonly claims: Claims;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * Verifies a signed JWT (RFC 7519, RFC 8725) by the keys of its issuer. `exp` is required.
 *
 * @throws RegistryError UNAUTHORIZED with a reason; UNAVAILABLE where the keys are not known now
 */
export async function verifyToken(
  token: string,
  keys: IssuerKeys,
  expected: Expected,
  clock: Clock,
  o: CallOptions,
): Promise<VerifiedToken> {
  o.signal.throwIfAborted();
  const { issuer, audiences, clockSkew, maxAge } = expected;
  try {
    const { payload } = await jwtVerify(
      token,
      (header) => {
        if (header.crit !== undefined) throw refused('it demands an extension (crit)');
        if (!isKnownType(header.typ)) throw refused('its type (typ) is not one that identifies somebody');
        return keys.keyFor(header, o);
      },
      {
        algorithms: [...(expected.algorithms ?? algorithms)],
        audience: [...audiences],
        ...(issuer !== undefined && { issuer }),
        requiredClaims: ['exp'],
        clockTolerance: clockSkew / 1000,
        currentDate: new Date(clock.now()),
        ...(maxAge !== undefined && { maxTokenAge: maxAge / 1000 }),
      },
    );
    o.signal.throwIfAborted();
    return { claims: payload, expiresAt: expiryOf(payload, clock.now() + clockSkew) };
  } catch (error) {
    if (error instanceof errors.JOSEError) throw refused(reasonOf(error));
    throw error;
  }
}

function isKnownType(typ: unknown): boolean {
  return typ === undefined || (typeof typ === 'string' && types.includes(bareType(typ)));
}

/** RFC 7515 section 4.1.9: `application/` may be left out. */
function bareType(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '');
}

/** @param latestNow milliseconds: now, by the fastest clock that is allowed */
function expiryOf({ exp, iat }: JWTPayload, latestNow: number): number {
  if (iat !== undefined && iat * 1000 > latestNow) throw refused('it was issued in the future (iat)');
  if (exp === undefined || exp > latestTime) throw refused('its end (exp) is no time');
  return exp * 1000;
}

function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return expiredReason(error);
  if (error instanceof errors.JWTClaimValidationFailed) return `its claim ${error.claim} is missing or wrong`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return 'its algorithm is not one that is allowed';
  if (error instanceof errors.JWKSNoMatchingKey) return 'it is by no key of its issuer';
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return 'it does not say by which key it is (kid), and the issuer has several';
  return 'it is not a signed JWT';
}

function expiredReason({ claim, payload: { exp, iat } }: errors.JWTExpired): string {
  const time = claim === 'iat' ? iat : exp;
  const when =
    typeof time === 'number' && Math.abs(time) <= latestTime ? ` ${new Date(time * 1000).toISOString()}` : '';
  return claim === 'iat' ? `it is too old: issued${when}` : `it has expired${when}`;
}

function refused(what: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason: `a token is refused: ${what}` });
}
