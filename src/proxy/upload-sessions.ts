import { z } from 'zod';
import type { Clock, TokenIssuer } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { openSealedText, sealText } from '../protocol/sealed-text.js';
import type { Destination } from '../routing/route-table.js';

/** Milliseconds from one answer to the next request of a session. A request itself may take longer. */
const lifetime = 24 * 3_600_000;
/** Characters, of a seal. */
const maxLength = 8_192;
const purpose = 'upload sessions 1';

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
    const session = JSON.stringify({ url: url.href, until: this.#clock.now() + lifetime });
    const text = sealText(this.#tokens.derivedKeys(purpose), session, boundTo(place));
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
    if (text.length > maxLength) throw unknown('it is no seal');
    const opened = openSealedText(this.#tokens.derivedKeys(purpose), text, boundTo(place));
    if (opened === undefined) throw unknown('it was not sealed for this repository with a key of ours');
    const session = sessionSchema.parse(JSON.parse(opened));
    if (session.until <= this.#clock.now()) throw unknown('the session has expired');
    return new URL(session.url);
  }
}

function boundTo({ service, destination }: UploadPlace): string {
  const { canonical, upstreamId, upstreamName } = destination;
  return JSON.stringify([service, canonical, upstreamId, upstreamName]);
}

function unknown(reason: string): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', { reason });
}
