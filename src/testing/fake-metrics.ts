import type { Labels, Metrics } from '../contracts/metrics.js';

interface FakeMetric {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly values: Map<string, number[]>;
  readonly followed: Map<string, () => number | undefined>;
}

/** Keeps every value. As strict as the real ones: a label that was not declared is an error. */
export class FakeMetrics implements Metrics {
  readonly #metrics = new Map<string, FakeMetric>();

  counter(name: string, _help: string, labels: readonly string[] = []) {
    const metric = this.#metric('counter', name, labels);
    return {
      add: (given: Labels = {}, value = 1) => {
        if (value < 0) throw new Error(`counter ${name} cannot go down`);
        const [before = 0] = metric.values.get(keyOf(name, metric, given)) ?? [];
        metric.values.set(keyOf(name, metric, given), [before + value]);
      },
    };
  }

  gauge(name: string, _help: string, labels: readonly string[] = []) {
    const metric = this.#metric('gauge', name, labels);
    return {
      set: (given: Labels, value: number) => void metric.values.set(keyOf(name, metric, given), [value]),
      follow: (given: Labels, read: () => number | undefined) => {
        const key = keyOf(name, metric, given);
        metric.followed.set(key, read);
        return () => {
          if (metric.followed.get(key) === read) metric.followed.delete(key);
        };
      },
    };
  }

  histogram(name: string, _help: string, labels: readonly string[] = [], _buckets?: readonly number[]) {
    const metric = this.#metric('histogram', name, labels);
    return {
      observe: (given: Labels, value: number) => {
        const key = keyOf(name, metric, given);
        metric.values.set(key, [...(metric.values.get(key) ?? []), value]);
      },
    };
  }

  /** Of a counter or a gauge; the sum of what a histogram observed. 0 where nothing was recorded. */
  value(name: string, labels: Labels = {}): number {
    return this.observed(name, labels).reduce((sum, value) => sum + value, 0);
  }

  /** What a histogram observed, in order. */
  observed(name: string, labels: Labels = {}): readonly number[] {
    const metric = this.#metrics.get(name);
    if (metric === undefined) return [];
    const key = keyOf(name, metric, labels);
    const followed = metric.followed.get(key)?.();
    return followed === undefined ? (metric.values.get(key) ?? []) : [followed];
  }

  /** Everything in a few lines: a test can search it for secrets and for names. */
  get text(): string {
    return [...this.#metrics]
      .flatMap(([name, metric]) =>
        [...metric.values.keys(), ...metric.followed.keys()].map((key) => {
          const values = [metric.followed.get(key)?.() ?? metric.values.get(key)].flat();
          return `${metric.kind} ${name}${key} ${values.join(' ')}`;
        }),
      )
      .join('\n');
  }

  #metric(kind: FakeMetric['kind'], name: string, labels: readonly string[]): FakeMetric {
    const known = this.#metrics.get(name);
    if (known) {
      const same = known.kind === kind && known.labels.join() === labels.join();
      if (!same) throw new Error(`metric ${name} was declared otherwise before`);
      return known;
    }
    const made: FakeMetric = { kind, labels, values: new Map(), followed: new Map() };
    this.#metrics.set(name, made);
    return made;
  }
}

function keyOf(name: string, metric: FakeMetric, labels: Labels): string {
  const unknown = Object.keys(labels).find((label) => !metric.labels.includes(label));
  if (unknown !== undefined) throw new Error(`metric ${name} has no label ${unknown}`);
  return JSON.stringify(metric.labels.map((label) => [label, labels[label] ?? '']));
}
