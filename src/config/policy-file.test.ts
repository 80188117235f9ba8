import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { changedSettings } from './changed-settings.js';
import { loadConfiguration } from './load.js';
import { formatProblem } from './problem.js';

// With the real drivers: the built-in policy's rules and tests in a file of their own.

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'policy-file-'));
  await mkdir(join(directory, 'folder'));
});
after(() => rm(directory, { recursive: true }));

const main = (policy: string) => `externalUrl: https://docker.example.com
upstreams: { hub: { url: "https://docker.io" } }
routes: [{ prefix: "", upstream: hub }]
verifiers: [{ id: corp, type: anonymous }]
policy: ${policy}
`;
const rules = `rules:
  - { names: ["corp:*"], repositories: ["**"], actions: [pull] }
`;

async function load(policy: string, file?: string) {
  if (file !== undefined) await writeFile(join(directory, 'policy.yaml'), file);
  await writeFile(join(directory, 'proxy.yaml'), main(policy));
  return loadConfiguration(join(directory, 'proxy.yaml'));
}

async function configurationOf(policy: string, file?: string) {
  const result = await load(policy, file);
  if ('configuration' in result) return result.configuration;
  return assert.fail(result.problems.map(formatProblem).join('\n'));
}

async function problemsOf(policy: string, file?: string): Promise<readonly string[]> {
  const result = await load(policy, file);
  assert.ok('problems' in result, 'it was taken');
  return result.problems.map((problem) => formatProblem(problem).replaceAll(`${directory}/`, ''));
}

