import { createHash } from 'node:crypto';
import { RegistryError } from '../errors.js';
import { shorten } from './repository-name.js';

/** OCI image-spec v1.1 descriptor.md, "Digests". Registered algorithms have an exact length. */
const grammar = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,256}$/;
const registered: ReadonlyMap<string, RegExp> = new Map([
  ['sha256', /^[a-f0-9]{64}$/],
  ['sha384', /^[a-f0-9]{96}$/],
  ['sha512', /^[a-f0-9]{128}$/],
]);

declare const brand: unique symbol;

/** A valid digest, such as `sha256:…`. Made by `parseDigest` and `digestOf` only. */
export type Digest = string & { readonly [brand]: 'Digest' };

export function isDigest(text: string): text is Digest {
  if (!grammar.test(text)) return false;
  const colon = text.indexOf(':');
  const encoded = registered.get(text.slice(0, colon));
  return encoded === undefined || encoded.test(text.slice(colon + 1));
}

/** @throws RegistryError DIGEST_INVALID */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new RegistryError('DIGEST_INVALID', {
      message: 'invalid digest',
      detail: { digest: shorten(text) },
    });
  }
  return text;
}

/** The part before the colon: `sha256`. */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(':'));
}

/** True where `digestOf` and `matchesDigest` can compute this digest's algorithm. */
export function isComputable(digest: Digest): boolean {
  return registered.has(digestAlgorithm(digest));
}

export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}
