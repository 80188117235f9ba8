import { LRUCache } from 'lru-cache';
import type { Clock } from '../contracts/index.js';
import { clientNetwork } from '../decorators/client-network.js';
import { RegistryError } from '../errors.js';
import { tryAgain } from './open-id-failure.js';
import { SignInError } from './sign-in-error.js';

export interface CallbackLimits {
  /** Answers of one network that come to nothing, in one window. */
  readonly failures: number;
  /** Milliseconds. */
  readonly window: number;
  /** Milliseconds that an attempt lives: for so long it is known to be used. */
  readonly attemptLife: number;
}

/** Milliseconds since the epoch, and how many since then. */
interface Failures {
  readonly since: number;
  count: number;
}

/** Attempts that are known to be used, and networks. */
const maxKnown = 50_000;

/**
 * Bounds what a browser can have us ask the provider, with our client's secret: each attempt is good for one answer, and
 * a network whose answers come to nothing has to wait. In memory: the provider takes a code once over all replicas.
 */
export class CallbackThrottle {
  readonly #clock: Clock;
  readonly #limits: CallbackLimits;
  readonly #used = new LRUCache<string, true>({ max: maxKnown });
  readonly #failures = new LRUCache<string, Failures>({ max: maxKnown });

  constructor(clock: Clock, limits: CallbackLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * Asks, where it may be asked.
   *
   * @param state of the attempt, which only its own browser can know
   * @param address the browser's
   * @throws RegistryError TOOMANYREQUESTS, and the attempt is not used up; SignInError `expired` where it was used
   */
  async run<T>(state: string, address: string, ask: () => Promise<T>): Promise<T> {
    const failures = this.#failuresOf(clientNetwork(address));
    if (failures.count >= this.#limits.failures) throw this.#tooMany(failures);
    if (this.#used.has(state)) {
      throw new SignInError(
        'expired',
        `That sign-in is over. ${tryAgain}`,
        'the state of the answer was used before',
      );
    }
    this.#used.set(state, true, { ttl: this.#limits.attemptLife });
    // Counts as failed until it has passed: any number would be under way before the first has failed.
    failures.count++;
    const answer = await ask();
    failures.count--;
    return answer;
  }

  /** Those of this window. One that begins in the future is from before the clock was set back: it has ended. */
  #failuresOf(network: string): Failures {
    const known = this.#failures.get(network);
    const now = this.#clock.now();
    const age = known === undefined ? -1 : now - known.since;
    if (known !== undefined && age >= 0 && age < this.#limits.window) return known;
    const first = { since: now, count: 0 };
    this.#failures.set(network, first, { ttl: this.#limits.window });
    return first;
  }

  #tooMany({ since }: Failures): RegistryError {
    return new RegistryError('TOOMANYREQUESTS', {
      message: 'too many sign-ins from your network came to nothing: wait a minute, and sign in again',
      retryAfter: Math.ceil((since + this.#limits.window - this.#clock.now()) / 1000),
    });
  }
}
