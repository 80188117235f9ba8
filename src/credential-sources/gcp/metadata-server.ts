import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { googleMetadata } from '../../outgoing/metadata/metadata-servers.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { Secret } from '../../secret.js';
import type { AccessToken } from './access-token.js';

/** What the metadata server is asked about one of the machine's service accounts. */
export interface MetadataQuestion extends CallOptions {
  /** `default`, or the e-mail address of one. */
  readonly serviceAccount: string;
  /** Behind the account's name in the path: `token`, `identity?audience=…`. */
  readonly what: string;
  /** For messages: what to do where there is no such server, and where it has no such account. */
  readonly advice: { readonly elsewhere: string; readonly noAccount: string };
}

/**
 * Asks the metadata server (cloud.google.com/compute/docs/metadata/querying-metadata).
 *
 * @returns the text of its answer, and which host it came from
 * @throws RegistryError UNAVAILABLE
 */
export async function askAboutAccount(
  caller: HttpCaller,
  { serviceAccount, what, advice, signal }: MetadataQuestion,
): Promise<{ readonly text: string; readonly host: string }> {
  const url = new URL(`/computeMetadata/v1/instance/service-accounts/${serviceAccount}/${what}`, server());
  const { host } = url;
  const headers = { 'metadata-flavor': 'Google' };
  const answer = await caller.call({ url, headers, signal }).catch((error: unknown) => {
    if (!(error instanceof RegistryError)) throw error;
    throw unavailable(`${error.reason ?? `no answer from ${host}`}; ${advice.elsewhere}`, error.cause);
  });
  return { host, text: textOf(answer, host, serviceAccount, advice) };
}

function server(): URL {
  try {
    return googleMetadata(process.env);
  } catch (error) {
    throw unavailable((error as Error).message);
  }
}

function textOf(
  { status, headers, text }: HttpAnswer,
  host: string,
  serviceAccount: string,
  advice: MetadataQuestion['advice'],
): string {
  // Whoever else has this address (another cloud, a captive portal) has no token for us.
  if (headers.get('metadata-flavor') !== 'Google') {
    throw unavailable(`what answers at ${host} is not Google's metadata server; ${advice.elsewhere}`);
  }
  if (status === 404) {
    const who = serviceAccount === 'default' ? 'no service account' : `no service account ${serviceAccount}`;
    throw unavailable(`${host} answers 404: this machine has ${who}; ${advice.noAccount}`);
  }
  if (status !== 200) throw unavailable(`the metadata server ${host} answers ${status}`);
  return text;
}

const adviceForTokens = {
  elsewhere: 'not on Google Cloud? set keyFile, or for public images credentials: { type: anonymous }',
  noAccount: 'attach one, or set keyFile',
};

/**
 * Asks for the access token of one of the machine's service accounts
 * (cloud.google.com/compute/docs/access/authenticate-workloads). No scopes are asked for: a virtual machine has those it
 * was made with, and no others.
 *
 * @throws RegistryError UNAVAILABLE
 */
export async function askMetadataServer(
  caller: HttpCaller,
  serviceAccount: string,
  { signal, now }: CallOptions & { readonly now: number },
): Promise<AccessToken> {
  const question = { serviceAccount, what: 'token', advice: adviceForTokens, signal };
  const { text, host } = await askAboutAccount(caller, question);
  const fields = parseJsonObject(text);
  const token = fields?.access_token;
  const life = fields?.expires_in;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw unavailable(`the metadata server ${host} gives no token`);
  }
  if (typeof life !== 'number' || !(life > 0)) {
    throw unavailable(`the metadata server ${host} gives a token without a life`);
  }
  return { token: new Secret(token), ...timesUntil(now + life * 1000, now) };
}

/** Milliseconds. */
const renewedBefore = 4 * 60_000;

/**
 * When a token of the metadata server ends, and when to ask for the next. The server gives the same one until five minutes
 * before its end: asked earlier it has no other, so that a refresh at half its life would be followed by many that change
 * nothing. A minute inside those five it has a new one.
 *
 * @param expiresAt milliseconds since the epoch, as `now`
 */
export function timesUntil(
  expiresAt: number,
  now: number,
): { readonly expiresAt: number; readonly refreshAt: number } {
  return { expiresAt, refreshAt: Math.max(expiresAt - renewedBefore, now + (expiresAt - now) / 2) };
}

function unavailable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}
