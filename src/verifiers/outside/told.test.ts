import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../../secret.js';
import { told } from './told.js';

const password = 'p"ss w0rd/ü';
const shown = { kind: 'password', username: 'alice', secret: new Secret(password), address: '::1' } as const;
const withheld = 'withheld: it may repeat what was shown';
const ascii = (text: string) =>
  text.replace(/[^ -~]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('what foreign code says', () => {
  for (const [text, line] of [
    ['no such user', 'no such user'],
    ['', ''],
    ['\n \n  the first line\nthe second', 'the first line'],
    ['a\tb\u001b[31mc\u0000d\u202ee', 'a b [31mc d e'],
    ['x'.repeat(500), `${'x'.repeat(200)}…`],
    ['100 % of \\ and \\u12 and %e4%zz', '100 % of \\ and \\u12 and %e4%zz'],
  ] as const) {
    it(`is ${JSON.stringify(line).slice(0, 60)}`, () => {
      assert.equal(told(text, shown), line);
    });
  }

  for (const text of [
    `wrong: ${password}.`,
    `the first line\nwrong: ${password}`,
    `wrong: ${JSON.stringify({ password })}`,
    `wrong: ${ascii(JSON.stringify({ password })).replaceAll('/', '\\/')}`,
    `?password=${new URLSearchParams({ p: password }).toString().slice(2)}`,
    `?password=${encodeURIComponent(password).toLowerCase()}`,
    `Basic ${base64(`alice:${password}`)}`,
    `as base64 ${base64(password)}`,
    `as base64url ${Buffer.from(password).toString('base64url')}`,
    `its input was ${base64(JSON.stringify({ user: 'alice', password: 'x' }).replace('x', password))}`,
    `in lines ${base64(`${'x'.repeat(70)}${password}`).replace(/.{76}/g, '$&\n')}`,
    `as hex ${Buffer.from(password).toString('hex').toUpperCase()}`,
  ]) {
    it(`is withheld where it holds what was shown: ${JSON.stringify(text).slice(0, 60)}`, () => {
      assert.equal(told(text, shown), withheld);
    });
  }

  it('is withheld beside a short secret, whatever it is', () => {
    const short = { ...shown, secret: new Secret('abc') };
    assert.equal(told('no such user', short), withheld);
    assert.equal(told(' \n', short), '');
    assert.equal(told('no such user', { ...shown, secret: new Secret('abcd') }), 'no such user');
  });

  it('is withheld where a password has several lines, or a token is cut off', () => {
    assert.equal(told('got first\nsecond here', { ...shown, secret: new Secret('first\nsecond') }), withheld);
    const token = Array.from({ length: 500 }, (_, i) => i.toString(36)).join('.');
    for (const text of [token, token.slice(0, 30), token.slice(333, 400)]) {
      assert.equal(told(`bad token: ${text}…`, { ...shown, secret: new Secret(token) }), withheld);
    }
  });
});
