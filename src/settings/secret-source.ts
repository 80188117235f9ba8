import { z } from 'zod';
import { FilePath } from './file-path.js';

/** Where a secret comes from; its value is never in the configuration's text. */
export type SecretSource = { readonly file: FilePath } | { readonly env: string };

/** `{ file: /run/secrets/x }` or `{ env: NAME }`. A literal value is refused: it would end in a repository. */
export const secretSource = () =>
  z.union(
    [
      z.strictObject({
        file: z
          .string()
          .min(1)
          .transform((text) => new FilePath(text, 'file')),
      }),
      z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/) }),
    ],
    {
      error:
        'expected { file: NAME } or { env: NAME }; a secret is never written into the configuration itself',
    },
  );
