import { randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import {
  type CallOptions,
  type Clock,
  type Principal,
  qualifiedName,
  type StateStore,
  type TokenIssuer,
  type Verifier,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Revocations } from '../revocation/revocations.js';
import { Secret } from '../secret.js';
import { CallbackThrottle } from './callback-throttle.js';
import type { OpenIdClient, ProviderTokens, SignInAttempt } from './open-id-client.js';
import { failureOf, tryAgain, unavailable } from './open-id-failure.js';
import type { IssuedPersonalToken, PersonalAccessToken } from './personal-access-token.js';
import type { PersonalAccessTokens, WantedToken } from './personal-access-tokens.js';
import { notTaken, type RecheckByProvider, shownByUs } from './recheck.js';
import { SealedValue } from './sealed-value.js';
import type { Session } from './session.js';
import { SignInError } from './sign-in-error.js';
import type { SignedInPeople } from './signed-in-people.js';

export interface SignInParts {
  /** The one people sign in with, and its id. */
  readonly verifier: Verifier;
  readonly verifierId: string;
  readonly client: OpenIdClient;
  readonly refreshTokens: Pick<RecheckByProvider, 'seal'>;
  readonly personalTokens: PersonalAccessTokens;
  readonly people: SignedInPeople;
  readonly state: StateStore;
  readonly tokens: Pick<TokenIssuer, 'derivedKeys'>;
  readonly clock: Clock;
  readonly sessionLife: number;
  readonly lives: { readonly suggested: number; readonly max: number };
}

/** Milliseconds from the link to the provider's answer: for finding a password and a second factor. */
const attemptLife = 600_000;
/** Milliseconds from the form to the page that shows the new token. */
const issuedLife = 120_000;
const firstLabel = 'First token';
/** Nobody's sign-in fails so often by itself, nor does that of an office. */
const throttle = { failures: 20, window: 60_000, attemptLife };

const attemptSchema = z.object({ state: z.string(), nonce: z.string(), codeVerifier: z.string() });
const sessionSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  csrfToken: z.string(),
  signedInAt: z.number(),
});
const issuedSchema = z.object({
  token: z.string(),
  details: z.object({ id: z.string(), label: z.string(), createdAt: z.number(), expiresAt: z.number() }),
});

/**
 * Signs people in by browser, and gives them personal access tokens. It remembers nothing of a browser: what it has to
 * know is in cookies that only it can read and make. What is sealed here is a secret all the same: whoever has a
 * session's cookie is that person.
 */
export class SignInService {
  /** Of a personal access token; milliseconds. */
  readonly lives: { readonly suggested: number; readonly max: number };
  /** Milliseconds. */
  readonly sessionLife: number;
  /** Milliseconds that the cookie of `begin` is good for. */
  readonly attemptLife = attemptLife;
  readonly #parts: SignInParts;
  readonly #revocations: Revocations;
  readonly #throttle: CallbackThrottle;
  readonly #attempts: SealedValue<SignInAttempt>;
  readonly #sessions: SealedValue<z.output<typeof sessionSchema>>;
  readonly #issued: SealedValue<z.output<typeof issuedSchema>>;

