import { randomBytes } from 'node:crypto';
import { RegistryError } from '../errors.js';
import { type Action, covers, mergeScopes, parseScope, type Scope } from '../reference/scope.js';
import { type Answer, type Exchange, errorAnswer, jsonAnswer, readSmallBody } from './answer.js';
import { parseBasic } from './basic-credentials.js';

/** Bearer tokens with an own token endpoint (distribution `docs/content/spec/auth/token.md` and `oauth.md`). */
export interface TokenAuthOptions {
  readonly kind: 'token';
  /** Without a user the endpoint knows anonymous clients only. */
  readonly username?: string;
  readonly password?: string;
  /** A refresh token that is accepted; also what `offline_token=true` gives. */
  readonly identityToken?: string;
  /** Accepted as a bearer token for everything, without the token endpoint. */
  readonly registryToken?: string;
  /** Anonymous clients get tokens for pulling. */
  readonly anonymousPull?: boolean;
  /** Of the challenge; `memory-registry` where it is missing. */
  readonly service?: string;
  /** `same` host as the registry, or a server of its own on another port. */
  readonly origin?: 'same' | 'other';
  /** Put into the challenge as it is, to test what a client accepts. */
  readonly realm?: string;
  /** Seconds; 300 where it is missing. */
  readonly lifetime?: number;
  /** In seconds, what the answer says of `lifetime`; 0 leaves `expires_in` out. */
  readonly statedLifetime?: number;
  /** False: POST answers 405, as registries without OAuth2 do. */
  readonly post?: boolean;
  /** Which of the two names the answer carries. */
  readonly reply?: 'both' | 'token' | 'access_token';
  /** `unauthorized`: no token covers the pull of a repository that does not exist, as Docker Hub has it. */
  readonly unknownRepositories?: 'not-found' | 'unauthorized';
  /** Narrows what is granted; without it a user gets all that is asked, an anonymous client `pull`. */
  readonly grant?: (username: string | undefined, scope: Scope) => readonly Action[];
}

/** One request to the token endpoint. */
export interface TokenRequest {
  readonly method: string;
  /** Of the query or the form; a repeated one is joined by spaces. It holds what the client showed. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly shown: 'nothing' | 'basic' | 'password' | 'refresh_token' | 'other';
  /** The scopes asked, as they were written. */
  readonly scopes: readonly string[];
  readonly status: number;
}

interface KnownToken {
  readonly scopes: readonly Scope[] | 'all';
  readonly expiresAt: number;
}

interface Surroundings {
  readonly realm: () => string;
  readonly now: () => number;
  readonly exists: (repository: string) => boolean;
}

/** Issues opaque tokens, and knows what they are good for. */
export class TokenService {
  readonly requests: TokenRequest[] = [];
  readonly identityToken: string;
  /** Changed by tests that rotate a credential. */
  user: { username: string; password: string } | undefined;
  readonly #options: TokenAuthOptions;
  readonly #around: Surroundings;
  readonly #tokens = new Map<string, KnownToken>();

  constructor(options: TokenAuthOptions, around: Surroundings) {
    const { username, password, identityToken, registryToken } = options;
    this.#options = options;
    this.#around = around;
    this.identityToken = identityToken ?? `identity-${randomBytes(12).toString('hex')}`;
    if (username !== undefined) this.user = { username, password: password ?? '' };
    if (registryToken !== undefined) {
      this.#tokens.set(registryToken, { scopes: 'all', expiresAt: Number.POSITIVE_INFINITY });
    }
  }

  get realm(): string {
    return this.#options.realm ?? this.#around.realm();
  }

  get service(): string {
    return this.#options.service ?? 'memory-registry';
  }

  /** Every token issued so far is refused from now on. */
  revokeAll(): void {
    this.#tokens.clear();
  }

  known(token: string): KnownToken | undefined {
    const known = this.#tokens.get(token);
    return known && known.expiresAt > this.#around.now() ? known : undefined;
  }

  covers(token: KnownToken, wanted: Scope): boolean {
    return token.scopes === 'all' || covers(token.scopes, wanted);
  }

