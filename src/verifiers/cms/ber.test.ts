import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  BerError,
  type Element,
  integer,
  maxDepth,
  maxElements,
  maxSize,
  octetString,
  readBer,
} from './ber.js';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** As text: `30(02[01] 04[..])`, with `!` behind what is not DER. */
function shape({ tag, content, children, isDer }: Element): string {
  const isConstructed = (tag & 0x20) !== 0;
  const inner = isConstructed
    ? `(${children.map(shape).join(' ')})`
    : `[${Buffer.from(content).toString('hex')}]`;
  return `${tag.toString(16).padStart(2, '0')}${inner}${isDer ? '' : '!'}`;
}

describe('BER', () => {
  for (const [hex, expected] of [
    ['0500', '05[]'],
    ['020101', '02[01]'],
    ['3000', '30()'],
    ['3080 0000', '30()!'],
    ['3003 020105', '30(02[05])'],
    ['3080 020105 0000', '30(02[05])!'],
    // A length in more bytes than it needs.
    ['308103 020105', '30(02[05])!'],
    ['30840000000f 3080 3080 3080 020105 0000 0000 0000', '30(30(30(30(02[05])!)!)!)!'],
    // Zeros that are content.
    ['3004 0402 0000', '30(04[0000])'],
    ['3080 0402 0000 0000', '30(04[0000])!'],
    // A string in pieces.
    ['2480 0401aa 0401bb 0000', '24(04[aa] 04[bb])!'],
    ['2406 0401aa 0401bb', '24(04[aa] 04[bb])!'],
    // Context-specific ones may be either.
    ['a003 020105', 'a0(02[05])'],
    ['8003 020105', '80[020105]'],
    [`04 8180 ${'11'.repeat(128)}`, `04[${'11'.repeat(128)}]`],
    [`04 820080 ${'11'.repeat(128)}`, `04[${'11'.repeat(128)}]!`],
  ] as const) {
    test(`${hex.slice(0, 60)} is read`, () => assert.equal(shape(readBer(bytes(hex))), expected));
  }

  for (const [what, hex, expected] of [
    ['nothing', '', /too early/],
    ['no length', '30', /too early/],
    ['half a length', '308203', /too early/],
    ['content that is not there', '0402aa', /longer than/],
    ['content longer than what holds it', '3003 0405aabbcc', /longer than/],
    ['a child that goes on behind its parent', '3002 020101', /longer than/],
    ['a child of which its parent holds half the header', '3001 0201', /follows|too early/],
    ['no end-of-contents', '3080 020101', /too early/],
    ['half the end-of-contents', '3080 020101 00', /end-of-contents/],
    ['an end-of-contents with a length', '3080 0001aa 0000', /end-of-contents/],
    ['an end-of-contents in what has a length', '3002 0000', /end-of-contents/],
    ['nothing but an end-of-contents', '0000', /end-of-contents/],
    ['a constructed end-of-contents', '3080 2000 0000', /end-of-contents/],
    ['an indefinite length in its parent with one', '3004 3080 0201 01 0000', /longer than|too early/],
    ['an end-of-contents behind the end of what holds it', '3080 3002 3080 0000', /too early/],
    ['something after its end', '0500 00', /follows/],
    ['something after an indefinite end', '3080 0000 0000', /follows/],
    ['a primitive one of indefinite length', '0480 0000', /indefinite/],
    ['a primitive one of indefinite length, context-specific', '8080 0000', /indefinite/],
    ['a length of 4 GiB', '0484 ffffffff', /longer than/],
    ['a length in five bytes', '0485 0000000001 aa', /more than 4 bytes/],
    ['a length in 126 bytes', `04fe ${'ff'.repeat(126)}`, /more than 4 bytes/],
    ['the reserved length', '04ff', /more than 4 bytes/],
    ['a tag of many bytes', '1f8101 00', /above 30/],
    ['a constructed tag of many bytes', 'bf8101 00', /above 30/],
    ['a primitive sequence', '1000', /constructed/],
    ['a primitive set', '1100', /constructed/],
    ['a constructed integer', '2203 020101', /constructed/],
    ['a constructed null', '2500', /constructed/],
    ['a constructed object identifier', '2603 060101', /constructed/],
  ] as const) {
    test(`${what} is refused`, () => assert.throws(() => readBer(bytes(hex)), refusal(expected)));
  }

  test('is read to a depth, whatever its lengths', () => {
    const definite = (depth: number): Buffer =>
      Array.from({ length: depth - 1 }).reduce<Buffer>(
        (inner) => Buffer.concat([Buffer.from([0x30, inner.length]), inner]),
        bytes('0500'),
      );
    const indefinite = (depth: number) =>
      Buffer.concat([bytes('3080'.repeat(depth)), bytes('0000'.repeat(depth))]);
    for (const nested of [definite, indefinite]) {
      assert.equal(readBer(nested(maxDepth)).children.length, 1);
      assert.throws(() => readBer(nested(maxDepth + 1)), refusal(/16 deep/));
    }
    assert.throws(() => readBer(indefinite(16_000)), refusal(/16 deep/));
    assert.throws(() => readBer(bytes('3080'.repeat(32_000))), refusal(/16 deep/));
    assert.throws(() => readBer(bytes('2480'.repeat(32_000))), refusal(/16 deep/));
    assert.throws(() => readBer(indefinite(100_000)), refusal(/more than 65536 bytes/));
  });

  test('is read to a number of elements', () => {
    const empty = (count: number) => bytes(`3080 ${'0500'.repeat(count)} 0000`);
    assert.equal(readBer(empty(maxElements - 1)).children.length, maxElements - 1);
    for (const count of [maxElements, 30_000]) {
      assert.throws(() => readBer(empty(count)), refusal(/more than 4096 elements/));
    }
    assert.throws(() => readBer(bytes(`3080 ${'2400'.repeat(30_000)} 0000`)), refusal(/more than 4096/));
  });

  test('is read to a size', () => {
    const long = (size: number) => {
      const element = Buffer.alloc(size);
      element.set([0x04, 0x83, 0, 0, 0]);
      element.writeUIntBE(size - 5, 2, 3);
      return element;
    };
    assert.equal(octetString(readBer(long(maxSize))).length, maxSize - 5);
    assert.throws(() => readBer(long(maxSize + 1)), refusal(/more than 65536 bytes/));
  });

  test('is not copied', () => {
    const read = bytes('3003 0401aa');
    const [child] = readBer(read).children;
    assert.equal(child?.content.buffer, read.buffer);
    assert.equal(child?.bytes.byteOffset, read.byteOffset + 2);
  });

  test('of random bytes is read or refused', () => {
    const octet = fc.oneof(
      fc.constantFrom(0x30, 0x31, 0x24, 0x04, 0xa0, 0x80, 0x00, 0x01, 0x02),
      fc.nat(255),
    );
    fc.assert(
      fc.property(fc.array(octet, { maxLength: 200 }), (octets) => {
        const read = Uint8Array.from(octets);
        try {
          assert.equal(readBer(read).bytes.length, read.length);
        } catch (error) {
          assert.ok(error instanceof BerError, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });
});

describe('an octet string', () => {
  for (const [hex, expected] of [
    ['0400', ''],
    ['0402aabb', 'aabb'],
    ['2480 0000', ''],
    ['2480 0401aa 0400 0401bb 0000', 'aabb'],
    ['2480 2480 0401aa 0000 2403 0401bb 0000', 'aabb'],
    ['2480 0301aa 0000', undefined],
    ['2480 0401aa 020101 0000', undefined],
    ['2480 8001aa 0000', undefined],
    ['0c0161', undefined],
    ['3003 0401aa', undefined],
  ] as const) {
    test(`${hex} is ${expected ?? 'refused'}`, () => {
      const element = readBer(bytes(hex));
      if (expected === undefined) assert.throws(() => octetString(element), refusal(/octet string/));
      else assert.equal(octetString(element).toString('hex'), expected);
    });
  }
});

describe('an integer', () => {
  for (const [hex, expected] of [
    ['020100', 0n],
    ['02017f', 127n],
    ['02020080', 128n],
    ['0201ff', -1n],
    ['020180', -128n],
    ['0202ff7f', -129n],
    ['020900b64bde5ad00924cc', 0xb64bde5ad00924ccn],
    [`0214 7f${'ff'.repeat(19)}`, 2n ** 159n - 1n],
    [`0215 7f${'ff'.repeat(20)}`, undefined],
    ['0200', undefined],
    ['02020001', undefined],
    ['0202ff80', undefined],
    ['0a0101', undefined],
  ] as const) {
    test(`${hex.slice(0, 30)} is ${expected ?? 'refused'}`, () => {
      const element = readBer(bytes(hex));
      if (expected === undefined) assert.throws(() => integer(element), refusal(/integer/));
      else assert.equal(integer(element), expected);
    });
  }
});

/** What `assert.throws` expects. */
function refusal(message: RegExp) {
  return { name: 'BerError', message };
}
