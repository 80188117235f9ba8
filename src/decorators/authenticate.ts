import type { CallOptions, ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';

/** @throws RegistryError UNAUTHORIZED where no verifier takes the credentials, or they are invalid */
export async function authenticate(
  verifier: Verifier,
  credentials: ClientCredentials,
  o: CallOptions,
): Promise<Principal> {
  const principal = await verifier.verify(credentials, o);
  if (principal !== undefined) return principal;
  const reason =
    credentials.shown.kind === 'none' ? 'no credentials were shown' : 'no verifier takes these credentials';
  throw new RegistryError('UNAUTHORIZED', { reason });
}
