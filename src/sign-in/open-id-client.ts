import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  type CustomFetch,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
  type ServerMetadata,
} from 'openid-client';
import type { CallOptions, Clock, OpenIdProvider } from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { isSecureUrl } from '../settings/secure-url.js';
import { isOver, reasonOf, signInErrorOf } from './open-id-failure.js';

export interface OpenIdClientParts {
  readonly provider: OpenIdProvider;
  readonly clientId: string;
  /** Gives the secret as it is now. Absent: a public client. */
  readonly clientSecret?: () => Promise<Secret>;
  readonly scopes: readonly string[];
  /** Registered at the provider. */
  readonly redirectUri: URL;
  readonly clock: Clock;
}

/** What has to come back from one browser, and back to it alone. */
export interface SignInAttempt {
  readonly state: string;
  readonly nonce: string;
  /** RFC 7636. */
  readonly codeVerifier: string;
}

/** What a provider gave for a code or a refresh token. Nothing in it has been verified beyond its claims. */
export interface ProviderTokens {
  readonly idToken?: Secret;
  readonly refreshToken?: Secret;
}

/** Milliseconds that a provider's endpoints are known; after it they go on to count while it does not answer. */
const metadataLife = 600_000;
/** Milliseconds. */
const discoveryTime = 30_000;

/**
 * Our side of the authorization-code flow with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636, RFC 9207). The
 * provider is asked when it is needed, not at the start.
 */
export class OpenIdClient {
  readonly #parts: OpenIdClientParts;
  readonly #discoveries = new SingleFlight<ServerMetadata>(discoveryTime);
  #known: { readonly server: ServerMetadata; readonly since: number } | undefined;

  constructor(parts: OpenIdClientParts) {
    this.#parts = parts;
  }

  /** @throws SignInError `unavailable` */
  async begin(o: CallOptions): Promise<{ readonly location: URL; readonly attempt: SignInAttempt }> {
    o.signal.throwIfAborted();
    const attempt = { state: randomState(), nonce: randomNonce(), codeVerifier: randomPKCECodeVerifier() };
    const scopes = new Set(['openid', ...this.#parts.scopes]);
    const parameters = {
      redirect_uri: this.#parts.redirectUri.href,
      scope: [...scopes].join(' '),
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await calculatePKCECodeChallenge(attempt.codeVerifier),
      code_challenge_method: 'S256',
      // Without it `offline_access` is ignored (OpenID Connect Core 1.0 section 11).
      ...(scopes.has('offline_access') && { prompt: 'consent' }),
    };
    return asSignIn(o, async () => {
      const location = buildAuthorizationUrl(await this.#configuration(o), parameters);
      return { location, attempt };
    });
  }

  /**
   * @param answer the query the browser came back with; its `state` has to be that of the attempt
   * @throws SignInError
   */
  async finish(
    answer: URLSearchParams,
    { state, nonce, codeVerifier }: SignInAttempt,
    o: CallOptions,
  ): Promise<ProviderTokens> {
    const url = new URL(this.#parts.redirectUri);
    url.search = answer.toString();
    return asSignIn(o, async () => {
      const checks = {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: codeVerifier,
        idTokenExpected: true,
      };
      return tokensOf(await authorizationCodeGrant(await this.#configuration(o), url, checks));
    });
  }

  /**
   * @returns 'gone' where the provider takes the refresh token no more, or says no to the person
   * @throws RegistryError UNAVAILABLE
   */
  async refresh(refreshToken: Secret, o: CallOptions): Promise<ProviderTokens | 'gone'> {
    try {
      return tokensOf(await refreshTokenGrant(await this.#configuration(o), refreshToken.reveal()));
    } catch (error) {
      o.signal.throwIfAborted();
      if (isOver(error)) return 'gone';
      // Without the cause: it may hold an answer with tokens.
      throw new RegistryError('UNAVAILABLE', { reason: reasonOf(error) });
    }
  }

  close(): void {
    this.#discoveries.close();
  }

  async #configuration(o: CallOptions): Promise<Configuration> {
    const server = await this.#server(o);
    const configuration = new Configuration(
      server,
      this.#parts.clientId,
      undefined,
      await this.#authentication(server),
    );
    configuration[customFetch] = this.#fetchUntil(o);
    if (this.#isPlain) allowInsecureRequests(configuration);
    return configuration;
  }

  async #authentication(server: ServerMetadata): Promise<ClientAuth> {
    const secret = await this.#parts.clientSecret?.();
    if (secret === undefined) return None();
    // What a client has that registered nothing else (OpenID Connect Core 1.0 section 9).
    const { token_endpoint_auth_methods_supported: methods = ['client_secret_basic'] } = server;
    const isPostOnly = methods.includes('client_secret_post') && !methods.includes('client_secret_basic');
    return (isPostOnly ? ClientSecretPost : ClientSecretBasic)(secret.reveal());
  }

  async #server(o: CallOptions): Promise<ServerMetadata> {
    const known = this.#known;
    const now = this.#parts.clock.now();
    if (known !== undefined && Math.abs(now - known.since) < metadataLife) return known.server;
    try {
      const server = await this.#discoveries.run('', o, (signal) => this.#discover({ signal }));
      this.#known = { server, since: now };
      return server;
    } catch (error) {
      o.signal.throwIfAborted();
      if (known === undefined) throw error;
      return known.server;
    }
  }

  async #discover(o: CallOptions): Promise<ServerMetadata> {
    const { provider, clientId } = this.#parts;
    const found = await discovery(new URL(provider.issuer), clientId, undefined, None(), {
      [customFetch]: this.#fetchUntil(o),
      execute: this.#isPlain ? [allowInsecureRequests] : [],
    });
    const server = found.serverMetadata();
    for (const [name, url] of Object.entries({
      authorization_endpoint: server.authorization_endpoint,
      token_endpoint: server.token_endpoint,
    })) {
      if (url === undefined || !isSecureUrl(url)) {
        throw new RegistryError('UNAVAILABLE', { reason: `the provider names no ${name} with https` });
      }
    }
    return server;
  }

  /** A provider on this machine itself: its verifier lets plain http pass to nowhere else, nor do we. */
  get #isPlain(): boolean {
    const { issuer } = this.#parts.provider;
    return issuer.startsWith('http:') && isSecureUrl(issuer);
  }

  /** The verifier's own way to the provider bounds time and size; ours adds that nobody waits any more. */
  #fetchUntil({ signal }: CallOptions): CustomFetch {
    return (url, { method, headers, body }) =>
      this.#parts.provider.fetch(url, {
        ...{ method, headers, signal, redirect: 'manual' },
        body: body instanceof URLSearchParams ? body : null,
      });
  }
}

function tokensOf({
  id_token,
  refresh_token,
}: {
  readonly id_token?: string;
  readonly refresh_token?: string;
}): ProviderTokens {
  return {
    ...(id_token !== undefined && { idToken: new Secret(id_token) }),
    ...(refresh_token !== undefined && { refreshToken: new Secret(refresh_token) }),
  };
}

async function asSignIn<T>(o: CallOptions, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    o.signal.throwIfAborted();
    throw signInErrorOf(error);
  }
}
