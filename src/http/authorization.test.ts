import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from '../errors.js';
import { parseAuthorization } from './authorization.js';

const base64 = (text: string) => Buffer.from(text).toString('base64');

function shown(header: string | undefined): unknown {
  const credentials = parseAuthorization(header);
  switch (credentials.kind) {
    case 'none':
      return 'none';
    case 'bearer':
      return ['bearer', credentials.token.reveal()];
    case 'password':
      return [credentials.username, credentials.password.reveal()];
  }
}

describe('parseAuthorization', () => {
  for (const [header, expected] of [
    [undefined, 'none'],
    ['', 'none'],
    [`Basic ${base64(':')}`, 'none'],
    [`Basic ${base64('alice:pw')}`, ['alice', 'pw']],
    [`basic ${base64('alice:pw')}`, ['alice', 'pw']],
    [`BASIC   ${base64('alice:pw')}  `, ['alice', 'pw']],
    [`Basic ${base64('alice:p:w:')}`, ['alice', 'p:w:']],
    [`Basic ${base64('alice:')}`, ['alice', '']],
    [`Basic ${base64(':pw')}`, ['', 'pw']],
    [`Basic ${base64('ü:ß€')}`, ['ü', 'ß€']],
    [`Basic ${base64('alice:???>>>').replace(/=+$/, '')}`, ['alice', '???>>>']],
    [`Basic ${Buffer.from('alice:???>>>').toString('base64url')}`, ['alice', '???>>>']],
    ['Bearer abc.def', ['bearer', 'abc.def']],
    ['bearer abc', ['bearer', 'abc']],
  ] as const) {
    test(`${header}`, () => {
      assert.deepEqual(shown(header), expected);
    });
  }

  for (const header of [
    ' ',
    'Basic',
    'Basic ',
    `Basic ${base64('no colon')}`,
    'Basic a:b',
    'Basic YQ== x',
    'Bearer',
    'Bearer a b',
    'Bearer ü',
    'Negotiate abc',
    `Basic ${base64('a:b')}, Bearer x`,
    `Bearer ${'a'.repeat(40_000)}`,
  ]) {
    test(`what is there and cannot be understood is not nobody: ${header.slice(0, 40)}`, () => {
      assert.throws(() => parseAuthorization(header), { code: 'UNAUTHORIZED' });
    });
  }

  test('any text is nobody, somebody or refused, and nobody only where nothing is shown', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `Basic ${base64(text)}`),
        ),
        (header) => {
          try {
            if (parseAuthorization(header).kind !== 'none') return true;
            return header === '' || /^basic +og==? *$/i.test(header);
          } catch (error) {
            return error instanceof RegistryError && error.code === 'UNAUTHORIZED';
          }
        },
      ),
    );
  });
});
