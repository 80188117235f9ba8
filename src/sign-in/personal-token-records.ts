import { z } from 'zod';
import { hashOf } from '../revocation/hash-of.js';
import { type Person, personKey } from './person.js';

const recordSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  label: z.string(),
  createdAt: z.number(),
  expiresAt: z.number(),
  usedAt: z.number().optional(),
});

/** What is kept of a personal access token, under `recordKey`. Times are milliseconds since the epoch. */
export type PersonalTokenRecord = z.output<typeof recordSchema>;

/** All records' keys begin with it. */
export const recordPrefix = 'personal-token/';

/** The token itself is never kept. */
export function recordKey(token: string): string {
  return recordPrefix + hashOf(token);
}

/** Names a record to people: the first 12 hex digits of the token's hash. */
export function shortId(key: string): string {
  return key.slice(recordPrefix.length, recordPrefix.length + 12);
}

/** @returns undefined where it is not what this version writes */
export function parseRecord(value: string): PersonalTokenRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(value));
  } catch {
    return undefined;
  }
}

/**
 * When a token ends: at the end it was made with, or sooner where tokens may not live so long any more.
 *
 * @param maxLife milliseconds: the longest life now
 */
export function endOf(
  { createdAt, expiresAt }: Pick<PersonalTokenRecord, 'createdAt' | 'expiresAt'>,
  maxLife: number,
): number {
  return Math.min(expiresAt, createdAt + maxLife);
}

/** Where the keys of a person's tokens are listed. */
export function indexKey(person: Person): string {
  return `personal-tokens-of/${hashOf(personKey(person))}`;
}

const indexSchema = z.array(z.string());

/** @param keys of records */
export function printIndex(keys: readonly string[]): string {
  // Shorter than hex: a thousand fit into a value of the store.
  return JSON.stringify(
    keys.map((key) => Buffer.from(key.slice(recordPrefix.length), 'hex').toString('base64url')),
  );
}

/** @returns the keys of records; some may have ended. None where it is not what this version writes */
export function parseIndex(value: string | undefined): readonly string[] {
  try {
    return indexSchema
      .parse(JSON.parse(value ?? '[]'))
      .map((hash) => recordPrefix + Buffer.from(hash, 'base64url').toString('hex'));
  } catch {
    return [];
  }
}
