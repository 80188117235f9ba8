import type { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';

/** Reads a body whole. @throws RegistryError UNAVAILABLE where it is over `limit` bytes or cut short */
export async function readBounded(body: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) {
        throw new RegistryError('UNAVAILABLE', { reason: `the upstream's list is over ${limit} bytes` });
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    throw new RegistryError('UNAVAILABLE', { reason: "the upstream's answer was cut short", cause: error });
  }
  return Buffer.concat(chunks);
}

/**
 * A tags list (OCI distribution-spec v1.1 "Listing Tags") with the client's name in it instead of the upstream's.
 *
 * @throws RegistryError UNAVAILABLE where it is no tags list
 */
export function rewriteTagsList(body: Buffer, name: string): Buffer {
  let list: unknown;
  try {
    list = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new RegistryError('UNAVAILABLE', { reason: "the upstream's tags list is not JSON", cause: error });
  }
  const tags = typeof list === 'object' && list !== null && 'tags' in list ? list.tags : undefined;
  // distribution answers null for a repository without tags.
  const texts = tags === null || tags === undefined ? [] : tags;
  if (!Array.isArray(texts))
    throw new RegistryError('UNAVAILABLE', { reason: "the upstream's tags are no list" });
  return Buffer.from(JSON.stringify({ name, tags: texts.filter((tag) => typeof tag === 'string') }));
}
