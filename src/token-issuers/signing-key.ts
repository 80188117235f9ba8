import { createHash, createPublicKey, hkdfSync, type KeyObject, X509Certificate } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose';

/** A private key with what others need to verify its signatures. */
export interface SigningKey {
  /** RFC 7638 thumbprint: distribution 3.x finds the key by it. */
  readonly kid: string;
  readonly algorithm: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public JWK, with `x5c` where there is a certificate. */
  readonly jwk: JWK;
  /** Base64 DER, the key's own certificate first; distribution 2.8 knows no other way. Empty without certificate. */
  readonly x5c: readonly string[];
}

const ecAlgorithms: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

/** @throws an Error where the key cannot sign tokens, or the certificate is another key's */
export async function signingKey(
  privateKey: KeyObject,
  certificates: readonly X509Certificate[],
): Promise<SigningKey> {
  const publicKey = createPublicKey(privateKey);
  const algorithm = algorithmOf(privateKey);
  const [own] = certificates;
  if (own !== undefined && !own.checkPrivateKey(privateKey))
    throw new Error('its certificate belongs to another key');
  const x5c = certificates.map((certificate) => certificate.raw.toString('base64'));
  const bare = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(bare, 'sha256');
  const jwk: JWK = { ...bare, kid, alg: algorithm, use: 'sig', ...(x5c.length > 0 && { x5c }) };
  return { kid, algorithm, privateKey, publicKey, jwk, x5c };
}

function algorithmOf(key: KeyObject): string {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'ec') {
    const algorithm = ecAlgorithms[details?.namedCurve ?? ''];
    if (algorithm !== undefined) return algorithm;
  }
  if (key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256';
  throw new Error('expected an EC key (P-256, P-384, P-521) or an RSA key of 2048 bits or more');
}

/** The certificates of a PEM text, in its order. */
export function certificatesOf(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** HKDF (RFC 5869) from the private key. @returns 32 bytes */
export function derivedKey({ privateKey }: SigningKey, purpose: string): Uint8Array {
  const secret = privateKey.export({ format: 'der', type: 'pkcs8' });
  return new Uint8Array(hkdfSync('sha256', secret, '', `docker-registry-proxy ${purpose}`, 32));
}

/** A short name for a key's files. */
export function fileNameOf(kid: string): string {
  return createHash('sha256').update(kid).digest('hex').slice(0, 16);
}
