import type { CallOptions, ClientCredentials, Metrics, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/** What became of one verification. */
type Outcome = 'accepted' | 'refused' | 'not-mine' | 'throttled' | 'unavailable' | 'error' | 'abandoned';

/** Seconds. */
const buckets = [0.005, 0.02, 0.1, 0.5, 2, 10];

/** Counts what a verifier answers, and how long it takes: a directory that is down shows here before users call. */
export class MeteredVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #id: string;
  readonly #outcomes: ReturnType<Metrics['counter']>;
  readonly #seconds: ReturnType<Metrics['histogram']>;

  /** @param id the verifier's, for the label */
  constructor(inner: Verifier, id: string, metrics: Metrics) {
    this.#inner = inner;
    this.#id = id;
    this.#outcomes = metrics.counter(
      'verifications_total',
      'What verifiers answered. Cached answers are not counted.',
      ['verifier', 'outcome'],
    );
    this.#seconds = metrics.histogram(
      'verification_seconds',
      'How long a verifier took, where it did not leave the credentials to others',
      ['verifier'],
      buckets,
    );
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const startedAt = performance.now();
    try {
      const principal = await this.#inner.verify(credentials, o);
      this.#note(principal === undefined ? 'not-mine' : 'accepted', startedAt);
      return principal;
    } catch (error) {
      this.#note(o.signal.aborted ? 'abandoned' : outcomeOf(error), startedAt);
      throw error;
    }
  }

  recognises(credentials: ClientCredentials): boolean {
    return this.#inner.recognises?.(credentials) === true;
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #note(outcome: Outcome, startedAt: number): void {
    const verifier = this.#id;
    this.#outcomes.add({ verifier, outcome });
    if (outcome !== 'not-mine') this.#seconds.observe({ verifier }, (performance.now() - startedAt) / 1000);
  }
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof RegistryError)) return 'error';
  if (error.code === 'UNAUTHORIZED') return 'refused';
  if (error.code === 'TOOMANYREQUESTS') return 'throttled';
  return error.code === 'UNAVAILABLE' ? 'unavailable' : 'error';
}
