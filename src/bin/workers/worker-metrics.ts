import { lasting, type MetricsSnapshot, printTogether } from '../../observability/prometheus-metrics.js';

/** Milliseconds that a worker has to say what it counted; one that is busy counts as it was when it last did. */
const patience = 2_000;

/** A process whose metrics are asked for. */
export interface Counted {
  /** Undefined where it ends before it has told. */
  snapshot(): Promise<MetricsSnapshot | undefined>;
}

/** The metrics of several processes as if they were one: what has ended counts on. */
export class WorkerMetrics<W extends Counted> {
  readonly #own: Counted;
  readonly #last = new Map<W, MetricsSnapshot>();
  #ended: MetricsSnapshot = [];

  /** @param own of the process that asks */
  constructor(own: Counted) {
    this.#own = own;
  }

  async print(workers: readonly W[]): Promise<string> {
    const asked = workers.map(async (worker) => {
      const snapshot = await within(patience, worker.snapshot());
      if (snapshot !== undefined) this.#last.set(worker, snapshot);
    });
    const [own] = await Promise.all([this.#own.snapshot(), ...asked]);
    return printTogether([own ?? [], this.#ended, ...this.#last.values()]);
  }

  /** What it counted since it was last asked is lost. */
  async ended(worker: W): Promise<void> {
    const last = this.#last.get(worker);
    this.#last.delete(worker);
    if (last !== undefined) this.#ended = await lasting([this.#ended, last]);
  }
}

async function within<T>(milliseconds: number, asked: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined);
  });
  const first = await Promise.race([asked.catch(() => undefined), late]);
  clearTimeout(timer);
  return first;
}
