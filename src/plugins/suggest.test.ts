import assert from 'node:assert/strict';
import { it } from 'node:test';
import { suggest } from './suggest.js';

const known = ['ldap', 'htpasswd', 'url', 'credentials', 'externalUrl'];
for (const [word, expected] of [
  ['ldpa', 'ldap'],
  ['htpaswd', 'htpasswd'],
  ['credentails', 'credentials'],
  ['externalURL', 'externalUrl'],
  ['externalurls', 'externalUrl'],
  ['uri', 'url'],
  ['x', undefined],
  ['kerberos', undefined],
  ['', undefined],
] as const) {
  it(`${word || 'nothing'} -> ${expected}`, () => assert.equal(suggest(word, known), expected));
}
