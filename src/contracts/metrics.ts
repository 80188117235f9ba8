/**
 * Prometheus metrics; the program's own prefix is put before each name. Asking again for a name gives the same metric, so a reload keeps its counts. A label's value
 * comes from a closed set (an upstream's name, a code), never from a client.
 */
export interface Metrics {
  counter(
    name: string,
    help: string,
    labels?: readonly string[],
  ): { add(labels?: Labels, value?: number): void };
  /** @param across what several processes that serve together have: the sum (default), or the least or most of theirs */
  gauge(
    name: string,
    help: string,
    labels?: readonly string[],
    across?: 'sum' | 'min' | 'max',
  ): {
    set(labels: Labels, value: number): void;
    /**
     * Reads a value whenever the metrics are read; while it is undefined there is none. Whoever follows with the same
     * labels later takes the place of the one before.
     *
     * @returns ends it; the value is gone then
     */
    follow(labels: Labels, read: () => number | undefined): () => void;
  };
  histogram(
    name: string,
    help: string,
    labels?: readonly string[],
    buckets?: readonly number[],
  ): { observe(labels: Labels, value: number): void };
}

export type Labels = Readonly<Record<string, string>>;
