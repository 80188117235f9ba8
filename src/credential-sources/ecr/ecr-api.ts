import type { ECRClientConfig, Tag } from '@aws-sdk/client-ecr';
import type { AwsIdentity } from '../../outgoing/aws/identity-call.js';
import { loadEcr, loadEcrPublic } from '../../outgoing/aws/load-sdk.js';
import type { SdkRequestHandler } from '../../outgoing/aws/sdk-requests.js';
import type { EcrHost } from '../../reference/ecr-host.js';

/** Which API of ECR is asked, and where. */
export interface EcrPlace {
  readonly kind: 'private' | 'public';
  readonly region: string;
  /** Whose registry it is, where that is told; twelve digits. */
  readonly account?: string | undefined;
  readonly fips: boolean;
  readonly dualStack: boolean;
  /** Instead of the region's usual one. */
  readonly endpoint?: string | undefined;
}

export interface EcrCall {
  readonly identity: AwsIdentity;
  readonly requestHandler: SdkRequestHandler;
  readonly signal: AbortSignal;
}

/** As the API gives it. */
export interface EcrToken {
  /** base64 of `AWS:password`. */
  readonly authorizationToken?: string | undefined;
  readonly expiresAt?: Date | undefined;
}

export interface NewRepository {
  readonly immutableTags: boolean;
  readonly scanOnPush: boolean;
  readonly tags: Readonly<Record<string, string>>;
}

/** ECR Public has its API in one region. */
const publicRegion = 'us-east-1';
const attempts = 3;

/**
 * @param given what the configuration sets; it goes before what the host tells
 * @returns undefined where neither tells the region
 */
export function ecrPlace(
  host: EcrHost | undefined,
  given: {
    readonly region?: string | undefined;
    readonly registry?: string | undefined;
    readonly endpoint?: string | undefined;
  },
): EcrPlace | undefined {
  const { endpoint } = given;
  // The SDK refuses both together with an endpoint of one's own.
  const own = endpoint !== undefined;
  const dualStack = !own && host?.dualStack === true;
  if (host?.kind === 'public') {
    return { kind: 'public', region: publicRegion, endpoint, fips: false, dualStack };
  }
  const region = given.region ?? host?.region;
  if (region === undefined) return undefined;
  const account = given.registry ?? host?.account;
  const fips = !own && host?.fips === true;
  return { kind: 'private', region, account, endpoint, fips, dualStack };
}

/** @throws the SDK's error */
export async function getAuthorizationToken(place: EcrPlace, call: EcrCall): Promise<EcrToken> {
  const { signal: abortSignal } = call;
  if (place.kind === 'public') {
    const { ECRPUBLICClient, GetAuthorizationTokenCommand } = await loadEcrPublic();
    const client = new ECRPUBLICClient(clientConfig(place, call));
    const answer = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal });
    return answer.authorizationData ?? {};
  }
  const { ECRClient, GetAuthorizationTokenCommand } = await loadEcr();
  const client = new ECRClient(clientConfig(place, call));
  // Without registryIds, which are deprecated: one token is good for every registry that the identity may use.
  const answer = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal });
  return answer.authorizationData?.[0] ?? {};
}

/** @throws the SDK's error */
export async function createRepository(
  place: EcrPlace,
  name: string,
  wanted: NewRepository,
  call: EcrCall,
): Promise<void> {
  const { CreateRepositoryCommand, ECRClient } = await loadEcr();
  const client = new ECRClient(clientConfig(place, call));
  const tags = Object.entries(wanted.tags).map(([Key, Value]): Tag => ({ Key, Value }));
  const command = new CreateRepositoryCommand({
    repositoryName: name,
    ...(place.account !== undefined && { registryId: place.account }),
    imageTagMutability: wanted.immutableTags ? 'IMMUTABLE' : 'MUTABLE',
    ...(wanted.scanOnPush && { imageScanningConfiguration: { scanOnPush: true } }),
    ...(tags.length > 0 && { tags }),
  });
  await client.send(command, { abortSignal: call.signal });
}

function clientConfig(
  { region, endpoint, fips, dualStack }: EcrPlace,
  { identity, requestHandler }: EcrCall,
): ECRClientConfig {
  return {
    region,
    credentials: identity,
    requestHandler,
    maxAttempts: attempts,
    retryMode: 'standard',
    ...(endpoint !== undefined && { endpoint }),
    ...(fips && { useFipsEndpoint: true }),
    ...(dualStack && { useDualstackEndpoint: true }),
  };
}
