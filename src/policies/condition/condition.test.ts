import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Principal, RequestContext } from '../../contracts/index.js';
import type { Action } from '../../reference/scope.js';
import { Condition } from './condition.js';
import { Outcomes } from './outcomes.js';
import { PrincipalValue, RequestValue } from './variables.js';

const alice: Principal = {
  verifier: 'corp',
  name: 'alice',
  kind: 'human',
  groups: ['dev', 'ops'],
  attributes: { branch: 'main', level: 2, share: 1.5, admin: true, tags: ['a', 'b'], 'odd name': 'x' },
};
const noon: RequestContext = {
  service: 'docker.example.com',
  address: '::ffff:10.1.2.3',
  time: Date.parse('2026-01-30T12:00:00Z'), // a Friday
};

function parse(text: string): Condition {
  const condition = Condition.parse(text);
  if (typeof condition === 'string') assert.fail(condition);
  return condition;
}

function variables(who = alice, action: Action = 'pull') {
  const request = new RequestValue(noon, Date.parse('2027-01-01T00:00:00Z'));
  return { principal: new PrincipalValue(who), request, repository: 'team/app', action };
}

const written = (entries: number) => Array.from({ length: entries }, (_, i) => `"${i}"`).join(', ');

const yes = true;
const no = false;

describe('a condition', () => {
  const rows: readonly (readonly [text: string, expected: boolean | RegExp])[] = [
    ['principal.name == "alice"', yes],
    ['principal.verifier == "corp" && principal.kind == "human"', yes],
    ['principal.name != "alice"', no],
    ['repository.startsWith("team/")', yes],
    ['repository == "team/" + principal.name', no],
    ['action == "pull"', yes],
    ['action in ["push", "delete"]', no],
    ['"dev" in principal.groups', yes],
    ['"corp:dev" in principal.groups', no],
    ['principal.groups.exists(g, g.startsWith("o"))', yes],
    ['principal.groups.all(g, g in ["dev"])', no],
    ['principal.groups.exists(g, ["de", "x"].exists(p, g.startsWith(p)))', yes],
    [`principal.groups.exists(g, [${written(9)}, "dev"].exists(p, g == p))`, yes],
    [`[${written(50)}].exists(p, p == "49")`, yes],
    ['size(principal.groups) == 2', yes],
    ['principal.attributes.branch == "main"', yes],
    ['principal.attributes["odd name"] == "x"', yes],
    ['principal.attributes.level == 2', yes],
    ['principal.attributes.level >= 2 && principal.attributes.level < 3', yes],
    ['principal.attributes.level in [1, 2]', yes],
    ['principal.attributes.level == "2"', no],
    ['principal.attributes.level % 2 == 0', yes],
    ['principal.attributes.share > 1.0', yes],
    ['principal.attributes.admin', yes],
    ['"b" in principal.attributes.tags', yes],
    ['"c" in principal.attributes.tags', no],
    ['has(principal.attributes.branch)', yes],
    ['has(principal.attributes.absent)', no],
    ['"absent" in principal.attributes', no],
    ['has(principal.attributes.toString) || "constructor" in principal.attributes', no],
    ['has(principal.attributes.absent) && principal.attributes.absent == "x"', no],
    ['request.service == "docker.example.com"', yes],
    ['request.address == "10.1.2.3"', yes],
    ['cidr("10.0.0.0/8").containsIP(request.address)', yes],
    ['cidr("2001:db8::/32").containsIP(request.address)', no],
    ['request.time < timestamp("2026-02-01T00:00:00Z")', yes],
    ['request.time.getHours() == 12 && request.time.getDayOfWeek() == 5', yes],
    ['request.time.getHours("Europe/Berlin") == 13', yes],
    ['request.time + duration("1h") > timestamp("2026-01-30T12:59:59Z")', yes],
    ['repository.matches("^[a-z]+/app$")', yes],
    ['repository.matches("app")', yes],
    ['repository.matches("^app")', no],
    ['principal.attributes.branch.matches("^ma")', yes],
    ['principal.groups.exists(g, g.matches("^o.s$"))', yes],
    ['// said why\nprincipal.name == "alice"', yes],
    ['principal.attributes.absent == "x"', /^No such key: absent$/],
    ['principal.attributes.absent != "x"', /^No such key: absent$/],
    ['!(principal.attributes.absent == "x")', /^No such key: absent$/],
    ['principal.attributes.branch', /neither true nor false/],
    ['principal.attributes.branch > 3', /no such overload/],
    ['int(principal.attributes.branch) > 3', /cannot convert to int/],
    ['principal.attributes.level.matches("2")', /^found no matching overload for .*\.matches\(string\)'$/],
    ['request.time.getHours(principal.name) > 3', /time zone/],
    ['cidr(principal.name).containsIP(request.address)', /expected a range/],
    ['principal["na" + "mes"] == "x"', /No such key/],
    ['principal.attributes.tags[7] == "x"', /index out of bounds/],
    // CEL: where one side settles it, the other one may fail.
    ['principal.attributes.absent == "x" || principal.name == "alice"', yes],
    ['principal.attributes.absent == "x" && principal.name == "bob"', no],
  ];
  for (const [text, expected] of rows) {
    it(`${JSON.stringify(text)}: ${expected}`, () => {
      const { holds, failure } = parse(text).evaluate(variables());
      if (typeof expected === 'boolean') assert.deepEqual({ holds, failure }, { holds: expected, failure });
      else assert.match(failure ?? `no failure: ${holds}`, expected);
      if (failure !== undefined) assert.equal(holds, false);
    });
  }

  it('is about one action', () => {
    const condition = parse('action != "push" || principal.name == "bob"');
    assert.equal(condition.evaluate(variables(alice, 'pull')).holds, true);
    assert.equal(condition.evaluate(variables(alice, 'push')).holds, false);
  });

  it('may be evaluated for one after the other', () => {
    const condition = parse('principal.groups.map(g, g + "!").exists(g, g == "dev!")');
    for (const groups of [['dev'], ['ops'], [], ['x', 'dev']]) {
      assert.equal(condition.evaluate(variables({ ...alice, groups })).holds, groups.includes('dev'));
    }
  });

  it('takes now for the time of a request without one', () => {
    const now = Date.parse('2027-01-01T00:00:00Z');
    assert.equal(new RequestValue({ service: 's', address: '::1' }, now).time.getTime(), now);
  });

  it('with a loop fails for whoever has very many groups', () => {
    const groups = Array.from({ length: 1001 }, (_, i) => `g${i}`);
    const who = { ...alice, groups };
    assert.match(
      parse('principal.groups.exists(g, g == "g1")').evaluate(variables(who)).failure ?? '',
      /1000/,
    );
    assert.equal(parse('"g1" in principal.groups').evaluate(variables(who)).holds, true);
  });

  it('with a loop fails for an attribute of very many values that it looks at', () => {
    const who = {
      ...alice,
      attributes: { many: Array.from({ length: 1001 }, (_, i) => `${i}`), tags: ['a'] },
    };
    const outcome = (text: string) => parse(text).evaluate(variables(who));
    assert.match(outcome('principal.attributes.many.exists(m, m == "1")').failure ?? '', /1000 values/);
    assert.match(outcome('principal.attributes.exists(k, k == "many")').failure ?? '', /1000 values/);
    assert.deepEqual(outcome('principal.attributes.tags.exists(m, m == "a")'), { holds: true });
    assert.deepEqual(outcome('"1" in principal.attributes.many'), { holds: true });
  });

  it('says nothing in several lines, and nothing long', () => {
    const name = `x\n${'y'.repeat(5000)}`;
    const { failure = '' } = parse('bool(principal.name)').evaluate(variables({ ...alice, name }));
    assert.ok(failure.length > 0 && failure.length <= 201 && !failure.includes('\n'), failure);
  });
});

describe('a text that is no condition', () => {
  for (const [text, expected] of [
    ['', /Unexpected token: EOF/],
    ['princpal.name == "x"', /^Unknown variable: princpal; known: principal, .*line 1, column 1 /],
    ['principal.nam == "x"', /^No such key: nam \(line 1, column 11 of the condition\)$/],
    ['true &&\n  principal.grups == []', /^No such key: grups \(line 2, column 13 of the condition\)$/],
    ['principal.name == 1', /no such overload: string == int/],
    ['principal.name', /^expected a condition that is true or false, not string/],
    ['1 + 1', /not int/],
    ['principal.name = "x"', /Unexpected character: = .*column 16/],
    ['has(principal.atributes.x)', /^No such key: atributes \(line 1, column 15 /],
    ['has(request.tim)', /^No such key: tim/],
    ['request.time > timestamp("tomorrow")', /ISO 8601.*column 16/],
    ['request.time.getHours("Mars/Base") > 3', /time zone.*Mars/],
    ['cidr("10.0.0.1").containsIP(request.address)', /expected a range such as 10\.0\.0\.0\/8/],
    ['cidr("10.0.0.0/33").containsIP(request.address)', /expected a range/],
    ['repository.matches("(")', /missing closing \).*column 1 /],
    ['repository.matches("(?=a)")', /unsupported Perl syntax/],
    ['repository.matches("(a{1000}){1000}")', /repeat count/],
    ['repository.matches("[a-z]{900}[0-9]{900}")', /too large/],
    ['repository.matches(principal.name)', /literal text/],
    ['repository.matches("a" + principal.name)', /literal text/],
    ['principal.groups.exists(g, repository.matches(g))', /literal text/],
    ['action.matches(1)', /no matching overload/],
    ['principal.groups.all(a, principal.groups.exists(b, a == b))', /a loop in a loop/],
    ['principal.groups.all(a, a.split("").exists(b, b == "x"))', /a loop in a loop/],
    ['[1].all(a, [2].all(b, [3].all(c, a < b)))', /a loop in a loop/],
    [`principal.groups.exists(g, [${written(11)}].exists(p, g == p))`, /a loop in a loop.* 10 entries/],
    [
      `principal.groups.exists(g, [${written(6)}].exists(p, g == p) || [${written(5)}].exists(p, g == p))`,
      /a loop in a loop.* 10 entries/,
    ],
    [
      `${`principal.groups.exists(g, [${written(6)}].exists(p, g == p)) || `.repeat(2)}false`,
      /a loop in a loop.* 10 entries/,
    ],
    ['cel.bind(p, principal, p.name == "x")', /cel\.bind\(\) cannot be used/],
    ['[principal.?name] == []', /Expected IDENTIFIER/],
    [`"${'x'.repeat(2000)}" == action`, /at most 2000 characters/],
    [`${'('.repeat(100)}true${')'.repeat(100)}`, /maxDepth/],
    [`${'!'.repeat(1500)}true`, /maxAstNodes/],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 60))}: ${expected}`, () => {
      const refused = Condition.parse(text);
      assert.match(typeof refused === 'string' ? refused : 'it was taken', expected);
      assert.doesNotMatch(String(refused), /\n/);
    });
  }
});

describe('what a condition looks at', () => {
  for (const [text, groups, attributes] of [
    ['principal.name == "x" && repository == "y"', [], []],
    ['principal.attributes.a == "x"', [], ['a']],
    ['principal.attributes["b c"] == "x"', [], ['b c']],
    ['"d" in principal.attributes', [], ['d']],
    ['has(principal.attributes.e)', [], ['e']],
    ['principal.attributes.f.exists(x, x == principal.attributes.g)', [], ['f', 'g']],
    ['repository.startsWith(principal.attributes.h)', [], ['h']],
    ['{"x": principal.attributes.i}["x"] == 1', [], ['i']],
    ['true ? principal.attributes.j == 1 : principal.attributes.k == 1', [], ['j', 'k']],
    ['principal.attributes[principal.name] == "x"', [], 'all'],
    ['size(principal.attributes) == 0', [], 'all'],
    ['principal.name in principal.attributes', [], 'all'],
    ['principal.attributes.exists(k, k == "x")', [], 'all'],
    ['!("dev" in principal.groups)', ['dev'], []],
    ['"dev" in principal.groups || "ops" in principal.groups', ['dev', 'ops'], []],
    ['principal.name in principal.groups', 'all', []],
    ['principal.groups == ["dev"]', 'all', []],
    ['principal.groups.exists(g, g == "dev")', 'all', []],
    ['size(principal.groups) > 0', 'all', []],
    ['principal["groups"] == []', 'all', 'all'],
    ['[principal].exists(p, p.name == "x")', 'all', 'all'],
  ] as const) {
    it(text, () => {
      const { sights } = parse(text);
      const told = (seen: typeof sights.groups) => (seen === 'all' ? seen : [...seen]);
      assert.deepEqual([told(sights.groups), told(sights.attributes)], [groups, attributes]);
    });
  }
});

describe("a time's parts in a zone", () => {
  for (const [time, zone, expected] of [
    ['2026-01-30T12:34:56.789Z', 'Europe/Berlin', '2026 0 30 29 5 29 13 34 56 789'],
    ['2026-01-30T23:30:00Z', 'Europe/Berlin', '2026 0 31 30 6 30 0 30 0 0'],
    ['2026-01-01T04:59:59Z', 'America/New_York', '2025 11 31 30 3 364 23 59 59 0'],
    ['2026-03-29T00:59:59Z', 'Europe/Berlin', '2026 2 29 28 0 87 1 59 59 0'],
    ['2026-03-29T01:00:00Z', 'Europe/Berlin', '2026 2 29 28 0 87 3 0 0 0'],
    ['2026-03-29T02:30:00Z', 'UTC', '2026 2 29 28 0 87 2 30 0 0'],
    ['2028-12-31T12:00:00Z', 'Asia/Kathmandu', '2028 11 31 30 0 365 17 45 0 0'],
  ] as const) {
    it(`${time} in ${zone}`, () => {
      const names = ['FullYear', 'Month', 'Date', 'DayOfMonth', 'DayOfWeek', 'DayOfYear'];
      const all = [...names, 'Hours', 'Minutes', 'Seconds', 'Milliseconds'];
      const calls = all.map((name) => `string(request.time.get${name}("${zone}"))`);
      const at = new RequestValue({ ...noon, time: Date.parse(time) }, 0);
      const text = `[${calls.join(', ')}].join(" ") == "${expected}"`;
      assert.deepEqual(parse(text).evaluate({ ...variables(), request: at }), { holds: true });
    });
  }

  it("is none of the machine's own zone", () => {
    const before = process.env.TZ;
    try {
      // There this hour is left out.
      process.env.TZ = 'Europe/Berlin';
      const time = Date.parse('2026-03-29T02:30:00Z');
      const request = new RequestValue({ ...noon, time }, 0);
      const condition = parse('request.time.getHours("UTC") == 2 && request.time.getHours() == 2');
      assert.deepEqual(condition.evaluate({ ...variables(), request }), { holds: true });
    } finally {
      if (before === undefined) delete process.env.TZ;
      else process.env.TZ = before;
    }
  });
});

it('matches in a time that a client cannot stretch', { timeout: 60_000 }, () => {
  // RE2's syntax, which JavaScript's own matching does not know; that would take longer than the universe has below.
  assert.equal(parse('repository.matches("(?i)^TEAM/")').evaluate(variables()).holds, true);
  const condition = parse('principal.attributes.text.matches("^(a|aa)+$")');
  const who = { ...alice, attributes: { text: `${'a'.repeat(4000)}b` } };
  assert.deepEqual(condition.evaluate(variables(who)), { holds: false });
  const longer = { ...alice, attributes: { text: 'a'.repeat(4097) } };
  assert.match(condition.evaluate(variables(longer)).failure ?? '', /longer than 4096/);
});

describe('outcomes for one principal', () => {
  const texts = [
    'principal.name == "alice"',
    'principal.attributes.absent == "x"',
    'principal.attributes.absent == "x" || repository == "a"',
    'repository == "a" || repository == "push"',
    'action == "push"',
    'action == "push" && principal.groups.exists(g, repository == g)',
    '[1].exists(repository, repository == 1)',
    '["pull"].exists(one, one == action)',
    '{"pull": true}[action]',
    'has(principal.attributes.branch) && [repository].exists(one, one.startsWith("a"))',
  ];

  it('are those of plain evaluation, whatever came before', () => {
    const conditions = texts.map(parse);
    const question = fc.tuple(
      fc.constantFrom(...conditions),
      fc.constantFrom('a', 'a/b', 'dev', 'push'),
      fc.constantFrom<Action>('pull', 'push', 'delete'),
    );
    fc.assert(
      fc.property(fc.array(question, { maxLength: 40 }), (questions) => {
        const outcomes = new Outcomes(variables());
        for (const [condition, repository, action] of questions) {
          const plain = condition.evaluate({ ...variables(), repository, action });
          assert.deepEqual(outcomes.of(condition, { repository, action }), plain, condition.text);
        }
      }),
    );
  });

  for (const [text, expected] of [
    ['principal.name == "alice"', 1],
    ['principal.attributes.absent == "x"', 1],
    ['action == "push"', 3],
    ['repository == "a"', 4],
    ['repository == "a" && action == "push"', 12],
  ] as const) {
    it(`of ${text} for 4 repositories and 3 actions take ${expected} evaluations`, (t) => {
      const { mock } = t.mock.method(Condition.prototype, 'evaluate');
      const [condition, outcomes] = [parse(text), new Outcomes(variables())];
      for (let i = 0; i < 2; i++) {
        for (const repository of ['a', 'b', 'c', 'push'])
          for (const action of ['pull', 'push', 'delete'] as const)
            outcomes.of(condition, { repository, action });
      }
      assert.equal(mock.callCount(), expected);
    });
  }
});
