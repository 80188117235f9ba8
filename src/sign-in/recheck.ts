import type { CallOptions, Principal, TokenIssuer, Verifier } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import { openSealedText, sealText } from '../protocol/sealed-text.js';
import { Secret } from '../secret.js';
import type { OpenIdClient, ProviderTokens } from './open-id-client.js';
import { type Person, personKey } from './person.js';
import { principalOf, type SignedInRecord } from './signed-in-records.js';

/** What a look-up found. */
export interface Rechecked {
  readonly outcome:
    | { readonly kind: 'present'; readonly who: Principal }
    /** They are still there; what they are now was not told. */
    | { readonly kind: 'unchanged' }
    /** Gone, or somebody else: their tokens end until the next sign-in. */
    | { readonly kind: 'ended'; readonly reason: string }
    /** Gone for now: asked again next time. */
    | { readonly kind: 'absent'; readonly reason: string }
    | { readonly kind: 'failed'; readonly reason: string };
  /** In place of the one that was used, sealed. */
  readonly refreshToken?: string;
}

/** How to find out what a person is now. */
export interface Recheck {
  /** True where it may run as often as one likes: then no claim is laid to it. */
  readonly isRepeatable: boolean;
  canBeUsed(record: SignedInRecord): boolean;
  /** Never rejects but by the signal. */
  run(record: SignedInRecord, o: CallOptions): Promise<Rechecked>;
}

/** Asks the verifier, which can look people up. */
export class RecheckByVerifier implements Recheck {
  readonly isRepeatable = true;
  readonly #verifier: Verifier;

  constructor(verifier: Verifier) {
    this.#verifier = verifier;
  }

  canBeUsed(): boolean {
    return true;
  }

  async run(record: SignedInRecord, o: CallOptions): Promise<Rechecked> {
    try {
      const who = await this.#verifier.recheck?.(principalOf(record), o);
      if (who !== undefined && isSame(who, record)) return { outcome: { kind: 'present', who } };
      // Not for good: a directory that is empty for a moment must not end everybody's tokens.
      return { outcome: { kind: 'absent', reason: 'whoever has this token is gone, or disabled' } };
    } catch (error) {
      return { outcome: failureOf(error, o) };
    }
  }
}

const purpose = 'sign-in: the refresh tokens of providers 1';

/** Asks the provider for a new ID token. A refresh token may be good for one use. */
export class RecheckByProvider implements Recheck {
  readonly isRepeatable = false;
  readonly #client: Pick<OpenIdClient, 'refresh'>;
  readonly #verifier: Verifier;
  readonly #tokens: Pick<TokenIssuer, 'derivedKeys'>;

  constructor(
    client: Pick<OpenIdClient, 'refresh'>,
    verifier: Verifier,
    tokens: Pick<TokenIssuer, 'derivedKeys'>,
  ) {
    this.#client = client;
    this.#verifier = verifier;
    this.#tokens = tokens;
  }

  seal(refreshToken: Secret, person: Person): string {
    return sealText(this.#tokens.derivedKeys(purpose), refreshToken.reveal(), personKey(person));
  }

  canBeUsed({ refreshToken }: SignedInRecord): boolean {
    return refreshToken !== undefined;
  }

  async run(record: SignedInRecord, o: CallOptions): Promise<Rechecked> {
    const text = openSealedText(
      this.#tokens.derivedKeys(purpose),
      record.refreshToken ?? '',
      personKey(record),
    );
    if (text === undefined) {
      return {
        outcome: { kind: 'ended', reason: 'the refresh token of the provider was sealed with other keys' },
      };
    }
    let answer: ProviderTokens | 'gone';
    try {
      answer = await this.#client.refresh(new Secret(text), o);
    } catch (error) {
      return { outcome: failureOf(error, o) };
    }
    if (answer === 'gone') {
      return {
        outcome: { kind: 'ended', reason: 'the provider takes the refresh token of the sign-in no more' },
      };
    }
    const next = answer.refreshToken ?? new Secret(text);
    // Sealed anew in any case: the key it was sealed with will not stay for ever.
    return { outcome: await this.#outcome(record, answer.idToken, o), refreshToken: this.seal(next, record) };
  }

  async #outcome(
    record: SignedInRecord,
    idToken: Secret | undefined,
    o: CallOptions,
  ): Promise<Rechecked['outcome']> {
    if (idToken === undefined) return { kind: 'unchanged' };
    try {
      const who = await this.#verifier.verify(shownByUs(idToken), o);
      if (who === undefined) return { kind: 'failed', reason: notTaken(record.verifier) };
      if (isSame(who, record)) return { kind: 'present', who };
      return { kind: 'ended', reason: 'the provider gives another name now' };
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') {
        return { kind: 'ended', reason: `the ID token is refused now: ${describeError(error)}` };
      }
      return failureOf(error, o);
    }
  }
}

/** An ID token that came from the provider to ourselves: no client shows it. */
export function shownByUs(idToken: Secret): Parameters<Verifier['verify']>[0] {
  return { shown: { kind: 'bearer', token: idToken }, connection: { address: '127.0.0.1' } };
}

/** For the log: the verifier leaves ID tokens of its own provider to others. */
export function notTaken(verifier: string): string {
  return `the verifier ${verifier} does not take the ID token for its own: its audiences must have signIn.clientId, and its issuer must be written as the provider writes it`;
}

/** Only people get personal access tokens; a machine that took a person's name is not that person. */
function isSame(who: Principal, { verifier, name }: SignedInRecord): boolean {
  return who.verifier === verifier && who.name === name && who.kind === 'human';
}

function failureOf(error: unknown, { signal }: CallOptions): Rechecked['outcome'] {
  if (!signal.aborted && !(error instanceof RegistryError)) throw error;
  return { kind: 'failed', reason: signal.aborted ? 'it took too long' : describeError(error) };
}
