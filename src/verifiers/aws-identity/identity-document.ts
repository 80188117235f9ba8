import { isIP } from 'node:net';
import { z } from 'zod';
import { parseStrictJsonObject } from '../../protocol/json-object.js';
import { regionPattern } from '../../reference/ecr-host.js';
import { parseInstant } from '../../settings/instant.js';
import { refused } from '../machine/shown-proof.js';

const word = z.string().regex(/^[\x21-\x7e]{1,128}$/);

/** Of what the document has a field may be null: not every instance has an image, or an IPv4 address. */
const perhaps = (schema: z.ZodType<string>) => schema.nullish().transform((value) => value ?? undefined);

/** Amazon EC2 user guide, "Instance identity documents". Other fields are not ours to judge, and new ones may come. */
const schema = z.object({
  accountId: z.string().regex(/^\d{12}$/),
  instanceId: z.string().regex(/^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/),
  region: z.string().max(64).regex(regionPattern),
  pendingTime: word.refine((text) => parseInstant(text) !== undefined),
  availabilityZone: perhaps(word),
  architecture: perhaps(word),
  instanceType: perhaps(word),
  imageId: perhaps(word),
  privateIp: perhaps(z.string().refine((text) => isIP(text) !== 0)),
});

/** What AWS says of an instance at its launch. All texts are printable ASCII without spaces. */
export type IdentityDocument = z.output<typeof schema>;

/**
 * @param content what a signature was verified over, and nothing else
 * @throws RegistryError UNAUTHORIZED
 */
export function readIdentityDocument(content: Buffer): IdentityDocument {
  const parsed = schema.safeParse(parseStrictJsonObject(content));
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path[0];
  throw refused(
    field === undefined
      ? 'what AWS signed is no identity document, or one that says something twice'
      : `the field ${String(field)} of its document is missing, or not as AWS writes it`,
  );
}
