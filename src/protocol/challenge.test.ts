import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Challenge, parseChallenges, printChallenge } from './challenge.js';

/** `[scheme, parameters]` of each challenge. */
const plain = (challenges: readonly Challenge[]) =>
  challenges.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('parseChallenges', () => {
  for (const [header, expected] of [
    ['', []],
    ['Basic', [['basic', {}]]],
    ['Basic realm="a"', [['basic', { realm: 'a' }]]],
    [
      'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"',
      [['bearer', { realm: 'https://a/token', service: 's', scope: 'repository:a/b:pull,push' }]],
    ],
    ['BEARER Realm=a, SERVICE = "b"', [['bearer', { realm: 'a', service: 'b' }]]],
    ['Bearer realm="a\\"b\\\\c"', [['bearer', { realm: 'a"b\\c' }]]],
    [
      'Bearer realm="a", Basic realm="b"',
      [
        ['bearer', { realm: 'a' }],
        ['basic', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate, Basic realm="b"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate YWJj, Bearer realm="b"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate YWI=, Bearer realm="b"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate YQ==, Bearer realm="b"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'b' }],
      ],
    ],
    ['NTLM YQ==', [['ntlm', {}]]],
    ['Bearer realm="a",realm="b"', [['bearer', { realm: 'a' }]]],
    ['Bearer realm="a",,service="b",', [['bearer', { realm: 'a', service: 'b' }]]],
    ['Bearer realm="unclosed', [['bearer', {}]]],
    ['Bearer realm="a" service="b"', [['bearer', { realm: 'a', service: 'b' }]]],
    ['"Bearer" realm="a"', []],
    [`Bearer realm="${'a'.repeat(16_384)}"`, []],
    ['Bearer __proto__="a"', [['bearer', Object.fromEntries([['__proto__', 'a']])]]],
  ] as const) {
    it(JSON.stringify(header.slice(0, 70)), () => assert.deepEqual(plain(parseChallenges(header)), expected));
  }
});

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]{1,10}$/);
const challenge: fc.Arbitrary<Challenge> = fc.record({
  scheme: token,
  parameters: fc
    .array(fc.tuple(token, fc.string({ unit: 'binary', maxLength: 20 })), { maxLength: 4 })
    .map((entries) => new Map(entries)),
});

describe('for any challenge', () => {
  it('what is printed is parsed to the same, also several in one header', () => {
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 3 }), (challenges) => {
        const header = challenges.map(printChallenge).join(', ');
        assert.deepEqual(plain(parseChallenges(header)), plain(challenges));
      }),
      { numRuns: 1000 },
    );
  });

  it('any text is parsed to what is parsed to the same again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom('Bearer', 'realm', '=', '"', '\\', ',', ' ', '\t', 'a', '/', '==', '<', '\n'),
      }),
    );
    fc.assert(
      fc.property(text, (value) => {
        const parsed = parseChallenges(value);
        assert.deepEqual(plain(parseChallenges(parsed.map(printChallenge).join(', '))), plain(parsed));
      }),
      { numRuns: 3000 },
    );
  });
});
