import 'reflect-metadata';
import type { AsymmetricKeyDetails, KeyObject } from 'node:crypto';
import type * as x509 from '@peculiar/x509';

/** Bits: of RSA keys, whose use takes longer the more there are of both. OpenSSL takes sixteen thousand. */
const [minModulus, maxModulus] = [2048, 8192];
/** As programs have long limited it; the usual one is 65537. With one as long as the modulus a key takes a hundred times as long. */
const maxExponent = 2n ** 32n;
const curves: readonly unknown[] = [
  ...['prime256v1', 'secp384r1', 'secp521r1', 'secp256k1'],
  ...['brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1'],
];

/** For other hashes than these somebody may find a second certificate with the same signature. */
const hashes: readonly unknown[] = ['SHA-256', 'SHA-384', 'SHA-512'];
/** They bring their own. */
const withoutHash: readonly unknown[] = ['Ed25519', 'EdDSA'];

/** @returns why nobody should rely on a key, for operators: `its RSA key has 1024 bits, under 2048` */
export function keyFault({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): string | undefined {
  switch (type) {
    case 'ed25519':
    case 'ed448':
      return undefined;
    case 'rsa':
    case 'rsa-pss':
      return rsaFault(details ?? {});
    case 'ec':
      if (curves.includes(details?.namedCurve)) return undefined;
      return `its key is on a curve that is not accepted (${details?.namedCurve ?? 'without a name'})`;
    default:
      return 'its key is of a kind that is not accepted';
  }
}

/** Looked at before such a key verifies anything: who made it may have made it to cost us time. */
function rsaFault({ modulusLength = 0, publicExponent = 0n }: AsymmetricKeyDetails): string | undefined {
  if (modulusLength < minModulus) return `its RSA key has ${modulusLength} bits, under ${minModulus}`;
  if (modulusLength > maxModulus) return `its RSA key has ${modulusLength} bits, over ${maxModulus}`;
  if (publicExponent > maxExponent) return 'its RSA key has a public exponent over 2^32';
  const isPossible = publicExponent > 1n && publicExponent % 2n === 1n;
  return isPossible ? undefined : 'its RSA key has a public exponent that is no odd number above 1';
}

/** @returns why nobody should rely on the signature that a certificate bears, for operators */
export function signatureFault({ signatureAlgorithm }: x509.X509Certificate): string | undefined {
  const { name, hash } = signatureAlgorithm as {
    readonly name: string;
    readonly hash?: { readonly name?: string };
  };
  if (hashes.includes(hash?.name) || withoutHash.includes(name)) return undefined;
  // An identifier where the library does not know it: MD5.
  return `its signature is not by SHA-256 or better (${hash?.name ?? name})`;
}
