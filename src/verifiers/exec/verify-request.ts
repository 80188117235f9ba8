import { z } from 'zod';
import type { Principal } from '../../contracts/index.js';
import type { ShownSecret } from '../outside/shown-secret.js';

const apiVersion = 'docker-registry-proxy/v1';

/** What a program reads: one line of JSON. */
export function verifyRequest(verifier: string, { kind, username, secret, address }: ShownSecret): string {
  const shown = kind === 'password' ? { username, password: secret.reveal() } : { token: secret.reveal() };
  return `${JSON.stringify({ apiVersion, kind: 'VerifyRequest', verifier, ...shown, address })}\n`;
}

const expectedPrincipal =
  'expected { name, kind, groups, attributes, expiresAt }, of which only the name is needed';

const principal = z
  .strictObject({
    name: z.string().min(1),
    kind: z.enum(['human', 'machine']).default('human'),
    groups: z.array(z.string().min(1)).default([]),
    attributes: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]))
      .default({}),
    /** RFC 3339. */
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => Date.parse(text))
      .optional(),
  })
  .transform(
    ({ expiresAt, ...rest }): Omit<Principal, 'verifier'> => ({
      ...rest,
      ...(expiresAt !== undefined && { expiresAt }),
    }),
  );

/** Strict, for a misspelt `groups` would be groups that are missing. */
const answers = {
  principal: z.strictObject({ principal }),
  refused: z.strictObject({ refused: z.string() }),
  notMine: z.strictObject({ notMine: z.literal(true) }),
};

export type VerifyAnswer =
  | { readonly principal: Omit<Principal, 'verifier'> }
  | { readonly refused: string }
  | { readonly notMine: true };

/**
 * @param quote makes a name that the program chose fit for a log
 * @returns the answer, or what is wrong with it; that never quotes values
 */
export function answerFrom(
  output: Uint8Array,
  quote: (name: string) => string,
): VerifyAnswer | { readonly fault: string } {
  const json = parseJson(output);
  if (json === undefined) return { fault: 'it is not JSON in UTF-8' };
  const keys = typeof json === 'object' && json !== null && !Array.isArray(json) ? Object.keys(json) : [];
  const [key] = keys;
  if (keys.length !== 1 || key === undefined || !Object.hasOwn(answers, key)) {
    return { fault: 'expected one of { "principal": … }, { "refused": "why" } and { "notMine": true }' };
  }
  const parsed = answers[key as keyof typeof answers].safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue?.path.map((one, i, path) =>
    path[i - 1] === 'attributes' ? quote(String(one)) : String(one),
  );
  return { fault: `${place?.join('.')}: ${issue && faultOf(issue, quote)}` };
}

function faultOf(issue: z.core.$ZodIssue, quote: (name: string) => string): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  return `unknown ${quote(issue.keys.map((key) => JSON.stringify(key)).join(', '))}; ${expectedPrincipal}`;
}

/** A parse error of JSON quotes the text. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
