import { z } from 'zod';
import type { Principal } from '../contracts/index.js';
import { hashOf } from '../revocation/hash-of.js';
import { type Person, personKey } from './person.js';

/** Bytes of a record: below what a value of the store may have. */
const maxSize = 60_000;

const recordSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  groups: z.array(z.string()),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
  signedInAt: z.number(),
  /** When groups and attributes were last found out. */
  checkedAt: z.number(),
  /** The provider's, sealed. */
  refreshToken: z.string().optional(),
  /** The last look-up that has not come to a good end: it runs, in one of the proxies, or it failed. */
  attempt: z.object({ id: z.string(), at: z.number(), failed: z.string().optional() }).optional(),
  /** Why the person's tokens are refused until the next sign-in. */
  ended: z.string().optional(),
});

/** What is kept of a person who signed in. Times are milliseconds since the epoch. */
export type SignedInRecord = z.output<typeof recordSchema>;

export function signedInKey(person: Person): string {
  return `signed-in/${hashOf(personKey(person))}`;
}

/** @returns undefined where it is not what this version writes, or somebody else's */
export function parseSignedIn(value: string | undefined, person: Person): SignedInRecord | undefined {
  try {
    const record = recordSchema.parse(JSON.parse(value ?? ''));
    return record.verifier === person.verifier && record.name === person.name ? record : undefined;
  } catch {
    return undefined;
  }
}

/** @returns undefined where groups and attributes are too many to be kept */
export function printSignedIn(record: SignedInRecord): string | undefined {
  const text = JSON.stringify(record);
  return Buffer.byteLength(text) > maxSize ? undefined : text;
}

/** What rules speak of. */
export function principalOf({ verifier, name, groups, attributes }: SignedInRecord): Principal {
  return { verifier, name, kind: 'human', groups, attributes };
}

/** The same record with groups and attributes as they are now. */
export function withPrincipal(
  record: SignedInRecord,
  { groups, attributes }: Principal,
  checkedAt: number,
): SignedInRecord {
  const { attempt: _, ended: __, ...rest } = record;
  const copied = Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, Array.isArray(value) ? [...value] : value]),
  ) as SignedInRecord['attributes'];
  return { ...rest, groups: [...groups], attributes: copied, checkedAt };
}
