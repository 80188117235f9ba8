import type { CallOptions, Credential, CredentialSource, CredentialTarget, Log } from '../contracts/index.js';
import { credentialDigest } from '../decorators/same-credential.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import type { RegistryHost } from '../reference/registry-host.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { Secret } from '../secret.js';
import { discard } from './bodies.js';
import { type LearnedChallenge, learnChallenge, widenScopes } from './learned-challenge.js';
import { RealmRefused, type RealmRules } from './realm.js';
import {
  CredentialsPaused,
  isAnother,
  lookAtCredentials,
  type RefusedCredentials,
} from './refused-credentials.js';
import { basicHeader } from './token-client.js';
import type { Answer, Transport } from './transport.js';
import { RepositoryRefused } from './upstream-errors.js';
import type { UpstreamMetrics } from './upstream-metrics.js';
import type { TokenRequest, UpstreamToken, UpstreamTokens } from './upstream-tokens.js';
import { userAgent } from './user-agent.js';

/** What a request needs to be let in. */
export interface Wanted {
  readonly repository?: RepositoryName;
  readonly scopes: readonly string[];
}

/** What a request shows to the upstream. */
export interface Shown {
  readonly wanted: Wanted;
  /** The `Authorization`; absent for an anonymous request. */
  readonly header?: Secret;
  /** Shown as it is: a password, or a `registry-token`. */
  readonly credential?: Credential;
  /** Had from the token endpoint, for this request. */
  readonly token?: { readonly request: TokenRequest; readonly value: UpstreamToken; readonly fresh: boolean };
  /** Those whose place the credential took, one after the other. */
  readonly refused?: readonly Credential[];
}

export interface AuthorizerSettings {
  readonly transport: Transport;
  readonly credentials: CredentialSource;
  readonly refused: RefusedCredentials;
  readonly tokens: UpstreamTokens;
  readonly rules: RealmRules;
  /** The name it has in credential stores. */
  readonly registry: RegistryHost;
  readonly log: Log;
  readonly metrics: UpstreamMetrics;
  /** Milliseconds for the ping that learns the challenge. */
  readonly timeLimit: number;
}

/** Learns how the upstream wants to be asked, and finds what to show it. */
export class Authorizer {
  readonly #s: AuthorizerSettings;
  readonly #learning: SingleFlight<LearnedChallenge>;
  readonly #verifying: SingleFlight<boolean>;
  #challenge: LearnedChallenge | undefined;
  #pinged = false;
  #warned = false;

  constructor(settings: AuthorizerSettings) {
    this.#s = settings;
    this.#learning = new SingleFlight(settings.timeLimit);
    this.#verifying = new SingleFlight(settings.timeLimit);
  }

  /** @throws RegistryError UNAVAILABLE, RepositoryRefused */
  async prepare(wanted: Wanted, o: CallOptions): Promise<Shown> {
    return this.#show(this.#challenge ?? (await this.#learn(o)), wanted, o);
  }

