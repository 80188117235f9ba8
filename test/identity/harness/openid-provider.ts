import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import Provider, { type ClientMetadata, type Configuration } from 'oidc-provider';
import { type LoopbackServer, startLoopbackServer } from '../../../src/testing/loopback-server.js';
import { ProviderStorage } from './provider-storage.js';
import { signInByHand, type Tokens } from './sign-in-by-hand.js';

/** Somebody with an account. May be changed while the provider runs: the next token says it. */
export interface ProviderAccount {
  password: string;
  /** Beside `sub`, which is the login. */
  claims: Record<string, unknown>;
}

export interface OpenIdProviderOptions {
  /** Default: one confidential client, `registryClient`. */
  readonly clients?: readonly ClientMetadata[];
  /** By login. Default: alice (developers, wonderland) and bob (guests, builder). */
  readonly accounts?: Readonly<Record<string, ProviderAccount>>;
  /** Seconds. Default: five minutes. */
  readonly idTokenLife?: number;
  readonly accessTokenLife?: number;
  /** Also without the scope `offline_access`, as many providers do. Default: false. */
  readonly alwaysRefreshTokens?: boolean;
  /** Changes oidc-provider's configuration: features, scopes, token claims. */
  readonly configure?: (configuration: Configuration) => Configuration;
  /** Told of each provider that is made (a key rotation makes a new one): registers grant types. */
  readonly extend?: (provider: Provider, accounts: ReadonlyMap<string, ProviderAccount>) => void;
}

export interface SignInOptions {
  readonly login?: string;
  /** Default: the account's own. */
  readonly password?: string;
  /** Default: `registryClient`. */
  readonly client?: ClientMetadata;
  /** Default: `openid profile email groups`. */
  readonly scope?: string;
  /** An API's identifier: the access token is then a JWT for it (RFC 8707). */
  readonly resource?: string;
}

