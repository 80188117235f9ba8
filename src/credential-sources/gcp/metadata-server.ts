import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { openDispatcher } from '../../outgoing/dispatcher.js';
import { type HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { Secret } from '../../secret.js';
import type { AccessToken } from './access-token.js';

/** Milliseconds: it is on the machine itself or beside it; elsewhere nobody should wait to learn that it is not there. */
const connectTime = 2_000;

/** For servers of the machine itself: never through a proxy, which would be asked for its own identity. */
export function openDirectCaller(timeout: number): HttpCaller {
  const timeouts = { connect: Math.min(connectTime, timeout), headers: timeout, idle: timeout };
  return new HttpCaller(openDispatcher({ timeouts, connections: 4 }), timeout);
}

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
  const host = process.env.GCE_METADATA_HOST || 'metadata.google.internal';
  const path = `/computeMetadata/v1/instance/service-accounts/${serviceAccount}/token`;
  if (!URL.canParse(path, `http://${host}`)) throw unavailable('GCE_METADATA_HOST is not a host');
  const url = new URL(path, `http://${host}`);
  const headers = { 'metadata-flavor': 'Google' };
  const answer = await caller.call({ url, headers, signal }).catch((error: unknown) => {
    if (!(error instanceof RegistryError)) throw error;
    throw unavailable(`${error.reason ?? `no answer from ${url.host}`}; ${elsewhere}`, error.cause);
  });
  return readToken(answer, url.host, serviceAccount, now);
}

const elsewhere = 'not on Google Cloud? set keyFile, or for public images credentials: { type: anonymous }';

function readToken(
  { status, headers, text }: HttpAnswer,
  host: string,
  serviceAccount: string,
  now: number,
): AccessToken {
  // Whoever else has this address (another cloud, a captive portal) has no token for us.
  if (headers.get('metadata-flavor') !== 'Google') {
    throw unavailable(`what answers at ${host} is not Google's metadata server; ${elsewhere}`);
  }
  if (status === 404) {
    const who = serviceAccount === 'default' ? 'no service account' : `no service account ${serviceAccount}`;
    throw unavailable(`${host} answers 404: this machine has ${who}; attach one, or set keyFile`);
  }
  if (status !== 200) throw unavailable(`the metadata server ${host} answers ${status}`);
  const fields = parseJsonObject(text);
  const token = fields?.access_token;
  const life = fields?.expires_in;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw unavailable(`the metadata server ${host} gives no token`);
  }
  if (typeof life !== 'number' || !(life > 0)) {
    throw unavailable(`the metadata server ${host} gives a token without a life`);
  }
  return { token: new Secret(token), ...timesOf(now, life * 1000) };
}

/** Milliseconds. */
const renewedBefore = 4 * 60_000;

/**
 * The metadata server gives the same token until five minutes before its end: asked earlier it has no other, so that a
 * refresh at half its life would be followed by many that change nothing. A minute inside those five it has a new one.
 */
function timesOf(now: number, life: number): { readonly expiresAt: number; readonly refreshAt: number } {
  const expiresAt = now + life;
  return { expiresAt, refreshAt: Math.max(expiresAt - renewedBefore, now + life / 2) };
}

function unavailable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}
