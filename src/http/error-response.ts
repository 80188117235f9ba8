import { RegistryError } from '../errors.js';
import { printChallenge } from '../protocol/challenge.js';
import { printScope, type Scope } from '../reference/scope.js';
import type { ServedHost } from '../routing/served-host.js';

export interface ErrorResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** How a 401 asks for credentials: a registry by a Bearer challenge, the token endpoint by a Basic one. */
export type ChallengeFor =
  | { readonly kind: 'registry'; readonly host: ServedHost; readonly wanted?: readonly Scope[] }
  | { readonly kind: 'token'; readonly host: ServedHost };

/**
 * The HTTP writer of the error table: OCI distribution-spec v1.1 "Error Codes" as body. Anything that is not a
 * RegistryError is answered as a bare UNKNOWN.
 */
export function errorResponse(error: unknown, challenge: ChallengeFor | undefined): ErrorResponse {
  const known = error instanceof RegistryError ? error : new RegistryError('UNKNOWN');
  const { code, message, detail } = known;
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message, ...(detail && { detail }) }] }));
  const headers = new Map([
    ['content-type', 'application/json'],
    ['content-length', String(body.length)],
  ]);
  if (known.status === 401 && challenge !== undefined) {
    headers.set('www-authenticate', printChallenge(challengeOf(known, challenge)));
  }
  if (known.retryAfter !== undefined) headers.set('retry-after', String(known.retryAfter));
  for (const [name, value] of known.rateLimit ?? []) headers.set(name, value);
  return { status: known.status, headers, body };
}

function challengeOf({ bearerError }: RegistryError, challenge: ChallengeFor) {
  const { host } = challenge;
  if (challenge.kind === 'token') return { scheme: 'basic', parameters: new Map([['realm', host.service]]) };
  const parameters = new Map([
    ['realm', host.realm],
    ['service', host.service],
  ]);
  if (challenge.wanted !== undefined && challenge.wanted.length > 0) {
    parameters.set('scope', challenge.wanted.map(printScope).join(' '));
  }
  // Older containerd drops a cached token only when it sees an error (containerd#8735, #9274).
  if (bearerError !== undefined) parameters.set('error', bearerError);
  return { scheme: 'bearer', parameters };
}
