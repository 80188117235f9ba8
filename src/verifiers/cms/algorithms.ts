import { BerError, type Element, tags } from './ber.js';
import { Fields } from './fields.js';
import { SignedDataError } from './signed-data-error.js';

/** As node:crypto calls them. */
export type Digest = 'sha256' | 'sha384' | 'sha512';

/** Content of an OBJECT IDENTIFIER, in hex. A padded one is another text, and so is none that is known. */
export type ObjectIdentifier = string;

/** @throws BerError where it is none */
export function objectIdentifier({ tag, content }: Element): ObjectIdentifier {
  if (tag !== tags.objectIdentifier) {
    throw new BerError('something else is where an object identifier belongs');
  }
  return Buffer.from(content).toString('hex');
}

/** 1.2.840.113549.1.1.1: says nothing about a digest (RFC 3370 section 3.2). */
const rsaEncryption = '2a864886f70d010101';

/** `sha…WithRSAEncryption`: 1.2.840.113549.1.1.11 to .13 (RFC 5754 section 3.2). */
const rsaWith: ReadonlyMap<ObjectIdentifier, Digest> = new Map([
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
]);

/** 2.16.840.1.101.3.4.2.1 to .3 (RFC 5754 section 2). */
const digests: ReadonlyMap<ObjectIdentifier, Digest> = new Map([
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
]);

/** Those for a signature. */
export interface Algorithms {
  readonly digest: Digest;
  /** To compare with what the signed attributes say. */
  readonly identifiers: {
    readonly digest: ObjectIdentifier | undefined;
    readonly signature: ObjectIdentifier;
  };
}

/**
 * Reads a DigestAlgorithmIdentifier (RFC 5652 section 10.1.1). Azure names there what the signature is made with:
 * `sha256WithRSAEncryption`.
 *
 * @throws SignedDataError where it is none of SHA-256, SHA-384 and SHA-512; BerError
 */
export function digestOf(element: Element): Digest {
  const identifier = identifierOf(element) ?? '';
  const digest = digests.get(identifier) ?? rsaWith.get(identifier);
  if (digest !== undefined) return digest;
  throw new SignedDataError('the document is signed with another digest than SHA-256, SHA-384 or SHA-512');
}

/** @throws SignedDataError where they are none of those accepted here, or do not agree with each other; BerError */
export function algorithmsOf(digestAlgorithm: Element, signatureAlgorithm: Element): Algorithms {
  const digest = digestOf(digestAlgorithm);
  const signature = identifierOf(signatureAlgorithm) ?? '';
  const named = signature === rsaEncryption ? digest : rsaWith.get(signature);
  if (named === undefined) {
    throw new SignedDataError(
      'the document has another signature than RSA PKCS#1 v1.5 with SHA-256 or better',
    );
  }
  if (named !== digest) throw new SignedDataError('the document names two different digest algorithms');
  return { digest, identifiers: { digest: identifierOf(digestAlgorithm), signature } };
}

/**
 * @param tag another one where it is implicitly tagged
 * @returns undefined for an algorithm with parameters: those accepted here have none, or NULL (RFC 5754 section 2, RFC
 *   3370 section 3.2)
 * @throws BerError
 */
export function identifierOf(algorithm: Element, tag: number = tags.sequence): ObjectIdentifier | undefined {
  const fields = new Fields(algorithm, tag, 'an algorithm');
  const identifier = objectIdentifier(fields.any());
  const isPlain = (fields.optional(tags.null)?.content.length ?? 0) === 0 && fields.isAtEnd;
  return isPlain ? identifier : undefined;
}
