import { type CryptoKey, errors, type JWSHeaderParameters } from 'jose';
import type { CallOptions, Clock, Closable, Log } from '../../contracts/index.js';
import { SingleFlight, untilAborted } from '../../decorators/single-flight.js';
import { describeError, RegistryError } from '../../errors.js';
import type { KeySet } from './key-set.js';
import type { KeySource } from './key-source.js';

/** The present keys of one issuer. */
export interface IssuerKeys extends Closable {
  /**
   * @throws jose's JWKSNoMatchingKey or JWKSMultipleMatchingKeys: the token is not by this issuer, or does not say by
   *   which of its keys. RegistryError UNAVAILABLE: the keys are not known now, or this one may be newer than they are
   */
  keyFor(header: JWSHeaderParameters, o: CallOptions): Promise<CryptoKey>;
}

const minute = 60_000;
/** Milliseconds, as all below. Keys of this age are fetched anew beside the requests, which do not wait for it. */
const aging = 5 * minute;
/** Keys of this age are fetched anew before they are used: so long a removed key may still be accepted. */
const old = 10 * minute;
/** Keys of this age are not used, even where the issuer is down and gives no others. */
const tooOld = 24 * 60 * minute;
/** Between two questions to the issuer: a flood of unknown key ids or of logins is not passed on to it. */
const pause = 5_000;
/** For discovery and key set together; each call has a limit of its own, of a minute at most. */
const longest = 2 * minute;

const never = new AbortController().signal;

interface Held {
  readonly keys: KeySet;
  /** When they were asked for; milliseconds since the epoch. */
  readonly since: number;
}

/**
 * Keeps the keys of an issuer that is asked over HTTP. Nothing is asked before the first token comes. While the issuer
 * is down its last keys stay in use for a day; a key it no longer names ends with the next answer.
 */
export class FetchedKeys implements IssuerKeys {
  readonly #source: KeySource;
  readonly #id: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #flights = new SingleFlight<KeySet>(longest);
  #held: Held | undefined;
  #lastAsked: number | undefined;
  /** The question that is under way. */
  #asked: Promise<void> | undefined;
  #closed = false;
  /** Why the last answer was none. */
  #failure: RegistryError | undefined;

  /** @param given.id the verifier's, for the log */
  constructor(source: KeySource, given: { readonly id: string; readonly clock: Clock; readonly log: Log }) {
    this.#source = source;
    this.#id = given.id;
    this.#clock = given.clock;
    this.#log = given.log;
  }

  async keyFor(header: JWSHeaderParameters, o: CallOptions): Promise<CryptoKey> {
    const { keys } = await this.#present(o);
    try {
      return await keys.find(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      return await this.#lookAgain(header, error, o);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#flights.close();
  }

  async #present(o: CallOptions): Promise<Held> {
    o.signal.throwIfAborted();
    const age = this.#held === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() - this.#held.since;
    if (age >= tooOld) this.#held = undefined;
    // A clock that was set back tells nothing about their age.
    const isOld = age >= old || age < 0;
    if (this.#held === undefined) {
      if (this.#isPaused() && this.#asked === undefined && this.#failure !== undefined) throw this.#failure;
      await this.#refresh(o);
    } else if (isOld && this.#failure === undefined) {
      await this.#refresh(o).catch(() => o.signal.throwIfAborted());
    } else if ((age >= aging || isOld) && !this.#isPaused()) {
      this.#refresh({ signal: never }).catch(() => {}); // it is logged, and the next one asks again
    }
    if (this.#held === undefined) throw this.#failure ?? new RegistryError('UNAVAILABLE');
    return this.#held;
  }

  /** For a key id that is not known: the issuer may have begun to sign with a new key. */
  async #lookAgain(header: JWSHeaderParameters, unknown: Error, o: CallOptions): Promise<CryptoKey> {
    if (this.#asked !== undefined || !this.#isPaused()) await this.#refresh(o);
    else if (this.#failure !== undefined) throw this.#failure;
    if (this.#held === undefined) throw unknown;
    return this.#held.keys.find(header);
  }

  #isPaused(): boolean {
    if (this.#lastAsked === undefined) return false;
    const passed = this.#clock.now() - this.#lastAsked;
    return passed >= 0 && passed < pause;
  }

  /**
   * Whoever asked first may leave; the question goes on, for those who come next.
   *
   * @throws RegistryError UNAVAILABLE
   */
  #refresh(o: CallOptions): Promise<void> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    this.#asked.catch(() => {});
    return untilAborted(this.#asked, o.signal);
  }

  async #ask(): Promise<void> {
    const since = this.#clock.now();
    this.#lastAsked = since;
    try {
      const keys = await this.#flights.run('', { signal: never }, (signal) => this.#source({ signal }));
      this.#replace({ keys, since });
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #replace(held: Held): void {
    const fields = { id: this.#id, keys: held.keys.size };
    if (this.#failure !== undefined) this.#log.info(fields, 'the keys of the issuer were fetched again');
    if (held.keys.size === 0)
      this.#log.warn(fields, 'the issuer has no usable key: no token of it is accepted');
    this.#held = held;
    this.#failure = undefined;
  }

  #failed(error: unknown): RegistryError {
    const failure =
      error instanceof RegistryError && error.code === 'UNAVAILABLE'
        ? error
        : new RegistryError('UNAVAILABLE', {
            reason: 'the keys of the issuer cannot be fetched',
            cause: error,
          });
    // Told once an outage, not once an attempt.
    if (this.#failure === undefined && !this.#closed) {
      const until = this.#held && new Date(this.#held.since + tooOld).toISOString();
      this.#log.warn(
        { id: this.#id, reason: describeError(failure), ...(until !== undefined && { until }) },
        until === undefined
          ? 'the keys of the issuer cannot be fetched'
          : 'the keys of the issuer cannot be fetched; the last ones stay in use',
      );
    }
    this.#failure = failure;
    return failure;
  }
}
