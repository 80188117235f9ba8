import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attributeOf, claimAt, claimPath, textsOf } from './claim-path.js';

describe('the path of a claim', () => {
  const claims = {
    sub: 'alice',
    'https://example.com/groups': ['a'],
    realm_access: { roles: ['push'] },
    'realm_access.roles': 'one name',
    list: ['zero'],
    nothing: null,
  };
  for (const [written, value] of [
    ['sub', 'alice'],
    ['https://example.com/groups', ['a']],
    [['realm_access', 'roles'], ['push']],
    ['realm_access.roles', 'one name'],
    [['list', '0'], 'zero'],
    ['absent', undefined],
    [['sub', 'length'], undefined],
    [['nothing', 'x'], undefined],
    [['absent', 'x'], undefined],
    ['constructor', undefined],
    ['__proto__', undefined],
    [['realm_access', 'toString'], undefined],
  ] as const) {
    it(`${JSON.stringify(written)} leads to ${JSON.stringify(value)}`, () => {
      assert.deepEqual(claimAt(claims, claimPath().parse(written)), value);
    });
  }

  for (const written of ['', [], [''], ['a', ''], 7, null, { a: 1 }]) {
    it(`is not ${JSON.stringify(written)}`, () => {
      assert.equal(claimPath().safeParse(written).success, false);
    });
  }
});

describe('what a claim is to a rule', () => {
  for (const [value, attribute, texts] of [
    ['x', 'x', ['x']],
    ['', '', []],
    [7, 7, []],
    [Number.NaN, undefined, []],
    [false, false, []],
    [
      ['a', 'b'],
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[], undefined, []],
    [['a', 1], undefined, ['a']],
    [['', 'a'], ['', 'a'], ['a']],
    [[['a']], undefined, []],
    [{ a: 1 }, undefined, []],
    [null, undefined, []],
    [undefined, undefined, []],
  ] as const) {
    it(`${JSON.stringify(value)}`, () => {
      assert.deepEqual(attributeOf(value), attribute, 'as an attribute');
      assert.deepEqual(textsOf(value), texts, 'as groups');
    });
  }
});
