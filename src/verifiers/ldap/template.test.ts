import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EqualityFilter, FilterParser } from 'ldapts';
import { namingValue } from './distinguished-name.js';
import {
  DnTemplate,
  dnTemplate,
  escapeDnValue,
  escapeFilterValue,
  FilterTemplate,
  memberFilter,
  userFilter,
} from './template.js';

const anyName = () =>
  fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'*()\\,+"<>;=# a2\0ü') }));

describe('a value in a filter', () => {
  test('is one value of one comparison, whatever it is', () => {
    fc.assert(
      fc.property(anyName(), (name) => {
        const filter = FilterParser.parseString(
          new FilterTemplate('(uid={username})').fill({ username: name }),
        );
        assert.ok(filter instanceof EqualityFilter, 'it became another kind of filter');
        assert.equal(filter.value, name);
      }),
    );
  });

  for (const [value, escaped] of [
    ['alice', 'alice'],
    ['*', '\\2a'],
    ['a)(uid=*', 'a\\29\\28uid=\\2a'],
    ['C:\\MyFile', 'C:\\5cMyFile'],
    ['\0', '\\00'],
    ['Lučić', 'Lučić'],
  ] as const) {
    test(`${JSON.stringify(value)} is ${escaped}`, () => assert.equal(escapeFilterValue(value), escaped));
  }
});

describe('a value in a DN', () => {
  test('is one value of one part, whatever it is', () => {
    fc.assert(
      fc.property(anyName(), (name) => {
        const dn = new DnTemplate('uid={username},ou=people').fill(name);
        assert.equal(namingValue(dn, 'uid') ?? '', name);
        assert.ok(dn.endsWith(',ou=people') && !escapeDnValue(name).includes(','), dn);
      }),
    );
  });

  for (const [value, escaped] of [
    ['alice', 'alice'],
    ['James "Jim" Smith, III', 'James\\20\\22Jim\\22\\20Smith\\2c\\20III'],
    ['Before\rAfter', 'Before\\0dAfter'],
    ['#hash', '\\23hash'],
    ['a+b=c;<d>\\', 'a\\2bb\\3dc\\3b\\3cd\\3e\\5c'],
    ['Lučić', 'Lučić'],
  ] as const) {
    test(`${JSON.stringify(value)} is ${escaped}`, () => assert.equal(escapeDnValue(value), escaped));
  }
});

describe('a template', () => {
  for (const [schema, text, ok] of [
    [userFilter(), '(uid={username})', true],
    [userFilter(), 'uid={username}', true],
    [userFilter(), '(|(uid={username})(mail={username}@example.com))', true],
    [userFilter(), '(&(sAMAccountName={username})(!(userAccountControl:1.2.840.113556.1.4.803:=2)))', true],
    [userFilter(), '(uid=alice)', false],
    [userFilter(), '(uid={user})', false],
    [userFilter(), '(member={dn})', false],
    [userFilter(), '({username}=alice)', false],
    [userFilter(), '(uid:caseExactMatch:={username})', false],
    [userFilter(), '(uid>={username})', false],
    [userFilter(), '(uid~={username})', false],
    [userFilter(), '(uid={username}', false],
    [userFilter(), '(uid={username}))', false],
    [memberFilter(), '(member={dn})', true],
    [memberFilter(), '(member:1.2.840.113556.1.4.1941:={dn})', true],
    [memberFilter(), '(|(member={dn})(memberUid={username}))', true],
    [memberFilter(), '(objectClass=groupOfNames)', false],
    [dnTemplate(), 'uid={username},ou=people,dc=example,dc=com', true],
    [dnTemplate(), 'cn={username}+ou=x,dc=example', true],
    [dnTemplate(), 'uid=alice,ou=people', false],
    [dnTemplate(), '{username}=alice,ou=people', false],
    [dnTemplate(), '{username}@example.com', false],
  ] as const) {
    test(`${text} is ${ok ? 'one' : 'none'}`, () => assert.equal(schema.safeParse(text).success, ok));
  }

  for (const [text, attribute, only] of [
    ['(uid={username})', 'uid', true],
    ['UID={username}', 'uid', false],
    ['(&(UID={username})(objectClass=person))', 'uid', true],
    ['(mail={username})', 'uid', false],
    ['(|(uid={username})(mail={username}))', 'uid', false],
    ['(uid={username}x)', 'uid', false],
  ] as const) {
    test(`${text} compares only ${attribute}: ${only}`, () =>
      assert.equal(new FilterTemplate(text).comparesOnly(attribute), only));
  }

  test('for anybody has all its other conditions', () => {
    const filter = new FilterTemplate('(&(|(uid={username})(mail={username}@x.org))(!(locked=1)))');
    assert.equal(filter.forAnybody(), '(&(|(uid=*)(mail=*@x.org))(!(locked=1)))');
  });
});
