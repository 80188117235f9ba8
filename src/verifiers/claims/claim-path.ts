import { z } from 'zod';
import type { AttributeValue } from '../../contracts/principal.js';

const expected = 'expected the name of a claim, or a list of names that leads into nested claims';

/**
 * Where a claim stands: a name as it is written (`https://example.com/groups` is one name), or a list of names that
 * leads inwards (`[realm_access, roles]`).
 */
export const claimPath = () =>
  z
    .union(
      [
        z
          .string()
          .min(1)
          .transform((name) => [name]),
        z.array(z.string().min(1)).min(1),
      ],
      { error: expected },
    )
    .meta({ title: 'claim' });

export type ClaimPath = readonly string[];
export type Claims = Readonly<Record<string, unknown>>;

export function claimAt(claims: Claims, path: ClaimPath): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

/** What a rule can speak of; undefined for nested values, empty lists and null. */
export function attributeOf(value: unknown): AttributeValue | undefined {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (!Array.isArray(value)) return undefined;
  const texts = value.filter((one): one is string => typeof one === 'string');
  return texts.length === value.length && texts.length > 0 ? texts : undefined;
}

/** Groups as a list of texts; some providers write a single one without a list. */
export function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  return Array.isArray(value)
    ? value.filter((one): one is string => typeof one === 'string' && one !== '')
    : [];
}