  constructor(parts: SignInParts) {
    const { tokens, clock, sessionLife, lives, state } = parts;
    this.#parts = parts;
    this.lives = lives;
    this.sessionLife = sessionLife;
    this.#revocations = new Revocations(state);
    this.#throttle = new CallbackThrottle(clock, throttle);
    this.#attempts = new SealedValue(tokens, clock, {
      purpose: 'sign-in: attempts 1',
      schema: attemptSchema,
    });
    this.#sessions = new SealedValue(tokens, clock, {
      purpose: 'sign-in: sessions 1',
      schema: sessionSchema,
    });
    this.#issued = new SealedValue(tokens, clock, { purpose: 'sign-in: new tokens 1', schema: issuedSchema });
  }

  /**
   * @returns where to send the browser, and a cookie for `attemptLife`
   * @throws SignInError `unavailable`
   */
  async begin(o: CallOptions): Promise<{ readonly location: URL; readonly sealed: string }> {
    const { location, attempt } = await this.#parts.client.begin(o);
    return { location, sealed: this.#attempts.seal(attempt, this.#parts.clock.now() + attemptLife) };
  }

  /**
   * @param callback where the browser came back to; of it only the query counts
   * @param sealed the cookie of `begin`; take it from the browser whatever comes of this
   * @param o.address the browser's
   * @returns `issued`: the first token of a person who has none
   * @throws SignInError; RegistryError TOOMANYREQUESTS where the network's sign-ins came to nothing too often: the cookie
   *   is still good then
   */
  async finish(
    callback: URL,
    sealed: string | undefined,
    o: CallOptions & { readonly address: string },
  ): Promise<{ readonly session: Session; readonly cookie: string; readonly issued?: IssuedPersonalToken }> {
    const attempt = this.#attempts.open(sealed)?.value;
    if (attempt === undefined) {
      throw new SignInError(
        'expired',
        `That took too long, was begun in another browser, or this one keeps no cookies of this site. ${tryAgain}`,
        'no cookie of a sign-in that was begun here, or too old a one',
      );
    }
    // Before anything is counted: a page elsewhere can send a browser here, and does not know the state.
    if (callback.searchParams.get('state') !== attempt.state) {
      throw new SignInError(
        'expired',
        `This is the answer to another sign-in. ${tryAgain}`,
        'the state of the answer is not that of the cookie',
      );
    }
    const { answer, who } = await this.#throttle.run(attempt.state, o.address, async () => {
      const answer = await this.#parts.client.finish(callback.searchParams, attempt, o);
      return { answer, who: await this.#verify(answer, o) };
    });
    const signedIn = this.#openSession(who);
    const issued = await storing(o, async () => {
      await this.#remember(who, answer, o);
      return this.#firstToken(signedIn.session, o);
    });
    return { ...signedIn, ...(issued && { issued }) };
  }

  /** @returns undefined where the cookie is absent, forged or expired */
  session(cookie: string | undefined): Session | undefined {
    const opened = this.#sessions.open(cookie);
    // A cookie of before another verifier was configured.
    if (opened === undefined || opened.value.verifier !== this.#parts.verifierId) return undefined;
    const { verifier, name, csrfToken, signedInAt } = opened.value;
    return { who: { verifier, name }, csrfToken, signedInAt, expiresAt: opened.expiresAt };
  }

  /** In constant time. */
  isCsrfToken({ csrfToken }: Session, token: string): boolean {
    const [expected, shown] = [Buffer.from(csrfToken), Buffer.from(token)];
    return expected.length === shown.length && timingSafeEqual(expected, shown);
  }

  /** @throws SignInError `invalid` (its message says why), `unavailable`; `expired`: an administrator ended the session */
  async createToken(session: Session, asked: WantedToken, o: CallOptions): Promise<IssuedPersonalToken> {
    return storing(o, async () => {
      await this.#requireLive(session, o);
      return this.#parts.personalTokens.create(session.who, asked, o);
    });
  }

  /** Those that are good, the newest first. @throws SignInError as `createToken` */
  async tokens(session: Session, o: CallOptions): Promise<readonly PersonalAccessToken[]> {
    return storing(o, async () => {
      await this.#requireLive(session, o);
      return this.#parts.personalTokens.list(session.who, o);
    });
  }

  /** @returns false where the person has no such token @throws SignInError as `createToken` */
  async revokeToken(session: Session, id: string, o: CallOptions): Promise<boolean> {
    return storing(o, async () => {
      await this.#requireLive(session, o);
      return this.#parts.personalTokens.revoke(session.who, id, o);
    });
  }

  /** A short-lived cookie, so that a new token can be shown once after a redirect. */
  sealIssued({ token, details }: IssuedPersonalToken, session: Session): string {
    const { id, label, createdAt, expiresAt } = details;
    const value = { token: token.reveal(), details: { id, label, createdAt, expiresAt } };
    return this.#issued.seal(value, this.#parts.clock.now() + issuedLife, session.csrfToken);
  }

  /** @returns undefined where the cookie is absent, forged, expired, or another session's */
  openIssued(cookie: string | undefined, session: Session): IssuedPersonalToken | undefined {
    const value = this.#issued.open(cookie, session.csrfToken)?.value;
    return value && { token: new Secret(value.token), details: value.details };
  }

  /** Names, groups and who is let in at all are the verifier's settings. */
  async #verify({ idToken }: ProviderTokens, o: CallOptions): Promise<Principal> {
    const { verifier, verifierId } = this.#parts;
    if (idToken === undefined) throw new Error('openid-client lets none pass without an ID token');
    let who: Principal | undefined;
    try {
      who = await verifier.verify(shownByUs(idToken), o);
    } catch (error) {
      o.signal.throwIfAborted();
      if (!(error instanceof RegistryError)) throw error;
      const { reason, said } = failureOf(error);
      throw error.code === 'UNAUTHORIZED' ? notLetIn(reason, said) : unavailable(reason, said);
    }
    if (who === undefined || who.verifier !== verifierId) throw notLetIn(notTaken(verifierId));
    if (who.kind !== 'human') throw notLetIn(`${qualifiedName(who)} is a ${who.kind}: people alone sign in`);
    return who;
  }

  #openSession({ verifier, name }: Principal): { readonly session: Session; readonly cookie: string } {
    const signedInAt = this.#parts.clock.now();
    const expiresAt = signedInAt + this.sessionLife;
    const csrfToken = randomBytes(32).toString('base64url');
    return {
      session: { who: { verifier, name }, csrfToken, signedInAt, expiresAt },
      cookie: this.#sessions.seal({ verifier, name, csrfToken, signedInAt }, expiresAt),
    };
  }

  async #remember(who: Principal, { refreshToken }: ProviderTokens, o: CallOptions): Promise<void> {
    const sealed = refreshToken && this.#parts.refreshTokens.seal(refreshToken, who);
    if (await this.#parts.people.remember(who, sealed, o)) return;
    throw notLetIn(`the groups and attributes of ${qualifiedName(who)} are too many to keep`);
  }

  async #firstToken({ who }: Session, o: CallOptions): Promise<IssuedPersonalToken | undefined> {
    const { personalTokens, lives } = this.#parts;
    if ((await personalTokens.list(who, o)).length > 0) return undefined;
    return personalTokens.create(who, { label: firstLabel, life: lives.suggested }, o);
  }

  /** A cookie cannot be called back: a revocation of the person's tokens ends their sessions here. */
  async #requireLive({ who, signedInAt }: Session, o: CallOptions): Promise<void> {
    const isRevoked = await this.#revocations.isRevoked({ ...who, key: 'session', createdAt: signedInAt }, o);
    if (!isRevoked && (await this.#parts.people.isKnown(who, o))) return;
    throw new SignInError(
      'expired',
      `You are signed in no more. ${tryAgain}`,
      `the sign-in of ${who.verifier}:${who.name} was ended`,
    );
  }
}

function notLetIn(reason: string, said?: string): SignInError {
  const message = 'You are known to the sign-in service, but not let in here.';
  return new SignInError('refused', message, reason, said);
}

/** @throws SignInError `unavailable` where the state cannot be read or written */
async function storing<T>(o: CallOptions, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    o.signal.throwIfAborted();
    if (!(error instanceof RegistryError) || error.code !== 'UNAVAILABLE') throw error;
    const { reason, said } = failureOf(error);
    const message = 'Tokens cannot be stored at the moment. Please try again later.';
    throw new SignInError('unavailable', message, reason, said);
  }
}
