import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Principal, RequestContext } from '../contracts/index.js';
import { actions, parseScope, type Scope } from '../reference/scope.js';
import { describePolicyConformance } from '../testing/conformance/policy.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './rules.js';

const o = { signal: new AbortController().signal };
const here: RequestContext = { service: 'docker.example.com', address: '192.0.2.1' };

interface Given {
  readonly verifiers: readonly string[];
  readonly mergedVerifiers: readonly string[];
  readonly services: readonly string[];
}
const usual: Given = {
  verifiers: ['corp', 'local', 'aws'],
  mergedVerifiers: [],
  services: ['docker.example.com', 'other.example.com'],
};

function open(rules: unknown, given: Partial<Given> = {}) {
  return driver.open(driver.config.parse(rules), {
    id: 'policy',
    baseDirectory: '/',
    clock: new FakeClock(),
    log: new FakeLog(),
    metrics: new FakeMetrics(),
    ...usual,
    ...given,
  });
}

function scope(text: string): Scope {
  const parsed = parseScope(text);
  assert.ok(parsed, 'parsed');
  return parsed;
}

function principal(qualified: string, more: Partial<Principal> = {}): Principal {
  const [verifier = '', ...name] = qualified.split(':');
  return { verifier, name: name.join(':'), kind: 'human', groups: [], attributes: {}, ...more };
}

/** What is granted of one scope. */
async function granted(
  rules: unknown,
  who: Principal,
  wanted: string,
  request: RequestContext = here,
  given: Partial<Given> = {},
): Promise<string> {
  const policy = await open(rules, given);
  const [decision] = await policy.decide(who, [scope(wanted)], request, o);
  return decision?.granted.join() ?? 'no decision';
}

const everything = { repositories: ['**'], actions: ['pull', 'push', 'delete'] };

