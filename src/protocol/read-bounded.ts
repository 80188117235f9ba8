import type { Readable } from 'node:stream';
import type { HeldBytes } from './byte-budget.js';

/**
 * Reads a body that must be small. Leaving early cuts its connection.
 *
 * @param limit bytes
 * @param timeLimit milliseconds for the whole
 * @param held is told of the bytes as they come; whoever opened it releases it
 * @returns undefined where it is larger than `limit`
 * @throws what the body fails with, when it is cut short; OverBudget
 */
export async function readBounded(
  body: Readable,
  limit: number,
  timeLimit: number,
  held?: HeldBytes,
): Promise<Buffer | undefined> {
  const timer = setTimeout(() => body.destroy(new Error(`body took longer than ${timeLimit} ms`)), timeLimit);
  try {
    // Pieces are not kept as they come: one of a single byte takes two hundred.
    let bytes = Buffer.alloc(0);
    let size = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      const needed = size + chunk.length;
      if (needed > limit) return undefined;
      held?.take(chunk.length);
      if (needed > bytes.length) bytes = grown(bytes, size, Math.min(Math.max(needed, 2 * size), limit));
      bytes.set(chunk, size);
      size = needed;
    }
    return size === bytes.length ? bytes : Buffer.from(bytes.subarray(0, size));
  } finally {
    clearTimeout(timer);
  }
}

function grown(bytes: Buffer, size: number, length: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(length);
  bytes.copy(larger, 0, 0, size);
  return larger;
}
