import type { Configuration, PolicyTestSetting } from '../config/configuration.js';
import type { PolicyTest } from '../config/policy-test-schema.js';
import { formatProblem } from '../config/problem.js';
import type { Decision, Policy } from '../contracts/index.js';
import type { Action } from '../reference/scope.js';
import type { RouteTable } from '../routing/route-table.js';
import { findPlace, NoPlaceError, type Place } from './asked-place.js';
import { principalOf } from './asked-principal.js';
import { openPolicy, openUpstreams, routeTable } from './open-parts.js';
import { Opener, type Surroundings } from './opener.js';

/** How long the policy may take for one of them, in milliseconds. */
const timeLimit = 10_000;

/** What clients ask for with an action: a push needs both. */
export function wantedFor(action: Action): readonly Action[] {
  return action === 'push' ? ['pull', 'push'] : [action];
}

/**
 * Asks the policy what its tests ask. Asks no verifier and no upstream.
 *
 * @returns one line a test that fails, in their order
 * @throws OpeningError
 */
export async function failedPolicyTests(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const opener = new Opener(configuration, surroundings);
  try {
    const routes = routeTable(configuration, await openUpstreams(opener, configuration));
    const policy = await openPolicy(opener, configuration);
    const failures: string[] = [];
    for (const setting of configuration.policyTests) {
      const message = await failureOf(setting, configuration, routes, policy);
      if (message !== undefined) failures.push(formatProblem({ ...setting.place, message }));
    }
    return failures;
  } finally {
    await opener.close();
  }
}

async function failureOf(
  { test }: PolicyTestSetting,
  configuration: Configuration,
  routes: RouteTable,
  policy: Policy,
): Promise<string | undefined> {
  const title = test.name === undefined ? '' : `${test.name}: `;
  try {
    const place = findPlace(configuration, routes, test);
    for (const action of test.action) {
      const decision = await ask(test, action, place, policy);
      const missing = wantedFor(action).filter((one) => !decision?.granted.includes(one));
      const answer = missing.length === 0 ? 'allow' : 'deny';
      if (answer === test.expect) continue;
      const why =
        answer === 'allow' ? `${decision?.rule} allows it` : `no rule allows ${missing.join(' and ')}`;
      return `${title}expected ${test.expect}: ${action} of ${place.canonical} on ${place.service} by ${test.as}; but ${why}`;
    }
    return undefined;
  } catch (error) {
    if (error instanceof NoPlaceError) return `${title}${error.setting}: ${error.message}`;
    throw error;
  }
}

async function ask(
  test: PolicyTest,
  action: Action,
  { service, canonical }: Place,
  policy: Policy,
): Promise<Decision | undefined> {
  const { address, time } = test;
  const [decision] = await policy.decide(
    principalOf(test),
    [{ type: 'repository', name: canonical, actions: wantedFor(action) }],
    { service, address, ...(time !== undefined && { time }) },
    { signal: AbortSignal.timeout(timeLimit) },
  );
  return decision;
}
