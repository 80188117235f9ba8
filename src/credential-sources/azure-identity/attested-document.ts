import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { azureNonce, azureNonces } from '../../protocol/azure-nonce.js';
import { parseJsonObject } from '../../protocol/json-object.js';

/** Milliseconds: a verifier takes a document for 15 minutes, by its own settings for longer or shorter. */
const life = 14 * 60_000;
/** Of one that the service had kept: made up to ten minutes ago. */
const keptLife = 4 * 60_000;
const keptFor = 10 * 60_000;

export interface AttestedDocument {
  /** PKCS#7. */
  readonly bytes: Buffer;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface DocumentQuestion extends CallOptions {
  /** Of the instance metadata service. */
  readonly service: URL;
  /** Whom the document is for. */
  readonly audience: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Asks the instance metadata service for an attested document ("Azure Instance Metadata Service", attested data).
 *
 * @param caller without a proxy: the service is this machine's own
 * @throws RegistryError UNAVAILABLE, with what to do about it
 */
export async function askAttestedDocument(
  caller: HttpCaller,
  { service, audience, now, signal }: DocumentQuestion,
): Promise<AttestedDocument> {
  const nonce = azureNonce(audience, now);
  const url = new URL(`/metadata/attested/document?api-version=2025-04-07&nonce=${nonce}`, service);
  const answer = await asked(caller, url, signal);
  const bytes = documentIn(answer);
  if (bytes === undefined) throw unavailable(`${url.host} answers ${answer.status}: ${advice(answer)}`);
  if (bytes.includes(nonce)) return { bytes, expiresAt: now + life };
  // The service has been seen to answer with what it made for another question before.
  if (azureNonces(audience, now - keptFor, now).some((one) => bytes.includes(one)))
    return { bytes, expiresAt: now + keptLife };
  throw unavailable(
    `${url.host} gives a document that was made for somebody else's nonce; it keeps them for a while`,
  );
}

async function asked(caller: HttpCaller, url: URL, signal: AbortSignal): Promise<HttpAnswer> {
  try {
    return await caller.call({ url, headers: { metadata: 'true' }, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw unavailable(
      `no answer from the instance metadata service ${url.host}: is this a virtual machine of Azure? Apps and containers there have no attested documents: set method: token`,
      error,
    );
  }
}

function documentIn({ status, text }: HttpAnswer): Buffer | undefined {
  const { encoding, signature } = (status === 200 ? parseJsonObject(text) : undefined) ?? {};
  if (encoding !== 'pkcs7' || typeof signature !== 'string') return undefined;
  return /^[A-Za-z0-9+/]+={0,2}$/.test(signature) ? Buffer.from(signature, 'base64') : undefined;
}

/** "Azure Instance Metadata Service", errors and debugging. */
function advice({ status }: HttpAnswer): string {
  if (status === 200) return 'that is no attested document: is this a virtual machine of Azure?';
  if (status === 404) return 'it has no attested documents: is this a virtual machine of Azure?';
  if (status === 410) return 'it is being updated; it comes back within 70 seconds';
  if (status === 429) return 'it slows us down: it takes five questions a second';
  if (status >= 500) return 'it is in trouble';
  if (status >= 300 && status < 400) return 'it redirects, which is not followed';
  return 'it refuses our request: is it reached by a proxy?';
}

function unavailable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}
