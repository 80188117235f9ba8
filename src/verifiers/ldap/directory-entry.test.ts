import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DirectoryEntry } from './directory-entry.js';

describe('an entry', () => {
  const entry = new DirectoryEntry({
    dn: 'cn=x',
    mail: 'x@example.com',
    memberOf: ['a', 'b'],
    empty: [],
    blank: '',
    objectGUID: Buffer.from('ff00', 'hex'),
    mixed: ['text', Buffer.from('ff', 'hex')] as string[],
    'description;lang-en': 'an entry',
    'member;range=0-1': ['c', 'd'],
    member: [],
  });
  for (const [attribute, values] of [
    ['MAIL', ['x@example.com']],
    ['memberof', ['a', 'b']],
    ['empty', []],
    ['blank', []],
    ['objectGUID', []],
    ['mixed', ['text']],
    ['description', ['an entry']],
    ['member', ['c', 'd']],
    ['absent', []],
    ['dn', []],
    ['constructor', []],
  ] as const) {
    test(`has ${values.length} of ${attribute}`, () => assert.deepEqual(entry.values(attribute), values));
  }

  test('knows of which there are more', () => {
    assert.deepEqual([entry.isPartial('Member'), entry.isPartial('memberOf')], [true, false]);
  });
});
