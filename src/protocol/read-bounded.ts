import type { Readable } from 'node:stream';

/**
 * Reads a body that must be small. Leaving early cuts its connection.
 *
 * @param limit bytes
 * @param timeLimit milliseconds for the whole
 * @returns undefined where it is larger than `limit`
 * @throws what the body fails with, when it is cut short
 */
export async function readBounded(
  body: Readable,
  limit: number,
  timeLimit: number,
): Promise<Buffer | undefined> {
  const timer = setTimeout(() => body.destroy(new Error(`body took longer than ${timeLimit} ms`)), timeLimit);
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    clearTimeout(timer);
  }
}
