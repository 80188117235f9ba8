import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ldapConfig } from './settings.js';

const people = 'ou=people,dc=example,dc=com';
const search = { base: people };
const bindDn = `uid={username},${people}`;
const url = 'ldaps://ldap.example.com';
const password = { env: 'PASSWORD' };
const groupSearch = { base: people, filter: '(member={dn})' };

describe('the settings of ldap', () => {
  for (const [what, settings] of [
    ['a search', { url, search }],
    ['a search with an account', { url, search, bind: { dn: 'cn=proxy,dc=example', password } }],
    [
      'a search with an account of Active Directory',
      { url, search, bind: { dn: 'svc@example.com', password } },
    ],
    ['a DN template', { url, bindDn }],
    ['another attribute in a template', { url, bindDn: `CN={username},${people}`, usernameAttribute: 'cn' }],
    ['one of two attributes', { url, bindDn: `cn={username}+uid=x{username},${people}` }],
    ['several servers', { url: [url, 'ldaps://other.example.com:3269'], bindDn }],
    ['StartTLS', { url: 'ldap://ldap.example.com', startTls: true, bindDn }],
    ['no TLS to this machine', { url: ['ldap://localhost', 'ldap://127.0.0.1', 'ldap://[::1]'], bindDn }],
    ['no TLS, and it was said', { url: 'ldap://ldap.example.com', plaintext: true, bindDn }],
    ['groups by attribute', { url, bindDn, groups: { attribute: 'memberOf' } }],
    ['groups nested', { url, bindDn, groups: { search: groupSearch, nested: true } }],
  ] as const) {
    test(`take ${what}`, () => assert.deepEqual(ldapConfig.safeParse(settings).error?.issues ?? [], []));
  }

  for (const [what, settings, path, message] of [
    ['nobody to look for', { url }, [], /either `search` or `bindDn`/],
    ['two ways to look', { url, search, bindDn }, [], /either `search` or `bindDn`/],
    [
      'an account for a template',
      { url, bindDn, bind: { dn: 'cn=x', password } },
      ['bind'],
      /belongs to `search`/,
    ],
    [
      'a version of passwords for a template',
      { url, bindDn, credentialVersionAttribute: 'pwdChangedTime' },
      ['credentialVersionAttribute'],
      /belongs to `search`/,
    ],
    [
      'a literal password',
      { url, search, bind: { dn: 'cn=x', password: 'x' } },
      ['bind', 'password'],
      /file: NAME/,
    ],
    ['no TLS', { url: 'ldap://ldap.example.com', bindDn }, ['url'], /plain text/],
    ['no TLS to one of several', { url: [url, 'ldap://ldap.example.com'], bindDn }, ['url'], /plain text/],
    ['TLS in TLS', { url, startTls: true, bindDn }, ['startTls'], /has TLS already/],
    ['no servers', { url: [], bindDn }, ['url'], />=1/],
    [
      'a filter without a user',
      { url, search: { ...search, filter: '(uid=*)' } },
      ['search', 'filter'],
      /\(uid=/,
    ],
    [
      'two kinds of groups',
      { url, bindDn, groups: { attribute: 'x', search: groupSearch } },
      ['groups'],
      /either/,
    ],
    ['no kind of groups', { url, bindDn, groups: {} }, ['groups'], /either/],
    [
      'nested groups of an attribute',
      { url, bindDn, groups: { attribute: 'memberOf', nested: true } },
      ['groups', 'nested'],
      /needs `search`/,
    ],
    [
      'nested groups of user names',
      { url, bindDn, groups: { search: { ...groupSearch, filter: '(memberUid={username})' }, nested: true } },
      ['groups', 'nested'],
      /needs `search`/,
    ],
    [
      'an attribute that is none',
      { url, bindDn, usernameAttribute: 'u)(id' },
      ['usernameAttribute'],
      /attribute/,
    ],
    [
      'a name that a template does not make unique',
      { url, bindDn: `cn={username},${people}` },
      ['usernameAttribute'],
      /must be cn$/,
    ],
    [
      'a name that is the same for all',
      { url, bindDn: `cn={username}+uid=x,${people}` },
      ['usernameAttribute'],
      /must be cn$/,
    ],
    [
      'a template without the name in its own part',
      { url, bindDn: 'uid=x,ou={username}' },
      ['bindDn'],
      /first/,
    ],
    ['a proxy', { url, bindDn, proxy: 'http://proxy' }, [], /proxy/],
  ] as const) {
    test(`refuse ${what}`, () => {
      const issues = ldapConfig.safeParse(settings).error?.issues ?? [];
      assert.ok(
        issues.some((issue) => issue.path.join() === path.join() && message.test(issue.message)),
        JSON.stringify(issues),
      );
    });
  }
});