  /**
   * What to show next after a 401 or 403.
   *
   * @throws RegistryError UNAVAILABLE: we are not let in. RepositoryRefused: we are, this repository is refused
   */
  async afterRefusal(shown: Shown, answer: Answer, o: CallOptions): Promise<Shown> {
    if (shown.token !== undefined) return this.#afterToken(shown, shown.token, answer, o);
    if (shown.credential !== undefined) return this.#afterCredential(shown, shown.credential, o);
    if (answer.status !== 401) {
      if (this.#pinged) throw refusal(shown.wanted, 'it answers 403 to an anonymous request');
      throw this.#loud('the upstream answers 403 to an anonymous request');
    }
    const next = await this.#show(this.#relearn(answer), shown.wanted, o);
    if (next.header === undefined) throw this.#loud('the upstream asks for a credential, and there is none');
    return next;
  }

  /** What was shown is good: an answer that is no refusal of it. */
  accepted({ credential }: Shown, { status }: Pick<Answer, 'status'>): void {
    // A gateway may answer other things before anybody has looked at what was shown.
    const isTaken = status < 400 || status === 404 || status === 416;
    if (credential !== undefined && isTaken) this.#s.refused.accept(credential);
  }

  /** The request with it is over. Where it was neither taken nor refused, another may try it. */
  settled({ credential }: Shown): void {
    if (credential !== undefined) this.#s.refused.release(credential);
  }

  close(): void {
    this.#learning.close();
    this.#verifying.close();
  }

  async #show(
    challenge: LearnedChallenge,
    wanted: Wanted,
    o: CallOptions & { readonly rejected?: Credential },
    refused: readonly Credential[] = [],
  ): Promise<Shown> {
    if (challenge.kind === 'none') return { wanted };
    const target = this.#targetOf(wanted);
    if (challenge.kind === 'bearer') {
      const request = { endpoint: challenge.endpoint, target, scopes: wanted.scopes };
      const { token, fresh } = await this.#s.tokens.get(request, o);
      const header = bearer(token.token);
      if (token.direct !== undefined) return { wanted, header, credential: token.direct };
      return { wanted, header, token: { request, value: token, fresh } };
    }
    const credential = await this.#s.refused.choose(this.#s.credentials, target, o, refused);
    if (credential === undefined) return { wanted };
    switch (credential.kind) {
      case 'basic': {
        const header = new Secret(basicHeader(credential.username, credential.password));
        return { wanted, header, credential };
      }
      case 'registry-token':
        return { wanted, header: bearer(credential.token), credential };
      case 'identity-token':
        throw this.#loud('the upstream asks for a password, and the credential is an identity token');
    }
  }

