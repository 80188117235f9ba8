import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../../config/configuration.js';
import type { StateStore } from '../../contracts/index.js';
import { adminHandler } from '../../http/admin.js';
import { Listener } from '../../http/listener.js';
import { openState } from '../open-parts.js';
import { Opener } from '../opener.js';
import type { ServiceSurroundings } from '../run-service.js';
import type { RunningProxy } from '../running-proxy.js';
import { type BoundAddress, shortDrain } from '../servers.js';
import { StoppedError } from '../stopped-error.js';
import type { FromWorker } from './messages.js';
import { answerFrom } from './remote-state.js';
import { WorkerMetrics } from './worker-metrics.js';
import { type WorkerEnd, WorkerProcess } from './worker-process.js';

/** Milliseconds: a worker that lived so long ended by an accident, and another one begins at once. */
const longLife = 10_000;
const shortestPause = 100;
const longestPause = 10_000;
/** Milliseconds after all others that a worker has to end by itself. */
const longestEnd = 10_000;

/**
 * Several processes that serve together. This one serves nobody: it starts them, and others where one ends, holds the
 * state, answers administrators for all, and tells them when to reload and when to stop.
 *
 * @throws an Error with a one-line message where the first cannot begin, OpeningError, StoppedError; nothing is left then
 */
export async function startWorkers(
  configuration: Configuration,
  surroundings: ServiceSurroundings,
  stop: AbortSignal,
): Promise<Workers> {
  const opener = new Opener(configuration, surroundings);
  try {
    const { part: state } = await openState(opener, configuration);
    const workers = new Workers(configuration, surroundings, { opener, state });
    await workers.start(stop);
    return workers;
  } catch (error) {
    await opener.close();
    throw error;
  }
}

export class Workers implements Omit<RunningProxy, 'openParts'> {
  configuration: Configuration;
  readonly #surroundings: ServiceSurroundings;
  readonly #opener: Opener;
  readonly #state: StateStore;
  readonly #metrics: WorkerMetrics<WorkerProcess>;
  readonly #restarts: ReturnType<ServiceSurroundings['metrics']['counter']>;
  readonly #throttleKey = randomBytes(32).toString('base64');
  readonly #workers = new Set<WorkerProcess>();
  readonly #over = new AbortController();
  #admin: Listener | undefined;
  #address: BoundAddress | undefined;
  #redirectAddress: BoundAddress | undefined;
  #isDraining = false;

