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
