import cluster, { type Worker } from 'node:cluster';
import type { Readable } from 'node:stream';
import type { MetricsSnapshot } from '../../observability/prometheus-metrics.js';
import { LineMerger } from './line-merger.js';
import type { FromWorker, ToWorker } from './messages.js';

export interface WorkerEvents {
  /** Lines that it has written for the log. */
  output(lines: string): void;
  message(message: FromWorker, worker: WorkerProcess): void;
}

/** How a worker came to its end. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why it could not begin. */
  readonly failure?: string;
}

type Serving = Extract<FromWorker, { kind: 'serving' }>;
type Reloaded = Extract<FromWorker, { kind: 'reloaded' }>;

/** A worker as the process sees it that started it. */
export class WorkerProcess {
  readonly number: number;
  readonly startedAt = performance.now();
  /** Undefined where it ends without. */
  readonly serving: Promise<Serving | undefined>;
  readonly ended: Promise<WorkerEnd>;
  isServing = false;
  /** It reads the configuration, or has read it. */
  hasBegun = false;
  readonly #worker: Worker;
  readonly #answers = new Map<number, (message: FromWorker | undefined) => void>();
  #last = 0;
  #failure: string | undefined;

  /** @param number from 1 */
  constructor(number: number, throttleKey: string, events: WorkerEvents) {
    this.number = number;
    // Its output comes here: lines of several processes that write to one pipe could mix.
    cluster.setupPrimary({ silent: true });
    const worker = cluster.fork();
    this.#worker = worker;
    const lines = new LineMerger(events.output);
    (worker.process.stdout as Readable).on('data', (bytes: Buffer) => lines.add(bytes));
    (worker.process.stderr as Readable).on('data', (bytes: Buffer) => process.stderr.write(bytes));
    this.ended = new Promise((resolve) => {
      // Not `exit`: its output may still be on its way.
      worker.process.once('close', (code, signal) => {
        lines.end();
        this.isServing = false;
        for (const answer of this.#answers.values()) answer(undefined);
        resolve({ code, signal, ...(this.#failure !== undefined && { failure: this.#failure }) });
      });
    });
    let begun: (serving: Serving) => void = () => {};
    const serving = new Promise<Serving>((resolve) => {
      begun = resolve;
    });
    this.serving = Promise.race([serving, this.ended.then(() => undefined)]);
    worker.on('error', () => {}); // a message to one that has ended; `ended` says so
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'born') {
        this.hasBegun = true;
        this.tell({ kind: 'begin', number, throttleKey });
      } else if (message.kind === 'failed') this.#failure = message.message;
      else if (message.kind === 'serving') {
        this.isServing = true;
        begun(message);
      } else if (message.kind === 'metrics' || message.kind === 'reloaded')
        this.#answers.get(message.id)?.(message);
      else events.message(message, this);
    });
  }

  get pid(): number {
    return this.#worker.process.pid ?? 0;
  }

  tell(message: ToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message, () => {});
  }

  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  /** @returns undefined where it ends before */
  async snapshot(): Promise<MetricsSnapshot | undefined> {
    const answer = await this.#ask((id) => ({ kind: 'metrics', id }));
    return answer?.kind === 'metrics' ? answer.snapshot : undefined;
  }

  /** @returns undefined where it ends before */
  async reload(): Promise<Reloaded | undefined> {
    const answer = await this.#ask((id) => ({ kind: 'reload', id }));
    return answer?.kind === 'reloaded' ? answer : undefined;
  }

  async #ask(message: (id: number) => ToWorker): Promise<FromWorker | undefined> {
    const id = ++this.#last;
    const answer = new Promise<FromWorker | undefined>((resolve) => {
      this.#answers.set(id, resolve);
    });
    this.tell(message(id));
    const first = await Promise.race([answer, this.ended.then(() => undefined)]);
    this.#answers.delete(id);
    return first;
  }
}
