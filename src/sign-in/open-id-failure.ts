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
/** The others of RFC 6749 sections 4.1.2.1 and 5.2, and of OpenID Connect Core 1.0 section 3.1.2.6. */
const codesAboutUs = [
  'invalid_client',
  'invalid_grant',
  'invalid_request',
  'invalid_request_object',
  'invalid_request_uri',
  'invalid_scope',
  'registration_not_supported',
  'request_not_supported',
  'request_uri_not_supported',
  'unauthorized_client',
  'unsupported_grant_type',
  'unsupported_response_type',
];
/** A code that is none of these is the provider's own words, or those of whoever made up a query for a browser. */
const knownCodes = new Set([...providerTrouble, ...saidNo, ...codesAboutUs]);
/** The statuses a token endpoint says no with. */
const refusals = new Set([400, 401, 403]);

export const tryAgain = 'Please sign in again.';
const notNow = 'The sign-in service cannot be reached at the moment. Please try again later.';

/**
 * @param reason for operators: what cannot be done now
 * @param said for the log: what another program says of it
 */
export function unavailable(reason: string, said?: string): SignInError {
  return new SignInError('unavailable', notNow, reason, said);
}

/**
 * What became of the answer the browser brought back, and of the exchange of its code. Without the cause: openid-client's
 * errors hold whole answers, with the tokens in them.
 */
export function signInErrorOf(error: unknown): SignInError {
  if (error instanceof AuthorizationResponseError) return refusedByProvider(error);
  const { reason, said } = failureOf(error);
  if (error instanceof ResponseBodyError && error.error === 'invalid_grant') {
    return new SignInError('expired', `That sign-in is over. ${tryAgain}`, reason, said);
  }
  if (isAboutTheAnswer(error)) {
    return new SignInError(
      'refused',
      `The answer of the sign-in service cannot be used. ${tryAgain}`,
      reason,
      said,
    );
  }
  return unavailable(reason, said);
}

/** What there is to tell of something that failed. */
export interface Failure {
  /** In our own words. */
  readonly reason: string;
  /** In the words of others, cut short and shown as such. */
  readonly said?: string | undefined;
}

/** One line for operators, without the words of others, that the audit log may have. No code or token is in it. */
export function reasonOf(error: unknown): string {
  return failureOf(error).reason;
}

/** No code or token is in it. */
export function failureOf(error: unknown): Failure {
  if (error instanceof AuthorizationResponseError) {
    return { reason: `the provider answered ${codeOf(error)}`, said: wordsOf(error) };
  }
  if (error instanceof ResponseBodyError) {
    const hint = error.error === 'invalid_client' ? ': check signIn.clientId and signIn.clientSecret' : '';
    const reason = `the provider's token endpoint answered ${error.status} ${codeOf(error)}${hint}`;
    return { reason, said: wordsOf(error) };
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return {
      reason: `the provider's token endpoint answered ${error.status}: check signIn.clientId and signIn.clientSecret`,
    };
  }
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (!(e instanceof RegistryError)) continue;
    const said = e.cause === undefined ? undefined : describeError(e.cause);
    return { reason: e.reason ?? e.message, said };
  }
  if (error instanceof ClientError) {
    // Fixed texts of openid-client's. Their causes hold whole answers: the messages alone are told.
    const { cause } = error;
    return { reason: cause instanceof Error ? `${error.message}: ${cause.message}` : error.message };
  }
  return { reason: 'it failed unexpectedly', said: describeError(error) };
}

/**
 * True where a refresh token is good for nothing any more: the provider says so of the token (RFC 6749 section 5.2), or
 * no to the person, which many say with the words of an authorization response. Words about our client, words nobody
 * knows, and a 429 that borrows one of these do not end anybody's access.
 */
export function isOver(error: unknown): boolean {
  if (!(error instanceof ResponseBodyError)) return false;
  if (error.error === 'invalid_grant') return true;
  return saidNo.has(error.error) && refusals.has(error.status);
}

function refusedByProvider(error: AuthorizationResponseError): SignInError {
  const { reason, said } = failureOf(error);
  if (providerTrouble.has(error.error)) return unavailable(reason, said);
  if (saidNo.has(error.error)) {
    return new SignInError(
      'denied',
      'You were not signed in: it was cancelled, or not allowed.',
      reason,
      said,
    );
  }
  return unavailable(`${reason}: check how this client is registered there`, said);
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

type ProviderError = AuthorizationResponseError | ResponseBodyError;

function codeOf({ error }: ProviderError): string {
  return knownCodes.has(error) ? quoted(error) : 'with a code of its own';
}

function wordsOf({ error, error_description: description }: ProviderError): string | undefined {
  const words = [knownCodes.has(error) ? '' : error, description ?? ''].filter((text) => text !== '');
  return words.length === 0 ? undefined : words.map(quoted).join(': ');
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200).replace(/[^\x20-\x7e]/g, ' '));
}
