import { verify } from 'node:crypto';
import type { GoogleAccounts } from './google-token-endpoint-accounts.js';
import type { Exchange, World } from './world.js';

/** A person's account, with what `gcloud auth application-default login` left of it. */
export interface SignedInUser {
  readonly email: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string;
}

/** oauth2.googleapis.com/token (developers.google.com/identity/protocols/oauth2/service-account). */
export interface GoogleTokenEndpoint {
  users: readonly SignedInUser[];
  /** Answers so instead, while it is set. */
  fault: ((exchange: Exchange) => void) | undefined;
}

const host = 'oauth2.googleapis.com';
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export function startGoogleTokenEndpoint(world: World, accounts: GoogleAccounts): GoogleTokenEndpoint {
  const endpoint: GoogleTokenEndpoint = { users: [], fault: undefined };
  world.host(host, async (exchange) => {
    const form = new URLSearchParams(await exchange.readText());
    if (endpoint.fault !== undefined) return endpoint.fault(exchange);
    const { record, url } = exchange;
    const isForm = record.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
    if (record.method !== 'POST' || url.pathname !== '/token' || !isForm) return exchange.json(404, {});
    const account =
      form.get('grant_type') === jwtBearer
        ? ofAssertion(form.get('assertion') ?? '', accounts)
        : ofRefreshToken(form, endpoint.users);
    if (typeof account !== 'string') {
      const { status = 400, ...body } = account;
      return exchange.json(status, body);
    }
    const { token } = accounts.giveToken(account);
    exchange.json(200, { access_token: token, expires_in: accounts.tokenLife, token_type: 'Bearer' });
  });
  return endpoint;
}

interface Refused {
  readonly error: string;
  readonly error_description: string;
  readonly status?: number;
}

const refused = (error: string, error_description: string, status = 400): Refused => ({
  ...{ error, error_description, status },
});

/** @returns the service account, or why not, in Google's words */
function ofAssertion(assertion: string, accounts: GoogleAccounts): string | Refused {
  const [header = '', payload = '', signature = ''] = assertion.split('.');
  const { alg } = decode(header);
  const { iss, aud, scope, exp, iat } = decode(payload);
  const account = accounts.serviceAccounts.get(String(iss));
  if (account === undefined) return refused('invalid_grant', 'Invalid grant: account not found');
  const signed = Buffer.from(`${header}.${payload}`);
  if (
    alg !== 'RS256' ||
    !verify('RSA-SHA256', signed, account.publicKey, Buffer.from(signature, 'base64url'))
  ) {
    return refused('invalid_grant', 'Invalid JWT Signature.');
  }
  if (aud !== `https://${host}/token`) {
    return refused('invalid_grant', 'Invalid JWT: Failed audience check.');
  }
  const now = Date.now() / 1000;
  const inTime = typeof exp === 'number' && typeof iat === 'number' && iat <= now + 300 && exp > now - 300;
  if (!inTime || exp - iat > 3600) {
    const words =
      'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.';
    return refused('invalid_grant', words);
  }
  if (
    typeof scope !== 'string' ||
    !scope.split(' ').every((one) => one.startsWith('https://www.googleapis.com/auth/'))
  ) {
    return refused('invalid_scope', 'Invalid OAuth scope or ID token audience provided.');
  }
  return account.email;
}

function ofRefreshToken(form: URLSearchParams, users: readonly SignedInUser[]): string | Refused {
  if (form.get('grant_type') !== 'refresh_token') {
    return refused('unsupported_grant_type', `Invalid grant_type: ${form.get('grant_type')}`);
  }
  const user = users.find(({ clientId }) => clientId === form.get('client_id'));
  if (user === undefined) return refused('invalid_client', 'The OAuth client was not found.', 401);
  if (user.clientSecret !== form.get('client_secret')) {
    return refused('invalid_client', 'The provided client secret is invalid.', 401);
  }
  if (user.refreshToken !== form.get('refresh_token')) {
    return refused('invalid_grant', 'Token has been expired or revoked.');
  }
  return user.email;
}

function decode(part: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    return {};
  }
}
