import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { explain, type Question } from './explain.js';
import { failedPolicyTests } from './policy-tests.js';
import { QuestionError } from './question-error.js';

const configurationText = `
externalUrl: https://docker.example.com
upstreams: { hub: { url: https://docker.io }, mine: { url: https://registry.example.org } }
routes:
  - { prefix: hub/, upstream: hub }
  - { host: two.example.com, prefix: "", upstream: mine }
verifiers: [{ id: corp, type: anonymous }, { id: ci, type: anonymous }]
token: { services: [other.example.com] }
policy: { file: policy.yaml }
`;
const rules = `rules:
  - { names: ["corp:*"], repositories: ["hub/library/*"], actions: [pull] }
  - { groups: ["corp:dev"], repositories: ["team/**"], actions: [pull, push] }
  - names: ["ci:*"]
    repositories: ["team/**"]
    actions: [push, pull]
    when: principal.attributes.level >= 2 && cidr("10.0.0.0/8").containsIP(request.address)
  - { names: ["ci:*"], repositories: ["team/**"], actions: [pull], when: request.time.getHours() < 12 }
  - { names: ["corp:*"], repositories: ["only/**"], actions: [delete], services: [other.example.com] }
  - { names: ["corp:robot"], repositories: ["**"], actions: [delete], when: principal.kind == "machine" }
`;

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'policy-tests-'));
});
after(() => rm(directory, { recursive: true }));

const clock = new FakeClock(Date.parse('2026-01-30T13:00:00Z'));
const surroundings = () => ({ clock, log: new FakeLog(), metrics: new FakeMetrics() });

async function configurationWith(tests: readonly string[]) {
  const list = tests.map((test) => `  - { ${test} }\n`).join('');
  await writeFile(join(directory, 'policy.yaml'), `${rules}${list && 'tests:\n'}${list}`);
  await writeFile(join(directory, 'proxy.yaml'), configurationText);
  const result = await loadConfiguration(join(directory, 'proxy.yaml'));
  if ('configuration' in result) return result.configuration;
  return assert.fail(result.problems.map(formatProblem).join('\n'));
}

async function failuresOf(...tests: readonly string[]): Promise<readonly string[]> {
  const failures = await failedPolicyTests(await configurationWith(tests), surroundings());
  return failures.map((line) => line.replaceAll(`${directory}/`, ''));
}

describe('a test of the policy that holds', () => {
  for (const test of [
    'as: corp:x, repository: hub/alpine, action: pull, expect: allow',
    'as: corp:x, repository: hub/library/alpine, action: pull, expect: allow',
    'as: corp:x, repository: hub/acme/app, action: pull, expect: deny',
    'as: corp:x, repository: team/a, action: [pull, push, delete], expect: deny',
    'as: corp:x, groups: [dev], repository: team/a, action: [pull, push], expect: allow',
    'as: corp:x, groups: ["corp:dev"], repository: team/a, action: push, expect: allow',
    'as: ci:x, groups: [dev], repository: team/a, action: push, expect: deny',
    'as: ci:x, attributes: { level: 2 }, address: 10.0.0.1, repository: team/a, action: push, expect: allow',
    'as: ci:x, attributes: { level: 1 }, address: 10.0.0.1, repository: team/a, action: push, expect: deny',
    'as: ci:x, attributes: { level: 2 }, repository: team/a, action: push, expect: deny',
    'as: ci:x, time: 2026-01-30T11:59:59Z, repository: team/a, action: pull, expect: allow',
    'as: ci:x, repository: team/a, action: pull, expect: deny',
    'as: corp:x, host: other.example.com, repository: only/a, action: delete, expect: allow',
    'as: corp:x, host: two.example.com, repository: only/a, action: delete, expect: deny',
    'as: corp:robot, kind: machine, repository: a, action: delete, expect: allow',
    'as: corp:robot, repository: a, action: delete, expect: deny',
  ]) {
    it(test, async () => assert.deepEqual(await failuresOf(test), []));
  }
});

