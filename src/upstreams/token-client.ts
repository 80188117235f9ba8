import type { CallOptions, Credential } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseJsonObject } from '../protocol/json-object.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { readBounded } from '../protocol/read-bounded.js';
import { Secret } from '../secret.js';
import { cut } from './bodies.js';
import type { Answer, OutgoingRequest, Transport } from './transport.js';
import { retryAfter } from './upstream-errors.js';
import { userAgent } from './user-agent.js';

const maxTokenBody = 64 * 1024;
const tokenBodyTime = 15_000;
/** Seconds: what a missing `expires_in` means (distribution `docs/content/spec/auth/token.md`). */
const defaultLifetime = 60;
const maxLifetime = 86_400;

/** Where a Bearer challenge sends us; the realm was checked. */
export interface TokenEndpoint {
  readonly realm: URL;
  readonly service?: string;
}

export type TokenAnswer =
  | { readonly kind: 'token'; readonly token: Secret /** Seconds. */; readonly lifetime: number }
  /** It answered 4xx: this credential does not get these scopes. */
  | { readonly kind: 'refused'; readonly status: number };

/** What a token endpoint takes: a password, a refresh token, or nothing. */
export type Exchangeable = Exclude<Credential, { kind: 'registry-token' }>;

/**
 * Asks a token endpoint once. A password goes by GET (token.md), a refresh token by POST (oauth.md). Redirects are not
 * followed.
 *
 * @throws RegistryError UNAVAILABLE where the endpoint gives neither a token nor a refusal
 */
export async function requestToken(
  transport: Transport,
  endpoint: TokenEndpoint,
  scopes: readonly string[],
  credential: Exchangeable | undefined,
  o: CallOptions & { /** Milliseconds since the epoch. */ readonly now: number },
): Promise<TokenAnswer> {
  const request =
    credential?.kind === 'identity-token'
      ? refreshRequest(endpoint, scopes, credential.token)
      : passwordRequest(endpoint, scopes, credential);
  const answer = await transport.send({ ...request, signal: o.signal });
  const { status } = answer;
  if (status === 200) return readToken(answer, endpoint, o.now);
  cut(answer.body);
  const noSuchMethod = credential?.kind === 'identity-token' && (status === 404 || status === 405);
  if (status >= 400 && status < 500 && status !== 408 && status !== 429 && !noSuchMethod) {
    return { kind: 'refused', status };
  }
  const wait = retryAfter(answer.headers.get('retry-after'), o.now);
  throw new RegistryError('UNAVAILABLE', {
    reason: noSuchMethod
      ? `the token endpoint ${endpoint.realm.host} takes no identity tokens (${status})`
      : `the token endpoint ${endpoint.realm.host} answers ${status}`,
    ...(wait !== undefined && { retryAfter: wait }),
  });
}

function passwordRequest(
  { realm, service }: TokenEndpoint,
  scopes: readonly string[],
  credential: Extract<Credential, { kind: 'basic' }> | undefined,
): Omit<OutgoingRequest, 'signal'> {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (credential !== undefined) url.searchParams.set('account', credential.username);
  const authorization = credential && {
    authorization: basicHeader(credential.username, credential.password),
  };
  return { method: 'GET', url, headers: { ...commonHeaders, ...authorization } };
}

function refreshRequest(
  { realm, service }: TokenEndpoint,
  scopes: readonly string[],
  token: Secret,
): Omit<OutgoingRequest, 'signal'> {
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: userAgent });
  if (service !== undefined) form.set('service', service);
  if (scopes.length > 0) form.set('scope', scopes.join(' '));
  form.set('refresh_token', token.reveal());
  return {
    method: 'POST',
    url: realm,
    headers: { ...commonHeaders, 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  };
}

const commonHeaders = {
  accept: 'application/json',
  'accept-encoding': 'identity',
  'user-agent': userAgent,
} as const;

/** RFC 7617, with UTF-8. */
export function basicHeader(username: string, password: Secret): string {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`, 'utf8').toString('base64')}`;
}

async function readToken(answer: Answer, { realm }: TokenEndpoint, now: number): Promise<TokenAnswer> {
  const broken = (what: string, cause?: unknown) =>
    new RegistryError('UNAVAILABLE', { reason: `the token endpoint ${realm.host} ${what}`, cause });
  let bytes: Buffer | undefined;
  try {
    bytes = await readBounded(answer.body, maxTokenBody, tokenBodyTime);
  } catch (error) {
    throw broken('broke off its answer', error);
  }
  if (bytes === undefined) throw broken(`sent more than ${maxTokenBody} bytes`);
  const fields = parseJsonObject(bytes.toString('utf8'));
  const token = [fields?.token, fields?.access_token].find((text) => typeof text === 'string' && text !== '');
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw broken('sent no token');
  return { kind: 'token', token: new Secret(token), lifetime: lifetimeOf(token, fields?.expires_in, now) };
}

/**
 * Seconds: the shorter of what the answer says and what the token itself says. ACR and Quay tell the latter alone, and an
 * answer from a cache tells more than is left. A token that has ended by our clock says that the clocks differ: that
 * `exp` is not looked at.
 */
function lifetimeOf(token: string, expiresIn: unknown, now: number): number {
  const said = positive(typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn);
  const exp = unverifiedClaims(token)?.exp;
  const left = typeof exp === 'number' ? positive(exp - now / 1000) : undefined;
  if (said === undefined && left === undefined) return defaultLifetime;
  return Math.min(said ?? maxLifetime, left ?? maxLifetime, maxLifetime);
}

function positive(seconds: unknown): number | undefined {
  return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds : undefined;
}
