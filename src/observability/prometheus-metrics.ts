import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Labels, Metrics } from '../contracts/index.js';

/** Metrics in a registry of their own, printed in Prometheus' text format. */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #known = new Map<string, unknown>();
  readonly #prefix: string;

  /** @param prefix before the name of every metric of ours; Node's own have theirs */
  constructor(prefix = 'registry_proxy_') {
    this.#prefix = prefix;
    collectDefaultMetrics({ register: this.#registry });
  }

  counter(name: string, help: string, labels: readonly string[] = []) {
    const counter = this.#once(name, () => new Counter({ ...this.#options(name, help, labels) }));
    return { add: (values: Labels = {}, value = 1) => counter.inc(values, value) };
  }

  gauge(name: string, help: string, labels: readonly string[] = []): ReturnType<Metrics['gauge']> {
    return this.#once(name, () => new FollowingGauge(this.#options(name, help, labels)));
  }

  histogram(name: string, help: string, labels: readonly string[] = [], buckets?: readonly number[]) {
    const histogram = this.#once(
      name,
      () =>
        new Histogram({ ...this.#options(name, help, labels), ...(buckets && { buckets: [...buckets] }) }),
    );
    return { observe: (values: Labels, value: number) => histogram.observe(values, value) };
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  print(): Promise<string> {
    return this.#registry.metrics();
  }

  #options(name: string, help: string, labels: readonly string[]) {
    return { name: this.#prefix + name, help, labelNames: [...labels], registers: [this.#registry] };
  }

  /** A metric is asked for again at every reload. */
  #once<M>(name: string, create: () => M): M {
    const known = this.#known.get(name) as M | undefined;
    if (known !== undefined) return known;
    const metric = create();
    this.#known.set(name, metric);
    return metric;
  }
}

interface Followed {
  readonly labels: Labels;
  readonly read: () => number | undefined;
}

/** A gauge that is set, or that looks for its values when it is read. */
class FollowingGauge {
  readonly #gauge: Gauge;
  readonly #followed = new Map<string, Followed>();

  constructor(options: ConstructorParameters<typeof Gauge>[0]) {
    this.#gauge = new Gauge({ ...options, collect: () => this.#collect() });
  }

  set(labels: Labels, value: number): void {
    this.#gauge.set(labels, value);
  }

  follow(labels: Labels, read: () => number | undefined): () => void {
    const key = JSON.stringify(Object.entries(labels).sort());
    const one: Followed = { labels, read };
    this.#followed.set(key, one);
    return () => {
      if (this.#followed.get(key) !== one) return;
      this.#followed.delete(key);
      this.#gauge.remove(labels);
    };
  }

  #collect(): void {
    for (const { labels, read } of this.#followed.values()) {
      const value = read();
      if (value === undefined) this.#gauge.remove(labels);
      else this.#gauge.set(labels, value);
    }
  }
}
