import type { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';
import { readBounded } from '../protocol/read-bounded.js';

/** Bytes, and milliseconds for the whole. */
const maxListSize = 16 * 1024 * 1024;
const listTime = 60_000;

/** Reads a list whole. @throws RegistryError UNAVAILABLE where it is too large, too slow or cut short */
export async function readList(
  body: Readable,
  { size, time } = { size: maxListSize, time: listTime },
): Promise<Buffer> {
  const bytes = await readBounded(body, size, time).catch((cause: unknown) => {
    throw new RegistryError('UNAVAILABLE', { reason: "the upstream's answer was cut short", cause });
  });
  if (bytes === undefined) {
    throw new RegistryError('UNAVAILABLE', { reason: `the upstream's list is over ${size} bytes` });
  }
  return bytes;
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
