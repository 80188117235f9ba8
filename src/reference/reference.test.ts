import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from '../errors.js';
import { digestAlgorithm, digestOf, isComputable, isDigest, parseDigest } from './digest.js';
import { parseReference, printReference } from './reference.js';
import { isRegistryHost, parseRegistryHost } from './registry-host.js';
import { isRepositoryComponent, isRepositoryName, parseRepositoryName, shorten } from './repository-name.js';
import { isTag } from './tag.js';

const hex = (length: number) => 'a1'.repeat(length / 2);

/** What each check says of each text. */
function table(
  name: string,
  check: (text: string) => boolean,
  good: readonly string[],
  bad: readonly string[],
) {
  describe(name, () => {
    for (const text of good) it(`takes ${show(text)}`, () => assert.equal(check(text), true));
    for (const text of bad) it(`refuses ${show(text)}`, () => assert.equal(check(text), false));
  });
}

function show(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}… (${text.length})` : text);
}

table(
  'isRepositoryName',
  isRepositoryName,
  ['a', 'a/b', 'library/alpine', 'a.b_c__d-e---f/0', 'a'.repeat(255)],
  // Threat 18: no encoded slash, dot segment or upper case gets any further.
  [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    '.',
    '..',
    'a/../b',
    'a/./b',
    'A',
    'a/B',
    'a%2fb',
    'a%2Fb',
    'a..b',
    'a___b',
    'a._b',
    '-a',
    'a-',
    'a b',
    'a\n',
    'a\u0000',
    'é',
    'a\\b',
    'a:b',
    'a@b',
    'a?b',
    'a'.repeat(256),
  ],
);
table(
  'isRepositoryComponent',
  isRepositoryComponent,
  ['a', 'a-b', 'a__b'],
  ['', 'a/b', 'A', '*', '**', '..', 'a\n'],
);
table(
  'isTag',
  isTag,
  ['latest', 'V1.0', '_x', '1', 'a'.repeat(128)],
  ['', '.a', '-a', 'a/b', 'a:b', 'a b', 'a\n', 'a'.repeat(129), 'ä'],
);
table(
  'isDigest',
  isDigest,
  [
    `sha256:${hex(64)}`,
    `sha384:${hex(96)}`,
    `sha512:${hex(128)}`,
    `blake3:${hex(64)}`,
    'sha256+b64u.x:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564',
  ],
  [
    '',
    'sha256',
    'sha256:',
    `sha256:${hex(62)}`,
    `sha256:${hex(66)}`,
    `sha256:${hex(64).toUpperCase()}`,
    `SHA256:${hex(64)}`,
    `sha256:${hex(64)}\n`,
    `sha512:${hex(64)}`,
    `x:${'a'.repeat(31)}`,
    `x:${'a'.repeat(257)}`,
    `x/../y:${hex(64)}`,
  ],
);
table(
  'isRegistryHost',
  isRegistryHost,
  ['gcr.io', 'localhost', 'localhost:5000', '127.0.0.1:80', '[::1]', '[fe80::1]:5000', 'A.b', 'xn--a.b'],
  [
    '',
    'a.',
    '.a',
    '-a',
    'a-',
    'a_b',
    'a:',
    'a:123456',
    'a/b',
    'a@b',
    '::1',
    '[::1',
    'a\n',
    `${'a'.repeat(262)}`,
  ],
);

describe('digests', () => {
  it('are of any well-formed algorithm, also of one named as a property of every object', () => {
    assert.equal(isDigest(`constructor:${hex(64)}`), true);
    assert.equal(isComputable(parseDigest(`constructor:${hex(64)}`)), false);
    assert.equal(isComputable(parseDigest(`sha384:${hex(96)}`)), true);
  });

  it('are computed', () => {
    assert.equal(
      digestOf(Buffer.from('')),
      'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    for (const algorithm of ['sha256', 'sha384', 'sha512']) {
      const digest = digestOf(Buffer.from('x'), algorithm);
      assert.ok(isDigest(digest), 'isDigest(digest)');
      assert.equal(digestAlgorithm(digest), algorithm);
    }
  });
});

for (const [text, code] of [
  ['latest', undefined],
  [`sha256:${hex(64)}`, undefined],
  ['a:b', 'DIGEST_INVALID'],
  ['', 'TAG_INVALID'],
  ['-', 'TAG_INVALID'],
  ['constructor:x', 'DIGEST_INVALID'],
] as const) {
  it(`parseReference of ${show(text)}: ${code ?? 'fine'}`, () => {
    if (code === undefined) return assert.equal(printReference(parseReference(text)), text);
    assert.throws(() => parseReference(text), { code });
    return undefined;
  });
}

describe('for any text', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'aA0._-/:@%[]\n *') }),
    fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype)).map((name) => `${name}:${hex(64)}`),
  );
  const parsers: Readonly<Record<string, (text: string) => string>> = {
    parseRepositoryName,
    parseDigest,
    parseRegistryHost,
    parseReference: (value) => printReference(parseReference(value)),
  };
  for (const [name, parse] of Object.entries(parsers)) {
    it(`${name} parses it to what it parses to again, or throws a RegistryError of a 4xx`, () => {
      fc.assert(
        fc.property(text, (value) => {
          try {
            const parsed = parse(value);
            assert.equal(parse(parsed), parsed);
          } catch (error) {
            assert(error instanceof RegistryError, String(error));
            assert.equal(error.status, 400);
          }
        }),
        { numRuns: 1000 },
      );
    });
  }

  it('shorten bounds it and takes the control characters out', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (value) => {
        const short = shorten(value);
        assert.ok(short.length <= 129, 'short.length <= 129');
        assert.doesNotMatch(short, /[\p{Cc}\u2028\u2029]/u);
      }),
    );
    assert.equal(shorten('a\r\nb'), 'a??b');
    assert.equal(shorten('abc', 2), 'ab…');
  });
});
