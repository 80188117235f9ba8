import { RegistryError } from '../../errors.js';
import { type Claims, textsOf } from '../claims/claim-path.js';

/** What a token must be, beyond active. */
export interface WantedToken {
  readonly issuer?: string | undefined;
  readonly audiences?: readonly string[] | undefined;
  readonly requiredScopes?: readonly string[] | undefined;
  readonly clients?: readonly string[] | undefined;
  /** Whether the server must say that it is an access token. */
  readonly requireTokenType: boolean;
  /** Milliseconds. */
  readonly clockSkew: number;
}

/** Seconds since the epoch: the last ones that dates can be written of. */
const latestTime = 253_402_300_799;

/**
 * Judges what the server says of an active token (RFC 7662 section 2.2): that it was made for us, and is one that
 * whoever bears it may use.
 *
 * @param now milliseconds since the epoch
 * @returns when it expires, in milliseconds since the epoch; undefined where the server does not say
 * @throws RegistryError UNAUTHORIZED with a reason
 */
export function checkToken(claims: Claims, wanted: WantedToken, now: number): number | undefined {
  checkKind(claims, wanted);
  checkPurpose(claims, wanted);
  const notBefore = timeOf(claims, 'nbf');
  if (notBefore !== undefined && notBefore > now + wanted.clockSkew)
    throw refused('it is not valid yet (nbf)');
  const expiresAt = timeOf(claims, 'exp');
  if (expiresAt !== undefined && expiresAt + wanted.clockSkew <= now)
    throw refused(`it has expired ${new Date(expiresAt).toISOString()}`);
  return expiresAt;
}

/**
 * Refresh tokens live long and are for one client alone. Only access tokens have a `token_type`; `token_use` and `typ`
 * are what Cognito, Hydra and Keycloak say.
 */
function checkKind(claims: Claims, { requireTokenType }: WantedToken): void {
  const { token_type: type, token_use: use, typ, cnf } = claims;
  if (!isOneOf(type, ['bearer', 'access_token'])) throw refused('it is no bearer token (token_type)');
  if (!isOneOf(use, ['access', 'access_token'])) throw refused('it is no access token (token_use)');
  if (!isOneOf(typ, ['bearer', 'jwt', 'at+jwt'])) throw refused('it is no access token (typ)');
  if (requireTokenType && [type, use, typ].every(isAbsent))
    throw refused('the server does not say that it is an access token (token_type); see `requireTokenType`');
  // RFC 7800, RFC 8705, RFC 9449: good only with a key, which nobody showed us.
  if (!isAbsent(cnf)) throw refused('it is bound to a key of its client (cnf)');
}

function isOneOf(value: unknown, allowed: readonly string[]): boolean {
  return isAbsent(value) || (typeof value === 'string' && allowed.includes(value.toLowerCase()));
}

function checkPurpose(claims: Claims, { issuer, audiences, requiredScopes, clients }: WantedToken): void {
  if (issuer !== undefined && !isAbsent(claims.iss) && claims.iss !== issuer)
    throw refused('it is by another issuer (iss)');
  const aud = textsOf(claims.aud);
  if (audiences !== undefined && !audiences.some((one) => aud.includes(one)))
    throw refused(`it is for ${listed(aud, 'no audience')} (aud)`);
  const scopes = typeof claims.scope === 'string' ? claims.scope.split(' ') : textsOf(claims.scope);
  const missing = requiredScopes?.filter((one) => !scopes.includes(one)) ?? [];
  if (missing.length > 0) throw refused(`it lacks the scope ${missing.join(' ')}`);
  const client = claims.client_id;
  if (clients !== undefined && !(typeof client === 'string' && clients.includes(client)))
    throw refused(`it is of ${listed(textsOf(client), 'no client')} (client_id)`);
}

/** Milliseconds since the epoch, of a NumericDate. */
function timeOf(claims: Claims, name: 'exp' | 'nbf'): number | undefined {
  const value = claims[name];
  if (isAbsent(value)) return undefined;
  if (typeof value !== 'number' || !(Math.abs(value) <= latestTime)) throw refused(`its ${name} is no time`);
  return value * 1000;
}

/** Some servers write null for what they do not know. */
function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

function listed(names: readonly string[], none: string): string {
  return names.length === 0 ? none : JSON.stringify(names.slice(0, 5)).slice(0, 200);
}

function refused(what: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason: `a token is refused: ${what}` });
}
