import type { Credential } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { identityEnvelope } from '../../protocol/identity-envelope.js';
import { Secret } from '../../secret.js';

/**
 * What a machine logs in with: its proof as the password of a user name that is reserved for such.
 *
 * @param user one of `machineUsers`, or with a suffix
 * @param proof as it stands in the envelope
 * @throws RegistryError UNAVAILABLE where the proof is too long for a login
 */
export function machineCredential(
  user: string,
  proof: string,
  times: Pick<Credential, 'expiresAt' | 'refreshAt'>,
): Credential {
  return {
    kind: 'basic',
    username: user,
    password: new Secret(envelope(user, proof)),
    isConfigured: true,
    ...times,
  };
}

function envelope(user: string, proof: string): string {
  try {
    return identityEnvelope(proof);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const reason = `what this machine has to show as ${user} is too long for a login: ${error.message}`;
    throw new RegistryError('UNAVAILABLE', { reason });
  }
}
