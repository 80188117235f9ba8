import { parseJsonObject } from '../../protocol/json-object.js';
import type { AwsIdentity } from './identity-call.js';

/** A place without AWS credentials: the next one is looked at. Marked as the SDK marks its own errors. */
export class NoIdentity extends Error {
  readonly tryNextLink = true;
  override readonly name = 'NoIdentity';

  /** @param message what it lacks, for operators; nothing that the place itself said */
  constructor(message: string) {
    super(message);
  }
}

/** An instance that answers, and has no role: somebody may attach one. */
export class NoRole extends NoIdentity {}

/** Metadata servers and programs name the session's token differently. */
export type TokenField = 'Token' | 'SessionToken';

/**
 * Credentials as metadata servers and programs write them.
 *
 * @param o.now milliseconds since the epoch
 * @throws NoIdentity for anything else, and where they have ended: what is signed with them would be refused
 */
export function identityIn(
  text: string,
  o: { readonly token: TokenField; readonly now: number; readonly version?: number },
): AwsIdentity {
  const document = parseJsonObject(text) ?? {};
  const accessKeyId = word(document.AccessKeyId);
  const secretAccessKey = word(document.SecretAccessKey);
  const sessionToken = word(document[o.token]);
  const isComplete = sessionToken !== undefined || (document[o.token] ?? '') === '';
  if (document.Version !== o.version || !accessKeyId || !secretAccessKey || !isComplete) {
    throw new NoIdentity('its answer is no credentials');
  }
  const expiration = expirationIn(document.Expiration, o.now);
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken !== undefined && { sessionToken }),
    ...(expiration !== undefined && { expiration }),
  };
}

/** What goes into headers and signatures. Tokens are a kilobyte or two. */
function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{1,16384}$/.test(value) ? value : undefined;
}

function expirationIn(value: unknown, now: number): Date | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const end = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(end)) throw new NoIdentity('its answer is no credentials');
  if (end <= now) throw new NoIdentity('its credentials have ended');
  return new Date(end);
}
