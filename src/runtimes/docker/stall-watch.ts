import { performance } from 'node:perf_hooks';

/** What is known of a pull that does not move. */
export interface PullState {
  readonly isWaiting: boolean;
  readonly isExtracting: boolean;
}

/** When any pull of one engine has moved last. */
export class EngineActivity {
  /** Milliseconds of the monotonic clock. */
  movedAt = performance.now();
}

/** The engine writes and syncs a large layer's end without a word; a slow disk is no reason to begin anew. */
const extractionFactor = 10;

/** Tells when a pull has moved nothing for too long. */
export class StallWatch {
  readonly #timeout: number;
  readonly #state: PullState;
  readonly #engine: EngineActivity;
  readonly #onStall: () => void;
  #movedAt = performance.now();
  #timer: NodeJS.Timeout;

  /**
   * @param timeout milliseconds
   * @param state asked when time is over
   * @param engine a pull that waits for its turn counts what moves in other pulls
   */
  constructor(timeout: number, state: PullState, engine: EngineActivity, onStall: () => void) {
    this.#timeout = timeout;
    this.#state = state;
    this.#engine = engine;
    this.#onStall = onStall;
    this.#timer = setTimeout(() => this.#look(), timeout);
  }

  moved(): void {
    this.#movedAt = performance.now();
    this.#engine.movedAt = this.#movedAt;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { isWaiting, isExtracting } = this.#state;
    const movedAt = isWaiting ? Math.max(this.#movedAt, this.#engine.movedAt) : this.#movedAt;
    const left = movedAt + this.#timeout * (isExtracting ? extractionFactor : 1) - performance.now();
    if (left <= 0) this.#onStall();
    else this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.ceil(left)));
  }
}
