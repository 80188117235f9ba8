import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Link, nextLink, parseLinks, printLink } from './link.js';

const plain = (links: readonly Link[]) =>
  links.map((link) => [link.target, Object.fromEntries(link.parameters)]);

describe('parseLinks', () => {
  for (const [header, expected] of [
    ['', []],
    ['</v2/_catalog?last=a&n=2>; rel="next"', [['/v2/_catalog?last=a&n=2', { rel: 'next' }]]],
    ['</a>;rel=next', [['/a', { rel: 'next' }]]],
    ['</a>; REL = "next" ; title="a\\"b"', [['/a', { rel: 'next', title: 'a"b' }]]],
    [
      '</a>; rel=prev, </b>; rel=next',
      [
        ['/a', { rel: 'prev' }],
        ['/b', { rel: 'next' }],
      ],
    ],
    ['</a>; rel=next; rel=prev', [['/a', { rel: 'next' }]]],
    ['</a>; crossorigin', [['/a', { crossorigin: '' }]]],
    ['<>', [['', {}]]],
    ['</a', []],
    ['/a; rel=next', []],
    ['</a>; rel="open', [['/a', { rel: '' }]]],
    [`<${'a'.repeat(16_384)}>; rel=next`, []],
  ] as const) {
    it(JSON.stringify(header.slice(0, 60)), () => assert.deepEqual(plain(parseLinks(header)), expected));
  }
});

describe('nextLink', () => {
  for (const [header, target] of [
    ['</a>; rel="next"', '/a'],
    ['</a>; rel=prev, </b>; rel="last next"', '/b'],
    ['</a>; rel="Next"', '/a'],
    ['</a>; rel="nextish"', undefined],
    ['</a>', undefined],
    ['', undefined],
  ] as const) {
    it(`${JSON.stringify(header)} -> ${target}`, () => assert.equal(nextLink(header), target));
  }
});

const link: fc.Arbitrary<Link> = fc.record({
  target: fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replace(/[<>]/g, '')),
  parameters: fc
    .array(
      fc.tuple(
        fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]{1,8}$/),
        fc.string({ unit: 'binary', maxLength: 12 }),
      ),
      { maxLength: 3 },
    )
    .map((entries) => new Map(entries)),
});

describe('for any link', () => {
  it('what is printed is parsed to the same, also several in one header', () => {
    fc.assert(
      fc.property(fc.array(link, { maxLength: 3 }), (links) => {
        assert.deepEqual(plain(parseLinks(links.map(printLink).join(', '))), plain(links));
      }),
      { numRuns: 1000 },
    );
  });

  it('any text is parsed to what is parsed to the same again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('<', '>', ';', '=', '"', '\\', ',', ' ', 'rel', 'next', '/', '\n') }),
    );
    fc.assert(
      fc.property(text, (value) => {
        const parsed = parseLinks(value);
        nextLink(value);
        assert.deepEqual(plain(parseLinks(parsed.map(printLink).join(', '))), plain(parsed));
      }),
      { numRuns: 3000 },
    );
  });
});
