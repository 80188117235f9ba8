import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseRepositoryName } from './repository-name.js';
import {
  actions,
  covers,
  mergeScopes,
  normalizeActions,
  parseScope,
  printScope,
  type Scope,
} from './scope.js';

describe('parseScope', () => {
  for (const [text, printed] of [
    ['repository:a/b:pull', 'repository:a/b:pull'],
    ['repository:a/b:push,pull', 'repository:a/b:pull,push'],
    ['repository:a/b:pull,pull', 'repository:a/b:pull'],
    ['repository:a/b:pull,fly', 'repository:a/b:pull'],
    ['repository:a/b:', 'repository:a/b:'],
    ['repository:a/b:*', 'repository:a/b:*'],
    ['repository(plugin):a/b:pull', 'repository:a/b:pull'],
    ['repository:localhost:5000/a:pull', 'repository:a:pull'],
    ['repository:[::1]:5000/a:pull', 'repository:a:pull'],
    ['repository:docker.example.com/a:pull', 'repository:docker.example.com/a:pull'],
    ['registry:catalog:*', 'registry:catalog:*'],
    ['', undefined],
    ['repository', undefined],
    ['repository:a', undefined],
    ['repository::pull', undefined],
    ['repository:A:pull', undefined],
    ['repository:a/../b:pull', undefined],
    ['repository:a b:pull', undefined],
    ['repository:a:b:c:pull', undefined],
    ['repository:localhost:5000/:pull', undefined],
    ['repository(x):a:pull', undefined],
    ['Repository:a:pull', undefined],
    ['registry:other:*', undefined],
    ['constructor:a:pull', undefined],
    [`repository:${'a'.repeat(256)}:pull`, undefined],
    [`repository:a:${'pull,'.repeat(300)}`, undefined],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 50))} -> ${printed}`, () => {
      const scope = parseScope(text);
      assert.equal(scope && printScope(scope), printed);
    });
  }
});

const name = fc
  .stringMatching(/^[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?(\/[a-z0-9]{1,4}){0,2}$/)
  .map(parseRepositoryName);
const plain = { noNullPrototype: true };
const someActions = fc.subarray([...actions]);
const scope: fc.Arbitrary<Scope> = fc.oneof(
  fc.record({ type: fc.constant('repository' as const), name, actions: someActions }, plain),
  fc.record(
    { type: fc.constant('registry' as const), name: fc.constant('catalog' as const), actions: someActions },
    plain,
  ),
);

describe('for any scope', () => {
  it('what is printed is parsed to the same', () => {
    fc.assert(fc.property(scope, (value) => assert.deepEqual(parseScope(printScope(value)), value)));
  });

  it('any text is refused, or is parsed to what is parsed to the same again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom('repository', 'registry', 'catalog', ':', '/', 'a', 'pull', ',', '*', 'A', '.'),
      }),
    );
    fc.assert(
      fc.property(text, (value) => {
        const parsed = parseScope(value);
        if (parsed !== undefined) assert.deepEqual(parseScope(printScope(parsed)), parsed);
      }),
      { numRuns: 3000 },
    );
  });

  it('actions are known ones, each once, in one order', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...actions), fc.string())), (wanted) => {
        const normal = normalizeActions(wanted);
        assert.deepEqual(
          normal,
          actions.filter((action) => normal.includes(action)),
        );
        assert.ok(
          normal.every((action) => wanted.includes(action)),
          'normal.every((action) => wanted.includes(action))',
        );
      }),
    );
  });

  it('merging keeps what is covered, and one scope a resource', () => {
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 6 }), scope, (many, wanted) => {
        const merged = mergeScopes(many);
        assert.equal(covers(merged, wanted), covers(many, wanted));
        assert.equal(new Set(merged.map((one) => `${one.type}:${one.name}`)).size, merged.length);
      }),
    );
  });
});

describe('covers', () => {
  const of = (...texts: string[]) => texts.flatMap((text) => parseScope(text) ?? []);
  for (const [granted, wanted, answer] of [
    [['repository:a:pull,push'], 'repository:a:pull', true],
    [['repository:a:pull', 'repository:a:push'], 'repository:a:pull,push', true],
    [['repository:a:pull'], 'repository:a:pull,push', false],
    [['repository:a:pull'], 'repository:a/b:pull', false],
    [['repository:a/b:pull'], 'repository:a:pull', false],
    [['repository:catalog:*'], 'registry:catalog:*', false],
    [['registry:catalog:*'], 'repository:catalog:*', false],
    [['repository:a:*'], 'repository:a:pull', false],
    [[], 'repository:a:pull', false],
  ] as const) {
    it(`${granted.join(' ') || 'nothing'} covers ${wanted}: ${answer}`, () => {
      const [scope] = of(wanted);
      assert.ok(scope, 'scope');
      assert.equal(covers(of(...granted), scope), answer);
    });
  }
});
