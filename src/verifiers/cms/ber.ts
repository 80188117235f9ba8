/** Bytes of a whole message: an identity document has one thousand, one with its signer's certificate three thousand. */
export const maxSize = 64 * 1024;
/** A certificate within signed data takes ten. */
export const maxDepth = 16;
/** A certificate has about two hundred. */
export const maxElements = 4096;

/** Bytes of a length. Four say more than `maxSize`; longer ones could only be padded. */
const maxLengthBytes = 4;
/** Bytes of an integer, as of serial numbers (RFC 5280 section 4.1.2.2). */
const maxIntegerBytes = 20;

/** Identifier octets (X.690 section 8.1.2). */
export const tags = {
  integer: 0x02,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context1: 0xa1,
} as const;

const constructedBit = 0x20;

/** Universal types without a choice between primitive and constructed (X.690 section 8), by number. */
const alwaysConstructed: readonly number[] = [8, 11, 16, 17];
const alwaysPrimitive: readonly number[] = [1, 2, 5, 6, 9, 10, 13, 14];

/** What is not BER as it is read here: one line, without content. */
export class BerError extends Error {
  override readonly name = 'BerError';
}

/** One value (X.690 section 8.1.1). All bytes are views on what was read. */
export interface Element {
  /** The identifier octet. */
  readonly tag: number;
  readonly bytes: Uint8Array;
  /** Without its header and its end-of-contents octets. */
  readonly content: Uint8Array;
  /** None in a primitive one. */
  readonly children: readonly Element[];
  /**
   * Whether it and all in it have the lengths of DER, and no string in pieces (X.690 sections 10.1 and 10.2). The order
   * of a set and the rules of single types are not looked at.
   */
  readonly isDer: boolean;
}

/**
 * Reads one value in BER (X.690 section 8), the whole of it: with definite and indefinite lengths, and strings in pieces.
 *
 * @throws BerError also where anything follows it, and beyond `maxSize`, `maxDepth` and `maxElements`
 */
export function readBer(bytes: Uint8Array): Element {
  if (bytes.length > maxSize) throw new BerError(`it has more than ${maxSize} bytes`);
  return new Reader(bytes).whole();
}

/** @throws BerError where it is none */
export function octetString(element: Element): Buffer {
  // In pieces (X.690 section 8.7.3), which may themselves be in pieces: as deep as the reader lets it be.
  if (element.tag === (tags.octetString | constructedBit)) {
    return Buffer.concat(element.children.map(octetString));
  }
  if (element.tag !== tags.octetString) throw new BerError('something else is where an octet string belongs');
  return Buffer.from(element.content);
}

/** @throws BerError where it is none, is padded (X.690 section 8.3.2), or has more than 20 bytes */
export function integer({ tag, content }: Element): bigint {
  if (tag !== tags.integer) throw new BerError('something else is where an integer belongs');
  const [first, second] = content;
  if (first === undefined || content.length > maxIntegerBytes) {
    throw new BerError(`an integer does not have 1 to ${maxIntegerBytes} bytes`);
  }
  const isPadded = second !== undefined && first === (second < 0x80 ? 0x00 : 0xff);
  if (isPadded) throw new BerError('an integer is padded');
  return BigInt.asIntN(8 * content.length, BigInt(`0x${Buffer.from(content).toString('hex')}`));
}

interface Header {
  readonly tag: number;
  /** Of the content; undefined for an indefinite one. */
  readonly length: number | undefined;
  readonly isMinimal: boolean;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #elements = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  whole(): Element {
    const element = this.#element(this.#bytes.length, 1);
    if (this.#at < this.#bytes.length) throw new BerError('something follows after its end');
    return element;
  }

  /** @param end where what holds it ends, at the latest */
  #element(end: number, depth: number): Element {
    this.#elements += 1;
    if (this.#elements > maxElements) throw new BerError(`it has more than ${maxElements} elements`);
    if (depth > maxDepth) throw new BerError(`it is nested more than ${maxDepth} deep`);
    const start = this.#at;
    const { tag, length, isMinimal } = this.#header(end);
    const from = this.#at;
    const contentEnd = length === undefined ? undefined : from + length;
    const isConstructed = (tag & constructedBit) !== 0;
    const children = isConstructed ? this.#children(contentEnd, end, depth) : [];
    const to = contentEnd ?? this.#at;
    this.#at = contentEnd ?? to + 2;
    return {
      tag,
      bytes: this.#bytes.subarray(start, this.#at),
      content: this.#bytes.subarray(from, to),
      children,
      isDer:
        isMinimal &&
        !(isUniversal(tag) && isConstructed && !alwaysConstructed.includes(tag & 0x1f)) &&
        children.every((child) => child.isDer),
    };
  }

  /** Leaves the reader at the end of the content, before end-of-contents octets. */
  #children(contentEnd: number | undefined, end: number, depth: number): readonly Element[] {
    const children: Element[] = [];
    const isAtEnd = () => (contentEnd === undefined ? this.#isAtEndOfContents(end) : this.#at >= contentEnd);
    while (!isAtEnd()) children.push(this.#element(contentEnd ?? end, depth + 1));
    return children;
  }

  #isAtEndOfContents(end: number): boolean {
    return this.#at + 2 <= end && this.#bytes[this.#at] === 0 && this.#bytes[this.#at + 1] === 0;
  }

  #header(end: number): Header {
    const tag = this.#octet(end);
    requireForm(tag);
    const first = this.#octet(end);
    if (first === 0x80) {
      if ((tag & constructedBit) === 0) throw new BerError('a primitive element has an indefinite length');
      return { tag, length: undefined, isMinimal: false };
    }
    const count = first < 0x80 ? 0 : first & 0x7f;
    if (count > maxLengthBytes) throw new BerError(`a length has more than ${maxLengthBytes} bytes`);
    let length = count === 0 ? first : 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#octet(end);
    if (length > end - this.#at) throw new BerError('an element is longer than what holds it');
    return { tag, length, isMinimal: count === 0 || length >= Math.max(0x80, 256 ** (count - 1)) };
  }

  #octet(end: number): number {
    const octet = this.#at < end ? this.#bytes[this.#at] : undefined;
    if (octet === undefined) throw new BerError('it ends too early');
    this.#at += 1;
    return octet;
  }
}

function isUniversal(tag: number): boolean {
  return (tag & 0xc0) === 0;
}

function requireForm(tag: number): void {
  const number = tag & 0x1f;
  if (number === 0x1f) throw new BerError('a tag has a number above 30');
  if (!isUniversal(tag)) return;
  if (number === 0) throw new BerError('there are end-of-contents octets where nothing ends');
  const wrong = (tag & constructedBit) === 0 ? alwaysConstructed : alwaysPrimitive;
  if (wrong.includes(number)) throw new BerError('an element is constructed and must not be, or the reverse');
}
