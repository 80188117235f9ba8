import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  asOfAzure,
  der,
  indefinite,
  int,
  none,
  octets,
  oids,
  pieces,
  seq,
  written,
} from '../../testing/cms-message.js';
import { type Element, readBer } from './ber.js';
import { readSignedData, SignedDataError, verifiedContent } from './signed-data.js';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const content = Buffer.from('{"accountId":"111122223333"}');
const optional = { signedAttributes: 'optional' } as const;

const open = (bytes: Uint8Array, o?: typeof optional) =>
  verifiedContent(readSignedData(bytes), publicKey, o).toString();

describe('signed data that somebody changed', () => {
  const originals = [
    written(privateKey, content, { sets: [der(0xa0, seq(int(1)))] }),
    written(privateKey, content, { attributes: undefined, ...asOfAzure() }),
    inAnyBer(readBer(written(privateKey, content)), () => 1),
  ];

  /** @returns whether it was accepted; fails where anything but the content comes out of it */
  function requireSameOrRefused(bytes: Uint8Array): boolean {
    try {
      assert.equal(open(bytes, optional), content.toString());
      return true;
    } catch (error) {
      assert.ok(error instanceof SignedDataError, String(error));
      return false;
    }
  }

  test('never gives another content', () => {
    const change = fc.record({
      what: fc.constantFrom('set', 'insert', 'remove', 'repeat'),
      at: fc.nat(),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 6 }),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...originals),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        (original, changes) => {
          requireSameOrRefused(changes.reduce(changed, original));
        },
      ),
      { numRuns: 5000 },
    );
  });

  test('in one bit never gives another content', () => {
    for (const original of originals) {
      for (let bit = 0; bit < original.length * 8; bit++) {
        const bytes = Buffer.from(original);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        requireSameOrRefused(bytes);
      }
    }
  });

  test('by cutting it is refused, at every byte', () => {
    for (const original of originals) {
      assert.ok(requireSameOrRefused(original), 'the original is accepted');
      for (let length = 0; length < original.length; length++) {
        assert.ok(!requireSameOrRefused(original.subarray(0, length)), `cut to ${length} bytes`);
      }
    }
  });

  test('into random bytes is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.ok(!requireSameOrRefused(bytes), 'random bytes are refused');
      }),
      { numRuns: 2000 },
    );
  });

  test('to another encoding in BER is the same', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(3)), (choices) => {
        const next = () => Number(choices.next().value);
        const bytes = inAnyBer(readBer(written(privateKey, content)), next);
        assert.equal(open(bytes), content.toString());
      }),
      { numRuns: 300 },
    );
  });

  test('to something giant or deep is refused', () => {
    for (const encapsulated of [
      seq(oids.data, der(0xa0, octets(Buffer.alloc(65_000, 0x24)))),
      seq(oids.data, der(0xa0, ...Array.from({ length: 20_000 }, () => none))),
      Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from([0x24, 0x80]))),
      Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
    ]) {
      assert.ok(!requireSameOrRefused(written(privateKey, content, { encapsulated })), 'it is refused');
    }
  });
});

interface Change {
  readonly what: string;
  readonly at: number;
  readonly bytes: Uint8Array;
}

function changed(original: Buffer, { what, at, bytes }: Change): Buffer {
  const from = at % (original.length + 1);
  const [before, after] = [original.subarray(0, from), original.subarray(from)];
  switch (what) {
    case 'set':
      return Buffer.concat([before, bytes, after.subarray(bytes.length)]);
    case 'insert':
      return Buffer.concat([before, bytes, after]);
    case 'remove':
      return Buffer.concat([before, after.subarray(bytes.length)]);
    default:
      return Buffer.concat([before, after.subarray(0, 10 * bytes.length), after]);
  }
}

/** Writes an element in another way that means the same; what must be in DER, and the signature, stay as they are. */
function inAnyBer(element: Element, next: () => number, path: readonly number[] = []): Buffer {
  const { tag, bytes, content: inside, children } = element;
  const position = path.join('.');
  const isFixed = position.startsWith('1.0.3.0.3') || position === '1.0.3.0.1.0' || position === '1.0.3.0.5';
  if (isFixed) return Buffer.from(bytes);
  if (tag === 0x04 && next() !== 0) return indefinite(0x24, ...pieces(inside));
  const rewritten =
    (tag & 0x20) === 0
      ? inside
      : Buffer.concat(children.map((child, i) => inAnyBer(child, next, [...path, i])));
  switch (next()) {
    case 0:
      return der(tag, rewritten);
    case 1:
      return (tag & 0x20) === 0 ? der(tag, rewritten) : indefinite(tag, rewritten);
    case 2:
      return Buffer.concat([Buffer.from([tag, 0x84]), lengthBytes(rewritten.length), rewritten]);
    default:
      return Buffer.concat([Buffer.from([tag, 0x83]), lengthBytes(rewritten.length).subarray(1), rewritten]);
  }
}

function lengthBytes(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}
