import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Principal } from '../contracts/principal.js';
import { globAttributes, parseGlob, type RepositoryGlob } from '../reference/repository-glob.js';
import { isRepositoryComponent } from '../reference/repository-name.js';
import { matchesGlob } from './glob.js';

function glob(text: string): RepositoryGlob {
  const parsed = parseGlob(text);
  if (typeof parsed === 'string') assert.fail(`${text}: ${parsed}`);
  return parsed;
}

function principal(name: string, attributes: Principal['attributes'] = {}): Principal {
  return { verifier: 'corp', name, kind: 'human', groups: [], attributes };
}

/** The set of all ends, part by part. */
function matchesBySets({ parts }: RepositoryGlob, name: string, who: Principal): boolean {
  let ends = new Set([0]);
  for (const part of parts) {
    const reached = new Set<number>();
    for (const start of ends) {
      if (part.kind === 'star' || part.kind === 'stars') {
        for (let at = start; at <= name.length; at++) {
          reached.add(at);
          if (part.kind === 'star' && name[at] === '/') break;
        }
        continue;
      }
      const value =
        part.kind === 'literal'
          ? part.text
          : part.of === 'name'
            ? who.name
            : who.attributes[part.of.attribute];
      if (typeof value !== 'string' || (part.kind === 'value' && !isRepositoryComponent(value))) return false;
      if (name.startsWith(value, start)) reached.add(start + value.length);
    }
    ends = reached;
  }
  return ends.has(name.length);
}

describe('a glob', () => {
  for (const [pattern, matching, others] of [
    ['**', ['a', 'a/b', 'a/b/c'], []],
    ['*', ['a', 'a-b.c'], ['a/b']],
    ['infra/**', ['infra/a', 'infra/a/b'], ['infra', 'infrastructure/a', 'x/infra/a', 'infra-a/b']],
    ['infra/*', ['infra/a'], ['infra/a/b', 'infra']],
    ['infra', ['infra'], ['infra/a', 'infra2', 'xinfra', 'x/infra']],
    ['team-*', ['team-a', 'team-'], ['team', 'team-a/b', 'x-team-a', 'a/team-b']],
    ['**/app', ['a/app', 'a/b/app'], ['app', 'a/app/x', 'a/xapp2']],
    ['a/*/c', ['a/b/c', 'a/b-x/c'], ['a/c', 'a/b/b/c', 'a/b/c/d']],
    ['a/**/c', ['a/b/c', 'a/b/b/c'], ['a/c', 'a/b/c/d']],
    ['**a**b**', ['ab', 'xaxbx', 'a/b'], ['ba', 'a', 'b']],
    ['*a*', ['a', 'bab'], ['b/a', 'b']],
    ['a.b', ['a.b'], ['axb', 'a/b']],
    ['a-b_c', ['a-b_c'], ['a_b_c']],
  ] as const) {
    for (const name of matching) {
      it(`${pattern} matches ${name}`, () => assert(matchesGlob(glob(pattern), name, principal('x'))));
    }
    for (const name of others) {
      it(`${pattern} does not match ${name}`, () =>
        assert(!matchesGlob(glob(pattern), name, principal('x'))));
    }
  }

  for (const text of [
    '',
    'A',
    'a b',
    '***',
    'a/****',
    '?',
    '[ab]',
    '{a,b}',
    'a|b',
    '(a)',
    '^a',
    'a$',
    'a\\b',
    'a%2fb',
    'a:b',
    '${principal}',
    '${principal.group}',
    '${principal.name',
    '${principal.attributes.}',
    '${principal.attributes.a-b}',
    '${name}',
    'é',
    'a\n',
  ]) {
    it(`refuses ${JSON.stringify(text)}, and says what was expected`, () => {
      const parsed = parseGlob(text);
      assert.equal(typeof parsed, 'string');
      assert.match(String(parsed), /^expected /);
    });
  }

  it('parses any text, or says what was expected', () => {
    const unit = fc.constantFrom(
      '*',
      '/',
      'a',
      '.',
      '${principal.name}',
      '${principal.attributes.x}',
      '$',
      '{',
      'A',
      '\n',
    );
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit })), (text) => {
        const parsed = parseGlob(text);
        assert.ok(
          typeof parsed !== 'string' || parsed.startsWith('expected '),
          "typeof parsed !== 'string' || parsed.startsWith('expected ')",
        );
        if (typeof parsed !== 'string') matchesGlob(parsed, 'a/b/c', principal(text, { x: text }));
      }),
    );
  });

  it('matches what a simple backtracking matcher matches', () => {
    const simple = (pattern: string, name: string): boolean => {
      if (pattern === '') return name === '';
      if (pattern.startsWith('**')) {
        return simple(pattern.slice(2), name) || (name !== '' && simple(pattern, name.slice(1)));
      }
      if (pattern.startsWith('*')) {
        return (
          simple(pattern.slice(1), name) || (name !== '' && name[0] !== '/' && simple(pattern, name.slice(1)))
        );
      }
      return name !== '' && pattern[0] === name[0] && simple(pattern.slice(1), name.slice(1));
    };
    const pattern = fc
      .array(fc.constantFrom('a', 'b', '/', '.', '*', '**'), { minLength: 1, maxLength: 6 })
      .map((parts) => parts.join('').replace(/\*{2,}/g, '**'));
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 7 });
    fc.assert(
      fc.property(pattern, name, (text, candidate) => {
        assert.equal(matchesGlob(glob(text), candidate, principal('x')), simple(text, candidate));
      }),
      { numRuns: 3000 },
    );
  });

  it('matches what following every place a part can end at matches, also with values', () => {
    const part = fc.constantFrom(
      'a',
      'b',
      '/',
      '-',
      '*',
      '**',
      '${principal.name}',
      '${principal.attributes.x}',
    );
    const pattern = fc
      .array(part, { minLength: 1, maxLength: 7 })
      .map((parts) => parts.join('').replace(/\*{2,}/g, '**'));
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '-'), maxLength: 9 });
    const value = fc.constantFrom('a', 'b', 'ab', 'a-b', 'A', '*', 'a/b', '');
    fc.assert(
      fc.property(pattern, text, value, fc.option(value), (of, name, first, second) => {
        const who = principal(first, second === null ? {} : { x: second });
        assert.equal(matchesGlob(glob(of), name, who), matchesBySets(glob(of), name, who));
      }),
      { numRuns: 10_000 },
    );
  });

  it('of many stars is matched in few steps', { timeout: 60_000 }, () => {
    for (const text of [`${'**a*a'.repeat(60)}**b`, `${'*a'.repeat(60)}*b`]) {
      assert.ok(!matchesGlob(glob(text), 'a'.repeat(255), principal('x')), text.slice(0, 20));
    }
  });
});

