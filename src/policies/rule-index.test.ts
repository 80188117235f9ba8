import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Decision, type Principal, qualifiedName, type RequestContext } from '../contracts/index.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { actions, normalizeActions, type Scope } from '../reference/scope.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { PrincipalValue, RequestValue } from './condition/variables.js';
import { matchesGlob } from './glob.js';
import { type RuleConfig, rulesConfig } from './rule-schema.js';
import { driver } from './rules.js';

const o = { signal: new AbortController().signal };
const given = {
  verifiers: ['corp', 'local', 'aws'],
  mergedVerifiers: ['corp', 'local'],
  services: ['docker.example.com'],
};

function open(config: unknown) {
  return driver.open(driver.config.parse(config), {
    ...{ id: 'policy', baseDirectory: '/', clock: new FakeClock(), log: new FakeLog() },
    metrics: new FakeMetrics(),
    ...given,
  });
}

/** What the rules mean: each is looked at. */
function decideByAll(
  rules: readonly RuleConfig[],
  who: Principal,
  wanted: Scope,
  request: RequestContext,
): Decision {
  const granting = rules.map((rule) =>
    speaksOf(rule, who, wanted, request)
      ? rule.actions.filter(
          (action) => wanted.actions.includes(action) && isTrue(rule, who, wanted, request, action),
        )
      : [],
  );
  const allowed = normalizeActions(granting.flat());
  const first = granting.findIndex((some) => some.length > 0);
  return {
    wanted,
    granted: wanted.actions.filter((action) => allowed.includes(action)),
    ...(first >= 0 && { rule: `policy[${first}]` }),
  };
}

function speaksOf(rule: RuleConfig, who: Principal, wanted: Scope, { service }: RequestContext): boolean {
  if (wanted.type !== 'repository' || !(rule.services ?? given.services).includes(service)) return false;
  const means = (text: string, qualified: string, bare: string) =>
    text === qualified ||
    (!text.includes(':') && text === bare && given.mergedVerifiers.includes(who.verifier));
  const isNamed = (rule.names ?? []).some(
    (text) => text === `${who.verifier}:*` || means(text, qualifiedName(who), who.name),
  );
  const isMember = (rule.groups ?? []).some((text) =>
    who.groups.some((group) => means(text, `${who.verifier}:${group}`, group)),
  );
  if (!isNamed && !isMember) return false;
  const hasAll = Object.entries(rule.attributes ?? {}).every(([name, value]) =>
    [value].flat().includes(who.attributes[name] as string),
  );
  return hasAll && rule.repositories.some((glob) => matchesGlob(glob, wanted.name, who));
}

function isTrue(
  { when }: RuleConfig,
  who: Principal,
  { name }: Scope,
  request: RequestContext,
  action: (typeof actions)[number],
): boolean {
  if (when === undefined) return true;
  const values = { principal: new PrincipalValue(who), request: new RequestValue(request, 0) };
  return when.evaluate({ ...values, repository: name, action }).holds;
}

const someOf = <T>(...values: T[]) => fc.subarray(values, { minLength: 1 });
const text = fc.stringMatching(/^[abc/*-]{1,7}$/).map((one) => one.replace(/\*{3,}/g, '**'));
const glob = fc.oneof(
  text,
  text.map((one) => `**${one.replace(/^\*+/, '')}`),
  fc.constantFrom(
    '**',
    'a/**',
    '**/c',
    '**/a/**',
    '*/b/**',
    '**/a/*b',
    'a/${principal.name}/**',
    '${principal.attributes.x}/c',
    'a/b/c',
    'a/*/c',
  ),
);
const when = fc.constantFrom(
  'action == "pull"',
  'principal.attributes.x == "1"',
  '"g" in principal.groups',
  'principal.groups.exists(g, g != "g")',
  'repository.endsWith("c") || action == "push"',
  'cidr("10.0.0.0/8").containsIP(request.address)',
);
const rule = fc
  .record(
    {
      names: fc.subarray(['corp:a', 'corp:*', 'local:*', 'a', 'corp:a:*', 'b'], { minLength: 1 }),
      groups: someOf('corp:g', 'corp:h', 'local:g', 'g'),
      attributes: fc.dictionary(fc.constantFrom('x', 'y'), fc.constantFrom('1', '2'), {
        noNullPrototype: true,
      }),
      repositories: fc.array(glob, { minLength: 1, maxLength: 40 }),
      actions: someOf('pull', 'push', 'delete'),
      services: someOf('docker.example.com', 'other.example.com'),
      when,
    },
    { requiredKeys: ['repositories', 'actions'], noNullPrototype: true },
  )
  .filter((one) => one.names !== undefined || one.groups !== undefined);
const principal = fc.record(
  {
    verifier: fc.constantFrom('corp', 'local', 'aws'),
    name: fc.constantFrom('a', 'b', 'a:*', '*'),
    kind: fc.constant('human' as const),
    groups: fc.subarray(['g', 'h', 'corp:g', '*']),
    attributes: fc.dictionary(fc.constantFrom('x', 'y'), fc.constantFrom('1', '2', 'a'), {
      noNullPrototype: true,
    }),
  },
  { noNullPrototype: true },
);
const wanted = fc
  .tuple(
    fc.constantFrom('a', 'a/b', 'a/b/c', 'b/c', '1/c', 'a-b', 'c', 'a/a/c', 'c/b/a/b', 'c/a/b/b/c'),
    fc.subarray([...actions]),
  )
  .map(([name, asked]): Scope => ({ type: 'repository', name: name as RepositoryName, actions: asked }));
const request = fc.record({
  service: fc.constantFrom('docker.example.com', 'other.example.com'),
  address: fc.constantFrom('10.0.0.1', '192.0.2.1'),
});

describe('many rules', () => {
  it('decide what looking at each of them decides, and name the same one', async () => {
    const seen = { granted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(rule, { maxLength: 12 }),
        principal,
        fc.array(wanted, { maxLength: 4 }),
        request,
        async (config, who, scopes, from) => {
          const parsed = rulesConfig.parse(config);
          assert.ok(Array.isArray(parsed), 'a list');
          const policy = await open(config);
          const expected = scopes.map((scope) => decideByAll(parsed, who, scope, from));
          assert.deepEqual(await policy.decide(who, scopes, from, o), expected);
          assert.deepEqual(await policy.decide(policy.relevant(who), scopes, from, o), expected);
          for (const { granted } of expected) seen[granted.length > 0 ? 'granted' : 'refused']++;
        },
      ),
      { numRuns: 1500 },
    );
    assert.ok(seen.granted > 200 && seen.refused > 200, JSON.stringify(seen));
  });

  it('of many names and patterns are found under each', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `corp:n${i}`);
    const repositories = Array.from({ length: 30 }, (_, i) => `r${i}/**`);
    const policy = await open([{ names, repositories, actions: ['pull'] }]);
    const scopes = ['r0/x', 'r29/x', 'r30/x'].map(
      (name): Scope => ({ type: 'repository', name: name as RepositoryName, actions: ['pull'] }),
    );
    for (const [name, expected] of [
      ['n0', [1, 1, 0]],
      ['n29', [1, 1, 0]],
      ['n30', [0, 0, 0]],
    ] as const) {
      const who: Principal = { verifier: 'corp', name, kind: 'human', groups: [], attributes: {} };
      const at = { service: 'docker.example.com', address: '::1' };
      const decisions = await policy.decide(who, scopes, at, o);
      assert.deepEqual(
        decisions.map(({ granted }) => granted.length),
        expected,
      );
    }
  });
});
