import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Principal, RequestContext } from '../contracts/index.js';
import { actions, parseScope, type Scope } from '../reference/scope.js';
import { describePolicyConformance } from '../testing/conformance/policy.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { Condition } from './condition/condition.js';
import { driver, RulesPolicy } from './rules.js';

const o = { signal: new AbortController().signal };
const here: RequestContext = { service: 'docker.example.com', address: '192.0.2.1' };

interface Given {
  readonly verifiers: readonly string[];
  readonly mergedVerifiers: readonly string[];
  readonly services: readonly string[];
  readonly log?: FakeLog;
  readonly metrics?: FakeMetrics;
  readonly clock?: FakeClock;
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
    ['an unknown key beside a condition', { names: ['corp:a'], when: 'true', unless: 'true', ...everything }],
  ] as const) {
    it(`refuses ${name}`, () => assert.ok(!driver.config.safeParse([rule]).success, 'it was accepted'));
  }
});

describe('a condition', () => {
  const when = (text: string, more: object = {}) => ({
    names: ['corp:*'],
    ...everything,
    when: text,
    ...more,
  });

  it('narrows a rule, and only that one', async () => {
    const rules = [when('repository == "a"'), { names: ['corp:bob'], ...everything, actions: ['pull'] }];
    assert.equal(await granted(rules, principal('corp:x'), 'repository:a:pull,push'), 'pull,push');
    assert.equal(await granted(rules, principal('corp:x'), 'repository:b:pull,push'), '');
    assert.equal(await granted(rules, principal('corp:bob'), 'repository:b:pull,push'), 'pull');
  });

  it('opens a rule to nobody else', async () => {
    const rules = [when('true', { names: ['corp:alice'], repositories: ['a'], actions: ['pull'] })];
    for (const [who, wanted, answer] of [
      ['corp:alice', 'repository:a:pull,push', 'pull'],
      ['corp:alice', 'repository:b:pull', ''],
      ['corp:bob', 'repository:a:pull', ''],
      ['local:alice', 'repository:a:pull', ''],
      ['corp:alice', 'registry:catalog:*', ''],
    ] as const) {
      assert.equal(await granted(rules, principal(who), wanted), answer, `${who} ${wanted}`);
    }
  });

  it('is asked about each action', async () => {
    const rules = [when('action == "pull" || principal.name == "alice"')];
    assert.equal(await granted(rules, principal('corp:bob'), 'repository:a:pull,push,delete'), 'pull');
    assert.equal(await granted(rules, principal('corp:alice'), 'repository:a:pull,push'), 'pull,push');
  });

  it('sees the service, the address and the time of a request, and the clock where it has none', async () => {
    const rules = [
      when('request.service == "other.example.com"', { actions: ['push'] }),
      when('request.time >= timestamp("2026-01-02T00:00:00Z")', { actions: ['pull'] }),
      when('cidr("192.0.2.0/24").containsIP(request.address)', { actions: ['delete'] }),
    ];
    const all = 'repository:a:pull,push,delete';
    const clock = new FakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const later = { ...here, time: clock.now() + 86_400_000 };
    const other = { service: 'other.example.com', address: '198.51.100.1' };
    assert.equal(await granted(rules, principal('corp:x'), all, here, { clock }), 'delete');
    assert.equal(await granted(rules, principal('corp:x'), all, later, { clock }), 'pull,delete');
    assert.equal(await granted(rules, principal('corp:x'), all, other, { clock }), 'push');
    clock.advance(86_400_000);
    assert.equal(await granted(rules, principal('corp:x'), all, here, { clock }), 'pull,delete');
  });

  it('that is false leaves the decision to a later rule, which is then named', async () => {
    const policy = await open([when('false'), when('action == "push"'), when('true')]);
    const wanted = scope('repository:a:pull');
    const [decision] = await policy.decide(principal('corp:x'), [wanted], here, o);
    assert.deepEqual(decision, { wanted, granted: ['pull'], rule: 'policy[2]' });
  });

  it('that fails grants nothing; it is counted, and told once a minute and rule', async () => {
    const [log, metrics, clock] = [new FakeLog(), new FakeMetrics(), new FakeClock()];
    const policy = await open(
      [
        when('principal.attributes.level > 3'),
        when('!(principal.attributes.level > 3)'),
        when('"dev" in principal.groups', { actions: ['pull'] }),
      ],
      { log, metrics, clock },
    );
    const ask = async () => {
      const who = principal('corp:x\ny', { groups: ['dev'] });
      const [decision] = await policy.decide(who, [scope('repository:a:pull,push')], here, o);
      return decision?.granted;
    };
    const count = () => metrics.value('policy_condition_errors_total');
    assert.equal(count(), 0);
    assert.deepEqual(await ask(), ['pull']);
    assert.equal(count(), 4); // two rules, two actions
    assert.deepEqual(
      log.at('warn').map(({ fields }) => fields),
      ['policy[0]', 'policy[1]'].map((rule) => {
        return { event: 'policy', rule, principal: 'corp:x?y', reason: 'No such key: level' };
      }),
    );
    clock.advance(59_000);
    await ask();
    assert.equal(log.entries.length, 2);
    clock.advance(1_000);
    await ask();
    assert.equal(log.entries.length, 4);
    assert.equal(count(), 12);
  });

  it('that speaks of no repository is evaluated once, however much is asked for', async (t) => {
    const { mock } = t.mock.method(Condition.prototype, 'evaluate');
    const policy = await open([when('principal.groups.exists(g, g == "x")')]);
    const wanted = Array.from({ length: 100 }, (_, i) => scope(`repository:r${i}:pull,push,delete`));
    const decisions = await policy.decide(principal('corp:x', { groups: ['x'] }), wanted, here, o);
    assert.ok(
      decisions.every(({ granted }) => granted.length === 3),
      'not all is granted',
    );
    assert.equal(mock.callCount(), 1);
    await policy.decide(principal('corp:x'), wanted, here, o);
    assert.equal(mock.callCount(), 2);
  });

  it('with a loop lets others go on between one repository and the next', async (t) => {
    const { mock } = t.mock.method(Condition.prototype, 'evaluate');
    const policy = await open([when('principal.groups.exists(g, repository == g)')]);
    const wanted = Array.from({ length: 100 }, (_, i) => scope(`repository:r${i}:pull`));
    const leaving = new AbortController();
    setImmediate(() => leaving.abort(new Error('left')));
    await assert.rejects(policy.decide(principal('corp:x'), wanted, here, leaving), /^Error: left$/);
    assert.ok(mock.callCount() < 100, `${mock.callCount()} evaluations`);
  });

  it('of no bool denies at run time', async () => {
    const rules = [when('principal.attributes.admin')];
    for (const [admin, answer] of [
      [true, 'pull'],
      [false, ''],
      ['true', ''],
      [1, ''],
    ] as const) {
      const who = principal('corp:x', { attributes: { admin } });
      assert.equal(await granted(rules, who, 'repository:a:pull'), answer, String(admin));
    }
  });

  it('decides what relevant() keeps, of the principals that the rule may be for', async () => {
    const policy = await open([
      when('principal.attributes.team == "x" && !("ext" in principal.groups)'),
      { ...when('principal.groups.exists(g, g.startsWith("a"))'), names: ['local:bob'] },
    ]);
    const of = (name: string) => {
      const who = principal(name, { groups: ['ext', 'a', 'b'], attributes: { team: 'y', mail: 'z' } });
      const { groups, attributes } = policy.relevant(who);
      return { groups, attributes };
    };
    assert.deepEqual(of('corp:alice'), { groups: ['ext'], attributes: { team: 'y' } });
    assert.deepEqual(of('local:anybody'), { groups: ['ext', 'a', 'b'], attributes: {} });
    assert.deepEqual(of('aws:x'), { groups: [], attributes: {} });
  });

  it('that keeps a rule from counting is told', async () => {
    const policy = await open([
      when('principal.attributes.level > 3', { actions: ['pull'] }),
      when('action == "pull"'),
      when('false', { repositories: ['b', 'a', '**'] }),
      when('false', { repositories: ['b'] }),
      when('false', { names: ['local:*'] }),
      when('false', { services: ['other.example.com'] }),
    ]);
    assert.ok(policy instanceof RulesPolicy, 'the class');
    assert.deepEqual(policy.passedOver(principal('corp:x'), scope('repository:a:pull,push'), here), [
      { rule: 'policy[0]', action: 'pull', failure: 'No such key: level' },
      { rule: 'policy[1]', action: 'push' },
      { rule: 'policy[2]', action: 'pull' },
      { rule: 'policy[2]', action: 'push' },
    ]);
  });

  for (const [name, text] of [
    ['that names nothing', 'princpal.name == "x"'],
    ['of another type', 'principal.name'],
    ['of no text', true],
    ['that is empty', ''],
  ] as const) {
    it(`${name} is refused`, () => {
      const rule = { names: ['corp:*'], ...everything, when: text };
      assert.ok(!driver.config.safeParse([rule]).success, 'it was accepted');
    });
  }

  it('alone is not enough', () => {
    const rule = { ...everything, when: 'principal.attributes.accountId == "1"' };
    assert.ok(!driver.config.safeParse([rule]).success, 'it was accepted');
  });
});

describe('the rules', () => {
  const rules = [{ names: ['corp:*'], ...everything }];

  it('may stand under a key of their own, and are named after it', async () => {
    const policy = await open({ rules });
    const [decision] = await policy.decide(principal('corp:x'), [scope('repository:a:pull')], here, o);
    assert.equal(decision?.rule, 'policy.rules[0]');
    await assert.rejects(open({ rules: [{ names: ['nobody:x'], ...everything }] }), {
      message: /^policy\.rules\[0\]: /,
    });
  });

  it('of a file that nobody has read do not start', async () => {
    await assert.rejects(open({ file: 'policy.yaml' }), {
      message: 'the rules of policy.yaml were not read',
    });
  });
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
