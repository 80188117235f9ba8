import type { Condition, Outcome } from './condition.js';
import type { Variables } from './variables.js';

/**
 * Outcomes of conditions for one principal and one request: what an expression does not speak of makes no difference
 * to it, so it is evaluated once for all repositories, or all actions.
 */
export class Outcomes {
  readonly #variables: Pick<Variables, 'principal' | 'request'>;
  readonly #known = new Map<Condition, Map<string, Outcome>>();

  #hasLooped = false;

  constructor(variables: Pick<Variables, 'principal' | 'request'>) {
    this.#variables = variables;
  }

  of(condition: Condition, { repository, action }: Pick<Variables, 'repository' | 'action'>): Outcome {
    const known = this.#known.get(condition) ?? new Map<string, Outcome>();
    this.#known.set(condition, known);
    const { speaksOf } = condition;
    const key = `${speaksOf.action ? action : ''} ${speaksOf.repository ? repository : ''}`;
    const remembered = known.get(key);
    if (remembered !== undefined) return remembered;
    const outcome = condition.evaluate({ ...this.#variables, repository, action });
    known.set(key, outcome);
    this.#hasLooped ||= condition.hasLoop;
    return outcome;
  }

  /** True where a loop was evaluated since this was asked last: others may want to go on in between. */
  takeLooped(): boolean {
    const hasLooped = this.#hasLooped;
    this.#hasLooped = false;
    return hasLooped;
  }
}
