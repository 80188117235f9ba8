import { constants, createHash, type KeyObject, verify } from 'node:crypto';
import { keyFault } from '../mtls/strength.js';
import { BerError, tags } from './ber.js';
import { type Message, readMessage, type SignerInfo } from './message.js';
import { SignedDataError } from './signed-data-error.js';

export type { SignerInfo } from './message.js';
export { SignedDataError } from './signed-data-error.js';

/** A signed message (RFC 5652 section 5.1). Its content comes out of `verifiedContent` alone. */
export interface SignedData {
  /** Nobody vouches for it either: it says which certificate to try, and the one that fits may be anybody's. */
  readonly signer: SignerInfo;
  /** DER, as embedded: anybody may have put them there. */
  readonly certificates: readonly Buffer[];
}

export interface VerificationOptions {
  /**
   * Whether the signature must be over signed attributes (RFC 5652 section 5.4), as those of AWS are. Where they are
   * optional it may be over the content itself, as those of Azure are.
   */
  readonly signedAttributes: 'required' | 'optional';
}

/** Where nobody else reaches it: content that was not verified cannot be used by mistake. */
const messages = new WeakMap<SignedData, Message>();

/**
 * Reads signed data in BER: RSA PKCS#1 v1.5 with SHA-256 or better, one signer named by issuer and serial number, the
 * content within. Verifies nothing.
 *
 * @throws SignedDataError
 */
export function readSignedData(bytes: Uint8Array): SignedData {
  try {
    const message = readMessage(bytes);
    const signedData = { signer: message.signer, certificates: message.certificates };
    messages.set(signedData, message);
    return signedData;
  } catch (cause) {
    if (!(cause instanceof BerError)) throw cause;
    throw new SignedDataError(`the document is not signed data: ${cause.message}`, { cause });
  }
}

/**
 * The content, where a key signed it. Whose key that is the caller must know: see `signerAmong`.
 *
 * @param signedData what `readSignedData` returned
 * @param key the public one of RSA, with 2048 to 8192 bits
 * @throws SignedDataError
 */
export function verifiedContent(
  signedData: SignedData,
  key: KeyObject,
  { signedAttributes }: VerificationOptions = { signedAttributes: 'required' },
): Buffer {
  const message = messages.get(signedData);
  if (message === undefined) throw new TypeError('expected what readSignedData returned');
  requireStrong(key);
  const { content, algorithms, attributes, signature } = message;
  if (attributes === undefined) {
    requireUnambiguous(content, signedAttributes);
  } else if (!attributes.messageDigest.equals(createHash(algorithms.digest).update(content).digest())) {
    throw new SignedDataError('the document has another content than was signed');
  }
  const padding = constants.RSA_PKCS1_PADDING;
  if (!verify(algorithms.digest, attributes?.signed ?? content, { key, padding }, signature)) {
    throw new SignedDataError("the signature of the document is not by its signer's key");
  }
  return Buffer.from(content);
}

function requireStrong(key: KeyObject): void {
  if (key.type !== 'public' || key.asymmetricKeyType !== 'rsa') {
    throw new SignedDataError('the signer of the document has another key than a public one of RSA');
  }
  const fault = keyFault(key);
  if (fault !== undefined)
    throw new SignedDataError(`the signer of the document cannot be relied on: ${fault}`);
}

/**
 * A signature does not say whether it is over attributes or over content: attributes taken from one message, shown as
 * the content of another one, have a good signature there. Attributes are a SET; the content that is signed here is
 * JSON, and never begins like one.
 */
function requireUnambiguous(
  content: Buffer,
  signedAttributes: VerificationOptions['signedAttributes'],
): void {
  if (signedAttributes === 'required') throw new SignedDataError('the document has no signed attributes');
  if (content[0] === tags.set) {
    throw new SignedDataError('the document has content that can be taken for signed attributes');
  }
}
