import type { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';
import { type ByteBudget, type HeldBytes, heldBody, OverBudget } from '../protocol/byte-budget.js';
import { readBounded } from '../protocol/read-bounded.js';

/** Bytes, and milliseconds for the whole. */
const maxListSize = 16 * 1024 * 1024;
const listTime = 60_000;

/**
 * Reads a list whole.
 *
 * @param held is told of its bytes; absent where one list is read at a time
 * @throws RegistryError UNAVAILABLE where it is too large, too slow or cut short; OverBudget
 */
export async function readList(
  body: Readable,
  { size, time } = { size: maxListSize, time: listTime },
  held?: HeldBytes,
): Promise<Buffer> {
  const bytes = await readBounded(body, size, time, held).catch((cause: unknown) => {
    if (cause instanceof OverBudget) throw cause;
    throw new RegistryError('UNAVAILABLE', { reason: "the upstream's answer was cut short", cause });
  });
  if (bytes === undefined) {
    throw new RegistryError('UNAVAILABLE', { reason: `the upstream's list is over ${size} bytes` });
  }
  return bytes;
}

/**
 * An upstream's tags list as the client's. Its bytes are held until the client has read them.
 *
 * @throws RegistryError UNAVAILABLE where it is no tags list, or not had whole; TOOMANYREQUESTS where too much of others
 *   is held
 */
export async function clientsTagsList(
  body: Readable,
  name: string,
  { budget, signal }: { readonly budget: ByteBudget; readonly signal: AbortSignal },
): Promise<{ readonly length: number; readonly body: Readable }> {
  const read = budget.open();
  const written = budget.open();
  try {
    const list = rewriteTagsList(await readList(body, undefined, read), name);
    written.take(list.length);
    return { length: list.length, body: heldBody(list, written, signal) };
  } finally {
    read.release();
  }
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
