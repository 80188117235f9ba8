import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isLocal, parseLdapUrl } from './ldap-url.js';

describe('the URL of a directory', () => {
  for (const [text, name, secure, local] of [
    ['ldaps://ldap.example.com', 'ldap.example.com:636', true, false],
    ['ldap://ldap.example.com/', 'ldap.example.com:389', false, false],
    ['LDAPS://dc1:3269', 'dc1:3269', true, false],
    ['ldap://localhost', 'localhost:389', false, true],
    ['ldap://127.0.0.1:1389', '127.0.0.1:1389', false, true],
    ['ldap://[::1]:1389', '[::1]:1389', false, true],
    ['ldap://[fd00::1]', '[fd00::1]:389', false, false],
    ['ldap://127.0.0.1.example.com', '127.0.0.1.example.com:389', false, false],
    ['ldap://localhost.example.com', 'localhost.example.com:389', false, false],
  ] as const) {
    test(text, () => {
      const server = parseLdapUrl(text);
      assert.ok(server, 'it is one');
      assert.deepEqual([server.name, server.secure, isLocal(server)], [name, secure, local]);
      assert.ok(!server.host.includes('['), server.host);
    });
  }

  for (const text of [
    ...['https://ldap.example.com', 'ldap.example.com', 'ldaps://', 'ldaps://host:0', 'ldaps://host:65536'],
    ...['ldaps://host/dc=example', 'ldaps://user:pw@host', 'ldaps://host?uid', 'ldaps://ho st', 'ldapi:///x'],
    ...['ldaps://a,b', 'ldaps://host\n', ' ldaps://host'],
  ]) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseLdapUrl(text), undefined));
  }
});
