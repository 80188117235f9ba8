import { RegistryError } from '../errors.js';
import { digestAlgorithm, digestOf, isComputable, isDigest } from '../reference/digest.js';
import { parseReference, printReference } from '../reference/reference.js';
import { type Answer, bytesAnswer, type Exchange, readSmallBody } from './answer.js';
import { type ManifestDocument, parseManifest } from './manifest-document.js';
import { type MemoryStore, requireRepository } from './memory-store.js';

const maxManifestSize = 4 * 1024 * 1024;

export interface ManifestSettings {
  readonly store: MemoryStore;
  /** A manifest whose blobs are not there is refused. */
  readonly verifyBlobs: boolean;
  readonly deletes: boolean;
}

/** OCI distribution-spec v1.1, "Pulling manifests", "Pushing Manifests", "Deleting Manifests". */
export async function manifestEndpoint(
  exchange: Exchange,
  repository: string,
  text: string,
  settings: ManifestSettings,
): Promise<Answer> {
  const reference = printReference(parseReference(text));
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return getManifest(exchange, repository, reference, settings.store);
    case 'PUT':
      return putManifest(exchange, repository, reference, settings);
    case 'DELETE':
      if (!settings.deletes) throw new RegistryError('UNSUPPORTED');
      requireRepository(settings.store, repository);
      if (!settings.store.deleteManifest(repository, reference)) throw new RegistryError('MANIFEST_UNKNOWN');
      return { status: 202 };
    default:
      throw new RegistryError('UNSUPPORTED');
  }
}

function getManifest(exchange: Exchange, repository: string, reference: string, store: MemoryStore): Answer {
  requireRepository(store, repository);
  const manifest = store.manifest(repository, reference);
  if (!manifest) throw new RegistryError('MANIFEST_UNKNOWN', { detail: { name: repository, reference } });
  const etag = `"${manifest.digest}"`;
  const headers = { 'docker-content-digest': manifest.digest, etag };
  if (exchange.request.headers['if-none-match'] === etag) return { status: 304, headers };
  return bytesAnswer(200, manifest.bytes, { 'content-type': manifest.mediaType, ...headers });
}

async function putManifest(
  exchange: Exchange,
  repository: string,
  reference: string,
  { store, verifyBlobs }: ManifestSettings,
): Promise<Answer> {
  const bytes = await readSmallBody(exchange, maxManifestSize);
  const mediaType = exchange.request.headers['content-type'] ?? '';
  const document = parseManifest(bytes);
  if (document?.schemaVersion !== 2 || mediaType === '') throw new RegistryError('MANIFEST_INVALID');
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    throw new RegistryError('MANIFEST_INVALID', { detail: { mediaType: document.mediaType } });
  }
  if (isDigest(reference)) {
    const right = isComputable(reference) && digestOf(bytes, digestAlgorithm(reference)) === reference;
    if (!right) throw new RegistryError('DIGEST_INVALID');
  }
  if (verifyBlobs) verifyReferences(store, repository, document);
  const { digest } = store.putManifest(repository, reference, bytes, mediaType);
  return {
    status: 201,
    headers: {
      location: `/v2/${repository}/manifests/${digest}`,
      'docker-content-digest': digest,
      ...(document.subject && { 'oci-subject': document.subject.digest }),
    },
  };
}

/** Layers with `urls` live elsewhere and need not be here; a subject may come later. */
function verifyReferences(store: MemoryStore, repository: string, document: ManifestDocument): void {
  const blobs = [...(document.config ? [document.config] : []), ...(document.layers ?? [])];
  for (const { digest, urls } of blobs) {
    if (urls === undefined && !store.blob(repository, digest)) {
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', { detail: { digest } });
    }
  }
  for (const { digest } of document.manifests ?? []) {
    if (!store.manifest(repository, digest)) {
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', { detail: { digest } });
    }
  }
}