describe('rules', () => {
  const rows: readonly (readonly [
    name: string,
    rules: unknown,
    who: Principal,
    wanted: string,
    answer: string,
  ])[] = [
    ['nothing without a rule', [], principal('corp:alice'), 'repository:a:pull,push,delete', ''],
    [
      'a name',
      [{ names: ['corp:alice'], ...everything }],
      principal('corp:alice'),
      'repository:a:pull',
      'pull',
    ],
    [
      'another name',
      [{ names: ['corp:alice'], ...everything }],
      principal('corp:bob'),
      'repository:a:pull',
      '',
    ],
    [
      'the name of another verifier',
      [{ names: ['corp:alice'], ...everything }],
      principal('local:alice'),
      'repository:a:pull',
      '',
    ],
    [
      'everyone of a verifier',
      [{ names: ['corp:*'], ...everything }],
      principal('corp:bob'),
      'repository:a:pull',
      'pull',
    ],
    [
      'everyone of another verifier',
      [{ names: ['corp:*'], ...everything }],
      principal('local:bob'),
      'repository:a:pull',
      '',
    ],
    [
      'a group',
      [{ groups: ['corp:dev'], ...everything }],
      principal('corp:bob', { groups: ['x', 'dev'] }),
      'repository:a:pull',
      'pull',
    ],
    [
      'the group of another verifier (threat 23)',
      [{ groups: ['corp:dev'], ...everything }],
      principal('local:bob', { groups: ['dev', 'corp:dev'] }),
      'repository:a:pull',
      '',
    ],
    [
      'a group is no name',
      [{ groups: ['corp:bob'], ...everything }],
      principal('corp:bob'),
      'repository:a:pull',
      '',
    ],
    [
      'a name is no group',
      [{ names: ['corp:dev'], ...everything }],
      principal('corp:bob', { groups: ['dev'] }),
      'repository:a:pull',
      '',
    ],
    [
      'either list',
      [{ names: ['corp:alice'], groups: ['corp:dev'], ...everything }],
      principal('corp:bob', { groups: ['dev'] }),
      'repository:a:pull',
      'pull',
    ],
    [
      'a name with colons',
      [{ names: ['corp:a:b'], ...everything }],
      principal('corp:a:b'),
      'repository:a:pull',
      'pull',
    ],
    [
      'only the actions of the rule',
      [{ names: ['corp:*'], repositories: ['**'], actions: ['pull'] }],
      principal('corp:a'),
      'repository:a:pull,push',
      'pull',
    ],
    [
      'only the actions asked',
      [{ names: ['corp:*'], ...everything }],
      principal('corp:a'),
      'repository:a:push',
      'push',
    ],
    [
      'no star, whatever is allowed',
      [{ names: ['corp:*'], ...everything }],
      principal('corp:a'),
      'repository:a:*',
      '',
    ],
    [
      'actions of several rules',
      [
        { names: ['corp:*'], repositories: ['a'], actions: ['pull'] },
        { names: ['corp:a'], repositories: ['**'], actions: ['push'] },
      ],
      principal('corp:a'),
      'repository:a:pull,push,delete',
      'pull,push',
    ],
    [
      'only the repositories of the rule',
      [{ names: ['corp:*'], repositories: ['infra/**'], actions: ['pull'] }],
      principal('corp:a'),
      'repository:infrastructure/a:pull',
      '',
    ],
    [
      'nothing of the catalogue',
      [{ names: ['corp:*'], ...everything }],
      principal('corp:a'),
      'registry:catalog:pull,*',
      '',
    ],
    [
      'a repository that is called catalog is one',
      [{ names: ['corp:*'], ...everything }],
      principal('corp:a'),
      'repository:catalog:pull',
      'pull',
    ],
  ];
  for (const [name, rules, who, wanted, answer] of rows) {
    it(`${name}: ${answer || 'nothing'}`, async () =>
      assert.equal(await granted(rules, who, wanted), answer));
  }

  it('a name that is a star is a name like others', async () => {
    const rules = [{ names: ['corp:alice'], groups: ['corp:dev'], ...everything }];
    assert.equal(await granted(rules, principal('corp:*', { groups: ['*'] }), 'repository:a:pull'), '');
  });

  it('a group has no star for everyone', () => {
    assert.ok(
      !driver.config.safeParse([{ groups: ['corp:*'], ...everything }]).success,
      "!driver.config.safeParse([{ groups: ['corp:*'], ...everything }]).success",
    );
  });

  it('the first rule that granted something is named', async () => {
    const policy = await open([
      { names: ['corp:*'], repositories: ['x'], actions: ['pull'] },
      { names: ['corp:*'], repositories: ['a'], actions: ['push'] },
      { names: ['corp:*'], repositories: ['a'], actions: ['pull'] },
      { names: ['corp:*'], repositories: ['**'], actions: ['pull'] },
    ]);
    const decisions = await policy.decide(
      principal('corp:a'),
      [scope('repository:a:pull'), scope('repository:b:delete')],
      here,
      o,
    );
    assert.deepEqual(decisions, [
      { wanted: scope('repository:a:pull'), granted: ['pull'], rule: 'policy[2]' },
      { wanted: scope('repository:b:delete'), granted: [] },
    ]);
  });
});

describe('attributes', () => {
  const rule = (attributes: unknown) => [{ names: ['aws:*'], attributes, ...everything }];
  for (const [wanted, has, answer] of [
    [{ accountId: '1' }, { accountId: '1' }, 'pull'],
    [{ accountId: '1' }, { accountId: '2' }, ''],
    [{ accountId: '1' }, {}, ''],
    [{ accountId: '1' }, { accountId: 1 }, ''],
    [{ accountId: ['1', '2'] }, { accountId: '2' }, 'pull'],
    [{ accountId: '1', region: 'eu' }, { accountId: '1' }, ''],
    [{ accountId: '1', region: 'eu' }, { accountId: '1', region: 'eu' }, 'pull'],
    [{ tags: 'a' }, { tags: ['b', 'a'] }, 'pull'],
    [{ tags: 'a' }, { tags: ['b'] }, ''],
    [{ tags: 'a' }, { tags: [] }, ''],
    [{ admin: true }, { admin: true }, 'pull'],
    [{ admin: true }, { admin: 'true' }, ''],
    [{ toString: 'x' }, {}, ''],
  ] as const) {
    it(`${JSON.stringify(wanted)} for ${JSON.stringify(has)}: ${answer || 'nothing'}`, async () => {
      assert.equal(
        await granted(rule(wanted), principal('aws:x', { attributes: has }), 'repository:a:pull'),
        answer,
      );
    });
  }
});

