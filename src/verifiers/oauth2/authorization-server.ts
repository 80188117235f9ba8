import type { CallOptions, Clock, Closable } from '../../contracts/index.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { Secret } from '../../secret.js';
import type { Claims } from '../claims/claim-path.js';
import type { ClientReader } from './client-authentication.js';
import { refusal } from './refusal.js';
import { getJson, postForm, type ServerAnswer, unusable } from './server-answer.js';
import { type EndpointName, ServerMetadata } from './server-metadata.js';

/** What a login gave. */
export interface TokenAnswer {
  readonly accessToken: Secret;
  readonly idToken?: Secret;
}

/** Endpoints that are configured; the others are looked up. */
export type Endpoints = Readonly<Partial<Record<EndpointName, string | undefined>>>;

/**
 * An OAuth 2.0 authorization server, asked as one of its clients. Every method throws RegistryError: UNAUTHORIZED where
 * the server refuses a person or a token, TOOMANYREQUESTS where it slows us down, else UNAVAILABLE; each with a reason.
 */
export class AuthorizationServer implements Closable {
  readonly #http: HttpCaller;
  readonly #client: ClientReader;
  readonly #endpoints: Endpoints;
  readonly #metadata: ServerMetadata | undefined;

  constructor(
    http: HttpCaller,
    client: ClientReader,
    given: { readonly endpoints: Endpoints; readonly issuer?: string | undefined; readonly clock: Clock },
  ) {
    this.#http = http;
    this.#client = client;
    this.#endpoints = given.endpoints;
    this.#metadata =
      given.issuer === undefined ? undefined : new ServerMetadata(given.issuer, http, given.clock);
  }

  /** Resource owner password credentials grant (RFC 6749 section 4.3). */
  async logIn(
    username: string,
    password: Secret,
    scopes: readonly string[],
    o: CallOptions,
  ): Promise<TokenAnswer> {
    const form = {
      ...{ grant_type: 'password', username, password: password.reveal() },
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    };
    return tokensOf(await this.#post('token_endpoint', form, password, o));
  }

  /**
   * Token introspection (RFC 7662).
   *
   * @returns what the server knows of the token; undefined where it is not active
   */
  async introspect(token: Secret, o: CallOptions): Promise<Claims | undefined> {
    const form = { token: token.reveal(), token_type_hint: 'access_token' };
    const answer = await this.#post('introspection_endpoint', form, token, o, knowsNoSuchToken);
    if (knowsNoSuchToken(answer)) return undefined;
    const { body, headers } = answer;
    if (/^application\/token-introspection\+jwt\b/i.test(headers.get('content-type') ?? ''))
      throw unusable(answer, 'it answers introspection with a JWT (RFC 9701), which is not supported');
    if (typeof body?.active !== 'boolean')
      throw unusable(answer, 'its answer to introspection does not say whether the token is active');
    return body.active ? body : undefined;
  }

  /** The claims of a login by its access token (OpenID Connect Core 1.0 section 5.3). */
  async userinfo(accessToken: Secret, o: CallOptions): Promise<Claims> {
    const url = await this.#endpoint('userinfo_endpoint', o);
    const answer = await getJson(this.#http, url, { authorization: `Bearer ${accessToken.reveal()}` }, o);
    if (answer.status === 401 || answer.status === 403)
      throw unusable(answer, 'userinfo refuses the access token: is `openid` among the scopes?');
    if (answer.status !== 200) throw refusal(answer, 'question', [accessToken]);
    if (answer.body === undefined)
      throw unusable(answer, 'userinfo gives no JSON; signed answers are not supported');
    return answer.body;
  }

  async close(): Promise<void> {
    await this.#metadata?.close();
    await this.#http.close();
  }

  /** @returns an answer of status 200 that names no error, or one that is `expected` */
  async #post(
    name: EndpointName,
    form: Readonly<Record<string, string>>,
    shown: Secret,
    o: CallOptions,
    expected: (answer: ServerAnswer) => boolean = () => false,
  ): Promise<ServerAnswer> {
    o.signal.throwIfAborted();
    const url = await this.#endpoint(name, o);
    const client = await this.#client();
    const request = { url, headers: client.headers, form: { ...form, ...client.form } };
    const answer = await postForm(this.#http, request, o);
    // Some servers say 200 and name an error all the same.
    const isSuccess = answer.status === 200 && (answer.body?.error ?? undefined) === undefined;
    if (isSuccess || expected(answer)) return answer;
    const secrets = client.secret === undefined ? [shown] : [shown, client.secret];
    throw refusal(answer, name === 'token_endpoint' ? 'login' : 'question', secrets);
  }

  async #endpoint(name: EndpointName, o: CallOptions): Promise<URL> {
    const configured = this.#endpoints[name];
    if (configured !== undefined) return new URL(configured);
    if (this.#metadata === undefined) throw new Error(`no ${name} is configured`);
    return this.#metadata.endpoint(name, o);
  }
}

/**
 * RFC 7662 section 2.2 wants `active: false` for every token a server does not know. oidc-provider names an error for
 * those in the form of a JWT, which may be somebody else's.
 */
function knowsNoSuchToken({ status, body }: ServerAnswer): boolean {
  return status === 400 && (body?.error === 'unsupported_token_type' || body?.error === 'invalid_token');
}

/** RFC 6749 section 5.1; appendix A.12: VSCHAR, without the space that no header could carry. */
const tokenGrammar = /^[\x21-\x7e]{1,65536}$/;

function tokensOf(answer: ServerAnswer): TokenAnswer {
  const { access_token: accessToken, token_type: type, id_token: idToken } = answer.body ?? {};
  if (typeof accessToken !== 'string' || !tokenGrammar.test(accessToken))
    throw unusable(answer, 'its answer to a login holds no access token: is the token endpoint right?', {
      countsAsGuess: true,
    });
  if (type !== undefined && String(type).toLowerCase() !== 'bearer')
    throw unusable(answer, 'it gives no bearer tokens to this client');
  return {
    accessToken: new Secret(accessToken),
    ...(typeof idToken === 'string' && { idToken: new Secret(idToken) }),
  };
}
