import { createHash } from 'node:crypto';

/** SHA-256 in hex: of what a key of the state must not show, or may not hold. */
export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
