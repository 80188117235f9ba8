import { createHmac, randomBytes } from 'node:crypto';
import type { Storage } from './storage.js';
import type { World } from './world.js';

export interface StorageHostManners {
  /** `cdn03.quay.io`. */
  readonly host: string;
  /** What stands before `sha256/ab/abcd…`, with slashes around it. */
  readonly prefix: string;
  /** Seconds a signature is good for; 600 where it is missing. */
  readonly lifetime?: number;
  /** A signature for GET alone: HEAD is answered 403. */
  readonly refusesHead?: boolean;
}

/** Object storage behind a registry: whoever has a signed URL gets that one blob, and no credential is welcome. */
export interface StorageHost {
  readonly host: string;
  /** A signed URL. @param path of the blob at the registry: `/v2/NAME/blobs/DIGEST` */
  sign(path: string): URL;
  /** The signatures it gave out: each is a secret until it ends. */
  readonly signatures: readonly string[];
}

/** Answers for a storage host, from the blobs of `storage`. */
export function startStorageHost(world: World, storage: Storage, manners: StorageHostManners): StorageHost {
  const key = randomBytes(32);
  const blobs = new Map<string, string>();
  const signatures: string[] = [];
  const signatureOf = (path: string, expires: string) =>
    createHmac('sha256', key).update(`${path}\n${expires}`).digest('base64url');

  world.host(manners.host, async (exchange) => {
    const { request, record, url } = exchange;
    const refuse = (status: number, code: string, message: string) =>
      exchange.text(
        status,
        `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
        {
          'content-type': 'application/xml',
        },
      );
    // S3's words (renovate#5155): a signed URL and an Authorization header are two answers to one question.
    if (request.headers.authorization !== undefined) {
      return refuse(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    }
    const stored = blobs.get(url.pathname);
    const expires = url.searchParams.get('expires') ?? '';
    if (stored === undefined || url.searchParams.get('signature') !== signatureOf(url.pathname, expires)) {
      return refuse(403, 'SignatureDoesNotMatch', 'The signature does not match');
    }
    if (Number(expires) * 1000 <= Date.now()) return refuse(403, 'AccessDenied', 'Request has expired');
    if (record.method !== 'GET' && (record.method !== 'HEAD' || manners.refusesHead === true)) {
      return refuse(403, 'SignatureDoesNotMatch', 'The signature is for another method');
    }
    // Storage knows nothing of registries.
    const headers = { 'docker-content-digest': '', 'docker-distribution-api-version': '' };
    return storage.forward(exchange, { path: stored, headers });
  });

  return {
    host: manners.host,
    signatures,
    sign: (stored) => {
      const hex = stored.slice(stored.lastIndexOf(':') + 1);
      const path = `${manners.prefix}sha256/${hex.slice(0, 2)}/${hex}`;
      blobs.set(path, stored);
      const expires = String(Math.floor(Date.now() / 1000) + (manners.lifetime ?? 600));
      const signature = signatureOf(path, expires);
      if (!signatures.includes(signature)) signatures.push(signature);
      return new URL(`https://${manners.host}${path}?${new URLSearchParams({ expires, signature })}`);
    },
  };
}
