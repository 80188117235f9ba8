import type { ASTNode, Environment, ParseResult } from '@marcbachmann/cel-js';
import { shorten } from '../../reference/repository-name.js';
import { conditionEnvironment } from './environment.js';
import { hasReplacedFunctions, useOwnFunctions } from './own-functions.js';
import { ConditionFault, checkRestrictions, reasonOf } from './restrictions.js';
import { type Sights, sightsOf } from './sights.js';
import { descendants, loopOf } from './syntax.js';
import type { Variables } from './variables.js';

/** Characters. */
const maxLength = 2_000;
/** Groups of a principal, and values of an attribute, that a condition with a loop is tried on. */
const maxLooped = 1_000;

/** Whether a condition holds; `failure` where it could not be told, in one line: then it does not. */
export type Outcome = { readonly holds: boolean; readonly failure?: undefined } | Failed;
interface Failed {
  readonly holds: false;
  readonly failure: string;
}

const yes: Outcome = { holds: true };
const no: Outcome = { holds: false };
const failed = (reason: string): Failed => ({ holds: false, failure: shorten(reason, 200) });

const environment: Environment = conditionEnvironment();

/** A CEL expression over `principal`, `repository`, `action` and `request` that says yes or no. */
export class Condition {
  readonly text: string;
  /** What of a principal it can look at. */
  readonly sights: Sights;
  /** What beside the principal and the request makes a difference. */
  readonly speaksOf: { readonly repository: boolean; readonly action: boolean };
  readonly #evaluate: ParseResult;
  /** It may take a while. */
  readonly hasLoop: boolean;

  private constructor(text: string, evaluate: ParseResult) {
    this.text = text;
    this.sights = sightsOf(evaluate.ast);
    this.#evaluate = evaluate;
    const nodes = descendants(evaluate.ast);
    this.hasLoop = nodes.some((node) => loopOf(node) !== undefined);
    const names = new Set(nodes.map((node) => (node.op === 'id' ? node.args : undefined)));
    this.speaksOf = { repository: names.has('repository'), action: names.has('action') };
  }

  /** @returns the condition, or what is wrong with the text and where in it */
  static parse(text: string): Condition | string {
    if (text.length > maxLength) return `expected at most ${maxLength} characters`;
    try {
      return new Condition(text, compile(text));
    } catch (error) {
      return `${reasonOf(error)}${knownNames(error)} (${placeOf(error, text)})`;
    }
  }

  #tooLong({ groups, attributes }: Variables['principal']): string | undefined {
    if (groups.length > maxLooped) return `more than ${maxLooped} groups`;
    for (const [name, value] of attributes) {
      const isSeen = this.sights.attributes === 'all' || this.sights.attributes.has(name);
      if (isSeen && Array.isArray(value) && value.length > maxLooped)
        return `more than ${maxLooped} values of an attribute`;
    }
    return undefined;
  }

  /** Never throws: what fails does not hold. */
  evaluate(variables: Variables): Outcome {
    if (this.hasLoop) {
      const tooLong = this.#tooLong(variables.principal);
      if (tooLong !== undefined) return failed(`it has a loop, and the principal has ${tooLong}`);
    }
    try {
      const value: unknown = this.#evaluate(variables);
      if (typeof value === 'boolean') return value ? yes : no;
      return failed('it is neither true nor false');
    } catch (error) {
      return failed(reasonOf(error));
    }
  }
}

/** @throws ConditionFault, and the library's errors, which have a range */
function compile(text: string): ParseResult {
  const checked = environment.parse(text);
  demandBoolean(checked, text);
  checkRestrictions(checked.ast, environment);
  if (!hasReplacedFunctions(checked.ast)) return checked;
  const own = environment.parse(text);
  useOwnFunctions(own.ast);
  demandBoolean(own, text);
  return own;
}

function demandBoolean(parsed: ParseResult, text: string): void {
  const { valid, type, error } = parsed.check();
  if (!valid) throw error ?? new ConditionFault('cannot be checked', 0);
  // What a principal's attribute is can be told at the request only.
  if (type !== 'bool' && type !== 'dyn' && !type?.startsWith('dyn<')) {
    throw new ConditionFault(`expected a condition that is true or false, not ${type}`, firstOf(text));
  }
}

const firstOf = (text: string) => Math.max(text.search(/\S/), 0);

function knownNames(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return code === 'unknown_variable' ? '; known: principal, repository, action, request' : '';
}

/** `line 1, column 14 of the condition`. */
function placeOf(error: unknown, text: string): string {
  const { start, range } = error as { readonly start?: number; readonly range?: Pick<ASTNode, 'start'> };
  const before = text.slice(0, start ?? range?.start ?? 0);
  const line = before.split('\n').length;
  return `line ${line}, column ${before.length - before.lastIndexOf('\n')} of the condition`;
}
