import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import { describeError, RegistryError } from '../errors.js';
import { SignInError } from './sign-in-error.js';

/** Errors of an authorization response that are the provider's trouble, not the person's (RFC 6749 section 4.1.2.1). */
const providerTrouble = new Set(['server_error', 'temporarily_unavailable']);
/** Those that say the person, or the provider for them, said no (OpenID Connect Core 1.0 section 3.1.2.6). */
const saidNo = new Set([
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

export const tryAgain = 'Please sign in again.';
const notNow = 'The sign-in service cannot be reached at the moment. Please try again later.';

/** @param reason for the log: what cannot be done now */
export function unavailable(reason: string): SignInError {
  return new SignInError('unavailable', notNow, reason);
}

/**
 * What became of the answer the browser brought back, and of the exchange of its code. Without the cause: openid-client's
 * errors hold whole answers, with the tokens in them.
 */
export function signInErrorOf(error: unknown): SignInError {
  if (error instanceof AuthorizationResponseError) return refusedByProvider(error);
  const reason = reasonOf(error);
  if (error instanceof ResponseBodyError && error.error === 'invalid_grant') {
    return new SignInError('expired', `That sign-in is over. ${tryAgain}`, reason);
  }
  if (isAboutTheAnswer(error)) {
    return new SignInError(
      'refused',
      `The answer of the sign-in service cannot be used. ${tryAgain}`,
      reason,
    );
  }
  return unavailable(reason);
}

/** One line for the log. The provider's own words are cut short and shown as such; no code or token is in it. */
export function reasonOf(error: unknown): string {
  if (error instanceof AuthorizationResponseError) {
    return `the provider answered ${quoted(error.error)}${described(error.error_description)}`;
  }
  if (error instanceof ResponseBodyError) {
    const hint = error.error === 'invalid_client' ? ': check signIn.clientId and signIn.clientSecret' : '';
    return `the provider's token endpoint answered ${error.status} ${quoted(error.error)}${described(error.error_description)}${hint}`;
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return `the provider's token endpoint answered ${error.status}: check signIn.clientId and signIn.clientSecret`;
  }
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof RegistryError) return describeError(e);
  }
  if (error instanceof ClientError) {
    // Their causes hold whole answers: the messages alone are told.
    const { cause } = error;
    return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
  }
  return describeError(error);
}

/** True where the refresh token, or the code, is good no more (RFC 6749 section 5.2). */
export function isInvalidGrant(error: unknown): boolean {
  return error instanceof ResponseBodyError && error.error === 'invalid_grant';
}

function refusedByProvider(error: AuthorizationResponseError): SignInError {
  const reason = reasonOf(error);
  if (providerTrouble.has(error.error)) return unavailable(reason);
  if (saidNo.has(error.error)) {
    return new SignInError('denied', 'You were not signed in: it was cancelled, or not allowed.', reason);
  }
  return unavailable(`${reason}: check how this client is registered there`);
}

/** Of an answer that came, whole, and that says something else than it must: another issuer, another nonce. */
function isAboutTheAnswer(error: unknown): boolean {
  const codes = [
    'OAUTH_INVALID_RESPONSE',
    'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
    'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  ];
  return error instanceof ClientError && codes.includes(error.code ?? '');
}

function described(text: string | undefined): string {
  return text === undefined || text === '' ? '' : ` (${quoted(text)})`;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200).replace(/[^\x20-\x7e]/g, ' '));
}
