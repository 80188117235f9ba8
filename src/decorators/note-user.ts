import type { Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { shorten } from '../reference/repository-name.js';
import { Throttled } from './throttle-verifier.js';

/**
 * A verifier that notes, for the log, the user name shown with a password: where it was accepted, and where a verifier
 * knows the name and refuses the password. A name that nobody knows is not noted, for people type passwords there.
 */
export function noteUser(verifier: Verifier, record: { user?: string }): Verifier {
  return {
    verify: async (credentials, o) => {
      const { shown } = credentials;
      const note = () => {
        if (shown.kind === 'password') record.user = shorten(shown.username);
      };
      try {
        const principal = await verifier.verify(credentials, o);
        if (principal !== undefined) note();
        return principal;
      } catch (error) {
        // "Mine, and invalid". Whose a name is that cannot be looked up now is not known.
        const isKnown = error instanceof Throttled && error.isKnown;
        if (isKnown || (error instanceof RegistryError && error.code === 'UNAUTHORIZED')) note();
        throw error;
      }
    },
    close: () => verifier.close(),
  };
}
