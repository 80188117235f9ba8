import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../../secret.js';
import { told } from './told.js';

const password = 'p"ss w0rd/ü';
const shown = { kind: 'password', username: 'alice', secret: new Secret(password), address: '::1' } as const;

describe('what foreign code says', () => {
  for (const [text, line] of [
    ['no such user', 'no such user'],
    ['', ''],
    ['\n \n  the first line\nthe second', 'the first line'],
    ['a\tb\u001b[31mc\u0000d\u202ee', 'a b [31mc d e'],
    ['x'.repeat(500), `${'x'.repeat(200)}…`],
    [`wrong: ${password}.`, 'wrong: [secret].'],
    [`wrong: ${JSON.stringify({ password })}`, 'wrong: {"password":"[secret]"}'],
    [`?password=${new URLSearchParams({ p: password }).toString().slice(2)}`, '?password=[secret]'],
    [`Basic ${Buffer.from(`alice:${password}`).toString('base64')}`, 'Basic [secret]'],
    [`as base64 ${Buffer.from(password).toString('base64')}`, 'as base64 [secret]'],
    [`as hex ${Buffer.from(password).toString('hex')}`, 'as hex [secret]'],
    [`a ${password} and a ${password}`, 'a [secret] and a [secret]'],
  ] as const) {
    it(`is ${JSON.stringify(line).slice(0, 60)}`, () => {
      assert.equal(told(text, shown), line);
    });
  }

  it('keeps a password of several lines', () => {
    const secret = new Secret('first\nsecond');
    assert.equal(told('got first\nsecond here', { ...shown, secret }), 'got [secret] here');
  });
});
