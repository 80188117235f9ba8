import { setTimeout as sleep } from 'node:timers/promises';
import type { Metrics } from '../contracts/index.js';
import { StoppedError } from './stopped-error.js';

/** What one configuration was made into. */
export interface Succeeding<C> {
  readonly configuration: C;
  /** Gets the credentials before they are needed. For the one that serves; harmless when called again. */
  keepReady(): void;
  /** Opens anew the files it writes that may have been renamed. Never throws and never waits. */
  reopenFiles(): void;
  /** Closes what no other generation uses. Never rejects. */
  close(): Promise<void>;
}

export interface SuccessionParts<C, G extends Succeeding<C>> {
  /** @throws OpeningError; nothing is left open then */
  readonly open: (configuration: C) => Promise<G>;
  /**
   * Takes over what does not belong to a generation, right before the next one serves.
   *
   * @returns the settings that are left as they were until a restart
   * @throws an Error with a one-line message; nothing was changed then
   */
  readonly adjust: (configuration: C) => readonly string[] | Promise<readonly string[]>;
  /** Lets this one serve from the next request on. @returns resolves when nothing needs the one before any more */
  readonly use: (next: G) => Promise<void>;
  readonly metrics: Metrics;
}

/** Milliseconds at the end for whoever was cut to let go of what he holds. */
const letGoTime = 2_000;

/** The generation that serves, and earlier ones that what is under way still needs. */
export class GenerationSuccession<C, G extends Succeeding<C>> {
  readonly #parts: SuccessionParts<C, G>;
  readonly #inUse: ReturnType<Metrics['gauge']>;
  /** And when nothing needs them any more. */
  readonly #retiring = new Map<G, Promise<void>>();
  #current: G;
  #reloading: Promise<unknown> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  /** @param first serves already */
  constructor(first: G, parts: SuccessionParts<C, G>) {
    this.#parts = parts;
    this.#current = first;
    this.#inUse = parts.metrics.gauge(
      'configurations_in_use',
      'The configuration that is served, and earlier ones that requests under way still need',
      [],
      'max',
    );
    this.#countInUse();
  }

  get current(): G {
    return this.#current;
  }
  get isStopping(): boolean {
    return this.#stopped !== undefined;
  }

  /**
   * What is under way ends with the earlier one. One call at a time.
   *
   * @returns the settings that are left as they were until a restart
   * @throws OpeningError or an Error with a one-line message, and StoppedError; the earlier one stays then
   */
  reload(configuration: C): Promise<readonly string[]> {
    const reload = this.#reload(configuration);
    this.#reloading = reload.catch(() => undefined);
    return reload;
  }

  reopenFiles(): void {
    for (const generation of [this.#current, ...this.#retiring.keys()]) generation.reopenFiles();
  }

  /**
   * Closes all generations. A second call waits for the first.
   *
   * @param drain lets finish what is under way, and cuts what does not
   * @param whenUnused resolves when what was cut has let go of the generation that served last
   */
  stop(drain: () => Promise<void>, whenUnused: () => Promise<unknown>): Promise<void> {
    this.#stopped ??= this.#stop(drain, whenUnused);
    return this.#stopped;
  }

  async #reload(configuration: C): Promise<readonly string[]> {
    this.#refuseWhenStopping();
    const next = await this.#parts.open(configuration);
    let later: readonly string[];
    try {
      this.#refuseWhenStopping();
      later = await this.#parts.adjust(configuration);
      this.#refuseWhenStopping();
    } catch (error) {
      await next.close();
      throw error;
    }
    this.#retire(this.#current, this.#parts.use(next));
    this.#current = next;
    next.keepReady();
    return later;
  }

  #refuseWhenStopping(): void {
    if (this.isStopping) throw new StoppedError();
  }

  #retire(earlier: G, unused: Promise<void>): void {
    const retired = unused
      .then(() => earlier.close())
      .then(() => {
        this.#retiring.delete(earlier);
        this.#countInUse();
      });
    this.#retiring.set(earlier, retired);
    this.#countInUse();
  }

  #countInUse(): void {
    this.#inUse.set({}, 1 + this.#retiring.size);
  }

  async #stop(drain: () => Promise<void>, whenUnused: () => Promise<unknown>): Promise<void> {
    await drain();
    await this.#lettingGo(whenUnused());
    for (const generation of [...this.#retiring.keys(), this.#current]) await generation.close();
  }

  /** A reload that was begun closes what it opened, and what was cut still writes its lines into the logs. */
  async #lettingGo(unused: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    const late = sleep(letGoTime, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all([this.#reloading, unused, ...this.#retiring.values()]), late]);
    over.abort();
  }
}