  /** Answers a request to the token endpoint. */
  async answer(exchange: Exchange): Promise<Answer> {
    const parameters = await requestParameters(exchange);
    const scopes = parameters.getAll('scope').flatMap((text) => text.split(' ').filter((one) => one !== ''));
    const basic = parseBasic(exchange.request.headers.authorization);
    const shown = shownBy(exchange, parameters, basic !== undefined);
    const answer = this.#decide(exchange.method, parameters, scopes, basic);
    this.requests.push({
      method: exchange.method,
      parameters: Object.fromEntries(
        [...parameters.keys()].map((key) => [key, parameters.getAll(key).join(' ')]),
      ),
      shown,
      scopes,
      status: answer.status,
    });
    return answer;
  }

  #decide(
    method: string,
    parameters: URLSearchParams,
    scopes: readonly string[],
    basic: { username: string; password: string } | undefined,
  ): Answer {
    if (method === 'POST' && this.#options.post === false)
      return errorAnswer(new RegistryError('UNSUPPORTED'));
    if (method !== 'GET' && method !== 'POST') return errorAnswer(new RegistryError('UNSUPPORTED'));
    const asked = parameters.get('service');
    const service = asked === null || asked === this.service;
    const who = method === 'POST' ? this.#formUser(parameters) : this.#queryUser(basic);
    const nobody = who.username === undefined && scopes.length === 0;
    if (!service || !who.valid || nobody) return errorAnswer(new RegistryError('UNAUTHORIZED'));
    const offline = parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline';
    return this.#issue(who.username, scopes, offline && who.username !== undefined);
  }

  #queryUser(basic: { username: string; password: string } | undefined) {
    if (!basic) return { valid: true, username: undefined };
    return { valid: this.#isUser(basic.username, basic.password), username: basic.username };
  }

  /** oauth.md, "Getting a token". */
  #formUser(parameters: URLSearchParams) {
    const username = parameters.get('username') ?? '';
    switch (parameters.get('grant_type')) {
      case 'refresh_token':
        return {
          valid: parameters.get('refresh_token') === this.identityToken,
          username: this.user?.username ?? 'identity',
        };
      case 'password':
        return { valid: this.#isUser(username, parameters.get('password') ?? ''), username };
      default:
        return { valid: false, username: undefined };
    }
  }

  #isUser(username: string, password: string): boolean {
    return this.user !== undefined && username === this.user.username && password === this.user.password;
  }

  #issue(username: string | undefined, wanted: readonly string[], offline: boolean): Answer {
    const { lifetime = 300, statedLifetime = lifetime, reply = 'both' } = this.#options;
    const scopes = mergeScopes(wanted.flatMap((text) => parseScope(text) ?? [])).map((scope) => ({
      ...scope,
      actions: this.#granted(username, scope),
    }));
    const token = randomBytes(24).toString('base64url');
    const now = this.#around.now();
    this.#tokens.set(token, { scopes, expiresAt: now + lifetime * 1000 });
    return jsonAnswer(200, {
      ...(reply !== 'access_token' && { token }),
      ...(reply !== 'token' && { access_token: token }),
      ...(statedLifetime > 0 && { expires_in: statedLifetime, issued_at: new Date(now).toISOString() }),
      ...(offline && { refresh_token: this.identityToken }),
    });
  }

  #granted(username: string | undefined, scope: Scope): readonly Action[] {
    const { anonymousPull = false, unknownRepositories = 'not-found', grant } = this.#options;
    const hidden = unknownRepositories === 'unauthorized' && scope.type === 'repository';
    if (hidden && !scope.actions.includes('push') && !this.#around.exists(scope.name)) return [];
    const most = username !== undefined ? scope.actions : anonymousPull ? (['pull'] as const) : [];
    const allowed = grant ? grant(username, scope) : most;
    return scope.actions.filter((action) => allowed.includes(action));
  }
}

async function requestParameters(exchange: Exchange): Promise<URLSearchParams> {
  if (exchange.method !== 'POST') return exchange.url.searchParams;
  return new URLSearchParams((await readSmallBody(exchange, 64 * 1024)).toString('utf8'));
}

function shownBy(exchange: Exchange, parameters: URLSearchParams, basic: boolean): TokenRequest['shown'] {
  if (basic) return 'basic';
  if (exchange.request.headers.authorization !== undefined) return 'other';
  const grant = exchange.method === 'POST' ? parameters.get('grant_type') : null;
  if (grant === 'password' || grant === 'refresh_token') return grant;
  return grant === null ? 'nothing' : 'other';
}
