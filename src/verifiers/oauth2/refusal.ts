import { type ErrorCode, RegistryError } from '../../errors.js';
import type { Secret } from '../../secret.js';
import { formEncoded } from './client-authentication.js';
import type { ServerAnswer } from './server-answer.js';

interface Meaning {
  readonly code: Extract<ErrorCode, 'UNAUTHORIZED' | 'UNAVAILABLE' | 'TOOMANYREQUESTS'>;
  /** What to do about it, or what it is, for operators. */
  readonly advice: string;
}

const secondStep: Meaning = {
  code: 'UNAUTHORIZED',
  advice: 'the provider wants more than a password, such as a second factor: sign in by browser',
};
const tooMany: Meaning = { code: 'TOOMANYREQUESTS', advice: 'the provider slows us down' };

/** A refusal of the person in words of the provider's own, such as `invalid_user_password`. */
const inOwnWords: Meaning = {
  code: 'UNAUTHORIZED',
  advice: 'it refuses the user name or the password, if not our client, in words of its own',
};

const ourRequest: Meaning = {
  code: 'UNAVAILABLE',
  advice: 'it refuses our request: is the endpoint right, and may this client do so?',
};
const inTrouble: Meaning = { code: 'UNAVAILABLE', advice: 'it is in trouble' };
const refusesUs: Meaning = { code: 'UNAVAILABLE', advice: 'does it refuse our own client credentials?' };

/**
 * By `error` of RFC 6749 sections 4.1.2.1 and 5.2, RFC 8707, RFC 9449, OpenID Connect Core 1.0 section 3.1.2.6, and of
 * widespread providers.
 */
const meanings: Readonly<Record<string, Meaning>> = {
  invalid_grant: { code: 'UNAUTHORIZED', advice: 'it refuses the user name or the password' },
  access_denied: { code: 'UNAUTHORIZED', advice: 'it denies this user access' },
  interaction_required: secondStep,
  login_required: secondStep,
  consent_required: secondStep,
  account_selection_required: secondStep,
  mfa_required: secondStep,
  slow_down: tooMany,
  too_many_attempts: tooMany,
  invalid_client: { code: 'UNAVAILABLE', advice: 'it refuses our own `clientId` and `clientSecret`' },
  unauthorized_client: { code: 'UNAVAILABLE', advice: 'allow this to our client at the provider' },
  unsupported_grant_type: { code: 'UNAVAILABLE', advice: 'the provider has no password grant' },
  invalid_scope: { code: 'UNAVAILABLE', advice: 'look at `scopes`' },
  invalid_request: ourRequest,
  invalid_target: ourRequest,
  invalid_dpop_proof: ourRequest,
  use_dpop_nonce: ourRequest,
  server_error: inTrouble,
  temporarily_unavailable: inTrouble,
};

/** Entra ID says invalid_grant also where the password was right and a second step is due. */
const entraSecondStep = /\bAADSTS(?:50074|50076|50079|50158)\b/;

const maxWords = 200;
const slowest = 3600;

/**
 * What an answer that is no success means: about the person who logs in, or about us and the server. A description
 * is quoted for operators; never one that repeats a secret. A provider may say of a wrong password what others say of a
 * client: so each login it refuses counts as a guess, unless it is in trouble (5xx) or slows us down.
 *
 * @param asked only a login can be refused for the person's sake
 * @param shown the secrets that were sent
 */
export function refusal(
  answer: ServerAnswer,
  asked: 'login' | 'question',
  shown: readonly Secret[],
): RegistryError {
  const { body, status, host } = answer;
  const error = typeof body?.error === 'string' ? body.error : undefined;
  const description = typeof body?.error_description === 'string' ? body.error_description : '';
  const meaning = meaningOf(status, error, description);
  const isOurs = asked === 'question' && meaning.code === 'UNAUTHORIZED';
  const { code, advice } = isOurs ? refusesUs : meaning;
  const words = [error ?? `HTTP status ${status}`, description]
    .filter(Boolean)
    .map((text) => quoted(text, shown));
  const wait = code === 'UNAUTHORIZED' ? undefined : retryAfter(answer.headers.get('retry-after'));
  return new RegistryError(code, {
    reason: `${host}: ${advice} (${words.join(': ')})`,
    countsAsGuess: asked === 'login' && code === 'UNAVAILABLE' && status < 500,
    ...((wait !== undefined || code === 'TOOMANYREQUESTS') && { retryAfter: wait ?? 10 }),
  });
}

function meaningOf(status: number, error: string | undefined, description: string): Meaning {
  if (status >= 500) return inTrouble;
  if (status >= 300 && status < 400) {
    return { code: 'UNAVAILABLE', advice: 'it redirects, which is not followed: is the endpoint right?' };
  }
  if (error === 'invalid_grant' && entraSecondStep.test(description)) return secondStep;
  if (error !== undefined && Object.hasOwn(meanings, error)) return meanings[error] as Meaning;
  if (status === 429) return tooMany;
  // RFC 6749 section 5.2: 401 is about the client, whose faults have codes. Other words are most likely about the person.
  if (status === 401 || status === 403) return error === undefined || error === '' ? refusesUs : inOwnWords;
  return { code: 'UNAVAILABLE', advice: 'it gives an answer we cannot use: is the endpoint right?' };
}

/** Only what prints on one line, and no more than a person reads. */
function quoted(text: string, shown: readonly Secret[]): string {
  const isTold = shown
    .map((secret) => secret.reveal())
    .some((secret) => secret !== '' && [secret, formEncoded(secret)].some((form) => text.includes(form)));
  if (isTold) return 'its words are left out, they repeat a secret';
  const line = text.replace(/[^\p{L}\p{N}\p{P}\p{S}]+/gu, ' ').trim();
  return line.length > maxWords ? `${line.slice(0, maxWords)}…` : line;
}

/** Seconds (RFC 9110 section 10.2.3); a date is not looked at. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,9}$/.test(header)) return undefined;
  return Math.min(Math.max(Number(header), 1), slowest);
}
