import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client';
import type { Labels, Metrics } from '../contracts/index.js';

/** What all metrics are at a time; JSON can carry it. */
export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** Several processes' metrics in one, in Prometheus' text format. */
export function printTogether(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate(mutable(snapshots)).metrics();
}

/** What counts on when these have ended: their counters and histograms. */
export async function lasting(snapshots: readonly MetricsSnapshot[]): Promise<MetricsSnapshot> {
  const together = await AggregatorRegistry.aggregate(mutable(snapshots)).getMetricsAsJSON();
  return together.filter(({ type }) => String(type) === 'counter' || String(type) === 'histogram');
}

function mutable(snapshots: readonly MetricsSnapshot[]) {
  return snapshots.map((one) => [...one]);
}

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

  gauge(
    name: string,
    help: string,
    labels: readonly string[] = [],
    across: 'sum' | 'min' | 'max' = 'sum',
  ): ReturnType<Metrics['gauge']> {
    const options = { ...this.#options(name, help, labels), aggregator: across };
    return this.#once(name, () => new FollowingGauge(options));
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

  /** All values now, as another process can add them to its own. */
  snapshot(): Promise<MetricsSnapshot> {
    return this.#registry.getMetricsAsJSON();
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
