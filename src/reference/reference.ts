import { RegistryError } from '../errors.js';
import { type Digest, isDigest } from './digest.js';
import { shorten } from './repository-name.js';
import { isTag, type Tag } from './tag.js';

/** What stands behind `/manifests/`: a tag or a digest. */
export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

/** @throws RegistryError DIGEST_INVALID where it has a colon (a tag cannot), TAG_INVALID otherwise */
export function parseReference(text: string): Reference {
  if (text.includes(':')) {
    if (isDigest(text)) return { kind: 'digest', digest: text };
    throw new RegistryError('DIGEST_INVALID', {
      message: 'invalid digest',
      detail: { digest: shorten(text) },
    });
  }
  if (isTag(text)) return { kind: 'tag', tag: text };
  throw new RegistryError('TAG_INVALID', { detail: { tag: shorten(text) } });
}

export function printReference(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}
