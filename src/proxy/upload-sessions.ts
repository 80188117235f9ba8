import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock, TokenIssuer } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { Destination } from '../routing/route-table.js';

/** Milliseconds from one answer to the next request of a session. A request itself may take longer. */
const lifetime = 24 * 3_600_000;
/** Characters, of a seal. */
const maxLength = 8_192;
const purpose = 'upload sessions 1';
const algorithm = 'aes-256-gcm';
/** Bytes. */
const nonceSize = 12;
const tagSize = 16;

const sessionSchema = z.object({ url: z.url(), until: z.number() });

/** Where an upload goes: a seal is good here only. */
export interface UploadPlace {
  /** The served host. */
  readonly service: string;
  readonly destination: Pick<Destination, 'canonical' | 'upstreamId' | 'upstreamName'>;
}

/**
 * Upload sessions without memory: the client carries the upstream's own session URL, sealed with a key that all
 * replicas share, so that neither a restart nor another replica ends an upload. Nobody can make one, read one, or use
 * one in another repository (threat 24).
 */
export class UploadSessions {
  readonly #tokens: Pick<TokenIssuer, 'derivedKeys'>;
  readonly #clock: Clock;

  constructor(tokens: Pick<TokenIssuer, 'derivedKeys'>, clock: Clock) {
    this.#tokens = tokens;
    this.#clock = clock;
  }

  /**
   * @returns a component of a path
   * @throws RegistryError UNAVAILABLE where the URL is too long to come back
   */
  seal(url: URL, place: UploadPlace): string {
    const [key] = this.#tokens.derivedKeys(purpose);
    if (key === undefined) throw new Error('the token issuer has no key');
    const nonce = randomBytes(nonceSize);
    const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagSize });
    cipher.setAAD(boundTo(place));
    const session = JSON.stringify({ url: url.href, until: this.#clock.now() + lifetime });
    const sealed = [nonce, cipher.update(session, 'utf8'), cipher.final(), cipher.getAuthTag()];
    const text = Buffer.concat(sealed).toString('base64url');
    if (text.length <= maxLength) return text;
    throw new RegistryError('UNAVAILABLE', {
      reason: "the URL of the upstream's upload session is too long",
    });
  }

  /**
   * @returns the upstream's URL
   * @throws RegistryError BLOB_UPLOAD_UNKNOWN where it was not sealed here, for another place, or too long ago
   */
  open(text: string, place: UploadPlace): URL {
    const bytes = Buffer.from(text.slice(0, maxLength), 'base64url');
    // Base64 has several texts for the same bytes; only the one we wrote counts.
    if (text.length > maxLength || bytes.toString('base64url') !== text) throw unknown('it is no seal');
    for (const key of this.#tokens.derivedKeys(purpose)) {
      const session = unseal(bytes, key, place);
      if (session === undefined) continue;
      if (session.until <= this.#clock.now()) throw unknown('the session has expired');
      return new URL(session.url);
    }
    throw unknown('it was not sealed for this repository with a key of ours');
  }
}

function unseal(
  bytes: Buffer,
  key: Uint8Array,
  place: UploadPlace,
): z.output<typeof sessionSchema> | undefined {
  if (bytes.length <= nonceSize + tagSize) return undefined;
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceSize), { authTagLength: tagSize });
  decipher.setAAD(boundTo(place));
  decipher.setAuthTag(bytes.subarray(-tagSize));
  const text = decipher.update(bytes.subarray(nonceSize, -tagSize));
  try {
    decipher.final();
  } catch {
    return undefined; // edited, another's, or sealed with another key
  }
  return sessionSchema.parse(JSON.parse(text.toString('utf8')));
}

function boundTo({ service, destination }: UploadPlace): Buffer {
  const { canonical, upstreamId, upstreamName } = destination;
  return Buffer.from(JSON.stringify([service, canonical, upstreamId, upstreamName]));
}

function unknown(reason: string): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', { reason });
}
