import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { unverifiedClaims } from '../../protocol/jwt-form.js';
import { Secret } from '../../secret.js';
import { askAboutAccount } from './metadata-server.js';

const advice = {
  elsewhere: 'not on Google Cloud? gcp-identity is for its virtual machines alone',
  noAccount: 'attach one; in a pod of GKE use kubernetes-token',
};

/**
 * Asks for an identity token with the machine in it
 * (cloud.google.com/compute/docs/instances/verifying-instance-identity).
 *
 * @returns the token, and its end in milliseconds since the epoch
 * @throws RegistryError UNAVAILABLE
 */
export async function askForIdentity(
  caller: HttpCaller,
  asked: CallOptions & { readonly audience: string; readonly serviceAccount: string },
): Promise<{ readonly token: Secret; readonly expiresAt: number }> {
  const { audience, serviceAccount, signal } = asked;
  const what = `identity?${new URLSearchParams({ audience, format: 'full' })}`;
  const { text, host } = await askAboutAccount(caller, { serviceAccount, what, advice, signal });
  const token = text.trim();
  const claims = unverifiedClaims(token);
  if (claims === undefined) throw unavailable(`the metadata server ${host} gives no identity token`);
  const { google, exp } = claims;
  // GKE's metadata server, and those of Cloud Run and its like, do not look at `format`.
  if (typeof google !== 'object' || google === null || !('compute_engine' in google)) {
    throw unavailable(
      `the metadata server ${host} gives a token that names no virtual machine, as in GKE with Workload Identity, Cloud Run and Cloud Functions: there use kubernetes-token, or show the token to an oidc verifier`,
    );
  }
  if (typeof exp !== 'number' || !Number.isFinite(exp)) {
    throw unavailable(`the metadata server ${host} gives a token without an end`);
  }
  return { token: new Secret(token), expiresAt: exp * 1000 };
}

function unavailable(reason: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason });
}
