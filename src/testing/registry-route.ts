import { RegistryError } from '../errors.js';
import { isDigest } from '../reference/digest.js';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';

/** The endpoints of the OCI distribution-spec v1.1, as the memory registry serves them. */
export type Route =
  | { readonly kind: 'ping' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly reference: string }
  | { readonly kind: 'blob' | 'referrers'; readonly repository: RepositoryName; readonly digest: string }
  | { readonly kind: 'upload-start' | 'tags'; readonly repository: RepositoryName }
  | { readonly kind: 'upload'; readonly repository: RepositoryName; readonly session: string };

const patterns = {
  manifest: /^\/v2\/(.+)\/manifests\/([^/]+)$/,
  uploadStart: /^\/v2\/(.+)\/blobs\/uploads\/?$/,
  upload: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/,
  /** Artifact Registry's kind of session URL, outside `/v2`. */
  uploadOutside: /^\/artifacts-uploads\/(.+)\/uploads\/([^/]+)$/,
  blob: /^\/v2\/(.+)\/blobs\/([^/]+)$/,
  tags: /^\/v2\/(.+)\/tags\/list$/,
  referrers: /^\/v2\/(.+)\/referrers\/([^/]+)$/,
} as const;

/**
 * @returns undefined for a path that is no endpoint
 * @throws RegistryError NAME_INVALID, DIGEST_INVALID
 */
export function parseRoute(path: string): Route | undefined {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const match = (pattern: RegExp) => {
    const [, name, rest = ''] = pattern.exec(path) ?? [];
    return name === undefined
      ? undefined
      : { repository: parseRepositoryName(decode(name)), rest: decode(rest) };
  };
  const manifest = match(patterns.manifest);
  if (manifest) return { kind: 'manifest', repository: manifest.repository, reference: manifest.rest };
  const start = match(patterns.uploadStart);
  if (start) return { kind: 'upload-start', repository: start.repository };
  const upload = match(patterns.upload) ?? match(patterns.uploadOutside);
  if (upload) return { kind: 'upload', repository: upload.repository, session: upload.rest };
  const blob = match(patterns.blob);
  if (blob) return { kind: 'blob', repository: blob.repository, digest: checkDigest(blob.rest) };
  const tags = match(patterns.tags);
  if (tags) return { kind: 'tags', repository: tags.repository };
  const referrers = match(patterns.referrers);
  if (referrers) {
    return { kind: 'referrers', repository: referrers.repository, digest: checkDigest(referrers.rest) };
  }
  return undefined;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RegistryError('NAME_INVALID');
  }
}

function checkDigest(text: string): string {
  if (!isDigest(text)) throw new RegistryError('DIGEST_INVALID');
  return text;
}

/** What a request needs, as distribution's `appendAccessRecords` has it; nothing for the ping. */
export function neededScope(route: Route, method: string): Scope | undefined {
  if (route.kind === 'ping') return undefined;
  if (route.kind === 'catalog') return { type: 'registry', name: 'catalog', actions: ['*'] };
  const name = route.repository;
  if (method === 'GET' || method === 'HEAD') return { type: 'repository', name, actions: ['pull'] };
  if (method === 'DELETE') return { type: 'repository', name, actions: ['delete'] };
  return { type: 'repository', name, actions: ['pull', 'push'] };
}
