import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { isOwnToken } from '../protocol/own-token.js';
import type { Secret } from '../secret.js';
import { duration } from '../settings/duration.js';
import { secretSource } from '../settings/secret-source.js';
import { issuerUrl, secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import { claimKeys, principalOfClaims } from './claims/principal-of-claims.js';
import { AuthorizationServer } from './oauth2/authorization-server.js';
import { clientIdKey, clientKeys, openClient } from './oauth2/client-authentication.js';
import { checkToken } from './oauth2/introspected-token.js';
import { canBeAccessToken } from './oauth2/token-form.js';

const config = z
  .strictObject({
    issuer: issuerUrl()
      .optional()
      .describe(
        'The authorization server, by the identifier in its discovery document; `iss` of a token must be it.',
      ),
    endpoint: secureUrl().optional().describe('Where tokens are shown. Default: found by `issuer`.'),
    clientId: clientIdKey().optional().describe('What the authorization server knows this proxy as.'),
    ...clientKeys,
    bearer: secretSource()
      .optional()
      .describe('A token that allows introspection, in place of `clientId` and `clientSecret`.'),
    audiences: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('One of them must be in `aud`. Of this, `requiredScopes` and `clients` one is required.'),
    requiredScopes: z.array(z.string().min(1)).min(1).optional().describe('All of them must be in `scope`.'),
    clients: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('The clients whose tokens are taken: `client_id` must be one of them.'),
    tokenPrefix: z
      .string()
      .regex(/^[\x21-\x7e]{3,64}$/, 'expected the three or more characters all tokens begin with')
      .optional()
      .describe('Only what begins so is looked at, as a bearer token or as a password.'),
    passwords: z
      .boolean()
      .default(false)
      .describe(
        'Whether passwords are looked at without a `tokenPrefix`. Everybody’s password is then shown to the endpoint, unless `usernames` says whose.',
      ),
    requireTokenType: z
      .boolean()
      .default(true)
      .describe(
        'Whether a token is refused of which the server does not tell `token_type`, as refresh tokens are.',
      ),
    clockSkew: duration({ max: '10m' }).prefault('60s').describe('How far clocks may differ.'),
    ...claimKeys,
    ...serverKeys,
  })
  .refine(({ issuer, endpoint }) => (issuer ?? endpoint) !== undefined, {
    path: ['issuer'],
    message: 'either issuer or endpoint is required',
  })
  .refine(showsItself, {
    path: ['clientId'],
    message: 'either clientId and clientSecret or bearer is required',
  })
  .refine(
    ({ audiences, requiredScopes, clients }) => (audiences ?? requiredScopes ?? clients) !== undefined,
    {
      path: ['audiences'],
      message:
        'one of audiences, requiredScopes and clients is required: else every token of the authorization server would do, whatever it was made for',
    },
  )
  .refine(({ passwords, tokenPrefix }) => !passwords || tokenPrefix === undefined, {
    path: ['passwords'],
    message: 'leave it out: passwords that begin with tokenPrefix are looked at, and no others',
  });

/** One way of two, and nothing of the other beside it. */
function showsItself(set: { clientId?: unknown; clientSecret?: unknown; bearer?: unknown }): boolean {
  const client = [set.clientId, set.clientSecret];
  return set.bearer === undefined
    ? client.every((one) => one !== undefined)
    : client.every((one) => one === undefined);
}

type Config = z.output<typeof config>;

/** Asks the authorization server about tokens that only it can read (RFC 7662). */
export class OAuth2IntrospectionVerifier implements Verifier {
  readonly #id: string;
  readonly #config: Config;
  readonly #server: AuthorizationServer;
  readonly #clock: Clock;

  constructor(id: string, settings: Config, server: AuthorizationServer, clock: Clock) {
    this.#id = id;
    this.#config = settings;
    this.#server = server;
    this.#clock = clock;
  }

  recognises(credentials: ClientCredentials): boolean {
    return this.#config.tokenPrefix !== undefined && this.#tokenIn(credentials) !== undefined;
  }

  get givesGroups(): boolean {
    return this.#config.groupsClaim !== undefined;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    const token = this.#tokenIn(credentials);
    if (token === undefined) return undefined;
    const claims = await this.#server.introspect(token, o);
    if (claims === undefined) {
      if (this.#config.tokenPrefix === undefined) return undefined;
      throw new RegistryError('UNAUTHORIZED', {
        reason: 'the token is not active: it is wrong, expired or revoked',
      });
    }
    const expiresAt = checkToken(claims, this.#config, this.#clock.now());
    return principalOfClaims(claims, this.#config, this.#id, expiresAt);
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  /** What may be shown to the authorization server: people's passwords only where that was asked for. */
  #tokenIn({ shown }: ClientCredentials): Secret | undefined {
    if (shown.kind === 'none') return undefined;
    const { tokenPrefix, passwords } = this.#config;
    const secret = shown.kind === 'bearer' ? shown.token : shown.password;
    const text = secret.reveal();
    if (!canBeAccessToken(text) || isOwnToken(text) || this.#isOfAnotherIssuer(text)) return undefined;
    if (tokenPrefix !== undefined) return text.startsWith(tokenPrefix) ? secret : undefined;
    return shown.kind === 'bearer' || passwords ? secret : undefined;
  }

  /** A token that says itself it is for others is not handed about. */
  #isOfAnotherIssuer(text: string): boolean {
    const { issuer } = this.#config;
    const named = issuer === undefined ? undefined : unverifiedClaims(text)?.iss;
    return named !== undefined && named !== issuer;
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'oauth2-introspection',
  config,
  async open(settings, dependencies) {
    const { issuer, endpoint } = settings;
    const { id, clock, baseDirectory } = dependencies;
    const client = await openClient(settings, dependencies);
    const http = await HttpCaller.open(settings, baseDirectory);
    const endpoints = { introspection_endpoint: endpoint };
    const server = new AuthorizationServer(http, client, { endpoints, issuer, clock });
    return new OAuth2IntrospectionVerifier(id, settings, server, clock);
  },
});
