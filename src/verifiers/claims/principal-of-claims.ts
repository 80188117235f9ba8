import { z } from 'zod';
import type { AttributeValue, Principal } from '../../contracts/principal.js';
import { RegistryError } from '../../errors.js';
import { NamePattern } from '../../settings/name-pattern.js';
import { attributeOf, type Claims, claimAt, claimPath, textsOf } from './claim-path.js';

/** Bytes of a name: it stands in rules, logs and state. */
const maxName = 255;
const maxGroups = 1_000;

const requiredValue = z.union([z.string(), z.number(), z.boolean()]);

/** How claims become a principal: keys that every driver which reads claims has. */
export const claimKeys = {
  usernameClaim: claimPath()
    .prefault('sub')
    .describe(
      'The claim that is the name in rules. It must be unique and must not be for the user to choose. `email` counts only where `email_verified` is not false.',
    ),
  groupsClaim: claimPath().optional().describe('The claim that holds the groups, a list of texts.'),
  attributes: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected a name such as projectId'), claimPath())
    .default({})
    .describe(
      'What rules can speak of beside name and groups: a name of yours, and the claim it is taken from.',
    ),
  requiredClaims: z
    .record(z.string(), z.union([requiredValue, z.array(requiredValue).min(1)]))
    .default({})
    .describe(
      'Claims that must have a value, or one of a list of values. In a text `*` stands for any characters. A claim that is a list must hold one of them.',
    ),
  kind: z
    .enum(['human', 'machine'])
    .optional()
    .describe('Whether people or machines are vouched for; machines never get refresh tokens.'),
};

const schema = z.object(claimKeys);
export type ClaimSettings = z.output<typeof schema>;

/**
 * @param claims verified
 * @param id the verifier's
 * @throws RegistryError UNAUTHORIZED where a required claim has another value, or there is no usable name
 */
export function principalOfClaims(
  claims: Claims,
  settings: ClaimSettings,
  id: string,
  expiresAt: number | undefined,
): Principal {
  requireClaims(claims, settings.requiredClaims);
  const attributes: Record<string, AttributeValue> = {};
  for (const [name, path] of Object.entries(settings.attributes)) {
    const value = attributeOf(claimAt(claims, path));
    if (value !== undefined) attributes[name] = value;
  }
  const groups = settings.groupsClaim === undefined ? [] : textsOf(claimAt(claims, settings.groupsClaim));
  if (groups.length > maxGroups) throw refused(`there are more than ${maxGroups} groups`);
  return {
    verifier: id,
    name: nameOf(claims, settings.usernameClaim),
    kind: settings.kind ?? 'human',
    groups: [...new Set(groups)],
    attributes,
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

function nameOf(claims: Claims, path: readonly string[]): string {
  const value = claimAt(claims, path);
  const claim = path.join('.');
  if (typeof value !== 'string' || value === '') throw refused(`there is no text in the claim ${claim}`);
  if (claim === 'email' && claims.email_verified === false)
    throw refused('the e-mail address is not verified');
  if (Buffer.byteLength(value) > maxName) throw refused(`the claim ${claim} is too long for a name`);
  if (/[\p{Cc}\p{Cs}]/u.test(value)) throw refused(`the claim ${claim} holds control characters`);
  return value;
}

function requireClaims(claims: Claims, required: ClaimSettings['requiredClaims']): void {
  for (const [name, wanted] of Object.entries(required)) {
    const actual = Object.hasOwn(claims, name) ? claims[name] : undefined;
    const values: readonly unknown[] = Array.isArray(actual) ? actual : [actual];
    const isOne = [wanted].flat().some((one) => values.some((value) => matches(one, value)));
    if (!isOne) throw refused(`the claim ${name} is not one that is allowed`);
  }
}

function matches(wanted: string | number | boolean, value: unknown): boolean {
  if (typeof wanted !== 'string') return value === wanted;
  return typeof value === 'string' && new NamePattern(wanted).matches(value);
}

function refused(reason: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason });
}
