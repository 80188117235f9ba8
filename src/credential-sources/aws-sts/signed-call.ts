import type { CallOptions, Clock, Credential } from '../../contracts/index.js';
import type { AwsCallers } from '../../outgoing/aws/aws-callers.js';
import type { AwsIdentitySettings } from '../../outgoing/aws/aws-identity.js';
import { presignedQuery } from '../../outgoing/aws/signing.js';
import { machineUsers } from '../../protocol/identity-envelope.js';
import { callerIdentityCall, longestStsLife, serverIdHeader, stsProof } from '../../protocol/sts-proof.js';
import { awsPlace } from '../../reference/aws-endpoint.js';
import { machineCredential } from '../machine/machine-credential.js';

export interface Signer {
  readonly settings: AwsIdentitySettings & { readonly region?: string | undefined };
  readonly callers: AwsCallers;
  readonly clock: Clock;
}

/** Milliseconds. */
const life = longestStsLife * 1000;
/** The one whose STS there is in every account. */
const usualRegion = 'us-east-1';

/**
 * A request to STS, signed with AWS credentials that were looked for anew. It is not sent by us.
 *
 * @throws RegistryError UNAVAILABLE where there are none, and where the session's token is too long; the signal's reason
 */
export async function signedCall(
  audience: string,
  { settings, callers, clock }: Signer,
  o: CallOptions,
): Promise<Credential> {
  const region = settings.region ?? (await callers.findRegion(settings, o)) ?? usualRegion;
  const identity = await callers.find(settings, region, o);
  const now = clock.now();
  const query = await presignedQuery(
    {
      method: 'GET',
      host: awsPlace(region).host('sts'),
      query: callerIdentityCall,
      headers: { [serverIdHeader]: audience },
    },
    { identity, service: 'sts', region, now, life: longestStsLife },
  );
  const expiresAt = Math.min(now + life, identity.expiration?.getTime() ?? Number.POSITIVE_INFINITY);
  // After 10 minutes of 15.
  const refreshAt = now + ((expiresAt - now) * 2) / 3;
  return machineCredential(machineUsers.sts, stsProof(audience, query), { expiresAt, refreshAt });
}
