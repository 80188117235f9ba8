import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unverifiedClaims } from './jwt-form.js';

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = segment({ alg: 'RS256' });

for (const [name, text, expected] of [
  ['a JWT', `${header}.${segment({ iss: 'a' })}.c2ln`, { iss: 'a' }],
  ['a password', 'correct horse', undefined],
  ['two dots in a password', 'a.b.c', undefined],
  ['four parts', `${header}.${segment({})}.a.b`, undefined],
  ['no signature', `${header}.${segment({})}.`, undefined],
  ['a list of claims', `${header}.${segment(['a'])}.c2ln`, undefined],
  ['a header that is no object', `${segment(1)}.${segment({})}.c2ln`, undefined],
  ['one that is far too long', `${header}.${segment({ a: 'x'.repeat(20_000) })}.c2ln`, undefined],
] as const) {
  test(name, () => assert.deepEqual(unverifiedClaims(text), expected));
}
