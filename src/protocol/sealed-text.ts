import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const algorithm = 'aes-256-gcm';
/** Bytes. */
const nonceSize = 12;
const tagSize = 16;

/**
 * Text that only who has the key can read, make or change.
 *
 * @param keys of 32 bytes; the first one seals (TokenIssuer.derivedKeys)
 * @param boundTo what has to be said again to open it; it is not in the seal
 * @returns base64url
 */
export function sealText(keys: readonly Uint8Array[], text: string, boundTo: string): string {
  const [key] = keys;
  if (key === undefined) throw new Error('there is no key to seal with');
  const nonce = randomBytes(nonceSize);
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagSize });
  cipher.setAAD(Buffer.from(boundTo));
  const sealed = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(sealed).toString('base64url');
}

/** @returns undefined where it was sealed with none of these keys, bound to something else, or changed */
export function openSealedText(
  keys: readonly Uint8Array[],
  sealed: string,
  boundTo: string,
): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url');
  // Base64 has several texts for the same bytes; only the one we wrote counts.
  if (bytes.length <= nonceSize + tagSize || bytes.toString('base64url') !== sealed) return undefined;
  for (const key of keys) {
    const text = unseal(bytes, key, boundTo);
    if (text !== undefined) return text;
  }
  return undefined;
}

function unseal(bytes: Buffer, key: Uint8Array, boundTo: string): string | undefined {
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceSize), { authTagLength: tagSize });
  decipher.setAAD(Buffer.from(boundTo));
  decipher.setAuthTag(bytes.subarray(-tagSize));
  const text = decipher.update(bytes.subarray(nonceSize, -tagSize));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return text.toString('utf8');
}
