import Provider, { type ClientMetadata, type Configuration, errors } from 'oidc-provider';
import {
  type OpenIdProvider,
  type OpenIdProviderOptions,
  type ProviderAccount,
  registryClient,
  startOpenIdProvider,
} from './openid-provider.js';
import { redeem } from './sign-in-by-hand.js';

/** May use the password grant, and ask about tokens; its identifier and secret need each kind of encoding. */
export const proxyClient = {
  client_id: 'docker proxy:1',
  client_secret: 'a secret of 100% + & = :',
  grant_types: ['password', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
} satisfies ClientMetadata;

/** May do nothing of that. */
export const plainClient = {
  client_id: 'plain',
  client_secret: 'the secret of the plain client',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
} satisfies ClientMetadata;

/**
 * A real OAuth 2.0 authorization server (`oidc-provider`) with a password grant, which it has not by itself,
 * introspection and revocation. The access tokens are opaque.
 */
export function startOAuth2Provider(options: OpenIdProviderOptions = {}): Promise<OpenIdProvider> {
  const { clients = [registryClient, proxyClient, plainClient], configure = (same) => same } = options;
  return startOpenIdProvider({
    ...options,
    clients,
    configure: (configuration) => configure(withFeatures(configuration)),
    extend: (provider, accounts) => {
      provider.registerGrantType('password', passwordGrant(provider, accounts), [
        'username',
        'password',
        'scope',
      ]);
      options.extend?.(provider, accounts);
    },
  });
}

/** A token of the password grant, as another program gets one. */
export async function tokenFor(
  { issuer, accounts }: OpenIdProvider,
  login: string,
  { client = proxyClient, scope = 'openid' }: { client?: ClientMetadata; scope?: string } = {},
) {
  const password = accounts.get(login)?.password ?? '';
  return redeem({ issuer, client }, { grant_type: 'password', username: login, password, scope });
}

/** RFC 7009. */
export async function revoke({ issuer }: OpenIdProvider, token: string, client = proxyClient): Promise<void> {
  const form = { token, client_id: client.client_id, client_secret: client.client_secret };
  const answer = await fetch(`${issuer}/token/revocation`, {
    method: 'POST',
    headers: { connection: 'close' },
    body: new URLSearchParams(form),
  });
  if (answer.status !== 200) throw new Error(`revocation answered ${answer.status}: ${await answer.text()}`);
}

function withFeatures(configuration: Configuration): Configuration {
  const features = {
    clientCredentials: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy: (_ctx: unknown, client: { readonly clientId: string }) =>
        client.clientId !== plainClient.client_id,
    },
    revocation: { enabled: true },
  };
  return { ...configuration, features: Object.assign({}, configuration.features, features) };
}

interface PasswordParameters {
  readonly username?: string;
  readonly password?: string;
  readonly scope?: string;
}

/** RFC 6749 section 4.3. */
function passwordGrant(provider: Provider, accounts: ReadonlyMap<string, ProviderAccount>) {
  return async (ctx: Parameters<Parameters<typeof provider.registerGrantType<PasswordParameters>>[1]>[0]) => {
    const { client, params } = ctx.oidc;
    const { username = '', password, scope = '' } = params;
    const account = accounts.get(username);
    if (account === undefined || account.password !== password)
      throw new errors.InvalidGrant('invalid user name or password');
    const accountId = username;
    const grant = new provider.Grant({ clientId: client.clientId, accountId });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const token = new provider.AccessToken({ client, accountId, grantId, scope, gty: 'password' } as never);
    const accessToken = await token.save();
    const isOpenId = scope.split(' ').includes('openid');
    ctx.body = {
      access_token: accessToken,
      expires_in: token.expiration,
      token_type: 'Bearer',
      scope,
      ...(isOpenId && {
        id_token: await idTokenOf(provider, ctx, { ...account.claims, sub: accountId }, scope),
      }),
    };
  };
}

function idTokenOf(
  provider: Provider,
  ctx: Parameters<Parameters<Provider['registerGrantType']>[1]>[0],
  claims: Readonly<Record<string, unknown>>,
  scope: string,
): Promise<string> {
  const token = new provider.IdToken({ ...claims }, { ctx });
  return Object.assign(token, { scope }).issue({ use: 'idtoken' });
}
