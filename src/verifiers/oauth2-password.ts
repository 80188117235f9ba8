import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import type { Secret } from '../secret.js';
import { issuerUrl, secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import type { Claims } from './claims/claim-path.js';
import { claimKeys, principalOfClaims } from './claims/principal-of-claims.js';
import { AuthorizationServer, type TokenAnswer } from './oauth2/authorization-server.js';
import { clientIdKey, clientKeys, openClient } from './oauth2/client-authentication.js';
import { hasTokenForm } from './oauth2/token-form.js';
import { FetchedKeys, type IssuerKeys } from './openid/issuer-keys.js';
import { discoveredKeys } from './openid/key-source.js';
import { verifyToken } from './openid/verify-token.js';

const scopeGrammar = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

const config = z
  .strictObject({
    issuer: issuerUrl()
      .optional()
      .describe('The provider, by the identifier in its discovery document; its endpoints are found there.'),
    tokenEndpoint: secureUrl().optional().describe('Where passwords are shown. Default: found by `issuer`.'),
    userinfoEndpoint: secureUrl().optional().describe('Default: found by `issuer`.'),
    introspectionEndpoint: secureUrl().optional().describe('Default: found by `issuer`.'),
    clientId: clientIdKey().describe('What the provider knows this proxy as.'),
    ...clientKeys,
    scopes: z
      .array(z.string().regex(scopeGrammar, 'expected a scope such as openid'))
      .optional()
      .describe('Asked for at each login. Default: `openid` for an ID token or userinfo, else none.'),
    principalFrom: z
      .enum(['id-token', 'userinfo', 'introspection', 'username'])
      .default('id-token')
      .describe(
        'Where name and groups come from: the ID token of the login, userinfo, introspection of the access token, or the user name as it was typed, in lower case.',
      ),
    ...claimKeys,
    ...serverKeys,
  })
  .refine(({ issuer, tokenEndpoint }) => issuer !== undefined || tokenEndpoint !== undefined, {
    path: ['issuer'],
    message: 'either issuer or tokenEndpoint is required',
  })
  .refine((set) => set.principalFrom !== 'id-token' || set.issuer !== undefined, {
    path: ['issuer'],
    message: 'is required for principalFrom: id-token, whose signature is verified by the keys of the issuer',
  })
  .refine(
    ({ principalFrom, scopes }) => principalFrom !== 'id-token' || scopes?.includes('openid') !== false,
    {
      path: ['scopes'],
      message: 'must hold openid for principalFrom: id-token',
    },
  )
  .refine((set) => set.principalFrom !== 'userinfo' || (set.issuer ?? set.userinfoEndpoint) !== undefined, {
    path: ['userinfoEndpoint'],
    message: 'either it or issuer is required for principalFrom: userinfo',
  })
  .refine(
    (set) => set.principalFrom !== 'introspection' || (set.issuer ?? set.introspectionEndpoint) !== undefined,
    {
      path: ['introspectionEndpoint'],
      message: 'either it or issuer is required for principalFrom: introspection',
    },
  )
  .refine((set) => set.principalFrom !== 'username' || !readsClaims(set), {
    path: ['principalFrom'],
    message:
      'there are no claims to read where it is username: leave out usernameClaim, groupsClaim and the like',
  });

type Config = z.output<typeof config>;

function readsClaims(set: z.output<z.ZodObject<typeof claimKeys>>): boolean {
  const { usernameClaim, groupsClaim, attributes, requiredClaims } = set;
  const isSet = [attributes, requiredClaims].some((map) => Object.keys(map).length > 0);
  return isSet || groupsClaim !== undefined || usernameClaim.join('.') !== 'sub';
}

/** Bytes: longer ones are load and no passwords. */
const maxPasswordBytes = 4096;
/** RFC 6749 appendix A.15 and A.16: UNICODECHARNOCRLF. */
const textGrammar = /^[\t\x20-\x7e\u0080-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]+$/u;
/** Names that no provider reads in two ways: it might trim a space, or take one letter for another. */
const plainName = /^[\x21-\x7e]+$/;
/** Milliseconds. */
const clockSkew = 60_000;

/** Shows a user's name and password to an OAuth 2.0 token endpoint. */
export class OAuth2PasswordVerifier implements Verifier {
  readonly #id: string;
  readonly #config: Config;
  readonly #server: AuthorizationServer;
  readonly #keys: IssuerKeys;
  readonly #clock: Clock;

  constructor(
    id: string,
    settings: Config,
    parts: { readonly server: AuthorizationServer; readonly keys: IssuerKeys; readonly clock: Clock },
  ) {
    this.#id = id;
    this.#config = settings;
    this.#server = parts.server;
    this.#keys = parts.keys;
    this.#clock = parts.clock;
  }

  get givesGroups(): boolean {
    return this.#config.groupsClaim !== undefined;
  }

  async verify({ shown }: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    if (shown.kind !== 'password') return undefined;
    const { principalFrom, scopes } = this.#config;
    const password = shown.password.reveal();
    if (!isPassword(password) || !textGrammar.test(shown.username)) return undefined;
    if (principalFrom === 'username' && !plainName.test(shown.username)) return undefined;
    if (password === '') throw new RegistryError('UNAUTHORIZED', { reason: 'the password is empty' });
    // The provider judges the very name that rules will see: a name has one spelling here, whatever the provider does.
    const username = principalFrom === 'username' ? shown.username.toLowerCase() : shown.username;
    const login = await this.#server.logIn(username, shown.password, scopes ?? scopesFor(principalFrom), o);
    // Not capped: what expires is the token of the login, which is thrown away, and not the person.
    return principalFrom === 'username'
      ? this.#principal({ sub: username })
      : this.#principal(await this.#claims(login, principalFrom, o));
  }

  async close(): Promise<void> {
    await Promise.all([this.#keys.close(), this.#server.close()]);
  }

  #principal(claims: Claims): Principal {
    return principalOfClaims(claims, this.#config, this.#id, undefined);
  }

  async #claims(
    { accessToken, idToken }: TokenAnswer,
    from: Exclude<Config['principalFrom'], 'username'>,
    o: CallOptions,
  ): Promise<Claims> {
    if (from === 'id-token') return this.#idTokenClaims(idToken, o);
    if (from === 'userinfo') return this.#server.userinfo(accessToken, o);
    const claims = await this.#server.introspect(accessToken, o);
    if (claims !== undefined) return claims;
    throw unavailable(
      'the token of the login is not active at introspection: may this client introspect it?',
    );
  }

  /** OpenID Connect Core 1.0 section 3.1.3.7. */
  async #idTokenClaims(idToken: Secret | undefined, o: CallOptions): Promise<Claims> {
    const { issuer, clientId } = this.#config;
    if (idToken === undefined || issuer === undefined)
      throw unavailable(
        'the login gave no ID token: does the provider give one to this client by a password?',
      );
    const expected = { issuer, audiences: [clientId], clockSkew };
    const { claims } = await verifyToken(idToken.reveal(), this.#keys, expected, this.#clock, o).catch(
      notOurs,
    );
    if (claims.azp !== undefined && claims.azp !== clientId)
      throw unavailable('the ID token of the login was made for another client (azp)');
    return claims;
  }
}

/** Whoever just proved a password is not to blame for the token the provider made of it. */
function notOurs(error: unknown): never {
  if (!(error instanceof RegistryError) || error.code !== 'UNAUTHORIZED') throw error;
  throw unavailable('the ID token of the login cannot be verified', error);
}

function unavailable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}