/** The client that is registered where no others are given. */
export const registryClient = {
  client_id: 'registry',
  client_secret: 'the secret of the registry client',
  redirect_uris: ['http://127.0.0.1/sign-in/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
} satisfies ClientMetadata;

const defaultAccounts = (): Record<string, ProviderAccount> => ({
  alice: {
    password: 'wonderland',
    claims: {
      name: 'Alice',
      email: 'alice@example.com',
      email_verified: true,
      groups: ['developers', 'all'],
    },
  },
  bob: {
    password: 'builder',
    claims: { name: 'Bob', email: 'bob@example.com', email_verified: false, groups: ['guests'] },
  },
});

/**
 * A real OpenID provider (`oidc-provider`) on the loopback interface. Its login page is a form with the fields `login`
 * and `password`; whoever signs in has consented.
 */
export async function startOpenIdProvider(options: OpenIdProviderOptions = {}): Promise<OpenIdProvider> {
  const provider = new OpenIdProvider(options);
  await provider.begin();
  return provider;
}

export class OpenIdProvider {
  readonly accounts: Map<string, ProviderAccount>;
  /** Method and path of each request, in order. */
  readonly requests: string[] = [];
  readonly #options: OpenIdProviderOptions;
  readonly #storage = new ProviderStorage();
  #keys: JWK[] = [];
  #server: LoopbackServer | undefined;
  #provider: Provider | undefined;
  #url: string | undefined;

  /** Use `startOpenIdProvider`. */
  constructor(options: OpenIdProviderOptions) {
    this.#options = options;
    this.accounts = new Map(Object.entries(options.accounts ?? defaultAccounts()));
  }

  /** `http://127.0.0.1:41234` */
  get issuer(): string {
    if (this.#url === undefined) throw new Error('it was not started');
    return this.#url;
  }

  /** The present one: a key rotation makes another. */
  get provider(): Provider {
    if (this.#provider === undefined) throw new Error('it was not started');
    return this.#provider;
  }

  async begin(): Promise<void> {
    firstKey ??= newKey();
    this.#keys = [await firstKey];
    await this.start();
    this.#provider = this.#newProvider();
  }

  /** Again, on the same port; sessions, grants and refresh tokens are still there. */
  async start(): Promise<void> {
    const port = this.#url === undefined ? 0 : Number(new URL(this.#url).port);
    this.#server = await startLoopbackServer(this.#listener, { port });
    this.#url = this.#server.url;
  }

  /** Cuts all connections; nobody listens then. */
  async stop(): Promise<void> {
    await this.#server?.close();
  }

  close(): Promise<void> {
    return this.stop();
  }

  /** Signs with a new key from now on. @param keepOld the old keys stay published, as they do for a while in real life */
  async rotateKeys({ keepOld }: { readonly keepOld: boolean }): Promise<void> {
    this.#keys = [await newKey(), ...(keepOld ? this.#keys : [])];
    this.#provider = this.#newProvider();
  }

  /** Publishes the present key only. */
  dropOldKeys(): void {
    this.#keys = this.#keys.slice(0, 1);
    this.#provider = this.#newProvider();
  }

  /** The authorization-code flow with PKCE (RFC 7636), as a browser and a client go through it. */
  signIn({
    login = 'alice',
    password,
    client = registryClient,
    ...rest
  }: SignInOptions = {}): Promise<Tokens> {
    return signInByHand({
      issuer: this.issuer,
      client,
      login,
      password: password ?? this.accounts.get(login)?.password ?? '',
      scope: rest.scope ?? 'openid profile email groups',
      ...(rest.resource !== undefined && { resource: rest.resource }),
    });
  }

  readonly #listener: RequestListener = (request, response) => {
    this.requests.push(`${request.method} ${request.url?.replace(/\?.*/, '')}`);
    if (request.url?.startsWith('/interaction/')) {
      this.#interact(request, response).catch((error: unknown) => {
        response.writeHead(400, { 'content-type': 'text/plain' }).end(String(error));
      });
      return;
    }
    this.provider.callback()(request, response);
  };

  /** The login page, and consent without asking. */
  async #interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session } = await this.provider.interactionDetails(request, response);
    if (prompt.name !== 'login') {
      const grantId = await this.#grant(String(params.client_id), String(session?.accountId));
      await this.provider.interactionFinished(request, response, { consent: { grantId } });
      return;
    }
    const form = request.method === 'POST' ? new URLSearchParams(await bodyOf(request)) : undefined;
    const login = form?.get('login') ?? '';
    const account = this.accounts.get(login);
    if (account !== undefined && account.password === form?.get('password')) {
      await this.provider.interactionFinished(request, response, { login: { accountId: login } });
      return;
    }
    const page = loginPage(request.url ?? '', form !== undefined);
    response.writeHead(form === undefined ? 200 : 401, { 'content-type': 'text/html' }).end(page);
  }

  async #grant(clientId: string, accountId: string, resource?: string): Promise<string> {
    const grant = new this.provider.Grant({ clientId, accountId });
    grant.addOIDCScope('openid profile email groups offline_access');
    if (resource !== undefined) grant.addResourceScope(resource, 'pull');
    return grant.save();
  }

  #newProvider(): Provider {
    const { configure = (same) => same, extend, clients = [registryClient] } = this.#options;
    const provider = new Provider(this.issuer, configure(this.#configuration(clients)));
    extend?.(provider, this.accounts);
    return provider;
  }

  #configuration(clients: readonly ClientMetadata[]): Configuration {
    const { idTokenLife = 300, accessTokenLife = 300, alwaysRefreshTokens = false } = this.#options;
    return {
      adapter: this.#storage.adapterFor,
      clients: clients.map((client) => ({ ...client })),
      jwks: { keys: this.#keys as never },
      cookies: { keys: ['a key for the cookies of tests'] },
      claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
      // As most providers do: the claims stand in the ID token and not only behind the userinfo endpoint.
      conformIdTokenClaims: false,
      ttl: {
        ...{ IdToken: idTokenLife, AccessToken: accessTokenLife, AuthorizationCode: 60 },
        ...{ Grant: 3600, Interaction: 600, Session: 3600, RefreshToken: 3600, ClientCredentials: 300 },
      },
      pkce: { required: () => false },
      clientBasedCORS: () => false,
      expiresWithSession: () => false,
      issueRefreshToken: async (_ctx, client, source) =>
        client.grantTypeAllowed('refresh_token') &&
        (alwaysRefreshTokens || source.scopes.has('offline_access')),
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      features: {
        devInteractions: { enabled: false },
        resourceIndicators: {
          enabled: true,
          useGrantedResource: async () => true,
          getResourceServerInfo: (_ctx, resource) => ({
            ...{ scope: 'pull', audience: resource, accessTokenFormat: 'jwt' as const },
            ...{ accessTokenTTL: accessTokenLife, jwt: { sign: { alg: 'RS256' as const } } },
          }),
        },
      },
      extraTokenClaims: (_ctx, token) =>
        'accountId' in token && typeof token.accountId === 'string'
          ? { ...this.accounts.get(token.accountId)?.claims }
          : undefined,
      findAccount: (_ctx, sub) => {
        const account = this.accounts.get(sub);
        return account && { accountId: sub, claims: () => ({ ...account.claims, sub }) };
      },
      loadExistingGrant: async (ctx) => {
        const { client, session, params } = ctx.oidc;
        if (client === undefined || session?.accountId === undefined) return undefined;
        const resource = typeof params?.resource === 'string' ? params.resource : undefined;
        const id = await this.#grant(client.clientId, session.accountId, resource);
        return this.provider.Grant.find(id);
      },
    };
  }
}

/** An RSA key takes half a second of a machine: the providers of one test file begin with the same one. */
let firstKey: Promise<JWK> | undefined;

async function newKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: randomUUID(), alg: 'RS256', use: 'sig' };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

function loginPage(action: string, failed: boolean): string {
  return `<!doctype html><html lang="en"><title>Sign in to the provider</title><h1>Sign in</h1>
${failed ? '<p role="alert">Wrong login or password</p>' : ''}
<form method="post" action="${action.replace(/[^\w/-]/g, '')}">
<label>Login <input name="login" autocomplete="off" required></label>
<label>Password <input name="password" type="password" required></label>
<button type="submit">Sign in</button></form></html>`;
}
