import { isIP } from 'node:net';
import type { Configuration } from '../config/configuration.js';
import type { Policy, Principal, RequestContext } from '../contracts/index.js';
import { RulesPolicy } from '../policies/rules.js';
import { isRepositoryName } from '../reference/repository-name.js';
import { type Action, normalizeActions, type Scope } from '../reference/scope.js';
import type { RouteTable } from '../routing/route-table.js';
import { parseInstant } from '../settings/instant.js';
import { findPlace, NoPlaceError, type Place } from './asked-place.js';
import { principalOf } from './asked-principal.js';
import { openPolicy, openUpstreams, routeTable } from './open-parts.js';
import { Opener, type Surroundings } from './opener.js';
import { wantedFor } from './policy-tests.js';
import { QuestionError } from './question-error.js';
import { hasConditionFor, rulesFor } from './rules-for.js';

export interface Question {
  /** Qualified: `corp:alice`. */
  readonly as: string;
  readonly groups: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
  readonly repository: string;
  readonly action: string;
  /** Default: the external URL's host. */
  readonly host?: string;
  /** Where it is asked from. Default: 127.0.0.1. */
  readonly address?: string;
  /** When, as RFC 3339 has it. Default: now. */
  readonly time?: string;
}

const defaultAddress = '127.0.0.1';

/**
 * Which rule decides, and where the request would be sent. Asks no verifier and no upstream.
 *
 * @throws QuestionError, OpeningError
 */
export async function explain(
  configuration: Configuration,
  question: Question,
  surroundings: Surroundings,
): Promise<{ allowed: boolean; text: string }> {
  const who = askedPrincipal(configuration, question);
  const action = askedAction(question);
  const circumstances = askedCircumstances(question);
  const opener = new Opener(configuration, surroundings);
  try {
    const routes = routeTable(configuration, await openUpstreams(opener, configuration));
    const policy = await openPolicy(opener, configuration);
    const place = askedPlace(configuration, routes, question);
    const scope: Scope = { type: 'repository', name: place.canonical, actions: wantedFor(action) };
    const context = { service: place.service, ...circumstances };
    const o = { signal: AbortSignal.timeout(10_000) };
    const [decision] = await policy.decide(who, [scope], context, o);
    const missing = scope.actions.filter((one) => !decision?.granted.includes(one));
    const isAllowed = missing.length === 0;
    const rows = [
      [
        'decision',
        isAllowed ? `allowed by ${decision?.rule}` : `denied: no rule allows ${missing.join(', ')}`,
      ],
      ['principal', `${question.as}${who.groups.length > 0 ? `, groups ${who.groups.join(', ')}` : ''}`],
      ['action', action === 'push' ? 'push (which needs pull and push)' : action],
      ['repository', `${place.canonical} on ${place.service}`],
      ['sent to', place.sentTo],
      ...(hasConditionFor(configuration, who) ? assumed(question) : []),
      ...passedOver(policy, who, scope, context).map((rule) => ['condition', rule]),
      ...(isAllowed ? [] : rulesFor(configuration, who).map((rule) => ['rule', rule])),
    ];
    return {
      allowed: isAllowed,
      text: rows.map(([key, value]) => `${key?.padEnd(11)}${value}`).join('\n'),
    };
  } finally {
    await opener.close();
  }
}

/** What conditions were shown that the question does not say. */
function assumed({ address, time, attributes }: Question): readonly (readonly [string, string])[] {
  const all = [
    ...(address === undefined ? [`address ${defaultAddress}`] : []),
    ...(time === undefined ? ['the time is now'] : []),
    ...(Object.keys(attributes).length === 0 ? ['no attributes'] : []),
  ];
  return all.length === 0 ? [] : [['assumed', all.join(', ')]];
}

/** A line for each rule that does not count because of its condition. */
function passedOver(
  policy: Policy,
  who: Principal,
  scope: Scope,
  context: RequestContext,
): readonly string[] {
  if (!(policy instanceof RulesPolicy)) return [];
  return policy
    .passedOver(who, scope, context)
    .map(({ rule, action, failure }) =>
      failure === undefined
        ? `${rule} does not allow ${action}: its condition is false`
        : `${rule} does not allow ${action}: its condition fails: ${failure}`,
    );
}

/** @throws QuestionError */
function askedAction({ action: asked }: Question): Exclude<Action, '*'> {
  const [action] = normalizeActions([asked]);
  if (action !== undefined && action !== '*') return action;
  throw new QuestionError('--action: expected pull, push or delete');
}

/** @throws QuestionError */
function askedCircumstances({ address = defaultAddress, time: asked }: Question) {
  if (isIP(address) === 0) throw new QuestionError('--address: expected an IP address');
  if (asked === undefined) return { address };
  const time = parseInstant(asked);
  if (time !== undefined) return { address, time };
  throw new QuestionError('--time: expected a time such as 2026-01-31T12:00:00Z');
}

/** @throws QuestionError */
function askedPlace(configuration: Configuration, routes: RouteTable, question: Question): Place {
  if (!isRepositoryName(question.repository)) {
    throw new QuestionError(
      '--repository: expected a repository name in lower case, without host and tag, such as team/app',
    );
  }
  try {
    return findPlace(configuration, routes, question);
  } catch (error) {
    if (error instanceof NoPlaceError) throw new QuestionError(`--${error.setting}: ${error.message}`);
    throw error;
  }
}

/** @throws QuestionError */
function askedPrincipal({ verifiers }: Configuration, { as, groups, attributes }: Question): Principal {
  const colon = as.indexOf(':');
  const ids = verifiers.map(({ id }) => id);
  if (!ids.includes(as.slice(0, Math.max(colon, 0)))) {
    throw new QuestionError(`--as: expected VERIFIER:NAME with one of the verifiers ${ids.join(', ')}`);
  }
  if (colon === as.length - 1) throw new QuestionError(`--as: expected a name after ${as}`);
  return principalOf({ as, groups, attributes, kind: 'human' });
}
