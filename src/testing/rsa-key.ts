import { createPublicKey, type KeyObject } from 'node:crypto';

export interface RsaKeyOptions {
  /** A multiple of eight. */
  readonly bits?: number;
  readonly exponent?: bigint;
}

/** A public key that nobody has the private one of, as anybody can write one down. */
export function madeUpRsaKey({ bits = 2048, exponent = 65537n }: RsaKeyOptions = {}): KeyObject {
  const digits = exponent.toString(16);
  const e = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex').toString('base64url');
  const n = Buffer.alloc(bits / 8, 0xd5).toString('base64url');
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
}
