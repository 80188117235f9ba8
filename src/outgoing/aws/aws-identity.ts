import { RegistryError } from '../../errors.js';
import { awsFailure } from './aws-failure.js';
import type { AwsIdentity, AwsIdentityCall, Sdk } from './identity-call.js';
import { NoIdentity, NoRole } from './identity-document.js';
import { metadataIsDisabled } from './instance-metadata.js';
import { loadProviders } from './load-sdk.js';
import { containerIdentity, instanceIdentity } from './metadata-identity.js';
import { profileIdentity } from './profile-identity.js';
import type { SdkRequestHandler } from './sdk-requests.js';
import { type Profile, readProfiles } from './shared-config.js';

export interface AwsIdentitySettings {
  /** Of the shared configuration; nothing else is tried then. */
  readonly profile?: string | undefined;
  /** A role to take on with what was found. */
  readonly assumeRole?: AssumedRole | undefined;
  /** `machine`: what AWS gave to this pod, task or instance; never what somebody put down here. Not with a profile. */
  readonly identity?: 'any' | 'machine' | undefined;
}

export interface AssumedRole {
  readonly arn: string;
  readonly externalId?: string | undefined;
  readonly sessionName: string;
}

/** One place that AWS credentials come from. */
interface Link {
  readonly name: string;
  find(): Promise<AwsIdentity>;
}

/**
 * Looks for AWS credentials where the SDK's default chain does, in its order. Nothing is kept: files, tokens and
 * metadata are read each time, so that what was rotated counts at once.
 *
 * @throws RegistryError UNAVAILABLE; its reason says which places were tried, its cause is a `NoRole` where the instance
 * has none. The signal's reason
 */
export async function findAwsIdentity(
  settings: AwsIdentitySettings,
  given: Pick<AwsIdentityCall, 'region' | 'direct' | 'turns' | 'signal' | 'now'> & {
    readonly requestHandler: SdkRequestHandler;
  },
): Promise<AwsIdentity> {
  const { requestHandler, ...rest } = given;
  const call = { ...rest, logger: silent, clientConfig: { requestHandler, ...retries } };
  const sdk = await loadProviders();
  const found = await firstOf(linksOf(sdk, settings, call), settings, call);
  const { assumeRole } = settings;
  if (assumeRole === undefined) return found;
  const provider = sdk.fromTemporaryCredentials({
    masterCredentials: found,
    params: {
      RoleArn: assumeRole.arn,
      RoleSessionName: assumeRole.sessionName,
      ...(assumeRole.externalId !== undefined && { ExternalId: assumeRole.externalId }),
    },
    clientConfig: { ...call.clientConfig, region: call.region },
    logger: call.logger,
  });
  try {
    return await provider();
  } catch (error) {
    call.signal.throwIfAborted();
    throw awsFailure(error, `STS in ${call.region}, for assumeRole`);
  }
}

const retries = { maxAttempts: 3, retryMode: 'standard' } as const;

async function firstOf(
  links: readonly Link[],
  { identity }: AwsIdentitySettings,
  { signal }: AwsIdentityCall,
): Promise<AwsIdentity> {
  const tried: string[] = [];
  let lacking: NoRole | undefined;
  for (const { name, find } of links) {
    try {
      return await find();
    } catch (error) {
      signal.throwIfAborted();
      const failure = awsFailure(error, `the AWS credentials of ${name}`);
      if (!isNotThere(error)) throw failure;
      tried.push(`${name} (${whatIsMissing(error)})`);
      if (error instanceof NoRole) lacking = error;
    }
  }
  const places = tried.length === 0 ? 'nothing, for AWS_EC2_METADATA_DISABLED is set' : tried.join(', ');
  const others = identity === 'machine' ? '' : ', a profile or keys';
  throw new RegistryError('UNAVAILABLE', {
    reason: `no AWS credentials; tried ${places}: give it a role (IRSA, Pod Identity, an instance role)${others}`,
    cause: lacking,
  });
}

/** The SDK's own mark for "ask the next": not configured, not reachable. */
function isNotThere(error: unknown): boolean {
  return (error as { tryNextLink?: unknown } | null)?.tryNextLink === true;
}

/** Never the SDK's text: it may quote what a server said. */
function whatIsMissing(error: unknown): string {
  return error instanceof NoIdentity ? error.message : 'nothing there';
}

/** The order and the conditions are those of the SDK's `defaultProvider`. */
function linksOf(
  sdk: Sdk,
  { profile, identity }: AwsIdentitySettings,
  call: AwsIdentityCall,
): readonly Link[] {
  // Nor may a profile say where the instance's metadata are.
  if (identity === 'machine') return machineLinks(sdk, async () => undefined, call);
  const { env } = process;
  const { logger } = call;
  const sharedConfig = (name: string): Link => ({
    name: `the profile ${name}`,
    find: () => profileIdentity(sdk, name, call),
  });
  if (profile !== undefined) return [sharedConfig(profile)];
  const usual = env.AWS_PROFILE || 'default';
  const links: Link[] = [];
  if (!env.AWS_PROFILE) links.push({ name: 'the environment', find: () => sdk.fromEnv({ logger })() });
  links.push(sharedConfig(usual));
  return [...links, ...machineLinks(sdk, async () => (await readProfiles()).get(usual), call)];
}

/** What AWS gives to a machine. @param profile may name the endpoint of the instance's metadata */
function machineLinks(
  sdk: Sdk,
  profile: () => Promise<Profile | undefined>,
  call: AwsIdentityCall,
): readonly Link[] {
  const { env } = process;
  const { logger } = call;
  const links: Link[] = [];
  if (env.AWS_WEB_IDENTITY_TOKEN_FILE && env.AWS_ROLE_ARN) {
    const clientConfig = { ...call.clientConfig, region: call.region };
    links.push({
      name: 'the web identity (IRSA)',
      find: () => sdk.fromTokenFile({ clientConfig, logger })(),
    });
  }
  if (env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI || env.AWS_CONTAINER_CREDENTIALS_FULL_URI) {
    links.push({ name: 'the container (Pod Identity, ECS)', find: () => containerIdentity(call) });
  } else if (!metadataIsDisabled(env)) {
    links.push({
      name: 'the instance metadata',
      find: async () => instanceIdentity(await profile(), call),
    });
  }
  return links;
}

const nothing = () => {};
/** The SDK otherwise writes to the console, and what it says may hold what it was sent. */
const silent = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };
