import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { printDistinguishedName } from './distinguished-name.js';
import { readGeneralNames } from './general-names.js';
import { isSpiffeId, spiffeIdOf } from './spiffe-id.js';

describe('a SPIFFE ID', () => {
  for (const [text, expected] of [
    ['spiffe://example.com', true],
    ['spiffe://example.com/ns/default/sa/web', true],
    ['spiffe://a_b-c.1/A.b_c-D', true],
    [`spiffe://${'a'.repeat(255)}`, true],
    [`spiffe://${'a'.repeat(256)}`, false],
    [`spiffe://a/${'b'.repeat(2048)}`, false],
    ['spiffe://example.com/', false],
    ['spiffe://example.com//a', false],
    ['spiffe://example.com/a/', false],
    ['spiffe://example.com/./a', false],
    ['spiffe://example.com/a/..', false],
    ['spiffe://example.com/...', true],
    ['spiffe://Example.com/a', false],
    ['spiffe://example.com:80/a', false],
    ['spiffe://user@example.com/a', false],
    ['spiffe://example.com/a?b', false],
    ['spiffe://example.com/a#b', false],
    ['spiffe://example.com/%61', false],
    ['spiffe:///a', false],
    ['SPIFFE://example.com/a', false],
    ['https://example.com/a', false],
    ['spiffe://example.com/a\n', false],
    ['', false],
  ] as const) {
    test(`${text.slice(0, 50) || 'nothing'}: ${expected}`, () => assert.equal(isSpiffeId(text), expected));
  }

  test('is the only URI of a certificate', () => {
    const id = 'spiffe://example.com/a';
    assert.deepEqual([spiffeIdOf([id]), spiffeIdOf([id, id]), spiffeIdOf([])], [id, undefined, undefined]);
  });
});

describe('a distinguished name in one line', () => {
  for (const [names, expected] of [
    [[{ C: ['DE'] }, { O: ['Example'] }, { CN: ['alice'] }], 'CN=alice,O=Example,C=DE'],
    [[{ CN: ['a'], OU: ['b', 'c'] }], 'CN=a+OU=b+OU=c'],
    [[{ CN: ['a,O=b'] }], 'CN=a\\2CO\\3Db'],
    [[{ CN: ['a+b;c<d>e"f\\g'] }], 'CN=a\\2Bb\\3Bc\\3Cd\\3Ee\\22f\\5Cg'],
    [[{ CN: [' a b '] }], 'CN=\\20a b\\20'],
    [[{ CN: ['#a#'] }], 'CN=\\23a#'],
    [[{ CN: ['a\n\0'] }], 'CN=a\\0A\\00'],
    [[{ CN: ['Jürgen'] }], 'CN=Jürgen'],
    [[{ '1.2.3': ['x'] }], '1.2.3=x'],
    [[], ''],
  ] as const) {
    test(`${JSON.stringify(names)} is ${expected || 'nothing'}`, () =>
      assert.equal(printDistinguishedName(names), expected));
  }

  test('tells different names apart', () => {
    const value = fc.string({ unit: fc.constantFrom('a', ',', '=', '+', '\\', ' ', '2', 'C') });
    const relative = fc.record({ CN: fc.array(value, { minLength: 1, maxLength: 2 }) });
    const name = fc.array(relative, { maxLength: 3 });
    fc.assert(
      fc.property(name, name, (a, b) => {
        const same = JSON.stringify(a) === JSON.stringify(b);
        assert.equal(printDistinguishedName(a) === printDistinguishedName(b), same, 'same line');
      }),
    );
  });
});

describe('alternative names', () => {
  const element = (tag: number, ...content: readonly number[]) => [tag, content.length, ...content];
  const text = (value: string) => [...Buffer.from(value, 'latin1')];
  const nothing = { dnsNames: [], emails: [], uris: [] };
  for (const [what, bytes, expected] of [
    ['none', element(0x30), nothing],
    [
      'of each kind',
      element(
        0x30,
        ...element(0x82, ...text('A.example')),
        ...element(0x81, ...text('A@b.example')),
        ...element(0x86, ...text('urn:A')),
      ),
      { dnsNames: ['a.example'], emails: ['A@b.example'], uris: ['urn:A'] },
    ],
    ['of other kinds', element(0x30, ...element(0x87, 127, 0, 0, 1), ...element(0xa0, 6, 1, 42)), nothing],
    ['a long length', [0x30, 0x81, 5, ...element(0x82, ...text('a.b'))], { ...nothing, dnsNames: ['a.b'] }],
    ['an empty name', element(0x30, ...element(0x82)), undefined],
    ['a space', element(0x30, ...element(0x82, ...text('a, DNS:b'))), undefined],
    ['a null byte', element(0x30, ...element(0x82, ...text('a\0b'))), undefined],
    ['a character beyond ASCII', element(0x30, ...element(0x82, ...text('ä'))), undefined],
    ['a name that is longer than the list', element(0x30, 0x82, 9, 97), undefined],
    ['bytes behind the list', [...element(0x30), 0], undefined],
    ['a list that is cut', [0x30, 5, 0x82], undefined],
    ['an indefinite length', [0x30, 0x80, 0, 0], undefined],
    ['a length of four bytes', [0x30, 0x84, 0, 0, 0, 0], undefined],
    ['no list', element(0x82, 97), undefined],
    ['nothing', [], undefined],
    ['a hundred', many(100), { ...nothing, dnsNames: Array.from({ length: 100 }, () => 'a') }],
    ['a hundred and one', many(101), undefined],
  ] as const) {
    test(what, () => assert.deepEqual(readGeneralNames(Uint8Array.from(bytes)), expected));
  }

  test('of any bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        readGeneralNames(bytes);
        readGeneralNames(Uint8Array.from([0x30, bytes.length, ...bytes]));
      }),
    );
  });
});

function many(count: number): readonly number[] {
  const content = Array.from({ length: count }, () => [0x82, 1, 97]).flat();
  return [0x30, 0x82, content.length >> 8, content.length & 0xff, ...content];
}
