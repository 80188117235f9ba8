import { z } from 'zod';
import { hashOf } from '../revocation/hash-of.js';

const recordSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  service: z.string(),
  createdAt: z.number(),
  usedAt: z.number(),
  credentialVersion: z.string().optional(),
});

/** What is kept of a refresh token, under `recordKey`. Times are milliseconds since the epoch. */
export type RefreshTokenRecord = z.output<typeof recordSchema>;

/** All records' keys begin with it. */
export const recordPrefix = 'refresh-token/';

/** The token itself is never kept. */
export function recordKey(token: string): string {
  return recordPrefix + hashOf(token);
}

/** Names a record to people: the first 12 hex digits of the token's hash. */
export function shortId(key: string): string {
  return key.slice(recordPrefix.length, recordPrefix.length + 12);
}

/** @returns undefined where it is not what this version writes */
export function parseRecord(value: string): RefreshTokenRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(value));
  } catch {
    return undefined;
  }
}
