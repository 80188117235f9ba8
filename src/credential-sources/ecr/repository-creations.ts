import type { CallOptions, Clock } from '../../contracts/index.js';
import { SingleFlight } from '../../decorators/single-flight.js';
import { Turns } from '../../decorators/turns.js';
import { RegistryError } from '../../errors.js';

/** Milliseconds for one, its turn, AWS credentials and the new repository together. */
const creationTime = 30_000;
const atOnce = 4;
const aMinute = 60_000;
const perMinute = 60;
/** Refusals that are remembered; the oldest goes first. */
const maxRefused = 1_000;

/**
 * Creations of repositories, each once for all who want it, and within bounds: who may push may make up names. A name
 * that was refused is refused for a minute more without anybody being asked.
 */
export class RepositoryCreations {
  readonly #clock: Clock;
  readonly #flights = new SingleFlight<void>(creationTime);
  readonly #turns = new Turns(atOnce);
  readonly #refused = new Map<string, { readonly error: RegistryError; readonly until: number }>();
  /** When those of the last minute began; the oldest is first. */
  readonly #begun: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param key of the repository
   * @throws what `create` throws; RegistryError TOOMANYREQUESTS where the last minute has had its share
   */
  run(key: string, o: CallOptions, create: (signal: AbortSignal) => Promise<void>): Promise<void> {
    return this.#flights.run(key, o, async (signal) => {
      this.#requireNoRefusal(key);
      this.#requireShare();
      try {
        await this.#turns.run({ signal }, () => create(signal));
      } catch (error) {
        if (error instanceof RegistryError && lasting.includes(error.code)) this.#remember(key, error);
        throw error;
      }
    });
  }

  close(): void {
    this.#flights.close();
  }

  #requireNoRefusal(key: string): void {
    const refusal = this.#refused.get(key);
    if (refusal !== undefined && this.#clock.now() < refusal.until) throw refusal.error;
    this.#refused.delete(key);
  }

  #requireShare(): void {
    const now = this.#clock.now();
    while (this.#begun[0] !== undefined && this.#begun[0] <= now - aMinute) this.#begun.shift();
    const [oldest = now] = this.#begun;
    if (this.#begun.length >= perMinute) {
      throw new RegistryError('TOOMANYREQUESTS', {
        message: 'the repository does not exist at the registry, and too many are being created',
        reason: `${perMinute} repositories a minute are created at most`,
        retryAfter: Math.max(1, Math.ceil((oldest + aMinute - now) / 1000)),
      });
    }
    this.#begun.push(now);
  }

  #remember(key: string, error: RegistryError): void {
    this.#refused.set(key, { error, until: this.#clock.now() + aMinute });
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > maxRefused && oldest !== undefined) this.#refused.delete(oldest);
  }
}

/** What will be answered again. */
const lasting: readonly string[] = ['DENIED', 'NAME_INVALID'];