describe('a policy file', () => {
  it('is read in the place of the setting that names it', async () => {
    const { policy, policyTests, raw } = await configurationOf('{ file: policy.yaml }', rules);
    assert.equal((policy.config as { rules: readonly unknown[] }).rules.length, 1);
    assert.deepEqual(policyTests, []);
    assert.deepEqual((raw as { policy: unknown }).policy, { file: 'policy.yaml' });
  });

  it('may be named beside the type, and by its whole path', async () => {
    await configurationOf('{ type: rules, file: policy.yaml }', rules);
    await configurationOf(`{ file: ${join(directory, 'policy.yaml')} }`);
  });

  it('is one of the files whose change is a change of the configuration', async () => {
    const first = await configurationOf('{ file: policy.yaml }', rules);
    assert.deepEqual(
      first.namedFiles.map(({ setting, path }) => [setting, path]),
      [['policy.file', join(directory, 'policy.yaml')]],
    );
    const same = await configurationOf('{ file: policy.yaml }', rules);
    assert.deepEqual(changedSettings(first, same), []);
    const other = await configurationOf('{ file: policy.yaml }', rules.replace('pull', 'push'));
    assert.deepEqual(changedSettings(first, other), ['policy.file']);
    const elsewhere = await configurationOf(`{ rules: [] }`);
    assert.deepEqual(changedSettings(first, elsewhere), ['policy.file', 'policy.rules']);
  });

  it('may be larger than a configuration', async () => {
    const many = `${rules}# ${'x'.repeat(1024 * 1024)}\n`;
    const { policy } = await configurationOf('{ file: policy.yaml }', many);
    assert.equal((policy.config as { rules: readonly unknown[] }).rules.length, 1);
    const large = `# ${'x'.repeat(8 * 1024 * 1024)}`;
    assert.match((await problemsOf('{ file: policy.yaml }', large)).join(), /larger than 8388608 bytes$/);
  });

  for (const [name, policy, file, expected] of [
    [
      'problems of rules come with its name and their place in it',
      '{ file: policy.yaml }',
      rules.replace('corp:*', 'crop:*').replace('pull', 'pul').replace('"**"', '"docker.example.com/x"'),
      [
        /^policy\.yaml:2:15: rules\[0\]\.names\[0\]: unknown verifier 'crop'/,
        /^policy\.yaml:2:41: rules\[0\]\.repositories\[0\]: expected the repository without the host/,
        /^policy\.yaml:2:76: rules\[0\]\.actions\[0\]: expected pull, push or delete$/,
      ],
    ],
    [
      'a condition says where in it something is wrong',
      '{ file: policy.yaml }',
      `${rules}  - names: ["corp:*"]\n    repositories: ["**"]\n    actions: [pull]\n    when: |\n      true &&\n        princpal.name == "x"\n`,
      [
        /^policy\.yaml:6:11: rules\[1\]\.when: Unknown variable: princpal; known: .* \(line 2, column 3 of the condition\)$/,
      ],
    ],
    [
      'a condition within the configuration does, too',
      '[{ names: ["corp:*"], repositories: ["**"], actions: [pull], when: "1" }]',
      undefined,
      [
        /^proxy\.yaml:5:76: policy\[0\]\.when: expected a condition .* \(line 1, column 1 of the condition\)$/,
      ],
    ],
    [
      'tests are checked',
      '{ file: policy.yaml }',
      `${rules}tests:
  - { as: corp:x, repository: a, action: fetch, expect: allow }
  - { as: x, repository: A, action: pull, expect: yes, address: 10.0.0, time: 2026-01-01 }
  - { as: croc:x, host: docker.exampel.com, repository: a, action: [], expect: allow, grups: [x] }
`,
      [
        /^policy\.yaml:4:42: tests\[0\]\.action: expected pull, push or delete/,
        /^policy\.yaml:5:11: tests\[1\]\.as: expected a principal with its verifier/,
        /^policy\.yaml:5:26: tests\[1\]\.repository: expected a repository name/,
        /^policy\.yaml:5:51: tests\[1\]\.expect: expected allow or deny/,
        /^policy\.yaml:5:65: tests\[1\]\.address: expected an IP address/,
        /^policy\.yaml:5:79: tests\[1\]\.time: expected a time such as/,
        /^policy\.yaml:6:11: tests\[2\]\.as: unknown verifier 'croc'; known: corp/,
        /^policy\.yaml:6:25: tests\[2\]\.host: no host that is served .*did you mean 'docker\.example\.com'/,
        /^policy\.yaml:6:68: tests\[2\]\.action: /,
        /^policy\.yaml:6:87: tests\[2\]\.grups: unknown key, did you mean 'groups'/,
      ],
    ],
    [
      'other keys are refused',
      '{ file: policy.yaml }',
      `${rules}test: []\ntype: rules\n`,
      [
        /^policy\.yaml:3:1: test: unknown key, did you mean 'tests'\?$/,
        /^policy\.yaml:4:1: type: unknown key.* rules, tests$/,
      ],
    ],
    ['rules are wanted', '{ file: policy.yaml }', 'tests: []\n', [/^policy\.yaml:1:1: rules: is missing/]],
    ['a mapping is wanted', '{ file: policy.yaml }', '[]\n', [/^policy\.yaml:1:1: expected a mapping/]],
    [
      'something is wanted',
      '{ file: policy.yaml }',
      '# nothing\n',
      [/^policy\.yaml:1:1: the file is empty$/],
    ],
    ['YAML is wanted', '{ file: policy.yaml }', 'rules: [\n', [/^policy\.yaml:\d:\d: /]],
    [
      'it has to be there',
      '{ file: absent.yaml }',
      undefined,
      [/^proxy\.yaml:5:17: policy\.file: absent\.yaml does not exist$/],
    ],
    [
      'it has to be a file',
      '{ file: folder }',
      undefined,
      [/^proxy\.yaml:5:17: policy\.file: folder is a directory/],
    ],
    [
      'nothing stands beside it',
      '{ file: policy.yaml, rules: [], tests: [], other: 1 }',
      rules,
      [
        /^proxy\.yaml:5:30: policy\.rules: cannot stand beside 'file'/,
        /^proxy\.yaml:5:41: policy\.tests: cannot stand beside 'file'/,
        /^proxy\.yaml:5:52: policy\.other: unknown key/,
      ],
    ],
    [
      'problems of the configuration itself come first',
      '{ file: policy.yaml }\nlistn: 1',
      rules.replace('pull', 'pul'),
      [/^proxy\.yaml:6:1: listn: /, /^policy\.yaml:2:58: /],
    ],
    ['a mapping needs rules', '{}', undefined, [/^proxy\.yaml:5:9: policy: expected a list of rules, /]],
    [
      'tests within the configuration are checked',
      '{ rules: [], tests: [{ as: corp:x, repository: a, action: pull }] }',
      undefined,
      [/^proxy\.yaml:5:30: policy\.tests\[0\]\.expect: is missing; expected allow or deny$/],
    ],
    [
      'a misspelt key of a rule below `rules` is told',
      '{ rules: [{ names: ["corp:*"], repositories: ["**"], actions: [pull], wen: "true" }] }',
      undefined,
      [/^proxy\.yaml:5:79: policy\.rules\[0\]\.wen: unknown key, did you mean 'when'\?$/],
    ],
  ] as const) {
    it(name, async () => {
      const found = await problemsOf(policy, file);
      assert.equal(found.length, expected.length, found.join('\n'));
      for (const [i, pattern] of expected.entries()) assert.match(found[i] ?? '', pattern);
    });
  }
});

it('tests of a policy are kept with their places', async () => {
  const { policyTests } = await configurationOf(
    '{ file: policy.yaml }',
    `${rules}tests:
  - { as: "corp:x:y", groups: [dev], attributes: { a: 1, b: [x] }, repository: a, action: pull, expect: allow }
  - { name: later, as: corp:x, kind: machine, host: Docker.Example.com, address: "::1", time: 2026-01-01T00:00:00Z,
      repository: a/b, action: [pull, push], expect: deny }
`,
  );
  const file = join(directory, 'policy.yaml');
  assert.deepEqual(policyTests, [
    {
      test: {
        ...{ as: 'corp:x:y', groups: ['dev'], attributes: { a: 1, b: ['x'] }, kind: 'human' },
        ...{ address: '127.0.0.1', repository: 'a', action: ['pull'], expect: 'allow' },
      },
      place: { file, line: 4, column: 5, path: 'tests[0]' },
    },
    {
      test: {
        ...{ name: 'later', as: 'corp:x', groups: [], attributes: {}, kind: 'machine' },
        ...{ host: 'docker.example.com', address: '::1', time: Date.parse('2026-01-01T00:00:00Z') },
        ...{ repository: 'a/b', action: ['pull', 'push'], expect: 'deny' },
      },
      place: { file, line: 5, column: 5, path: 'tests[1]' },
    },
  ]);
});
