import type { Clock } from '../contracts/clock.js';
import type { PullProgress } from '../contracts/runtime.js';
import { shorten } from '../reference/repository-name.js';
import type { Pod, PullRequest } from './pull-request.js';

/** What is shown to the registry: `kubelet`'s own (a pull secret), the credential of a `rule`, or nothing. */
export type ShownCredential = 'kubelet' | 'rule' | 'none';

/** One pull as `kubelet-image-service status` shows it: JSON, without a secret, every text bounded. */
export interface PullRecord {
  readonly image: string;
  readonly pod?: Pod;
  /** What is shown, or was in the end. */
  readonly credential: ShownCredential;
  /** The rule that matched, also where its source gave nothing. */
  readonly rule?: string;
  /** The type of its credential source. */
  readonly source?: string;
  readonly state: 'asking for a credential' | 'pulling' | 'ok' | 'failed';
  /** From 1; 0 before the first. */
  readonly attempt: number;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt?: string;
  /** Milliseconds; until now while it runs. */
  readonly duration: number;
  /** Downloaded, where the runtime tells. */
  readonly bytes?: number;
  readonly layers?: { readonly done: number; readonly total: number };
  /** As the runtime names what was pulled. */
  readonly imageRef?: string;
  /** What kubelet was told. */
  readonly error?: string;
}

export interface PullSnapshot {
  /** The oldest first; of more than 1000 the oldest. */
  readonly running: readonly PullRecord[];
  /** The last that ended first; at most 100. */
  readonly recent: readonly PullRecord[];
}

export interface PullEnd {
  readonly credential: ShownCredential;
  readonly imageRef?: string;
  /** Absent: it is fine. */
  readonly error?: string;
}

const mostRecent = 100;
const mostShown = 1000;
const longestText = 512;
const longestError = 1000;

/** The pulls that run, and the last that ended. It outlives a reload of the configuration. */
export class PullRegister {
  readonly #clock: Clock;
  readonly #running = new Set<RunningPull>();
  readonly #recent: PullRecord[] = [];
  #waiting: (() => void)[] = [];

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** How many run. */
  get running(): number {
    return this.#running.size;
  }

  /** @param matched the rule for it, and the type of its source */
  begin(
    request: PullRequest,
    matched: { readonly rule?: string; readonly source?: string } = {},
  ): RunningPull {
    const pull = new RunningPull(request, matched, this.#clock, (record) => this.#end(pull, record));
    this.#running.add(pull);
    return pull;
  }

  snapshot(): PullSnapshot {
    return {
      running: [...this.#running].slice(0, mostShown).map((pull) => pull.record()),
      recent: [...this.#recent],
    };
  }

  /** Resolves as soon as no pull runs: at once where none does. */
  async whenIdle(): Promise<void> {
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #end(pull: RunningPull, record: PullRecord): void {
    if (!this.#running.delete(pull)) return;
    this.#recent.unshift(record);
    this.#recent.length = Math.min(this.#recent.length, mostRecent);
    if (this.#running.size > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** A pull as far as it has come. */
export class RunningPull {
  readonly #fixed: Pick<PullRecord, 'image' | 'pod' | 'rule' | 'source' | 'startedAt'>;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #onEnd: (record: PullRecord) => void;
  #credential: ShownCredential;
  #state: PullRecord['state'] = 'pulling';
  #attempt = 0;
  #progress: PullProgress | undefined;

  constructor(
    { image, pod, hasOwnCredential }: PullRequest,
    { rule, source }: { readonly rule?: string; readonly source?: string },
    clock: Clock,
    onEnd: (record: PullRecord) => void,
  ) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#onEnd = onEnd;
    this.#credential = hasOwnCredential ? 'kubelet' : 'none';
    this.#fixed = {
      image: cut(image),
      ...(pod && { pod: { namespace: cut(pod.namespace), name: cut(pod.name), uid: cut(pod.uid) } }),
      ...(rule !== undefined && { rule: cut(rule) }),
      ...(source !== undefined && { source: cut(source) }),
      startedAt: new Date(this.#startedAt).toISOString(),
    };
  }

  /** Milliseconds. */
  get duration(): number {
    return Math.max(this.#clock.now() - this.#startedAt, 0);
  }

  get progress(): PullProgress | undefined {
    return this.#progress;
  }

  askingForCredential(): void {
    this.#state = 'asking for a credential';
  }

  pulling(credential: ShownCredential): void {
    this.#state = 'pulling';
    this.#credential = credential;
    this.#attempt++;
    this.#progress = undefined;
  }

  progressed(progress: PullProgress): void {
    this.#progress = progress;
  }

  /** @param end its error without a secret. A second call does nothing */
  end({ credential, imageRef, error }: PullEnd): void {
    this.#credential = credential;
    this.#state = error === undefined ? 'ok' : 'failed';
    this.#onEnd({
      ...this.record(),
      endedAt: new Date(this.#clock.now()).toISOString(),
      ...(imageRef !== undefined && { imageRef: cut(imageRef) }),
      ...(error !== undefined && { error: shorten(error, longestError) }),
    });
  }

  record(): PullRecord {
    const { bytes, layers } = this.#progress ?? {};
    return {
      ...this.#fixed,
      credential: this.#credential,
      state: this.#state,
      attempt: this.#attempt,
      duration: this.duration,
      ...(bytes !== undefined && { bytes }),
      ...(layers && { layers: { done: layers.done, total: layers.total } }),
    };
  }
}

function cut(text: string): string {
  return shorten(text, longestText);
}
