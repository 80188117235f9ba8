import type { CacheOutcome, Metrics } from '../contracts/index.js';

export type CachedKind = 'tag' | 'manifest' | 'blob';

/** What a cache counts, for one upstream. */
export class CacheMetrics {
  readonly #requests: ReturnType<Metrics['counter']>;
  readonly #resumed: ReturnType<Metrics['counter']>;
  readonly #abandoned: ReturnType<Metrics['counter']>;
  readonly #upstream: string;

  constructor(metrics: Metrics, upstream: string) {
    this.#upstream = upstream;
    this.#requests = metrics.counter(
      'cache_requests_total',
      'Requests for what can be cached: hit, revalidated, stale, miss, passed',
      ['upstream', 'kind', 'result'],
    );
    this.#resumed = metrics.counter(
      'cache_downloads_resumed_total',
      'Downloads into a cache that were cut and went on where they were',
      ['upstream'],
    );
    this.#abandoned = metrics.counter(
      'cache_downloads_failed_total',
      'Downloads into a cache that came to no end',
      ['upstream'],
    );
    for (const one of [this.#resumed, this.#abandoned]) one.add({ upstream }, 0);
  }

  request(kind: CachedKind, result: CacheOutcome['result']): void {
    this.#requests.add({ upstream: this.#upstream, kind, result });
  }
  resumed(): void {
    this.#resumed.add({ upstream: this.#upstream });
  }
  failed(): void {
    this.#abandoned.add({ upstream: this.#upstream });
  }
}
