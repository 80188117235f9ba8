import type { CallOptions, Closable } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer } from '../../outgoing/http-caller.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { Secret } from '../../secret.js';

/** Somebody whom Entra ID gives access tokens to. */
export interface EntraIdentity extends Closable {
  /** Sent along with its token where it is known: the registry may be of another tenant. */
  readonly tenant?: string;

  /**
   * An access token for the registry, asked for now.
   *
   * @throws RegistryError UNAVAILABLE, with what to do about it
   */
  accessToken(o: CallOptions): Promise<Secret>;
}

/** @returns undefined where it is no answer with an access token */
export function accessTokenIn({ status, text }: HttpAnswer): Secret | undefined {
  const token = status === 200 ? parseJsonObject(text)?.access_token : undefined;
  // Anything else than visible ASCII is no token, and would be a header or a form of somebody's making.
  return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? new Secret(token) : undefined;
}

const slowest = 3600;

/** Says who answered what, and what to do about it; of the answer's own words only its public codes. */
export function refused(
  who: string,
  answer: HttpAnswer,
  codes: readonly (string | undefined)[],
  advice: string,
): RegistryError {
  const shown = [`${answer.status}`, ...codes.filter((code) => code !== undefined)].join(' ');
  const wait = answer.headers.get('retry-after');
  return new RegistryError('UNAVAILABLE', {
    reason: `${who} answers ${shown}: ${advice}`,
    // Seconds (RFC 9110 section 10.2.3); a date is not looked at.
    ...(wait !== undefined &&
      /^\d{1,9}$/.test(wait) && { retryAfter: Math.min(Math.max(Number(wait), 1), slowest) }),
  });
}
