import type { Readable } from 'node:stream';
import type { Digest } from '../reference/digest.js';
import type { Reference } from '../reference/reference.js';
import type { RepositoryName } from '../reference/repository-name.js';

/** The endpoints of the OCI distribution-spec v1.1, "Endpoints", and what their paths carry. */
export type RegistryOperation =
  | { readonly kind: 'ping' }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly repository: RepositoryName; readonly digest: Digest }
  | {
      readonly kind: 'upload';
      readonly repository: RepositoryName;
      /** Opaque: towards a client the sealed session, towards an upstream the session's URL. Absent at the start. */
      readonly session?: string;
      readonly digest?: Digest;
      readonly mount?: { readonly digest: Digest; readonly from?: RepositoryName };
    }
  | { readonly kind: 'tags'; readonly repository: RepositoryName; readonly page: string }
  | {
      readonly kind: 'referrers';
      readonly repository: RepositoryName;
      readonly digest: Digest;
      readonly page: string;
    }
  | { readonly kind: 'catalog'; readonly page: string };
// `page` is the query of a list (`n=100&last=v1`), without `?`, empty for the first page. Registries put their own
// parameters there, so it is carried as it is; it never holds `ns`.

export type RegistryMethod = 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';

/** Lower-case names. */
export type Headers = ReadonlyMap<string, string>;

export interface RegistryRequest {
  readonly method: RegistryMethod;
  readonly operation: RegistryOperation;
  /** Only those of `requestHeaders`; never `authorization` or `cookie`. */
  readonly headers: Headers;
  /** Can be read once. */
  readonly body?: Readable;
  /** The bytes of a blob are wanted, also where the upstream is set to say where they are. */
  readonly blobs?: 'stream';
}

/** What a cache made of a request. */
export interface CacheOutcome {
  /**
   * `hit`: the upstream was not asked. `revalidated`: it was asked, and what it would send was here. `stale`: it could
   * not be asked. `miss`: it has sent it. `passed`: it was none of the cache's business.
   */
  readonly result: 'hit' | 'revalidated' | 'stale' | 'miss' | 'passed';
  /** Of `stale`: how the upstream failed, as a code of ours. */
  readonly reason?: string;
}

export interface RegistryResponse {
  /** 2xx, 304 or 307. Every other answer is thrown as a RegistryError. */
  readonly status: number;
  /** Only those of `responseHeaders`. */
  readonly headers: Headers;
  /** Absent for HEAD, 304 and 307. Whoever gets it reads it to the end or destroys it; it fails when it is cut short. */
  readonly body?: Readable;
  /** With 307 the storage's URL, a secret (it is signed); with an upload the session's. Absolute. */
  readonly location?: URL;
  /** Absent where there is no cache. */
  readonly cache?: CacheOutcome;
  /** The query of the next page, where there is one. It was checked to continue the same list. */
  readonly nextPage?: string;
}

/** What a client's request may carry to an upstream; everything else stays here. */
export const requestHeaders: readonly string[] = [
  'accept',
  'range',
  'if-none-match',
  'if-range',
  'if-modified-since',
  'content-type',
  'content-length',
  'content-range',
];

/** What an upstream's answer may carry to a client; everything else stays here. */
export const responseHeaders: readonly string[] = [
  'content-type',
  'content-length',
  'content-range',
  'content-encoding',
  'accept-ranges',
  'docker-content-digest',
  'docker-upload-uuid',
  'etag',
  'last-modified',
  'oci-subject',
  'oci-tag',
  'oci-filters-applied',
  'oci-chunk-min-length',
  'range',
  'ratelimit-limit',
  'ratelimit-remaining',
];
