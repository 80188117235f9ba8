import { z } from 'zod';
import type { Log } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { openSecret } from '../../outgoing/open-secret.js';
import type { Secret } from '../../secret.js';
import { type SecretSource, secretSource } from '../../settings/secret-source.js';

/** How this proxy shows itself to an authorization server (RFC 6749 section 2.3.1). */
export const clientKeys = {
  clientSecret: secretSource()
    .optional()
    .describe('What the authorization server knows this proxy by; a file is read again when it changes.'),
  clientAuthentication: z
    .enum(['basic', 'post'])
    .default('basic')
    .describe('Where `clientId` and `clientSecret` are shown: in a Basic header, or in the form.'),
};

/** RFC 6749 appendix A.1: VSCHAR. */
export const clientIdKey = () =>
  z.string().regex(/^[\x20-\x7e]+$/, 'expected the client identifier that the provider gave out');

export interface ClientSettings {
  readonly clientId?: string | undefined;
  readonly clientSecret?: SecretSource | undefined;
  readonly clientAuthentication: 'basic' | 'post';
  /** Shown instead of an identifier and its secret (RFC 7662 section 2.1). */
  readonly bearer?: SecretSource | undefined;
}

/** What a request says of who asks. */
export interface ShownClient {
  readonly headers: Readonly<Record<string, string>>;
  readonly form: Readonly<Record<string, string>>;
  /** What of it must not be seen. */
  readonly secret?: Secret;
}

/** Gives it as it is now: secrets change while the proxy runs. */
export type ClientReader = () => Promise<ShownClient>;

/** @throws an Error with a one-line message where a secret is not there */
export async function openClient(
  settings: ClientSettings,
  dependencies: { readonly id: string; readonly baseDirectory: string; readonly log: Log },
): Promise<ClientReader> {
  const { clientId = '', clientSecret, bearer, clientAuthentication } = settings;
  if (bearer !== undefined) {
    const read = await openSecret(bearer, dependencies);
    return async () => bearerClient(await read());
  }
  if (clientSecret === undefined) return async () => ({ headers: {}, form: { client_id: clientId } });
  const read = await openSecret(clientSecret, dependencies);
  const show = clientAuthentication === 'basic' ? basicClient : postClient;
  return async () => show(clientId, await read());
}

function bearerClient(secret: Secret): ShownClient {
  // Node would refuse the header with words of its own, request by request.
  if (!/^[\x21-\x7e]+$/.test(secret.reveal())) {
    throw new RegistryError('UNAVAILABLE', { reason: '`bearer` holds characters that no token has' });
  }
  return { headers: { authorization: `Bearer ${secret.reveal()}` }, form: {}, secret };
}

/** Both halves are form-encoded before they are joined, so that a colon in one is no separator. */
function basicClient(clientId: string, secret: Secret): ShownClient {
  const pair = `${formEncoded(clientId)}:${formEncoded(secret.reveal())}`;
  return { headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }, form: {}, secret };
}

function postClient(clientId: string, secret: Secret): ShownClient {
  return { headers: {}, form: { client_id: clientId, client_secret: secret.reveal() }, secret };
}

/** application/x-www-form-urlencoded, in UTF-8 (RFC 6749 appendix B). */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}
