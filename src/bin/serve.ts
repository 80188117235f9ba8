import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import type { Log } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { LogStream } from '../observability/log-stream.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { exitCodes, fail } from './exit.js';
import { OpeningError } from './open-parts.js';
import { Reloader } from './reloader.js';
import { type RunningProxy, StoppedError, startProxy } from './running-proxy.js';
import { version } from './version.js';

/** Milliseconds: npm and process groups deliver one signal twice. */
const sameSignal = 1000;
/** Milliseconds at the end for log lines that still wait. */
const flushTime = 2000;

/** @returns the configuration; a bad one is told on standard error, and ends the process with code 2 */
export async function requireConfiguration(file: string): Promise<Configuration> {
  const loaded = await loadConfiguration(file);
  if ('configuration' in loaded) return loaded.configuration;
  return fail(loaded.problems.map(formatProblem).join('\n'), exitCodes.usage);
}

/** `docker-registry-proxy serve`: runs until SIGTERM or SIGINT. */
export async function serve(file: string): Promise<void> {
  // First of all: until it is handled SIGHUP would end the process, and in a container SIGTERM would do nothing.
  const stop = stopSignal();
  const hangUps = new HangUps();
  const configuration = await requireConfiguration(file);
  const metrics = new PrometheusMetrics();
  const lost = metrics.counter('log_lines_lost_total', 'Log lines not written: dropped, or writing failed', [
    'how',
  ]);
  for (const how of ['dropped', 'failed']) lost.add({ how }, 0);
  const stream = new LogStream(1, (how, lines) => lost.add({ how }, lines));
  const log = createLog(configuration.log.level, stream);
  const end = async () => {
    log.info({ event: 'stopped' }, 'stopped');
    await stream.flush(flushTime);
  };
  let proxy: RunningProxy;
  try {
    proxy = await startProxy(configuration, { clock: Date, log, metrics, stdout: stream }, stop);
  } catch (error) {
    if (error instanceof StoppedError) return end().then(() => process.exit(exitCodes.fine));
    await stream.flush(flushTime);
    // An OpeningError says it all in its message; its cause is for debuggers.
    const reason = error instanceof OpeningError ? error.message : describeError(error);
    return fail(`${configuration.file}: ${reason}`, exitCodes.usage);
  }
  logStart(log, configuration, proxy);
  process.on('unhandledRejection', (error) => {
    log.error(
      { stack: error instanceof Error ? error.stack : String(error) },
      'a rejection nobody handled: a bug',
    );
  });
  const reloader = new Reloader({
    proxy,
    log,
    metrics,
    onApplied: (next) => {
      log.level = next.log.level;
    },
  });
  reloader.watch();
  hangUps.listen(() => {
    proxy.reopenFiles();
    void reloader.reload('signal');
  });
  stopWhenAsked(
    proxy,
    stop,
    (signal) => {
      reloader.close();
      log.info({ event: 'stop', signal }, 'draining');
    },
    end,
  );
}

function logStart(
  log: Log,
  { externalUrl }: Configuration,
  { address, adminAddress, redirectAddress }: RunningProxy,
): void {
  log.info(
    {
      event: 'start',
      version,
      node: process.version,
      listen: `${address.address}:${address.port}`,
      externalUrl: externalUrl.origin,
      ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
      ...(redirectAddress && { redirectFrom: `${redirectAddress.address}:${redirectAddress.port}` }),
    },
    'serving',
  );
}

/** Keeps SIGHUPs until somebody listens: one during the start asks for what the start does anyway, but maybe later. */
class HangUps {
  #isWaiting = false;
  #onHangUp = () => {
    this.#isWaiting = true;
  };

  constructor() {
    process.on('SIGHUP', () => this.#onHangUp());
  }

  listen(onHangUp: () => void): void {
    this.#onHangUp = onHangUp;
    if (this.#isWaiting) onHangUp();
  }
}

/**
 * SIGTERM and SIGINT. The first one asks to stop, one that comes later than its echo ends the process at once.
 *
 * @returns aborted by the first, with its name as the reason
 */
export function stopSignal(): AbortSignal {
  const asked = new AbortController();
  let askedAt = 0;
  const onSignal = (signal: string) => {
    if (!asked.signal.aborted) {
      askedAt = Date.now();
      asked.abort(signal);
    } else if (Date.now() - askedAt > sameSignal) {
      fail(`${signal} again: ended at once, without waiting for what is under way`, exitCodes.failed);
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return asked.signal;
}

/** Drains when it is asked to, and ends the process. */
export function stopWhenAsked(
  proxy: { stop(): Promise<void> },
  asked: AbortSignal,
  onStop: (signal: string) => void,
  afterwards: () => Promise<void>,
): void {
  const stop = () => {
    onStop(String(asked.reason));
    proxy
      .stop()
      .then(afterwards)
      .then(
        () => process.exit(exitCodes.fine),
        () => process.exit(exitCodes.failed),
      );
  };
  if (asked.aborted) stop();
  else asked.addEventListener('abort', stop, { once: true });
}
