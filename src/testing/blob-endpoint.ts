import { RegistryError } from '../errors.js';
import { type Answer, contentAnswer, type Exchange } from './answer.js';
import type { BlobContent } from './blob-content.js';
import { type MemoryStore, requireRepository } from './memory-store.js';

export interface BlobSettings {
  readonly store: MemoryStore;
  readonly deletes: boolean;
  /** Where GET and HEAD are sent to; without it the registry answers them itself. */
  readonly redirect?: (digest: string) => { readonly status: number; readonly location: string };
}

/** OCI distribution-spec v1.1, "Pulling blobs", "Deleting Blobs". */
export function blobEndpoint(
  exchange: Exchange,
  repository: string,
  digest: string,
  settings: BlobSettings,
): Answer {
  const { store } = settings;
  switch (exchange.method) {
    case 'GET':
    case 'HEAD': {
      const content = requireBlob(store, repository, digest);
      const target = settings.redirect?.(digest);
      if (target) return { status: target.status, headers: { location: target.location } };
      return contentAnswer(content, exchange.request.headers.range, {
        'content-type': 'application/octet-stream',
        'docker-content-digest': digest,
        etag: `"${digest}"`,
      });
    }
    case 'DELETE':
      if (!settings.deletes) throw new RegistryError('UNSUPPORTED');
      requireBlob(store, repository, digest);
      store.deleteBlob(repository, digest);
      return { status: 202, headers: { 'docker-content-digest': digest } };
    default:
      throw new RegistryError('UNSUPPORTED');
  }
}

/** @throws RegistryError NAME_UNKNOWN, BLOB_UNKNOWN */
function requireBlob(store: MemoryStore, repository: string, digest: string): BlobContent {
  requireRepository(store, repository);
  const content = store.blob(repository, digest);
  if (!content) throw new RegistryError('BLOB_UNKNOWN', { detail: { digest } });
  return content;
}
