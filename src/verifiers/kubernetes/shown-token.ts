import { type ClientCredentials, secretIn } from '../../contracts/verifier.js';
import { isUserOf, machineUsers } from '../../protocol/identity-envelope.js';
import { outOfEnvelope } from '../machine/shown-proof.js';

/** True for `_kubernetes`, and for the names that are reserved where several clusters have one issuer: `_kubernetes-a`. */
export function isKubernetesUser(shown: ClientCredentials['shown']): boolean {
  return shown.kind === 'password' && isUserOf(machineUsers.kubernetes, shown.username);
}

/**
 * The token that is shown: as it is, or out of the envelope of these users.
 *
 * @returns empty where nothing is shown
 * @throws RegistryError UNAUTHORIZED for an envelope that cannot be read
 */
export function tokenIn(shown: ClientCredentials['shown']): string {
  const text = secretIn(shown)?.reveal() ?? '';
  return isKubernetesUser(shown) ? outOfEnvelope(text) : text;
}