  constructor(
    configuration: Configuration,
    surroundings: ServiceSurroundings,
    { opener, state }: { readonly opener: Opener; readonly state: StateStore },
  ) {
    this.configuration = configuration;
    this.#surroundings = surroundings;
    this.#opener = opener;
    this.#state = state;
    this.#metrics = new WorkerMetrics(surroundings.metrics);
    const { metrics } = surroundings;
    this.#restarts = metrics.counter('worker_ends_total', 'Workers that ended without being asked to');
    this.#restarts.add({}, 0);
    metrics.gauge('workers_serving', 'Workers that serve').follow({}, () => this.#serving().length);
  }

  get address(): BoundAddress {
    return this.#address as BoundAddress;
  }
  get redirectAddress(): BoundAddress | undefined {
    return this.#redirectAddress;
  }
  get adminAddress(): BoundAddress | undefined {
    return this.#admin?.address;
  }

  /** The first alone: what keeps it from serving would keep all. */
  async start(stop: AbortSignal): Promise<void> {
    try {
      await this.#openAdmin();
      const first = this.#fork(1);
      const onStop = () => first.tell({ kind: 'stop' });
      stop.addEventListener('abort', onStop, { once: true });
      const serving = await first.serving;
      stop.removeEventListener('abort', onStop);
      if (stop.aborted) throw new StoppedError();
      if (serving === undefined) throw new Error(startFailure(await first.ended));
      this.#address = serving.address;
      this.#redirectAddress = serving.redirectAddress;
      void this.#keep(first);
      const others = Array.from({ length: this.configuration.workers - 1 }, (_, i) => this.#fork(i + 2));
      for (const one of others) void this.#keep(one);
      await Promise.all(others.map(({ serving: one }) => one));
    } catch (error) {
      await this.#endAll();
      throw error;
    }
  }

  async reload(configuration: Configuration): Promise<readonly string[]> {
    if (this.#isDraining) throw new StoppedError();
    // Who has not begun reads what is there now.
    const begun = [...this.#workers].filter(({ hasBegun }) => hasBegun);
    const answers = await Promise.all(begun.map((worker) => worker.reload()));
    const reason = answers.find((answer) => answer?.reason !== undefined)?.reason;
    if (reason !== undefined) throw new Error(reason);
    this.configuration = configuration;
    return [...new Set(answers.flatMap((answer) => answer?.later ?? []))];
  }

  reopenFiles(): void {
    for (const worker of this.#workers) worker.tell({ kind: 'reopen' });
  }

  async stop(): Promise<void> {
    this.#isDraining = true;
    await this.#endAll();
    await this.#opener.close();
  }

  async #endAll(): Promise<void> {
    this.#over.abort();
    for (const worker of this.#workers) worker.tell({ kind: 'stop' });
    const { drainDelay, drainTimeout } = this.configuration;
    const late = setTimeout(() => this.#killAll(), drainDelay + drainTimeout + longestEnd);
    while (this.#workers.size > 0) await Promise.all([...this.#workers].map(({ ended }) => ended));
    clearTimeout(late);
    await this.#admin?.drain(shortDrain);
  }

  #killAll(): void {
    for (const worker of this.#workers) {
      this.#surroundings.log.error(
        { event: 'worker', worker: worker.number },
        'a worker does not end: killed',
      );
      worker.kill();
    }
  }

  async #openAdmin(): Promise<void> {
    const { admin } = this.configuration;
    if (admin === undefined) return;
    const { metrics, log } = this.#surroundings;
    const together = {
      contentType: metrics.contentType,
      print: () => this.#metrics.print(this.#serving()),
    };
    const unready = () => {
      if (this.#isDraining) return 'draining';
      return this.#serving().length > 0 ? undefined : 'no worker serves';
    };
    const handle = adminHandler({ metrics: together, unready });
    this.#admin = await Listener.open({ ...admin.listen, handle, metrics, log, name: 'admin' });
  }

  #serving(): readonly WorkerProcess[] {
    return [...this.#workers].filter(({ isServing }) => isServing);
  }

  #fork(number: number): WorkerProcess {
    const worker = new WorkerProcess(number, this.#throttleKey, {
      output: (lines) => this.#surroundings.stdout.write(lines),
      message: (message, from) => void this.#hear(message, from),
    });
    this.#workers.add(worker);
    void worker.ended.then(() => this.#workers.delete(worker));
    return worker;
  }

  async #hear(message: FromWorker, from: WorkerProcess): Promise<void> {
    if (message.kind === 'state') {
      const answer = await answerFrom(this.#state, message.asked);
      from.tell({ kind: 'state', id: message.id, answer });
    } else if (message.kind === 'login-failure') {
      for (const other of this.#workers) if (other !== from) other.tell(message);
    }
  }

  /** Never rejects: one ends, another one begins. */
  async #keep(first: WorkerProcess): Promise<void> {
    const { log } = this.#surroundings;
    const over = this.#over.signal;
    let worker = first;
    let pause = shortestPause;
    for (;;) {
      const end = await worker.ended;
      await this.#metrics.ended(worker);
      if (over.aborted) return;
      this.#restarts.add();
      const fields = { event: 'worker', worker: worker.number, pid: worker.pid, ...end };
      log.error(fields, 'a worker ended: another one takes its place');
      pause =
        performance.now() - worker.startedAt > longLife ? shortestPause : Math.min(pause * 2, longestPause);
      await sleep(pause, undefined, { signal: over }).catch(() => {});
      if (over.aborted) return;
      worker = this.#fork(worker.number);
    }
  }
}

function startFailure({ failure, code, signal }: WorkerEnd): string {
  return failure ?? `a worker ended before it served, with ${signal ?? `code ${code}`}`;
}
