import { type Algorithms, identifierOf, type ObjectIdentifier, objectIdentifier } from './algorithms.js';
import { type Element, octetString, tags } from './ber.js';
import { Fields } from './fields.js';
import { SignedDataError } from './signed-data-error.js';

/** 1.2.840.113549.1.7.1: bytes, of which CMS does not say what they mean (RFC 5652 section 4). */
export const idData: ObjectIdentifier = '2a864886f70d010701';

/** Types of attributes: 1.2.840.113549.1.9.… (RFC 5652 section 11, RFC 6211 section 2). */
const types = {
  contentType: '2a864886f70d010903',
  messageDigest: '2a864886f70d010904',
  algorithmProtection: '2a864886f70d010934',
} as const;

const maxAttributes = 32;

/** What a signature says of the content by its attributes. */
export interface SignedAttributes {
  readonly messageDigest: Buffer;
  /** What is signed: the attributes as the SET that they are (RFC 5652 section 5.4). */
  readonly signed: Buffer;
}

/**
 * Reads the signed attributes (RFC 5652 sections 5.3 and 11), which must be in DER: so nobody else, whatever they read
 * by, can see other attributes in the signed bytes than we do.
 *
 * @param element with its implicit tag
 * @param algorithms those the signer names outside of the attributes
 * @throws SignedDataError, BerError
 */
export function readSignedAttributes(element: Element, algorithms: Algorithms): SignedAttributes {
  if (!element.isDer || !isSorted(element.children)) {
    throw new SignedDataError('the signed attributes of the document are not in DER');
  }
  const attributes = byType(element.children);
  if (objectIdentifier(requiredValue(attributes, types.contentType, 'content type')) !== idData) {
    throw new SignedDataError('the document is signed as content of another type than data');
  }
  requireSameAlgorithms(attributes, algorithms);
  const signed = Buffer.from(element.bytes);
  signed[0] = tags.set;
  return {
    messageDigest: octetString(requiredValue(attributes, types.messageDigest, 'message digest')),
    signed,
  };
}

/**
 * @returns the only values of the attributes
 * @throws SignedDataError where there are too many, two of a type, or one with more values or none
 */
function byType(elements: readonly Element[]): ReadonlyMap<ObjectIdentifier, Element> {
  if (elements.length > maxAttributes) {
    throw new SignedDataError(`the document has more than ${maxAttributes} signed attributes`);
  }
  const found = new Map<ObjectIdentifier, Element>();
  for (const element of elements) {
    const fields = new Fields(element, tags.sequence, 'a signed attribute');
    const type = objectIdentifier(fields.any());
    const values = new Fields(fields.only(), tags.set, 'the value of a signed attribute');
    if (found.has(type)) throw new SignedDataError('the document has a signed attribute twice');
    found.set(type, values.only());
  }
  return found;
}

function requiredValue(
  attributes: ReadonlyMap<ObjectIdentifier, Element>,
  type: string,
  what: string,
): Element {
  const value = attributes.get(type);
  if (value === undefined)
    throw new SignedDataError(`the signed attributes of the document lack the ${what}`);
  return value;
}

/** RFC 6211 section 3: against exchanging algorithms, which stand outside of what is signed. AWS has this attribute. */
function requireSameAlgorithms(
  attributes: ReadonlyMap<ObjectIdentifier, Element>,
  { identifiers }: Algorithms,
): void {
  const value = attributes.get(types.algorithmProtection);
  if (value === undefined) return;
  const fields = new Fields(value, tags.sequence, 'the algorithm protection');
  const digest = identifierOf(fields.any());
  const signature = identifierOf(fields.only(), tags.context1);
  if (digest !== identifiers.digest || signature !== identifiers.signature) {
    throw new SignedDataError('the document names other algorithms than its signed attributes do');
  }
}

/** X.690 section 11.6. That shorter ones are padded is of no matter: no value is the beginning of another one. */
function isSorted(elements: readonly Element[]): boolean {
  return elements.every((element, i) => {
    const previous = elements[i - 1];
    return previous === undefined || Buffer.compare(previous.bytes, element.bytes) < 0;
  });
}
