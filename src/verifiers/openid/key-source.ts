import { z } from 'zod';
import type { CallOptions } from '../../contracts/index.js';
import { describeError, RegistryError } from '../../errors.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { isSecureUrl } from '../../settings/secure-url.js';
import { type KeySet, parseKeySet } from './key-set.js';

/**
 * Where an issuer's keys come from.
 *
 * @throws RegistryError UNAVAILABLE, with a reason that names the server and what is wrong
 */
export type KeySource = (o: CallOptions) => Promise<KeySet>;

/** Kubernetes' API server answers 406 to who does not name the first. */
const keySetTypes = 'application/jwk-set+json, application/json';

const discoveryDocument = z.object({ issuer: z.string(), jwks_uri: z.string() });

/**
 * The keys an issuer names in its discovery document (OpenID Connect Discovery 1.0 section 4). The document must be of
 * exactly this issuer: a slash more is another one.
 */
export function discoveredKeys(issuer: string, caller: HttpCaller): KeySource {
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  return async (o) => {
    const parsed = discoveryDocument.safeParse(await json(url, caller, o));
    if (!parsed.success) throw unusable(url, 'is no discovery document: issuer or jwks_uri is missing');
    const { issuer: named, jwks_uri: uri } = parsed.data;
    if (named !== issuer) {
      throw unusable(url, `names the issuer ${JSON.stringify(named.slice(0, 200))}, not ${issuer}`);
    }
    if (!isSecureUrl(uri) || (isHttps(issuer) && !isHttps(uri))) {
      throw unusable(url, 'names a jwks_uri that is not an https URL');
    }
    return keysAt(uri, caller)(o);
  };
}

/**
 * The key set at a fixed address, without discovery.
 *
 * @param headers asked for each time: an `authorization` may change
 */
export function keysAt(
  uri: string,
  caller: HttpCaller,
  headers: () => Promise<Readonly<Record<string, string>>> = async () => ({}),
): KeySource {
  const url = new URL(uri);
  return async (o) => {
    const text = await answered(url, caller, o, { accept: keySetTypes, ...(await headers()) });
    try {
      return parseKeySet(text);
    } catch (error) {
      throw unusable(url, describeError(error));
    }
  };
}

async function json(url: URL, caller: HttpCaller, o: CallOptions): Promise<unknown> {
  const text = await answered(url, caller, o);
  try {
    return JSON.parse(text);
  } catch {
    throw unusable(url, 'is not JSON');
  }
}

async function answered(
  url: URL,
  caller: HttpCaller,
  { signal }: CallOptions,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { status, text } = await caller.call({ url, headers, signal });
  if (status >= 300 && status < 400) throw unusable(url, `answered ${status}; redirects are not followed`);
  if (status !== 200) throw unusable(url, `answered ${status}`);
  return text;
}

function isHttps(url: string): boolean {
  return /^https:/i.test(url);
}

function unusable(url: URL, what: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `${url.origin}${url.pathname}: ${what}` });
}