  async #afterToken(
    shown: Shown,
    { request, value, fresh }: NonNullable<Shown['token']>,
    answer: Answer,
    o: CallOptions,
  ): Promise<Shown> {
    const refused = () => refusal(shown.wanted, `it answers ${answer.status} to its own token`);
    if (answer.status !== 401) throw refused();
    this.#s.tokens.drop(request, value);
    const scopes = widenScopes(request.scopes, answer.headers.get('www-authenticate') ?? '');
    if (fresh && scopes.length === request.scopes.length) throw refused();
    return this.#show(this.#relearn(answer), { ...shown.wanted, scopes }, o);
  }

  /** A Basic upstream says 401 to a bad password and to a missing repository alike: the ping tells which. */
  async #afterCredential(shown: Shown, credential: Credential, o: CallOptions): Promise<Shown> {
    const { wanted, header } = shown;
    const isPing = wanted.repository === undefined && wanted.scopes.length === 0;
    const isKnown = this.#s.refused.isPaused(credential);
    if (header !== undefined && !isPing && !isKnown && (await this.#letsIn(header, credential, o))) {
      this.#s.refused.accept(credential);
      throw refusal(wanted, 'the credential is accepted elsewhere');
    }
    this.#s.metrics.credentialRefused();
    const isNews = this.#s.refused.refuse(credential);
    const next = await this.#another(shown, credential, o);
    if (next !== undefined) return next;
    const reason = 'the upstream refuses our credential';
    throw isNews ? this.#loud(reason, lookAtCredentials) : new RegistryError('UNAVAILABLE', { reason });
  }

  /** @returns undefined where there is no other to be shown now */
  async #another(shown: Shown, rejected: Credential, o: CallOptions): Promise<Shown | undefined> {
    const refused = [...(shown.refused ?? []), rejected];
    const challenge = this.#challenge;
    if (challenge === undefined) return undefined;
    try {
      const next = await this.#show(challenge, shown.wanted, { ...o, rejected }, refused);
      // Where another credential is no password but is exchanged for a token, that is not refused yet.
      if (next.token !== undefined || isAnother(next.credential, refused)) return { ...next, refused };
    } catch (error) {
      if (!(error instanceof CredentialsPaused)) throw error;
    }
    return undefined;
  }

  /** Asked before the first request: one that carries a body cannot be sent twice. */
  async #learn(o: CallOptions): Promise<LearnedChallenge> {
    try {
      return await this.#learning.run('ping', o, (signal) => this.#ping(signal));
    } catch (error) {
      throw unanswered(error, o);
    }
  }

  async #ping(signal: AbortSignal): Promise<LearnedChallenge> {
    const answer = await this.#sendPing(undefined, signal);
    if (answer.status === 401) return this.#relearn(answer);
    this.#pinged = answer.status === 200;
    if (!this.#pinged) this.#warnOfPing(answer.status);
    const nothing: LearnedChallenge = { kind: 'none' };
    if (this.#pinged) this.#challenge = nothing;
    return nothing;
  }

  /** Once, for it is asked again with every request. */
  #warnOfPing(status: number): void {
    if (this.#warned) return;
    this.#warned = true;
    const { host } = this.#s.rules.upstream;
    const doubt = status < 500 && status !== 429 ? ': is it a registry, and is the scheme right?' : '';
    this.#s.log.warn({ host, status }, `the upstream answers ${status} to /v2/${doubt}`);
  }

  /** Once for all whose requests with this credential are refused at the same moment. */
  async #letsIn(header: Secret, credential: Credential, o: CallOptions): Promise<boolean> {
    try {
      return await this.#verifying.run(credentialDigest(credential), o, async (signal) => {
        const { status } = await this.#sendPing(header, signal);
        if (status < 400) return true;
        if (status === 401 || status === 403) return false;
        throw new RegistryError('UNAVAILABLE', { reason: `the upstream answers ${status} to /v2/` });
      });
    } catch (error) {
      throw unanswered(error, o);
    }
  }

  async #sendPing(header: Secret | undefined, signal: AbortSignal): Promise<Answer> {
    const answer = await this.#s.transport.send({
      method: 'GET',
      url: new URL('/v2/', this.#s.rules.upstream),
      headers: {
        'user-agent': userAgent,
        'accept-encoding': 'identity',
        ...(header !== undefined && { authorization: header.reveal() }),
      },
      signal,
    });
    discard(answer.body);
    return answer;
  }

  /** A 401 that says nothing of how to ask leaves what is known: a registry's own 401, or a gateway's before it. */
  #relearn(answer: Answer): LearnedChallenge {
    const header = answer.headers.get('www-authenticate');
    const known = this.#challenge;
    if (header === undefined && known !== undefined && known.kind !== 'none') return known;
    try {
      const challenge = learnChallenge(header ?? '', this.#s.rules);
      if (challenge === undefined) throw this.#loud('the upstream answers 401 without a challenge we know');
      this.#challenge = challenge;
      return challenge;
    } catch (error) {
      if (error instanceof RealmRefused) throw this.#loud(`no credential was sent: ${error.message}`);
      throw error;
    }
  }

  #targetOf({ repository }: Wanted): CredentialTarget {
    return { registry: this.#s.registry, ...(repository && { name: repository }) };
  }

  #loud(reason: string, fix?: string): RegistryError {
    this.#s.log.error({ host: this.#s.rules.upstream.host, ...(fix && { fix }) }, reason);
    return new RegistryError('UNAVAILABLE', { reason });
  }
}

function bearer(token: Secret): Secret {
  return new Secret(`Bearer ${token.reveal()}`);
}

/** What became of a ping that did not end well. */
function unanswered(error: unknown, { signal }: CallOptions): unknown {
  if (error instanceof RegistryError || signal.aborted) return error;
  return new RegistryError('UNAVAILABLE', { reason: 'the upstream does not answer /v2/', cause: error });
}

/** Let in, but not here. For what is about no repository there is nothing beyond being let in. */
function refusal({ repository, scopes }: Wanted, reason: string): RegistryError {
  if (repository !== undefined) return new RepositoryRefused(reason);
  if (scopes.length > 0)
    return new RegistryError('UNSUPPORTED', { reason: `no catalogue for us: ${reason}` });
  return new RegistryError('UNAVAILABLE', { reason: `not past /v2/: ${reason}` });
}
