import { LRUCache } from 'lru-cache';
import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
} from '../contracts/index.js';
import { credentialDigest } from '../decorators/same-credential.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import type { Secret } from '../secret.js';
import {
  CredentialsPaused,
  isAnother,
  lookAtCredentials,
  type RefusedCredentials,
} from './refused-credentials.js';
import { type Exchangeable, requestToken, type TokenEndpoint } from './token-client.js';
import type { Transport } from './transport.js';
import { RepositoryRefused } from './upstream-errors.js';
import type { UpstreamMetrics } from './upstream-metrics.js';

/** What a Bearer upstream is shown. Times are milliseconds since the epoch. */
export interface UpstreamToken {
  readonly token: Secret;
  readonly refreshAt: number;
  readonly expiresAt: number;
  /** A `registry-token` is no token of the endpoint's: it is the credential itself. */
  readonly direct?: Credential;
}

export interface TokenRequest {
  readonly endpoint: TokenEndpoint;
  readonly target: CredentialTarget;
  readonly scopes: readonly string[];
}

export interface UpstreamTokensSettings {
  readonly transport: Transport;
  readonly credentials: CredentialSource;
  readonly refused: RefusedCredentials;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: UpstreamMetrics;
  /** Milliseconds for one fetch with all its attempts. */
  readonly timeLimit: number;
}

const maxTokens = 10_000;
/** The part of its life after which a token is fetched anew while it still serves. */
const freshPart = 0.75;
/** Milliseconds. Not used so close to its end: the request must still reach the upstream. */
const margin = 2_000;
/** Milliseconds before the source of a direct token is asked again. */
const directLife = 60_000;

/** An upstream's tokens: one a scope set, fetched once for all who wait for it, and refreshed before its end. */
export class UpstreamTokens {
  readonly #s: UpstreamTokensSettings;
  readonly #known = new LRUCache<string, UpstreamToken>({ max: maxTokens });
  readonly #flights: SingleFlight<UpstreamToken>;

  constructor(settings: UpstreamTokensSettings) {
    this.#s = settings;
    this.#flights = new SingleFlight(settings.timeLimit);
  }

  /**
   * @param o.rejected the credential the upstream has just refused
   * @returns with `fresh` where it was fetched for this call
   * @throws RegistryError UNAVAILABLE: no token to be had. RepositoryRefused: none for these scopes
   */
  async get(
    request: TokenRequest,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<{ readonly token: UpstreamToken; readonly fresh: boolean }> {
    const key = keyOf(request);
    const now = this.#s.clock.now();
    const known = o.rejected === undefined ? this.#usable(key) : undefined;
    if (known === undefined || known.expiresAt - margin <= now) {
      return { token: await this.#fetch(key, request, o), fresh: true };
    }
    if (known.refreshAt <= now) this.#refresh(key, request);
    return { token: known, fresh: false };
  }

  /** Forgets a token the upstream refused; not the one that came after it. */
  drop(request: TokenRequest, refused: UpstreamToken): void {
    const key = keyOf(request);
    if (this.#known.get(key) === refused) this.#known.delete(key);
  }

  close(): void {
    this.#flights.close();
    this.#known.clear();
  }

  /** A direct one that was refused goes through the same pauses as a password. */
  #usable(key: string): UpstreamToken | undefined {
    const known = this.#known.get(key);
    return known?.direct !== undefined && this.#s.refused.has(known.direct) ? undefined : known;
  }

  #fetch(
    key: string,
    request: TokenRequest,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<UpstreamToken> {
    const { rejected } = o;
    const flight = rejected ? `${key} after ${credentialDigest(rejected)}` : key;
    const shared = this.#flights.run(flight, o, async (signal) => {
      const token = await this.#exchange(request, { signal, ...(rejected && { rejected }) });
      this.#known.set(key, token);
      return token;
    });
    return shared.catch((error: unknown) => {
      if (error instanceof RegistryError || o.signal.aborted) throw error;
      const reason = `no token from ${request.endpoint.realm.host}`;
      throw new RegistryError('UNAVAILABLE', { reason, cause: error });
    });
  }

