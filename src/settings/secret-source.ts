import { z } from 'zod';
import { FilePath } from './file-path.js';

/** Where a secret comes from; its value is never in the configuration's text. */
export type SecretSource = { readonly file: FilePath } | { readonly env: string };

/** What `secretSource` made: a driver may well have a setting of its own that looks the same, `{ env: … }`. */
const made = new WeakSet<object>();

/** True for what `secretSource` parsed, wherever in a configuration it stands. */
export function isSecretSource(value: unknown): value is SecretSource {
  return typeof value === 'object' && value !== null && made.has(value);
}

const expected =
  'expected { file: NAME } or { env: NAME }; a secret is never written into the configuration itself';

/** `{ file: /run/secrets/x }` or `{ env: NAME }`. A literal value is refused: it would end in a repository. */
export const secretSource = () =>
  z
    .union(
      [
        // With a message of its own: the usual one would show a key, and `{ hunter2 }` makes the secret a key.
        z.strictObject(
          {
            file: z
              .string({ error: expected })
              .min(1, expected)
              .transform((text) => new FilePath(text, 'file')),
          },
          { error: expected },
        ),
        z.strictObject(
          { env: z.string({ error: expected }).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, expected) },
          { error: expected },
        ),
      ],
      { error: expected },
    )
    .transform((source): SecretSource => {
      made.add(source);
      return source;
    })
    .meta({ title: 'secret' });
