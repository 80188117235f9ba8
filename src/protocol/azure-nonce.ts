import { createHash } from 'node:crypto';

/** Milliseconds of which all nonces for an audience are the same. */
const slot = 5 * 60_000;

/**
 * Azure's documentation speaks of ten digits; its metadata service takes 32 characters, and those who rely on nonces use
 * them all (kOps, Teleport). With ten digits, who may choose a name for a registry would find one in seconds that has the
 * nonce of another.
 */
const length = 32;

/**
 * What a machine asks Azure to sign into an attested document, which has no other field for whom it is meant: 32 hex
 * digits of a SHA-256 over the audience and a span of five minutes. It is no secret, and needs no question to the verifier
 * before. That a document for another audience or another time has a nonce of ours is as likely as guessing 128 bits.
 *
 * @param audience as the verifier names it, character by character: `docker.example.com`
 * @param now milliseconds since the epoch
 */
export function azureNonce(audience: string, now: number): string {
  return nonceOf(audience, slotOf(now));
}

/**
 * All nonces for an audience that were made in a span of time.
 *
 * @param from milliseconds since the epoch, as `to`
 */
export function azureNonces(audience: string, from: number, to: number): readonly string[] {
  const first = slotOf(from);
  return Array.from({ length: slotOf(to) - first + 1 }, (_, i) => nonceOf(audience, first + i));
}

function slotOf(time: number): number {
  return Math.floor(time / slot);
}

function nonceOf(audience: string, number: number): string {
  return createHash('sha256')
    .update(`docker-registry-proxy azure-identity ${number} ${audience}`)
    .digest('hex')
    .slice(0, length);
}