describe('a test of the policy that fails', () => {
  it('tells where it stands, what was expected, and what decided', async () => {
    const failures = await failuresOf(
      'as: corp:x, repository: hub/alpine, action: pull, expect: deny',
      'as: corp:x, groups: [dev], repository: team/a, action: pull, expect: allow',
      'name: nobody deletes, as: corp:x, groups: [dev], repository: team/a, action: [pull, delete], expect: allow',
      'as: ci:x, time: 2026-01-30T11:00:00Z, repository: team/a, action: push, expect: allow',
    );
    assert.deepEqual(failures, [
      'policy.yaml:12:5: tests[0]: expected deny: pull of hub/library/alpine on docker.example.com by corp:x; but policy.rules[0] allows it',
      'policy.yaml:14:5: tests[2]: nobody deletes: expected allow: delete of team/a on docker.example.com by corp:x; but no rule allows delete',
      'policy.yaml:15:5: tests[3]: expected allow: push of team/a on docker.example.com by ci:x; but no rule allows push',
    ]);
  });
});

it('a policy of your own is asked its tests as well', async () => {
  await writeFile(
    join(directory, 'mine.mjs'),
    `export const driver = { apiVersion: 1, kind: 'policy', type: 'mine', config: {
       _zod: {}, safeParseAsync: async (value) => ({ success: true, data: value }) },
       open: async ({ who }) => ({ relevant: (one) => one, close: async () => {},
         decide: async ({ name }, wanted) =>
           wanted.map((one) => ({ wanted: one, granted: name === who ? one.actions : [], rule: 'mine' })) }) };`,
  );
  const tests = ['bob', 'eve'].map(
    (name) => `{ as: "corp:${name}", repository: a, action: pull, expect: allow }`,
  );
  const policy = `policy: { module: ./mine.mjs, who: bob, tests: [${tests.join(', ')}] }`;
  await writeFile(
    join(directory, 'mine.yaml'),
    configurationText.replace('policy: { file: policy.yaml }', policy),
  );
  const result = await loadConfiguration(join(directory, 'mine.yaml'));
  assert.ok('configuration' in result, JSON.stringify(result));
  const [first, ...others] = await failedPolicyTests(result.configuration, surroundings());
  assert.match(first ?? '', /mine\.yaml:9:\d+: policy\.tests\[1\]: expected allow: pull of a .* by corp:eve/);
  assert.deepEqual(others, []);
});

describe('explain', () => {
  const question: Question = { as: 'ci:x', groups: [], attributes: {}, repository: 'team/a', action: 'push' };
  const ask = async (more: Partial<Question>) => {
    const { allowed, text } = await explain(
      await configurationWith([]),
      { ...question, ...more },
      surroundings(),
    );
    return { allowed, text, conditions: text.match(/^condition .*$/gm) ?? [] };
  };

  it('tells which rules do not count because of their conditions', async () => {
    const { allowed, conditions, text } = await ask({ address: '10.0.0.1' });
    assert.equal(allowed, false);
    assert.deepEqual(conditions, [
      'condition  policy.rules[2] does not allow pull: its condition fails: No such key: level',
      'condition  policy.rules[2] does not allow push: its condition fails: No such key: level',
      'condition  policy.rules[3] does not allow pull: its condition is false',
    ]);
    assert.match(
      text,
      /^rule {7}policy\.rules\[3\] allows pull of team\/\*\* when request\.time\.getHours\(\) < 12$/m,
    );
  });

  it('asks for another time', async () => {
    const { allowed, conditions } = await ask({ action: 'pull', time: '2026-01-30T10:00:00+01:00' });
    assert.equal(allowed, true);
    // Asked from 127.0.0.1, where the other half of it settles it.
    assert.deepEqual(conditions, ['condition  policy.rules[2] does not allow pull: its condition is false']);
  });

  for (const [more, message] of [
    [{ address: '10.0.0' }, '--address: expected an IP address'],
    [{ time: 'noon' }, '--time: expected a time such as 2026-01-31T12:00:00Z'],
  ] as const) {
    it(`refuses ${JSON.stringify(more)}`, async () => {
      await assert.rejects(ask(more), new QuestionError(message));
    });
  }
});