  #refresh(key: string, request: TokenRequest): void {
    const nobody = new AbortController().signal;
    this.#fetch(key, request, { signal: nobody }).catch((error: unknown) => {
      if (error instanceof CredentialsPaused) return; // told when it was refused
      this.#s.log.warn({ error: describeError(error) }, 'cannot refresh an upstream token');
    });
  }

  async #exchange(
    request: TokenRequest,
    o: CallOptions & { readonly rejected?: Credential },
  ): Promise<UpstreamToken> {
    const { credentials, refused: known } = this.#s;
    const before = o.rejected === undefined ? [] : [o.rejected];
    const first = await known.choose(credentials, request.target, o, before);
    try {
      return await this.#exchangeFrom(first, request, o);
    } catch (error) {
      if (first !== undefined) known.release(first);
      throw error;
    }
  }

  async #exchangeFrom(
    first: Credential | undefined,
    request: TokenRequest,
    o: CallOptions,
  ): Promise<UpstreamToken> {
    const { refused: known } = this.#s;
    let credential = first;
    const refused: Credential[] = [];
    for (;;) {
      const now = this.#s.clock.now();
      if (credential?.kind === 'registry-token') return direct(credential, now);
      const answer = await this.#ask(request, request.scopes, credential, o);
      if (answer.kind === 'token') {
        if (credential !== undefined) known.accept(credential);
        const { token, lifetime } = answer;
        const life = lifetime * 1000;
        return { token, refreshAt: now + life * freshPart, expiresAt: now + life };
      }
      // Refused: for these scopes, or altogether? Docker Hub grants nothing where it refuses, others answer 401, 403.
      let { status } = answer;
      if (request.scopes.length > 0) {
        const bare = await this.#ask(request, [], credential, o);
        if (bare.kind === 'token') {
          if (credential !== undefined) known.accept(credential);
          throw new RepositoryRefused('the token endpoint refuses its scope');
        }
        ({ status } = bare);
      }
      if (credential === undefined) {
        const { host } = request.endpoint.realm;
        throw this.#loud(`the token endpoint ${host} gives nothing without a credential (${answer.status})`);
      }
      if (!isVerdict(status, credential)) {
        const { host } = request.endpoint.realm;
        const reason = `the token endpoint ${host} answers ${answer.status}, and ${status} without a scope`;
        throw new RegistryError('UNAVAILABLE', { reason });
      }
      refused.push(credential);
      credential = await this.#replacement(request, credential, refused, status, o);
    }
  }

  /**
   * Another credential after the token endpoint refused one.
   *
   * @param refused all of them, this one with them
   * @throws RegistryError UNAVAILABLE
   */
  async #replacement(
    { endpoint, target }: TokenRequest,
    rejected: Credential,
    refused: readonly Credential[],
    status: number,
    { signal }: CallOptions,
  ): Promise<Credential> {
    const { credentials, metrics, refused: known } = this.#s;
    metrics.credentialRefused();
    const isNews = known.refuse(rejected);
    const failure = `the token endpoint ${endpoint.realm.host} refuses our credential (${status})`;
    try {
      const next = await known.choose(credentials, target, { signal, rejected }, refused);
      if (isAnother(next, refused)) return next;
    } catch (error) {
      if (!(error instanceof CredentialsPaused)) throw error;
    }
    throw isNews
      ? this.#loud(failure, lookAtCredentials)
      : new RegistryError('UNAVAILABLE', { reason: failure });
  }

  async #ask(
    { endpoint }: TokenRequest,
    scopes: readonly string[],
    credential: Exchangeable | undefined,
    { signal }: CallOptions,
  ) {
    const { transport, clock, metrics } = this.#s;
    try {
      const answer = await requestToken(transport, endpoint, scopes, credential, {
        signal,
        now: clock.now(),
      });
      metrics.tokenFetch(answer.kind === 'token' ? 'granted' : 'refused');
      return answer;
    } catch (error) {
      metrics.tokenFetch('failed');
      throw error;
    }
  }

  #loud(reason: string, fix?: string): RegistryError {
    this.#s.log.error({ ...(fix && { fix }) }, reason);
    return new RegistryError('UNAVAILABLE', { reason });
  }
}

function direct(credential: Extract<Credential, { kind: 'registry-token' }>, now: number): UpstreamToken {
  const expiresAt = Math.min(now + directLife, credential.expiresAt ?? Number.POSITIVE_INFINITY);
  return { token: credential.token, refreshAt: expiresAt, expiresAt, direct: credential };
}

/**
 * True where an answer to a question without a scope is about the credential. An endpoint that takes no such question
 * answers 400 or 404 to it, whatever is shown; a refresh token that has ended is 400, too (RFC 6749 section 5.2).
 */
function isVerdict(status: number, { kind }: Credential): boolean {
  return status === 401 || status === 403 || (status === 400 && kind === 'identity-token');
}

function keyOf({ endpoint, scopes }: TokenRequest): string {
  return JSON.stringify([endpoint.realm.href, endpoint.service ?? null, ...scopes]);
}
