import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSecureUrl, issuerUrl } from './secure-url.js';

for (const [text, expected] of [
  ['https://sso.example.com', true],
  ['https://sso.example.com/realms/a/', true],
  ['https://sso.example.com:8443/a?b=c', true],
  ['http://127.0.0.1:8080/hook', true],
  ['http://localhost:8080', true],
  ['http://[::1]:8080', true],
  ['http://sso.example.com', false],
  ['http://127.0.0.1.example.com', false],
  ['http://localhost.example.com', false],
  ['https://user:password@sso.example.com', false],
  ['https://user@sso.example.com', false],
  ['https://sso.example.com/#a', false],
  ['https:sso.example.com', false],
  ['https:\\\\sso.example.com', false],
  ['ldaps://sso.example.com', false],
  ['sso.example.com', false],
  ['', false],
] as const) {
  test(`${text || 'nothing'} is ${expected ? 'secure' : 'refused'}`, () =>
    assert.equal(isSecureUrl(text), expected));
}

for (const [text, expected] of [
  ['https://sso.example.com', true],
  ['https://sso.example.com/realms/a/', true],
  ['https://sso.example.com/.well-known/openid-configuration', false],
  ['https://sso.example.com/realms/a/.well-known/openid-configuration/', false],
  ['https://sso.example.com/.well-known/oauth-authorization-server/a', false],
] as const) {
  test(`${text} is ${expected ? 'an issuer' : 'the address of an issuer’s document'}`, () => {
    const issue = issuerUrl().safeParse(text).error?.issues[0]?.message ?? '';
    assert.equal(/leave out \/\.well-known/.test(issue), !expected, issue);
  });
}
