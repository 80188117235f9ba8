import { type Digest, isDigest } from '../../reference/digest.js';
import {
  type ImageReference,
  parseImageReference,
  printImageReference,
} from '../../reference/image-reference.js';

/**
 * What a caller may name an image by: a reference, a digest (of the image or of its manifest), or the beginning of an
 * id. A text of hexadecimal digits may be a repository of docker.io as well: the engine looks for that first.
 */
export type AskedImage =
  | { readonly kind: 'digest'; readonly digest: Digest }
  | { readonly kind: 'prefix'; readonly hex: string; readonly name?: ImageReference }
  | { readonly kind: 'name'; readonly name: ImageReference };

/** What an image of the engine is known by. */
export interface KnownImage {
  readonly id: string;
  /** Fully qualified. */
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** As git wants of an abbreviated object: with fewer digits it is rather a name that somebody mistyped. */
const idPrefix = /^(?:sha256:)?([0-9a-f]{4,63})$/;
const bareId = /^[0-9a-f]{64}$/;

/** @returns undefined where no image can have this name */
export function parseAskedImage(text: string): AskedImage | undefined {
  const whole = bareId.test(text) ? `sha256:${text}` : text;
  if (isDigest(whole)) return { kind: 'digest', digest: whole };
  const hex = idPrefix.exec(text)?.[1];
  const name = parseName(text);
  if (hex !== undefined) return { kind: 'prefix', hex, ...(name && { name }) };
  return name && { kind: 'name', name };
}

function parseName(text: string): ImageReference | undefined {
  try {
    return parseImageReference(text);
  } catch {
    return undefined;
  }
}

/** What the engine is asked for: never a name with both tag and digest, of which engines make different things. */
export function engineName(asked: AskedImage): string {
  if (asked.kind === 'digest') return asked.digest;
  if (asked.kind === 'name') return printImageReference(exactName(asked.name));
  return asked.hex;
}

/**
 * The one image a reference stands for: the digest counts where there is one, whatever the tag beside it, and `latest`
 * where there is neither (distribution/reference `TagNameOnly`).
 */
export function exactName({ repository, tag, digest }: ImageReference): ImageReference {
  if (digest !== undefined) return { repository, digest };
  return { repository, tag: tag ?? ('latest' as NonNullable<ImageReference['tag']>) };
}

/** True where the image is what was asked for: the engine takes a name for the beginning of an id, too. */
export function isAsked(asked: AskedImage, image: KnownImage): boolean {
  if (asked.kind === 'digest') return image.id === asked.digest || hasDigest(image, asked.digest);
  if (asked.kind === 'name') return isNamed(asked.name, image);
  return (
    image.id.startsWith(`sha256:${asked.hex}`) || (asked.name !== undefined && isNamed(asked.name, image))
  );
}

/** The same for a list, where a repository without tag and digest stands for all its images. */
export function isListedFor(asked: AskedImage, image: KnownImage): boolean {
  if (isAsked(asked, image)) return true;
  const name = asked.kind === 'digest' ? undefined : asked.name;
  if (name === undefined || name.tag !== undefined || name.digest !== undefined) return false;
  const repository = printImageReference(name);
  const isOf = (one: string) => one.startsWith(`${repository}:`) || one.startsWith(`${repository}@`);
  return image.repoTags.some(isOf) || image.repoDigests.some(isOf);
}

function isNamed(name: ImageReference, image: KnownImage): boolean {
  const exact = exactName(name);
  // The digest says it all: the same image from another repository is the same image.
  if (exact.digest !== undefined) return image.id === exact.digest || hasDigest(image, exact.digest);
  return image.repoTags.includes(printImageReference(exact));
}

function hasDigest({ repoDigests }: KnownImage, digest: Digest): boolean {
  return repoDigests.some((one) => one.endsWith(`@${digest}`));
}
