import type { CallOptions } from '../contracts/index.js';
import { FairTurns } from '../decorators/fair-turns.js';
import { NotAwaited } from '../decorators/not-awaited.js';
import { untilAborted } from '../decorators/single-flight.js';

export interface ProgramTurnsOptions {
  readonly atOnce: number;
  /** Milliseconds, for the wait and the work together. */
  readonly timeLimit: number;
}

/** Whose turn it is to be. */
export interface ProgramTurn extends CallOptions {
  /** Turns are shared among groups. */
  readonly group?: string;
  /** Nothing was had for this before. Anybody can make up what there is not: what is not new comes before it. */
  readonly isNew?: boolean;
  /** Asked where the turn has come. */
  readonly isAwaited?: () => boolean;
}

/** For what is new, of all groups together. What is not new cannot be more than there was before. */
const waitingNew = 256;

/** Lets so many programs run at the same time, each with its wait within one limit; they end when this is closed. */
export class ProgramTurns {
  readonly #options: ProgramTurnsOptions;
  readonly #turns: FairTurns;
  /** To the others they are one group, and the next free turn is for whom fewest run of. */
  readonly #new: FairTurns;
  readonly #underWay = new Set<AbortController>();
  #isClosed = false;

  constructor(options: ProgramTurnsOptions) {
    this.#options = options;
    const refusal = () => new Error('too many wait for their turn');
    const waiting = Number.POSITIVE_INFINITY;
    this.#turns = new FairTurns({ atOnce: options.atOnce, waiting, refusal });
    this.#new = new FairTurns({ atOnce: options.atOnce, waiting: waitingNew, refusal });
  }

  /**
   * @param work is told how many milliseconds are left for it; it keeps its turn until it has settled, whoever left
   * @throws what `work` throws; the signal's reason; NotAwaited; an Error where the turn did not come, or this was closed
   */
  async run<V>(
    { signal, isAwaited = () => true, ...turn }: ProgramTurn,
    work: (o: CallOptions & { readonly timeLimit: number }) => Promise<V>,
  ): Promise<V> {
    signal.throwIfAborted();
    if (this.#isClosed) throw closed();
    const { timeLimit } = this.#options;
    const leaving = new AbortController();
    const onAbort = () => leaving.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const came = performance.now();
    const waited = () => leaving.abort(new Error(`it waited ${timeLimit} ms for its turn`));
    const timer = setTimeout(waited, timeLimit);
    this.#underWay.add(leaving);
    const done = this.#inTurn({ signal: leaving.signal, ...turn }, async () => {
      if (!isAwaited()) throw new NotAwaited();
      clearTimeout(timer); // the program has a limit of its own
      const left = Math.max(1, Math.ceil(timeLimit - (performance.now() - came)));
      return work({ signal: leaving.signal, timeLimit: left });
    }).finally(() => {
      clearTimeout(timer);
      this.#underWay.delete(leaving);
      signal.removeEventListener('abort', onAbort);
    });
    return untilAborted(done, leaving.signal);
  }

  #inTurn<V>({ signal, group = '', isNew = false }: ProgramTurn, work: () => Promise<V>): Promise<V> {
    if (!isNew) return this.#turns.run(`known ${group}`, { signal }, work);
    return this.#new.run(group, { signal }, () => this.#turns.run('new', { signal }, work));
  }

  /** Ends what runs; what comes later fails at once. */
  close(): void {
    this.#isClosed = true;
    for (const one of this.#underWay) one.abort(closed());
  }
}

function closed(): Error {
  return new Error('the source is closed');
}
