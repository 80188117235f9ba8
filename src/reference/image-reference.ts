import { RegistryError } from '../errors.js';
import { type Digest, isDigest } from './digest.js';
import { isRegistryHost, parseRegistryHost } from './registry-host.js';
import type { Repository } from './repository.js';
import { isRepositoryName, shorten } from './repository-name.js';
import { isTag, type Tag } from './tag.js';

/** An image as users write it: `docker.example.com/my-image:1.2@sha256:…`. */
export interface ImageReference {
  readonly repository: Repository;
  readonly tag?: Tag;
  readonly digest?: Digest;
}

const dockerHub = parseRegistryHost('docker.io');

/**
 * Parses as distribution/reference `ParseNormalizedNamed` does: the first component is a host when it has a dot, a
 * colon or an upper-case letter, or is `localhost`; without one the host is docker.io, whose bare names get `library/`.
 * A missing tag stays missing.
 *
 * @throws RegistryError NAME_INVALID
 */
export function parseImageReference(text: string): ImageReference {
  const invalid = () =>
    new RegistryError('NAME_INVALID', {
      message: 'invalid image reference',
      detail: { image: shorten(text, 300) },
    });
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const candidate = rest.slice(at + 1);
    if (!isDigest(candidate)) throw invalid();
    digest = candidate;
    rest = rest.slice(0, at);
  }
  let host: string | undefined;
  const slash = rest.indexOf('/');
  if (slash >= 0) {
    const first = rest.slice(0, slash);
    if (/[.:A-Z]/.test(first) || first === 'localhost') {
      host = first;
      rest = rest.slice(slash + 1);
    }
  }
  if (host !== undefined && !isRegistryHost(host)) throw invalid();
  let tag: Tag | undefined;
  const colon = rest.indexOf(':');
  if (colon >= 0) {
    const candidate = rest.slice(colon + 1);
    if (!isTag(candidate)) throw invalid();
    tag = candidate;
    rest = rest.slice(0, colon);
  }
  let registry = host === undefined ? dockerHub : parseRegistryHost(host);
  if (registry === 'index.docker.io') registry = dockerHub;
  const name = registry === dockerHub && !rest.includes('/') ? `library/${rest}` : rest;
  if (!isRepositoryName(name)) throw invalid();
  return { repository: { registry, name }, ...(tag && { tag }), ...(digest && { digest }) };
}

/** Prints what `parseImageReference` parses to the same again. */
export function printImageReference(image: ImageReference): string {
  const { registry, name } = image.repository;
  // A host known as one by its case alone would become a namespace of docker.io.
  const host = /[.:]/.test(registry) || registry === 'localhost' ? registry : registry.toUpperCase();
  return `${host}/${name}${image.tag ? `:${image.tag}` : ''}${image.digest ? `@${image.digest}` : ''}`;
}
