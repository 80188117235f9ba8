import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/**
 * Longer ones are load and no names or passwords; nothing is computed from them or kept of them. A token that is shown as
 * a password is long where it carries many groups.
 */
const maxUsernameBytes = 255;
const maxPasswordBytes = 16_384;

/** @throws RegistryError UNAUTHORIZED where no verifier takes the credentials, or they are invalid */
export async function authenticate(
  verifier: Verifier,
  credentials: ClientCredentials,
  o: CallOptions,
): Promise<Principal> {
  const { shown } = credentials;
  if (isTooLong(shown)) {
    throw new RegistryError('UNAUTHORIZED', { reason: 'the user name or the password is too long' });
  }
  const principal = await verifier.verify(credentials, o);
  if (principal !== undefined) return principal;
  const isNothing = shown.kind === 'none' && credentials.connection.peerCertificate === undefined;
  const reason = isNothing ? 'no credentials were shown' : 'no verifier takes these credentials';
  throw new RegistryError('UNAUTHORIZED', { reason });
}

function isTooLong(shown: ClientCredentials['shown']): boolean {
  return (
    shown.kind === 'password' &&
    (Buffer.byteLength(shown.username) > maxUsernameBytes ||
      Buffer.byteLength(shown.password.reveal()) > maxPasswordBytes)
  );
}
