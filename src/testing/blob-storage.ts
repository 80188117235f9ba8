import { randomBytes } from 'node:crypto';
import { type Answer, bytesAnswer, contentAnswer, type Exchange } from './answer.js';
import type { MemoryStore } from './memory-store.js';

/** Blobs are answered by a redirect to object storage. */
export interface StorageOptions {
  /** `absolute`: another server on another port. `relative`: a path of the registry, as Artifact Registry's. */
  readonly redirect: 'absolute' | 'relative';
  /** 307 where it is missing. */
  readonly status?: 302 | 303 | 307 | 308;
  /** HEAD answers 403: the URL is signed for GET. */
  readonly refuseHead?: boolean;
}

/** Object storage with signed URLs. */
export class BlobStorage {
  readonly #store: MemoryStore;
  readonly #options: StorageOptions;
  readonly #signatures = new Map<string, string>();

  constructor(store: MemoryStore, options: StorageOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** A signed path for one blob. The signature is a secret: whoever has the URL has the blob. */
  sign(digest: string): string {
    const signature = randomBytes(16).toString('hex');
    this.#signatures.set(signature, digest);
    const prefix = this.#options.redirect === 'relative' ? '/artifacts-downloads/' : '/bucket/';
    return `${prefix}${digest.replace(':', '/')}?X-Amz-Expires=600&X-Amz-Signature=${signature}`;
  }

  answer(exchange: Exchange): Answer {
    const { headers } = exchange.request;
    if (this.#options.redirect === 'absolute' && headers.authorization !== undefined) {
      // What S3 says to two kinds of authentication at once.
      return refusal(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    }
    const head = exchange.method === 'HEAD';
    if (!head && exchange.method !== 'GET') return refusal(405, 'MethodNotAllowed', 'not allowed');
    const digest = this.#signatures.get(exchange.url.searchParams.get('X-Amz-Signature') ?? '');
    const right = digest !== undefined && exchange.url.pathname.endsWith(digest.replace(':', '/'));
    if (!right || (head && this.#options.refuseHead)) return refusal(403, 'AccessDenied', 'Access Denied');
    const content = this.#store.anyBlob(digest);
    if (!content) return refusal(404, 'NoSuchKey', 'The specified key does not exist.');
    return contentAnswer(content, headers.range, {
      'content-type': 'binary/octet-stream',
      etag: `"${digest.slice(-32)}"`,
    });
  }
}

function refusal(status: number, code: string, message: string): Answer {
  const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return bytesAnswer(status, Buffer.from(text), { 'content-type': 'application/xml' });
}
