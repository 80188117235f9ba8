import { refused } from '../machine/shown-proof.js';

/** What a machine shows as its proof. */
export interface ShownDocument {
  /** PKCS #7, as BER; nothing of it is verified. */
  readonly signed: Buffer;
  readonly nonce?: string;
}

/**
 * The document in base64, by either alphabet: as the metadata service writes it, and as an envelope carries it. Then the
 * nonce, base64url of 16 to 64 bytes.
 */
const form = /^(?<document>[A-Za-z0-9+/_-]+={0,2})(?:\.(?<nonce>[A-Za-z0-9_-]{22,86}))?$/;

/** Characters. Documents have 1400, and some hundred more where there are marketplace products. */
const maxLength = 10_000;

/** @throws RegistryError UNAUTHORIZED */
export function readShownDocument(proof: string): ShownDocument {
  if (proof.length > maxLength) throw refused(`it is over ${maxLength} characters, and no document is`);
  const { document, nonce } = form.exec(proof)?.groups ?? {};
  if (document === undefined) {
    throw refused('it is no identity document in base64, with a nonce of 22 to 86 characters or without');
  }
  const signed = Buffer.from(document, 'base64');
  return { signed, ...(nonce !== undefined && { nonce }) };
}
