import type { Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { isOwnToken } from '../protocol/own-token.js';
import { shorten } from '../reference/repository-name.js';

/**
 * A verifier that notes, for the log, the user name shown with a password: where it was accepted, where a verifier says
 * that it knows the name, and where it is one of those that machines have. Any other is not noted, for people type
 * passwords there, and tokens.
 */
export function noteUser(verifier: Verifier, record: { user?: string }): Verifier {
  return {
    verify: async (credentials, o) => {
      const { shown } = credentials;
      const note = () => {
        if (shown.kind === 'password' && !isToken(shown.username)) record.user = shorten(shown.username);
      };
      if (shown.kind === 'password' && machines.includes(shown.username)) note();
      try {
        const principal = await verifier.verify(credentials, o);
        if (principal !== undefined) note();
        return principal;
      } catch (error) {
        if (error instanceof RegistryError && error.knownUser) note();
        throw error;
      }
    },
    close: () => verifier.close(),
  };
}

/** No secret, and who is refused can be found by it, whoever refuses. */
const machines = Object.values<string>(machineUsers);

/** A JWT also where it is cut off, or encrypted: its header begins with `{"`. */
function isToken(text: string): boolean {
  return isOwnToken(text) || /^\s*eyJ[\w-]*\./.test(text) || unverifiedClaims(text.trim()) !== undefined;
}