describe('a principal in a glob (threat 13)', () => {
  const own = glob('users/${principal.name}/**');

  for (const name of [
    '*',
    '**',
    '.*',
    'a|b',
    'a/b',
    '..',
    '.',
    '',
    'Alice',
    'a*',
    '[a-z]',
    'a$',
    '^a',
    '(a)',
    'a\n',
    'a\\',
    'system:serviceaccount:x:y',
    '${principal.name}',
    'a'.repeat(300),
  ]) {
    it(`called ${JSON.stringify(name.slice(0, 30))} gets nothing by its name`, () => {
      for (const repository of [
        'users/a/x',
        'users/b/x',
        'users/alice/x',
        'users/../x',
        `users/${name}/x`,
        'users/a/b/x',
        'users//x',
      ])
        assert(!matchesGlob(own, repository, principal(name)), repository);
    });
  }

  it('of any name gets only repositories whose second component is that name', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,3}([._-][a-z0-9])?$/);
    const anyName = fc.oneof(
      component,
      fc.string({ unit: fc.constantFrom(...'ab*/.|()[]^$\\-_A{}+?'), maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 6 }),
    );
    const tail = fc.array(component, { minLength: 1, maxLength: 2 });
    const arbitrary = fc
      .tuple(anyName, component, tail, fc.boolean())
      .map(([name, other, rest, same]) => ({ name, components: [same ? name : other, ...rest] }));
    fc.assert(
      fc.property(arbitrary, ({ name, components }) => {
        const [second] = components;
        const repository = ['users', ...components].join('/');
        const expected = second === name && isRepositoryComponent(name);
        assert.equal(matchesGlob(own, repository, principal(name)), expected);
      }),
      { numRuns: 3000 },
    );
  });

  for (const [value, matches] of [
    ['123456789012', true],
    [123456789012, true],
    ['other', false],
    ['*', false],
    [true, false],
    [['123456789012'], false],
    [undefined, false],
  ] as const) {
    it(`with the attribute ${JSON.stringify(value)}: ${matches}`, () => {
      const who = principal('x', value === undefined ? {} : { accountId: value });
      assert.equal(
        matchesGlob(glob('apps/${principal.attributes.accountId}/*'), 'apps/123456789012/x', who),
        matches,
      );
    });
  }

  for (const name of ['constructor', '__proto__', 'toString']) {
    it(`has no attribute ${name}`, () => {
      assert.ok(
        !matchesGlob(glob(`\${principal.attributes.${name}}**`), 'function/x', principal('x')),
        "!matchesGlob(glob(`\\${principal.attributes.${name}}**`), 'function/x', principal('x'))",
      );
    });
  }

  it('tells which attributes it speaks of', () => {
    assert.deepEqual(
      globAttributes(glob('${principal.attributes.a}/${principal.name}/${principal.attributes.b_1}')),
      ['a', 'b_1'],
    );
  });
});