describe('services', () => {
  const all = [{ names: ['corp:*'], ...everything }];
  const one = [{ names: ['corp:*'], services: ['registry.example.net'], ...everything }];
  for (const [name, rules, service, answer] of [
    ['a served host by default', all, 'docker.example.com', 'pull'],
    ['each served host by default', all, 'other.example.com', 'pull'],
    ['no other registry by default', all, 'registry.example.net', ''],
    ['a service that the rule names', one, 'registry.example.net', 'pull'],
    ['no served host where the rule names services', one, 'docker.example.com', ''],
  ] as const) {
    it(name, async () => {
      assert.equal(
        await granted(rules, principal('corp:a'), 'repository:a:pull', { ...here, service }),
        answer,
      );
    });
  }
});

describe('names in rules', () => {
  for (const [name, rule, message] of [
    ['a bare name', { names: ['alice'] }, /^policy\[1\]: 'alice' names no verifier: write 'corp:alice'$/],
    ['a bare group', { groups: ['dev'] }, /^policy\[1\]: 'dev' names no verifier/],
    [
      'a verifier that there is not',
      { groups: ['crop:dev'] },
      /^policy\[1\]: 'crop:dev' names the verifier 'crop', and there is none/,
    ],
    [
      'a verifier by a property of every object',
      { names: ['constructor:x'] },
      /names the verifier 'constructor'/,
    ],
  ] as const) {
    it(`refuses ${name}`, async () => {
      const good = { names: ['corp:*'], ...everything };
      await assert.rejects(open([good, { ...rule, ...everything }]), { message });
    });
  }

  it('may be bare where verifiers are merged, and mean those', async () => {
    const given = { mergedVerifiers: ['corp', 'local'] };
    const rules = [{ names: ['alice'], groups: ['dev'], ...everything }];
    for (const [who, answer] of [
      [principal('corp:alice'), 'pull'],
      [principal('local:alice'), 'pull'],
      [principal('aws:alice'), ''],
      [principal('local:bob', { groups: ['dev'] }), 'pull'],
      [principal('aws:bob', { groups: ['dev'] }), ''],
    ] as const) {
      assert.equal(await granted(rules, who, 'repository:a:pull', here, given), answer);
    }
  });

  it('qualified ones stay so where verifiers are merged', async () => {
    const given = { mergedVerifiers: ['corp', 'local'] };
    const rules = [{ groups: ['corp:dev'], ...everything }];
    assert.equal(
      await granted(rules, principal('local:bob', { groups: ['dev'] }), 'repository:a:pull', here, given),
      '',
    );
  });
});

describe('the schema', () => {
  for (const [name, rule] of [
    ['nobody', everything],
    ['only attributes', { attributes: { a: '1' }, ...everything }],
    ['an empty list of names', { names: [], ...everything }],
    ['an empty list of names beside groups', { names: [], groups: ['corp:dev'], ...everything }],
    ['a star for everybody', { names: ['*'], ...everything }],
    ['a star within a name', { names: ['corp:a*'], ...everything }],
    ['no repositories', { names: ['corp:a'], repositories: [], actions: ['pull'] }],
    ['no actions', { names: ['corp:a'], repositories: ['**'], actions: [] }],
    ['an unknown action', { names: ['corp:a'], repositories: ['**'], actions: ['*'] }],
    ['a pattern of another kind', { names: ['corp:a'], repositories: ['^a.*$'], actions: ['pull'] }],
    ['an unknown key', { names: ['corp:a'], group: ['corp:b'], ...everything }],
    ['an attribute of no value', { names: ['corp:a'], attributes: { a: [] }, ...everything }],
    ['no services', { names: ['corp:a'], services: [], ...everything }],
  ] as const) {
    it(`refuses ${name}`, () => assert.ok(!driver.config.safeParse([rule]).success, 'it was accepted'));
  }
});

