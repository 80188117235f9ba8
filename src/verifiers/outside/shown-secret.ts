import { z } from 'zod';
import type { ClientCredentials } from '../../contracts/index.js';
import type { Secret } from '../../secret.js';

/** What is shown to code that is not ours. */
export interface ShownSecret {
  readonly kind: 'password' | 'bearer';
  /** With a password only. As the client says: nobody has verified it. */
  readonly username?: string;
  readonly secret: Secret;
  /** The client's IP address. */
  readonly address: string;
}

export const acceptsKey = {
  accepts: z
    .array(z.enum(['password', 'bearer'], { error: 'expected password or bearer' }))
    .min(1, 'expected password, bearer, or both')
    .default(['password'])
    .describe(
      'What it is shown. Bearer tokens come without a user name, so `usernames` does not keep any of them back.',
    ),
};

export type Accepts = readonly ShownSecret['kind'][];

/** @returns undefined for what it is not to see; an empty password or token is nobody's */
export function secretShown(
  { shown, connection: { address } }: ClientCredentials,
  accepts: Accepts,
): ShownSecret | undefined {
  if (shown.kind === 'none' || !accepts.includes(shown.kind)) return undefined;
  const secret = shown.kind === 'password' ? shown.password : shown.token;
  if (secret.isEmpty) return undefined;
  if (shown.kind === 'bearer') return { kind: 'bearer', secret, address };
  return { kind: 'password', username: shown.username, secret, address };
}
