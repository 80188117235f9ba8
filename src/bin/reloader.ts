import { type ComparedConfiguration, changedSettings } from '../config/changed-settings.js';
import { formatProblem, type Problem } from '../config/problem.js';
import type { Log, Metrics } from '../contracts/index.js';
import { fileMarks } from './file-marks.js';
import { reasonOf } from './opener.js';
import { StoppedError } from './stopped-error.js';

/** What a configuration is to who looks whether its files have changed. */
export interface WatchedConfiguration extends ComparedConfiguration {
  /** Absolute. */
  readonly file: string;
}

/** What serves by a configuration. */
export interface Served<C> {
  /** What it serves now. */
  readonly configuration: C;
  /**
   * @returns the settings that are left as they were until a restart
   * @throws OpeningError or an Error with a one-line message, and StoppedError; the earlier configuration stays then
   */
  reload(configuration: C): Promise<readonly string[]>;
}

export type LoadConfiguration<C> = (
  file: string,
) => Promise<{ readonly configuration: C } | { readonly problems: readonly Problem[] }>;

export interface ReloaderParts<C extends WatchedConfiguration> {
  readonly served: Served<C>;
  readonly load: LoadConfiguration<C>;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told of each configuration that was taken. */
  readonly onApplied?: (configuration: C) => void;
}

/** Milliseconds between two looks at the files; a change counts when two looks in a row see the same. */
const lookEvery = 1_000;
/** Looks in a row that may each see something else: one file that never rests must not keep the others from being read. */
const maxUnsettledLooks = 10;
/** Looks after which a configuration that was bad is tried again: what it misses may be there by now. */
const retryAfterLooks = 10;
/** Changed settings that are told one by one. */
const maxTold = 20;

type Occasion = 'file' | 'signal';

/** Takes over a changed configuration while the program serves; a bad one is reported, and the earlier one stays. */
export class Reloader<C extends WatchedConfiguration> {
  readonly #parts: ReloaderParts<C>;
  readonly #metrics: ReturnType<typeof reloadMetrics>;
  #last: Promise<void> = Promise.resolve();
  /** Of the files as they were when they were last read. Empty: they are to be read in any case. */
  #marks = '';
  /** Looks in a row that each saw something else, since it was last read. */
  #unsettled = 0;
  /** Files that a configuration names which could not be opened. */
  #wanted: readonly string[] = [];
  #problem: string | undefined;
  #isClosed = false;

  constructor(parts: ReloaderParts<C>) {
    this.#parts = parts;
    this.#metrics = reloadMetrics(parts.metrics);
    this.#metrics.success.set({}, 1);
    for (const result of ['applied', 'failed', 'unchanged']) this.#metrics.reloads.add({ result }, 0);
  }

  /**
   * Never rejects. A second call waits for the first. After `close` nothing is done.
   *
   * @param isRestless a file changes all the time: what is bad is told even so
   */
  reload(because: Occasion, isRestless = false): Promise<void> {
    this.#last = this.#last.then(() => this.#reload(because, isRestless));
    return this.#last;
  }

  /**
   * Looks at the configuration and the files it names, again and again, until `close`. Polled: no event tells of a
   * symbolic link's target, nor of a file on another machine's disk.
   *
   * @param every milliseconds
   */
  watch(every = lookEvery): void {
    let before: string | undefined;
    let looks = 0;
    const look = async () => {
      const marks = await fileMarks(this.#watched());
      const isSettled = marks === before;
      before = marks;
      this.#unsettled = isSettled ? 0 : this.#unsettled + 1;
      const isRestless = this.#unsettled > maxUnsettledLooks;
      if (isRestless) {
        this.#unsettled = 0;
        this.#parts.log.warn({ event: 'reload' }, 'a file changes with every look: it is read all the same');
      }
      const isRetry = this.#problem !== undefined && ++looks % retryAfterLooks === 0;
      if ((isSettled || isRestless) && (marks !== this.#marks || isRetry))
        await this.reload('file', isRestless);
      if (!this.#isClosed) setTimeout(look, every).unref();
    };
    void look();
  }

  /** Ends the watch; a reload that has begun goes on. */
  close(): void {
    this.#isClosed = true;
  }

  #watched(): readonly string[] {
    const { file, namedFiles } = this.#parts.served.configuration;
    return [file, ...namedFiles.map(({ path }) => path), ...this.#wanted];
  }

  async #reload(because: Occasion, isRestless: boolean): Promise<void> {
    if (this.#isClosed) return;
    this.#unsettled = 0;
    // Before it is read: what changes meanwhile is another change.
    const watched = this.#watched();
    const marks = await fileMarks(watched);
    try {
      const { changed, later } = await this.#takeOver();
      // It may name other files now, and those may have changed since they were read; and after a signal somebody may
      // be in the middle of writing. Then it is looked at once more.
      this.#marks = changed.length > 0 || because === 'signal' ? '' : marks;
      this.#tellApplied(because, changed, later);
    } catch (error) {
      if (error instanceof StoppedError) return;
      // Somebody is writing: what was read may be half of it, and the next looks see the rest.
      if (because === 'file' && !isRestless && (await fileMarks(watched)) !== marks) return;
      this.#marks = because === 'signal' ? '' : marks;
      this.#tellFailed(because, error);
    }
  }

  /** @throws BadConfiguration, and what `reload` throws */
  async #takeOver(): Promise<{ readonly changed: readonly string[]; readonly later: readonly string[] }> {
    const { served, onApplied } = this.#parts;
    const next = await this.#load(served.configuration.file);
    const changed = changedSettings(served.configuration, next);
    this.#wanted = next.namedFiles.map(({ path }) => path);
    if (changed.length === 0) return { changed, later: [] };
    const later = await served.reload(next);
    this.#wanted = [];
    onApplied?.(next);
    return { changed, later };
  }

  async #load(file: string): Promise<C> {
    const loaded = await this.#parts.load(file);
    if ('problems' in loaded) throw new BadConfiguration(loaded.problems.map(formatProblem));
    return loaded.configuration;
  }

  #tellApplied(because: Occasion, changed: readonly string[], later: readonly string[]): void {
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
    log.info({ event: 'reload', because, changed: shortened(changed) }, 'configuration reloaded');
    if (later.length > 0) {
      log.warn({ event: 'reload', settings: later }, 'these settings take effect on a restart');
    }
  }

  /** A bad file that stays as bad is told once. */
  #tellFailed(because: Occasion, error: unknown): void {
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

function shortened(changed: readonly string[]): readonly string[] {
  return changed.length <= maxTold
    ? changed
    : [...changed.slice(0, maxTold), `and ${changed.length - maxTold} more`];
}

class BadConfiguration extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('bad configuration');
    this.problems = problems;
  }
}

function reloadMetrics(metrics: Metrics) {
  return {
    reloads: metrics.counter('configuration_reloads_total', 'Configurations that were looked at anew', [
      'result',
    ]),
    success: metrics.gauge(
      'configuration_last_reload_success',
      '1 where the configuration on disk is the one that is served, 0 where it is bad',
      [],
      'min',
    ),
  };
}
