import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSecureUrl } from './secure-url.js';

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
