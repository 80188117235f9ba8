import type { CallOptions } from '../contracts/call-options.js';
import type { Clock } from '../contracts/clock.js';
import type { Credential } from '../contracts/credential-source.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError } from '../errors.js';
import { toldText } from '../protocol/told-text.js';
import type { CredentialRule, RuleMatch } from './credential-rules.js';

/** A rule whose credential is asked for, and the image it is for. */
export interface AskedRule extends RuleMatch {
  readonly rule: CredentialRule & Required<Pick<CredentialRule, 'credentials'>>;
}

/** `lacking`: why there is none, for people. `isFailure`: there should be one. */
export type AskedCredential =
  | { readonly credential: Credential }
  | { readonly lacking: string; readonly isFailure: boolean };

/** One pull's questions for its credential. All of them together have the time of one. */
export class CredentialAsker {
  readonly #asked: AskedRule;
  readonly #clock: Clock;
  readonly #limit: number;
  #left: number;

  /** @param timeout milliseconds */
  constructor(asked: AskedRule, clock: Clock, timeout: number) {
    this.#asked = asked;
    this.#clock = clock;
    this.#limit = timeout;
    this.#left = timeout;
  }

  /**
   * @param rejected what the registry refused just now
   * @throws the signal's reason, and nothing else: a pull goes on without its credential
   */
  async ask({
    signal,
    rejected,
  }: CallOptions & { readonly rejected?: Credential }): Promise<AskedCredential> {
    signal.throwIfAborted();
    const { source } = this.#asked.rule.credentials;
    const limit = new AbortController();
    const late = `it did not answer within ${this.#limit / 1000} s`;
    const timer = setTimeout(() => limit.abort(new Error(late)), Math.max(this.#left, 0));
    const onAbort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const startedAt = this.#clock.now();
    try {
      // Somebody's own source may throw at once, ignore its signal, or answer when nobody waits any more.
      const answer = (async () =>
        source.credentialFor(this.#asked.image.repository, {
          signal: limit.signal,
          ...(rejected && { rejected }),
        }))();
      const credential = await untilAborted(answer, limit.signal);
      return credential === undefined
        ? { lacking: 'it has none for this image', isFailure: false }
        : { credential };
    } catch (error) {
      signal.throwIfAborted();
      // The code is for clients of a registry; people are told in words.
      const reason = describeError(error).replace(/(^|: )UNAVAILABLE: /g, '$1');
      return { lacking: toldText(reason, rejected && [rejected]), isFailure: true };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#left -= Math.max(this.#clock.now() - startedAt, 0);
    }
  }
}
