import { createHash } from 'node:crypto';
import type { Credential } from '../contracts/index.js';

/** True where a source has nothing else to offer than what was refused. */
export function sameCredential(one: Credential, other: Credential): boolean {
  if (one.kind === 'basic' || other.kind === 'basic') {
    return (
      one.kind === 'basic' &&
      other.kind === 'basic' &&
      one.username === other.username &&
      one.password.reveal() === other.password.reveal()
    );
  }
  return one.kind === other.kind && one.token.reveal() === other.token.reveal();
}

/** Equal where `sameCredential` is true, and shows nothing of the secret: for the keys of what is shared. */
export function credentialDigest(credential: Credential): string {
  const parts =
    credential.kind === 'basic'
      ? [credential.kind, credential.username, credential.password.reveal()]
      : [credential.kind, credential.token.reveal()];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}
