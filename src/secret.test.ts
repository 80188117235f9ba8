import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { format, inspect } from 'node:util';
import { Secret } from './secret.js';

const value = 'hunter2-S3cret';
const secret = new Secret(value);

describe('a secret', () => {
  for (const [name, shown] of [
    ['a template', `${secret}`],
    ['String', String(secret)],
    ['JSON', JSON.stringify({ secret, list: [secret] })],
    ['inspect', inspect({ a: { b: { c: { d: secret } } } }, { depth: 9, showHidden: true })],
    ['inspect without custom printing', inspect(secret, { customInspect: false, showHidden: true })],
    ['format', format('%s %j %o %O', secret, secret, secret, secret)],
    ['its properties', JSON.stringify([Object.entries(secret), Object.getOwnPropertyDescriptors(secret)])],
    ['a copy', JSON.stringify({ ...secret }) + inspect(structuredClone({ ...secret }))],
    ['an error', inspect(Object.assign(new Error(`about ${secret}`), { secret }))],
    ['sorting and joining', [secret, secret].join()],
  ] as const) {
    it(`does not show in ${name}`, () => assert(!shown.includes(value), shown));
  }

  it('reveals itself where it is asked to', () => {
    assert.equal(secret.reveal(), value);
    assert.equal(secret.isEmpty, false);
    assert.equal(new Secret('').isEmpty, true);
  });
});
