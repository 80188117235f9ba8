import type { Metrics } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/** How many requests may be under way at the same time. */
export interface RequestLimitSettings {
  readonly requestsPerAddress: number;
  readonly requestsPerPrincipal: number;
}

/** Seconds. */
const retryAfter = 1;

/** Counts the requests under way, transfers with them, by who makes them. */
export class RequestLimits {
  readonly #open = new Map<string, number>();
  readonly #refusals: ReturnType<Metrics['counter']>;
  #all = 0;

  constructor(metrics: Metrics) {
    this.#refusals = metrics.counter(
      'request_refusals_total',
      'Requests refused because too many were under way, by whose limit that was',
      ['limit'],
    );
    for (const limit of ['address', 'principal']) this.#refusals.add({ limit }, 0);
    const open = metrics.gauge('requests_open', 'Requests under way, transfers with them');
    open.follow({}, () => this.#all);
  }

  /**
   * @param who an address, or a qualified name
   * @returns call it when the request has ended
   * @throws RegistryError TOOMANYREQUESTS
   */
  enter(kind: 'address' | 'principal', who: string, limit: number): () => void {
    const key = `${kind} ${who}`;
    const open = this.#open.get(key) ?? 0;
    if (open >= limit) {
      this.#refusals.add({ limit: kind });
      throw new RegistryError('TOOMANYREQUESTS', {
        message: `too many requests at the same time from this ${kind === 'address' ? 'address' : 'user'}`,
        retryAfter,
      });
    }
    this.#open.set(key, open + 1);
    if (kind === 'address') this.#all += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      if (kind === 'address') this.#all -= 1;
      const now = (this.#open.get(key) ?? 1) - 1;
      if (now === 0) this.#open.delete(key);
      else this.#open.set(key, now);
    };
  }
}