/** An empty one counts: it is refused, whoever it is for. */
function isPassword(text: string): boolean {
  if (text === '') return true;
  return Buffer.byteLength(text) <= maxPasswordBytes && textGrammar.test(text) && !hasTokenForm(text);
}

function scopesFor(principalFrom: Config['principalFrom']): readonly string[] {
  return principalFrom === 'id-token' || principalFrom === 'userinfo' ? ['openid'] : [];
}

const noKeys: IssuerKeys = {
  keyFor: () => Promise.reject(unavailable('no issuer is configured')),
  close: async () => {},
};

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'oauth2-password',
  config,
  async open(settings, dependencies) {
    const { issuer, tokenEndpoint, userinfoEndpoint, introspectionEndpoint } = settings;
    const { id, clock, log, baseDirectory } = dependencies;
    const client = await openClient(settings, dependencies);
    const http = await HttpCaller.open(settings, baseDirectory);
    const endpoints = {
      token_endpoint: tokenEndpoint,
      userinfo_endpoint: userinfoEndpoint,
      introspection_endpoint: introspectionEndpoint,
    };
    const server = new AuthorizationServer(http, client, { endpoints, issuer, clock });
    const keys =
      issuer === undefined ? noKeys : new FetchedKeys(discoveredKeys(issuer, http), { id, clock, log });
    return new OAuth2PasswordVerifier(id, settings, { server, keys, clock });
  },
});
