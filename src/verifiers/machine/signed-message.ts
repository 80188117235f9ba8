import { SignedDataError } from '../cms/signed-data.js';
import { refused } from './shown-proof.js';

/**
 * Reads or verifies a signed message.
 *
 * @param what before the reason: `its document cannot be read`
 * @throws RegistryError UNAUTHORIZED where it is none, or not signed as it says
 */
export function orRefused<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SignedDataError)) throw error;
    throw refused(`${what}: ${error.message}`, error);
  }
}
