import type { Configuration } from '../../config/configuration.js';
import { loadConfiguration } from '../../config/load.js';
import { ThrottleMemory } from '../../decorators/throttle-verifier.js';
import { createLog } from '../../observability/pino-log.js';
import { exitCodes } from '../exit.js';
import { reasonOf } from '../opener.js';
import { requireLoaded } from '../require-loaded.js';
import { flushTime, guardProcess, openOutput } from '../run-service.js';
import { type RunningProxy, startProxy } from '../running-proxy.js';
import { StoppedError } from '../stopped-error.js';
import type { FromWorker, ToWorker } from './messages.js';
import { RemoteState } from './remote-state.js';

/** Serves as one of several, and does what the process that started it says: signals are not for this one. */
export async function runWorker(file: string): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  const inbox = new Inbox();
  const { number, throttleKey } = await inbox.begin();
  const { metrics, stream } = openOutput('registry_proxy_');
  const end = async (code: number): Promise<never> => {
    await stream.flush(flushTime);
    process.exit(code);
  };
  const stop = new AbortController();
  let proxy: RunningProxy | undefined;
  let hasStarted: () => void = () => {};
  const started = new Promise<void>((resolve) => {
    hasStarted = resolve;
  });
  const state = new RemoteState((id, asked) => tell({ kind: 'state', id, asked }));
  const throttle = new ThrottleMemory(Buffer.from(throttleKey, 'base64'), (failure) =>
    tell({ kind: 'login-failure', failure }),
  );
  let log = createLog('info', stream, { worker: number });
  const obey = async (message: ToWorker): Promise<void> => {
    switch (message.kind) {
      case 'state':
        return state.answered(message.id, message.answer);
      case 'login-failure':
        return throttle.learn(message.failure);
      case 'metrics':
        return tell({ kind: 'metrics', id: message.id, snapshot: await metrics.snapshot() });
      case 'reload':
        return tell({ kind: 'reloaded', id: message.id, ...(await reload()) });
      case 'reopen':
        return proxy?.reopenFiles();
      case 'stop':
        stop.abort();
        if (proxy === undefined) return;
        await proxy.stop();
        return end(exitCodes.fine);
    }
  };
  const reload = async (): Promise<{ readonly later?: readonly string[]; readonly reason?: string }> => {
    try {
      await started; // with what was there before, perhaps
      const next = await requireLoaded(loadConfiguration, file);
      const later = await proxy?.reload(next);
      log.level = next.log.level;
      return { later: later ?? [] };
    } catch (error) {
      return error instanceof StoppedError ? { later: [] } : { reason: reasonOf(error) };
    }
  };
  inbox.open((message) => void obey(message));
  guardProcess(() => log);
  try {
    const configuration: Configuration = await requireLoaded(loadConfiguration, file);
    log = createLog(configuration.log.level, stream, { worker: number });
    const surroundings = {
      clock: Date,
      log,
      metrics,
      stdout: stream,
      shared: { state, throttle },
    };
    proxy = await startProxy(configuration, surroundings, stop.signal);
  } catch (error) {
    if (error instanceof StoppedError) return end(exitCodes.fine);
    tell({ kind: 'failed', message: reasonOf(error) });
    return end(exitCodes.usage);
  }
  hasStarted();
  if (stop.signal.aborted) {
    await proxy.stop();
    return end(exitCodes.fine);
  }
  const { address, redirectAddress } = proxy;
  log.info({ event: 'worker', pid: process.pid }, 'a worker serves');
  tell({ kind: 'serving', address, ...(redirectAddress && { redirectAddress }) });
}

/** What this worker is told, kept until it is ready to obey: several messages may arrive as one. */
class Inbox {
  readonly #waiting: ToWorker[] = [];
  #take: (message: ToWorker) => void = (message) => void this.#waiting.push(message);

  constructor() {
    process.on('message', (message: ToWorker) => this.#take(message));
  }

  /** Says that there is a worker, and waits for the word to begin. Ends the process where it is to stop before. */
  begin(): Promise<ToWorker & { kind: 'begin' }> {
    return new Promise((resolve) => {
      this.#take = (message) => {
        if (message.kind === 'stop') process.exit(exitCodes.fine);
        if (message.kind !== 'begin') return;
        this.#take = (later) => void this.#waiting.push(later);
        resolve(message);
      };
      tell({ kind: 'born' });
    });
  }

  open(obey: (message: ToWorker) => void): void {
    this.#take = obey;
    for (const message of this.#waiting.splice(0)) obey(message);
  }
}

function tell(message: FromWorker): void {
  if (process.connected) process.send?.(message);
}
