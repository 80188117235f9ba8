import { changedSettings } from '../config/changed-settings.js';
import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import type { Log, Metrics } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { fileMarks } from './file-marks.js';
import { OpeningError } from './open-parts.js';
import type { RunningProxy } from './running-proxy.js';

export interface ReloaderParts {
  readonly proxy: Pick<RunningProxy, 'configuration' | 'reload'>;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told of each configuration that was taken. */
  readonly onApplied?: (configuration: Configuration) => void;
}

/** Milliseconds between two looks at the files; a change counts when two looks in a row see the same. */
const lookEvery = 1_000;
/** Looks after which a configuration that was bad is tried again: what it misses may be there by now. */
const retryAfterLooks = 10;

/** Settings of sockets that are open already. */
const needsRestart = /^(listen|admin(\..*)?|tls|tls\.(redirectFrom|clientCertificates)(\.required)?)$/;

/** Takes over a changed configuration while the proxy serves; a bad one is reported, and the earlier one stays. */
export class Reloader {
  readonly #parts: ReloaderParts;
  readonly #metrics: ReturnType<typeof reloadMetrics>;
  #last: Promise<void> = Promise.resolve();
  #marks = '';
  #problem: string | undefined;

  constructor(parts: ReloaderParts) {
    this.#parts = parts;
    this.#metrics = reloadMetrics(parts.metrics);
    this.#metrics.success.set({}, 1);
  }

  /** Never rejects. A second call waits for the first. */
  reload(because: 'file' | 'signal'): Promise<void> {
    this.#last = this.#last.then(() => this.#reload(because));
    return this.#last;
  }

  /**
   * Looks at the configuration and the files it names, again and again. Polled: no event tells of a symbolic link's
   * target, nor of a file on another machine's disk.
   *
   * @param every milliseconds
   * @returns stops it
   */
  watch(every = lookEvery): () => void {
    let before: string | undefined;
    let looks = 0;
    let isLooking = false;
    const look = async () => {
      if (isLooking) return;
      isLooking = true;
      const marks = await fileMarks(this.#watched());
      const isSettled = marks === before;
      before = marks;
      const isRetry = this.#problem !== undefined && ++looks % retryAfterLooks === 0;
      if (isSettled && (marks !== this.#marks || isRetry)) await this.reload('file');
      isLooking = false;
    };
    const timer = setInterval(look, every);
    timer.unref();
    return () => clearInterval(timer);
  }

  #watched(): readonly string[] {
    const { file, namedFiles } = this.#parts.proxy.configuration;
    return [file, ...namedFiles.map(({ path }) => path)];
  }

  async #reload(because: 'file' | 'signal'): Promise<void> {
    const { proxy, onApplied } = this.#parts;
    // Before it is read: what changes meanwhile is another change.
    const marks = await fileMarks(this.#watched());
    try {
      const next = await load(proxy.configuration.file);
      const changed = changedSettings(proxy.configuration, next);
      if (changed.length > 0) {
        await proxy.reload(next);
        onApplied?.(next);
      }
      // It may name other files now, and those may have changed since they were read: then it is looked at once more.
      this.#marks = changed.length > 0 ? '' : marks;
      this.#tellApplied(because, changed);
    } catch (error) {
      this.#marks = marks;
      this.#tellFailed(because, error);
    }
  }

  #tellApplied(because: 'file' | 'signal', changed: readonly string[]): void {
    const { log } = this.#parts;
    const wasBad = this.#problem !== undefined;
    this.#problem = undefined;
    this.#metrics.success.set({}, 1);
    if (changed.length === 0) {
      if (because === 'signal' || wasBad) {
        this.#metrics.reloads.add({ result: 'unchanged' });
        log.info({ event: 'reload', because }, 'the configuration is what is served already');
      }
      return;
    }
    this.#metrics.reloads.add({ result: 'applied' });
    log.info({ event: 'reload', because, changed }, 'configuration reloaded');
    const later = changed.filter((setting) => needsRestart.test(setting));
    if (later.length > 0)
      log.warn({ event: 'reload', settings: later }, 'these settings take effect on a restart');
  }

  /** A bad file that stays as bad is told once. */
  #tellFailed(because: 'file' | 'signal', error: unknown): void {
    const problems = error instanceof BadConfiguration ? error.problems : [reasonOf(error)];
    const told = problems.join('\n');
    if (told === this.#problem && because === 'file') return;
    this.#problem = told;
    this.#metrics.reloads.add({ result: 'failed' });
    this.#metrics.success.set({}, 0);
    this.#parts.log.error(
      { event: 'reload', because, problems },
      'the configuration was not reloaded, the earlier one stays',
    );
  }
}

class BadConfiguration extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('bad configuration');
    this.problems = problems;
  }
}

async function load(file: string): Promise<Configuration> {
  const loaded = await loadConfiguration(file);
  if ('problems' in loaded) throw new BadConfiguration(loaded.problems.map(formatProblem));
  return loaded.configuration;
}

/** An OpeningError says it all in its message; its cause is for debuggers. */
function reasonOf(error: unknown): string {
  return error instanceof OpeningError ? error.message : describeError(error);
}

function reloadMetrics(metrics: Metrics) {
  return {
    reloads: metrics.counter('configuration_reloads_total', 'Configurations that were looked at anew', [
      'result',
    ]),
    success: metrics.gauge(
      'configuration_last_reload_success',
      '1 where the configuration on disk is the one that is served, 0 where it is bad',
    ),
  };
}