it('relevant() keeps what some rule speaks of, and who it is', async () => {
  const policy = await open([
    { groups: ['corp:dev', 'local:ops'], attributes: { accountId: '1' }, ...everything },
    { names: ['corp:*'], repositories: ['apps/${principal.attributes.project}/**'], actions: ['pull'] },
  ]);
  const who = principal('corp:alice', {
    groups: ['dev', 'ops', 'other'],
    attributes: { accountId: '2', project: 'x', email: 'a@example.com' },
    expiresAt: 5,
    kind: 'machine',
  });
  assert.deepEqual(policy.relevant({ ...who, credentialVersion: 'version-1' }), {
    ...who,
    groups: ['dev'],
    attributes: { accountId: '2', project: 'x' },
  });
});

it('for any rules it never grants more than was asked, and the same to the relevant part of a principal', async () => {
  const someOf = <T>(...values: T[]) => fc.subarray(values, { minLength: 1 });
  const rule = fc
    .record(
      {
        names: someOf('corp:a', 'corp:b', 'local:*'),
        groups: someOf('corp:g', 'corp:h', 'local:g'),
        attributes: fc.dictionary(fc.constantFrom('x', 'y'), fc.constantFrom('1', '2'), {
          noNullPrototype: true,
        }),
        repositories: someOf('**', 'p/*', 'p/${principal.name}', '${principal.attributes.x}/**'),
        actions: someOf('pull', 'push', 'delete'),
      },
      { requiredKeys: ['repositories', 'actions', 'attributes'], noNullPrototype: true },
    )
    .filter((one) => one.names !== undefined || one.groups !== undefined);
  const who = fc.record(
    {
      verifier: fc.constantFrom('corp', 'local', 'aws'),
      name: fc.constantFrom('a', 'b', '*'),
      kind: fc.constant('human' as const),
      groups: fc.subarray(['g', 'h', 'corp:g']),
      attributes: fc.dictionary(fc.constantFrom('x', 'y', 'z'), fc.constantFrom('1', '2', 'p'), {
        noNullPrototype: true,
      }),
    },
    { noNullPrototype: true },
  );
  const wanted = fc
    .tuple(fc.constantFrom('p/a', 'p/b', '1/x', 'q'), fc.subarray([...actions]))
    .map(([name, asked]) => scope(`repository:${name}:${asked.join()}`));
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { maxLength: 4 }),
      who,
      fc.array(wanted, { maxLength: 3 }),
      async (rules, one, asked) => {
        const policy = await open(rules);
        const decisions = await policy.decide(one, asked, here, o);
        assert.deepEqual(
          decisions.map((decision) => decision.wanted),
          asked,
        );
        for (const { wanted: scopeWanted, granted: given, rule: named } of decisions) {
          assert.ok(
            given.every((action) => action !== '*' && scopeWanted.actions.includes(action)),
            "given.every((action) => action !== '*' && scopeWanted.actions.includes(action))",
          );
          assert.equal(named !== undefined, given.length > 0);
          if (one.verifier === 'aws') assert.deepEqual(given, []);
        }
        assert.deepEqual(await policy.decide(policy.relevant(one), asked, here, o), decisions);
      },
    ),
    { numRuns: 300 },
  );
});

describePolicyConformance(
  'rules',
  async () => ({
    policy: await open([
      { groups: ['corp:dev'], repositories: ['team/**'], actions: ['pull', 'push'] },
      { names: ['local:*'], attributes: { level: 1 }, repositories: ['public/*'], actions: ['pull'] },
    ]),
    cases: [
      {
        who: principal('corp:a', { groups: ['dev', 'x'] }),
        wanted: scope('repository:team/a:pull,push,delete'),
        request: here,
        granted: ['pull', 'push'],
      },
      {
        who: principal('corp:a', { groups: ['dev'] }),
        wanted: scope('repository:public/a:pull'),
        request: here,
        granted: [],
      },
      {
        who: principal('local:a', { groups: ['dev'], attributes: { level: 1, y: 2 } }),
        wanted: scope('repository:public/a:pull'),
        request: here,
        granted: ['pull'],
      },
      {
        who: principal('local:a', { groups: ['dev'] }),
        wanted: scope('repository:public/a:pull'),
        request: here,
        granted: [],
      },
      {
        who: principal('corp:a', { groups: ['dev'] }),
        wanted: scope('registry:catalog:*'),
        request: here,
        granted: [],
      },
    ],
  }),
  ['where it cannot decide it is UNAVAILABLE, and never open'],
);
