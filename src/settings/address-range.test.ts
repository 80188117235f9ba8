import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AddressRanges, addressRange, plainAddress } from './address-range.js';

describe('addressRange', () => {
  for (const [text, good] of [
    ['10.0.0.0/8', true],
    ['10.1.2.3', true],
    ['0.0.0.0/0', true],
    ['::/0', true],
    ['2001:db8::/32', true],
    ['::1', true],
    ['10.0.0.0/33', false],
    ['2001:db8::/129', false],
    ['10.0.0.0/', false],
    ['10.0.0.0/8/8', false],
    ['10.0.0.0/-1', false],
    ['10.0.0/8', false],
    ['010.0.0.0/8', false],
    ['example.com', false],
    ['[::1]', false],
    ['fe80::1%eth0', false],
    ['*', false],
    ['', false],
  ] as const) {
    it(`${JSON.stringify(text)}: ${good ? 'taken' : 'refused'}`, () =>
      assert.equal(addressRange().safeParse(text).success, good));
  }
});

describe('AddressRanges', () => {
  const rows: readonly (readonly [ranges: readonly string[], address: string, answer: boolean])[] = [
    [['10.0.0.0/8'], '10.255.0.1', true],
    [['10.0.0.0/8'], '11.0.0.0', false],
    [['10.9.9.9/8'], '10.0.0.1', true],
    [['10.0.0.0/8'], '::ffff:10.0.0.1', true],
    [['10.0.0.0/8'], '::ffff:a00:1', true],
    [['10.0.0.1'], '10.0.0.1', true],
    [['10.0.0.1'], '10.0.0.2', false],
    [['0.0.0.0/0'], '::1', false],
    [['fe80::/10'], 'fe80::1%eth0', true],
    [['2001:db8::/32', '192.0.2.0/24'], '192.0.2.200', true],
    [['2001:db8::/32'], '2001:db9::1', false],
    [[], '127.0.0.1', false],
    [['0.0.0.0/0', '::/0'], '', false],
    [['0.0.0.0/0', '::/0'], 'unix', false],
    [['0.0.0.0/0', '::/0'], '10.0.0.1, 10.0.0.2', false],
  ];
  for (const [ranges, address, answer] of rows) {
    it(`${address || 'no address'} in ${ranges.join(' ') || 'nothing'}: ${answer}`, () =>
      assert.equal(new AddressRanges(ranges).includes(address), answer));
  }

  it('a range of IPv4 holds what shares its first bits', () => {
    const octets = fc.array(fc.nat({ max: 255 }), { minLength: 4, maxLength: 4 });
    const bitsOf = (address: readonly number[]) =>
      address.map((n) => n.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(octets, octets, fc.nat({ max: 32 }), (network, address, bits) => {
        const expected = bitsOf(network).slice(0, bits) === bitsOf(address).slice(0, bits);
        const ranges = new AddressRanges([`${network.join('.')}/${bits}`]);
        assert.equal(ranges.includes(address.join('.')), expected);
        assert.equal(ranges.includes(`::ffff:${address.join('.')}`), expected);
      }),
    );
  });

  it('never throws on any text', () => {
    const ranges = new AddressRanges(['10.0.0.0/8', '::1']);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789abf:.%/[] ') }), (text) => {
        ranges.includes(text);
        if (addressRange().safeParse(text).success) new AddressRanges([text]);
      }),
      { numRuns: 1000 },
    );
  });
});

for (const [address, plain] of [
  ['10.0.0.1', '10.0.0.1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::FFFF:10.0.0.1', '10.0.0.1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::1', '::1'],
  ['', ''],
] as const) {
  it(`plainAddress of ${JSON.stringify(address)} is ${JSON.stringify(plain)}`, () =>
    assert.equal(plainAddress(address), plain));
}
