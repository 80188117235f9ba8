import { setImmediate } from 'node:timers/promises';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, Clock, Decision, Policy, Principal, RequestContext } from '../contracts/index.js';
import type { Action, Scope } from '../reference/scope.js';
import type { Outcome } from './condition/condition.js';
import { Outcomes } from './condition/outcomes.js';
import { PrincipalValue, RequestValue } from './condition/variables.js';
import { ConditionFailures } from './condition-failures.js';
import { matchesGlob } from './glob.js';
import { Relevance } from './relevance.js';
import type { Entry } from './repository-index.js';
import { compileRule, hasAttributes, type Rule } from './rule.js';
import { RuleIndex } from './rule-index.js';
import { type RulesConfig, rulesConfig } from './rule-schema.js';

/** A rule that would have granted an action, were it not for its condition. */
export interface PassedOver {
  readonly rule: string;
  readonly action: Action;
  /** Why the condition could not be evaluated; absent: it is false. */
  readonly failure?: string;
}

/** Decides by rules, none of which takes away what another one grants. */
export class RulesPolicy implements Policy {
  readonly #index: RuleIndex;
  readonly #relevance: Relevance;
  readonly #failures: ConditionFailures;
  readonly #clock: Clock;

  constructor(rules: readonly Rule[], clock: Clock, failures: ConditionFailures) {
    this.#index = new RuleIndex(rules);
    this.#relevance = new Relevance(rules);
    this.#failures = failures;
    this.#clock = clock;
  }

  async decide(
    who: Principal,
    wanted: readonly Scope[],
    request: RequestContext,
    o: CallOptions,
  ): Promise<readonly Decision[]> {
    o.signal.throwIfAborted();
    const rules = this.#index.of(who);
    const asked = new Asked(who, request, this.#clock);
    const decisions: Decision[] = [];
    for (const scope of wanted) {
      if (asked.takeLooped()) {
        await setImmediate();
        o.signal.throwIfAborted();
      }
      // The catalogue is not a repository: rules grant it nothing.
      const isRepository = scope.type === 'repository';
      decisions.push(
        isRepository ? this.#decide(rules.about(scope.name), scope, asked) : { wanted: scope, granted: [] },
      );
    }
    return decisions;
  }

  /** The rules that were not applied because of their conditions; for `explain`. */
  passedOver(who: Principal, wanted: Scope, request: RequestContext): readonly PassedOver[] {
    const asked = new Asked(who, request, this.#clock);
    const passed = new Map<string, PassedOver>();
    for (const { rule, globs } of this.#index.of(who).about(wanted.name)) {
      if (!asked.isMet(rule, globs, wanted.name)) continue;
      for (const action of wanted.actions.filter((one) => rule.actions.includes(one))) {
        const { holds, failure } = asked.condition(rule, wanted.name, action);
        const one = { rule: rule.id, action, ...(failure !== undefined && { failure }) };
        if (!holds) passed.set(`${rule.id} ${action}`, one);
      }
    }
    return [...passed.values()];
  }

  relevant(who: Principal): Principal {
    return this.#relevance.of(who);
  }

  async close(): Promise<void> {}

  #decide(entries: readonly Entry[], wanted: Scope, asked: Asked): Decision {
    const granted = new Set<Action>();
    let first: string | undefined;
    let met: Rule | undefined;
    for (const { rule, globs } of entries) {
      // Another of the rule's patterns has matched already.
      if (rule === met) continue;
      const missing = rule.actions.filter((one) => wanted.actions.includes(one) && !granted.has(one));
      if (missing.length === 0 || !asked.isMet(rule, globs, wanted.name)) continue;
      met = rule;
      for (const action of missing) {
        const { holds, failure } = asked.condition(rule, wanted.name, action);
        if (failure !== undefined) this.#failures.note(rule.id, asked.who, failure);
        if (!holds) continue;
        granted.add(action);
        first ??= rule.id;
      }
      if (granted.size === wanted.actions.length) break;
    }
    return {
      wanted,
      granted: wanted.actions.filter((action) => granted.has(action)),
      ...(first !== undefined && { rule: first }),
    };
  }
}

const unconditional: Outcome = { holds: true };

/** Who asks, and from where. */
class Asked {
  readonly who: Principal;
  readonly #request: RequestContext;
  readonly #clock: Clock;
  /** Made when there is a first condition. */
  #outcomes: Outcomes | undefined;

  constructor(who: Principal, request: RequestContext, clock: Clock) {
    this.who = who;
    this.#request = request;
    this.#clock = clock;
  }

  /** Whether a rule speaks of this place, somebody like this, and this repository; its condition aside. */
  isMet(rule: Rule, globs: Entry['globs'], repository: string): boolean {
    return (
      rule.services.has(this.#request.service) &&
      globs.some((glob) => matchesGlob(glob, repository, this.who)) &&
      hasAttributes(rule, this.who)
    );
  }

  condition({ condition }: Rule, repository: string, action: Action): Outcome {
    if (condition === undefined) return unconditional;
    this.#outcomes ??= new Outcomes({
      principal: new PrincipalValue(this.who),
      request: new RequestValue(this.#request, this.#clock.now()),
    });
    return this.#outcomes.of(condition, { repository, action });
  }

  takeLooped(): boolean {
    return this.#outcomes?.takeLooped() ?? false;
  }
}

function compile(config: RulesConfig, given: Parameters<typeof compileRule>[3]): readonly Rule[] {
  if (Array.isArray(config)) return config.map((rule, i) => compileRule(rule, i, 'policy', given));
  // Its content should stand in its place by now: a policy without its rules must not start.
  if ('file' in config) throw new Error(`the rules of ${config.file} were not read`);
  return config.rules.map((rule, i) => compileRule(rule, i, 'policy.rules', given));
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'policy',
  type: 'rules',
  config: rulesConfig,
  open: async (config, given): Promise<Policy> =>
    new RulesPolicy(compile(config, given), given.clock, new ConditionFailures(given)),
});
