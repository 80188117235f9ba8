import { type Clock, type Log, type Metrics, type Principal, qualifiedName } from '../contracts/index.js';
import { shorten } from '../reference/repository-name.js';

/** Milliseconds between two lines about the same rule. */
const quietTime = 60_000;

/** Tells the operator of conditions that fail: each is counted, and of each rule one is logged now and then. */
export class ConditionFailures {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #count: ReturnType<Metrics['counter']>;
  /** When a line about a rule was last written. */
  readonly #told = new Map<string, number>();

  constructor({
    log,
    clock,
    metrics,
  }: { readonly log: Log; readonly clock: Clock; readonly metrics: Metrics }) {
    this.#log = log;
    this.#clock = clock;
    this.#count = metrics.counter(
      'policy_condition_errors_total',
      'Conditions of rules that could not be evaluated: such a rule grants nothing',
    );
    this.#count.add({}, 0);
  }

  note(rule: string, who: Principal, reason: string): void {
    this.#count.add();
    const now = this.#clock.now();
    if (now - (this.#told.get(rule) ?? Number.NEGATIVE_INFINITY) < quietTime) return;
    this.#told.set(rule, now);
    const principal = shorten(qualifiedName(who));
    this.#log.warn(
      { event: 'policy', rule, principal, reason },
      'a condition failed: its rule grants nothing',
    );
  }
}
