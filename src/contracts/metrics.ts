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
  gauge(name: string, help: string, labels?: readonly string[]): { set(labels: Labels, value: number): void };
  histogram(
    name: string,
    help: string,
    labels?: readonly string[],
    buckets?: readonly number[],
  ): { observe(labels: Labels, value: number): void };
}

export type Labels = Readonly<Record<string, string>>;
