import { type Algorithms, algorithmsOf, digestOf, objectIdentifier } from './algorithms.js';
import { type Element, integer, octetString, readBer, tags } from './ber.js';
import { Fields } from './fields.js';
import { idData, readSignedAttributes, type SignedAttributes } from './signed-attributes.js';
import { SignedDataError } from './signed-data-error.js';

/** 1.2.840.113549.1.7.2. */
const idSignedData = '2a864886f70d010702';

/** Of all these structures, where the content is data and the signer is named by issuer and serial number. */
const version = 1n;

const maxCertificates = 16;

/** Whose certificate a signature is to be verified with (RFC 5652 section 10.2.4). */
export interface SignerInfo {
  /** DER of the Name. */
  readonly issuer: Buffer;
  readonly serialNumber: bigint;
}

/** What signed data holds, with nothing of it verified. */
export interface Message {
  readonly content: Buffer;
  readonly certificates: readonly Buffer[];
  readonly signer: SignerInfo;
  readonly algorithms: Algorithms;
  /** Undefined where the signature is over the content itself. */
  readonly attributes: SignedAttributes | undefined;
  readonly signature: Buffer;
}

/**
 * Reads a ContentInfo of signed data (RFC 5652 sections 3 and 5.1) with the content in it and one signer.
 *
 * @throws SignedDataError, BerError
 */
export function readMessage(bytes: Uint8Array): Message {
  const info = new Fields(readBer(bytes), tags.sequence, 'the message');
  if (objectIdentifier(info.any()) !== idSignedData) {
    throw new SignedDataError('the document is a message of another type than signed data');
  }
  const explicit = new Fields(info.only(), tags.context0, 'the signed data');
  const fields = new Fields(explicit.only(), tags.sequence, 'the signed data');
  requireVersion(fields.any(), 'the signed data');
  const digestAlgorithms = new Fields(fields.any(), tags.set, 'the set of digest algorithms');
  const content = contentOf(fields.any());
  const certificates = certificatesOf(fields.optional(tags.context0));
  // Nobody asks for revocation lists, and nobody signed them: passed over.
  fields.optional(tags.context1);
  const signers = new Fields(fields.only(), tags.set, 'the set of signers');
  const signer = readSigner(onlySigner(signers));
  if (digestOf(digestAlgorithms.only()) !== signer.algorithms.digest) {
    throw new SignedDataError('the document names two different digest algorithms');
  }
  return { ...signer, content, certificates };
}

/** RFC 5652 section 5.2. */
function contentOf(element: Element): Buffer {
  const fields = new Fields(element, tags.sequence, 'the content');
  if (objectIdentifier(fields.any()) !== idData) {
    throw new SignedDataError('the document has content of another type than data');
  }
  if (fields.isAtEnd) throw new SignedDataError('the document has a signature, but no content');
  return octetString(new Fields(fields.only(), tags.context0, 'the content').only());
}

function certificatesOf(element: Element | undefined): readonly Buffer[] {
  const elements = element?.children ?? [];
  if (elements.length > maxCertificates) {
    throw new SignedDataError(`the document has more than ${maxCertificates} certificates`);
  }
  return elements.map((certificate) => {
    if (certificate.tag !== tags.sequence || !certificate.isDer) {
      throw new SignedDataError('the document has a certificate that is not X.509 in DER');
    }
    return Buffer.from(certificate.bytes);
  });
}

/** With two signers it would depend on the reader who vouches for the content. */
function onlySigner(signers: Fields): Element {
  if (signers.isAtEnd) throw new SignedDataError('the document has no signer');
  const signer = signers.any();
  if (!signers.isAtEnd) throw new SignedDataError('the document has more than one signer');
  return signer;
}

/** RFC 5652 section 5.3. */
function readSigner(element: Element): Omit<Message, 'content' | 'certificates'> {
  const fields = new Fields(element, tags.sequence, 'the signer');
  requireVersion(fields.any(), 'its signer');
  const name = new Fields(fields.any(), tags.sequence, 'the issuer and serial number of the signer');
  const issuer = name.any();
  if (issuer.tag !== tags.sequence || !issuer.isDer) {
    throw new SignedDataError('the document names an issuer that is not in DER');
  }
  const serialNumber = integer(name.only());
  const digestAlgorithm = fields.any();
  const attributes = fields.optional(tags.context0);
  const algorithms = algorithmsOf(digestAlgorithm, fields.any());
  const signature = fields.any();
  // In one piece, as everybody writes it.
  if (signature.tag !== tags.octetString) throw new SignedDataError('the document has no signature');
  // Neither AWS nor Azure has any; what nobody signed is better not there.
  if (!fields.isAtEnd) throw new SignedDataError('the document has unsigned attributes');
  return {
    signer: { issuer: Buffer.from(issuer.bytes), serialNumber },
    algorithms,
    attributes: attributes && readSignedAttributes(attributes, algorithms),
    signature: Buffer.from(signature.content),
  };
}

function requireVersion(element: Element, what: string): void {
  if (integer(element) !== version) {
    throw new SignedDataError(`the document is not understood: ${what} has another version than ${version}`);
  }
}
