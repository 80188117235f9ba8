import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canBeAccessToken, hasTokenForm } from './token-form.js';

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const signed = `${base64url('{"alg":"RS256"}')}.${base64url('{"sub":"alice"}')}.c2ln`;

describe('what is a token by its form', () => {
  for (const [name, text, expected] of [
    ['a signed JWT', signed, true],
    ['a JWT without a signature', `${base64url('{"alg":"none"}')}.${base64url('{"sub":"alice"}')}.`, true],
    ['an encrypted JWT', `${base64url('{"alg":"dir"}')}..aXY.dGV4dA.dGFn`, true],
    [
      'a JWT whose header begins with a blank',
      `${base64url(' {"alg":"RS256"}')}.${base64url('{}')}.c2ln`,
      true,
    ],
    ['a token of ours', `drp_${'a'.repeat(40)}`, true],
    ['a password with dots', 'correct.horse.battery', false],
    ['a password that begins alike', 'eyJealous', false],
    ['an empty one', '', false],
  ] as const) {
    it(`${name}: ${expected}`, () => assert.equal(hasTokenForm(text), expected));
  }
});

describe('what can be an access token', () => {
  for (const [text, expected] of [
    ['8c1f0a', true],
    ['1|a:b/c+d==', true],
    ['', false],
    ['pässwörd', false],
    ['two\nlines', false],
    ['x'.repeat(16_384), true],
    ['x'.repeat(16_385), false],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 20))}, ${text.length} long: ${expected}`, () =>
      assert.equal(canBeAccessToken(text), expected));
  }
});
