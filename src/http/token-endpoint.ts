import type { IncomingMessage } from 'node:http';
import type { CallOptions, ClientCredentials } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { printScope } from '../reference/scope.js';
import type { ServedHost } from '../routing/served-host.js';
import { Secret } from '../secret.js';
import type { TokenAnswer, TokenRequest } from '../token/token-service.js';
import { parseAuthorization } from './authorization.js';
import { readForm } from './read-form.js';

/** Bytes. */
const maxFormSize = 65_536;

/**
 * Parses GET (distribution `token.md`) and POST (`oauth.md`) into one request.
 *
 * @param o.beforeBody called before a form is read
 * @throws RegistryError UNSUPPORTED for other methods and grant types, UNAUTHORIZED for credentials that cannot be
 *   understood, SIZE_INVALID for a form that is too large, too slow or not whole
 */
export async function parseTokenRequest(
  request: IncomingMessage,
  host: ServedHost,
  connection: ClientCredentials['connection'],
  o: CallOptions & { readonly beforeBody: () => void },
): Promise<Omit<TokenRequest, 'admit'>> {
  const shown = parseAuthorization(request.headers.authorization);
  if (request.method === 'GET') {
    const query = new URLSearchParams((request.url ?? '').split('?').slice(1).join('?'));
    return {
      host,
      ...serviceAndScopes(query),
      credentials: { shown, connection },
      wantsRefreshToken: query.get('offline_token') === 'true',
    };
  }
  if (request.method !== 'POST') throw new RegistryError('UNSUPPORTED');
  o.beforeBody();
  const form = await readForm(request, { ...o, maxSize: maxFormSize });
  const wantsRefreshToken = form.get('access_type') === 'offline';
  const common = { host, ...serviceAndScopes(form), wantsRefreshToken };
  if (form.get('grant_type') === 'refresh_token') {
    const refreshToken = new Secret(form.get('refresh_token') ?? '');
    return { ...common, credentials: { shown: { kind: 'none' }, connection }, refreshToken };
  }
  if ((form.get('grant_type') ?? 'password') !== 'password') {
    throw new RegistryError('UNSUPPORTED', { message: 'the grant type is unsupported' });
  }
  return { ...common, credentials: { shown: passwordOf(form) ?? shown, connection } };
}

/** `expires_in` in seconds and `issued_at` as RFC 3339; `token` for docker, `access_token` for OAuth2 clients. */
export function printTokenAnswer({ issued, granted, refreshToken }: TokenAnswer): string {
  const token = issued.token.reveal();
  return JSON.stringify({
    token,
    access_token: token,
    expires_in: issued.expiresIn,
    issued_at: new Date(issued.issuedAt).toISOString(),
    scope: granted.map(printScope).join(' '),
    ...(refreshToken && { refresh_token: refreshToken.reveal() }),
  });
}

function serviceAndScopes(parameters: URLSearchParams): Pick<TokenRequest, 'service' | 'scopes'> {
  const scopes = parameters.getAll('scope').flatMap((field) => field.split(/\s+/));
  return { service: parameters.get('service') || undefined, scopes: scopes.filter((scope) => scope !== '') };
}

function passwordOf(form: URLSearchParams): ClientCredentials['shown'] | undefined {
  const username = form.get('username');
  const password = form.get('password');
  if (username === null && password === null) return undefined;
  return { kind: 'password', username: username ?? '', password: new Secret(password ?? '') };
}
