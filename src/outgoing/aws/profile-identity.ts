import { RegistryError } from '../../errors.js';
import type { AwsIdentity, AwsIdentityCall, Sdk } from './identity-call.js';
import { NoIdentity } from './identity-document.js';
import { containerIdentity, instanceIdentity } from './metadata-identity.js';
import { processIdentity } from './process-identity.js';
import { type Profile, readProfiles } from './shared-config.js';

interface Search {
  readonly sdk: Sdk;
  readonly call: AwsIdentityCall;
  readonly profiles: ReadonlyMap<string, Profile>;
}

/**
 * The AWS credentials of a profile, in the order of the SDK's `fromIni`. That one is not used: it gives a
 * `credential_process` to a shell with all of our environment, and asks metadata servers without a bound (threat 26).
 *
 * @throws NoIdentity and what the SDK throws
 */
export async function profileIdentity(sdk: Sdk, name: string, call: AwsIdentityCall): Promise<AwsIdentity> {
  return resolve({ sdk, call, profiles: await readProfiles() }, name, []);
}

/** @param visited the profiles whose `source_profile` led here */
async function resolve(search: Search, name: string, visited: readonly string[]): Promise<AwsIdentity> {
  const { sdk, call, profiles } = search;
  const profile = profiles.get(name);
  if (profile === undefined) throw new NoIdentity(nothing);
  const keys = keysIn(profile);
  // The one that a profile names as its source may be itself, with keys.
  if (visited.length > 0 && keys !== undefined) return keys;
  const isSource = visited.length > 0 && !profile.has('role_arn') && profile.has('credential_source');
  const hasOrigin = profile.has('source_profile') !== profile.has('credential_source');
  if ((profile.has('role_arn') && hasOrigin) || isSource) return assumed(search, name, profile, visited);
  if (keys !== undefined) return keys;
  const token = profile.get('web_identity_token_file');
  if (token !== undefined && profile.has('role_arn')) return webIdentity(search, profile, token);
  const line = profile.get('credential_process');
  if (line !== undefined) return processIdentity(line, call);
  const init = { profile: name, ignoreCache: true, clientConfig: call.clientConfig, logger: call.logger };
  if ([...profile.keys()].some((key) => ssoKeys.includes(key))) {
    return sdk.fromSSO({ ...init, parentClientConfig: { ...call.clientConfig, region: call.region } })();
  }
  if (profile.has('login_session')) return sdk.fromLoginCredentials(init)();
  throw new NoIdentity(nothing);
}

const nothing = 'no such profile, or nothing in it';
const ssoKeys: readonly string[] = [
  'sso_start_url',
  'sso_account_id',
  'sso_session',
  'sso_region',
  'sso_role_name',
];

function keysIn(profile: Profile): AwsIdentity | undefined {
  const accessKeyId = profile.get('aws_access_key_id');
  const secretAccessKey = profile.get('aws_secret_access_key');
  const sessionToken = profile.get('aws_session_token');
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
}

async function assumed(
  search: Search,
  name: string,
  profile: Profile,
  visited: readonly string[],
): Promise<AwsIdentity> {
  const { sdk, call } = search;
  const next = profile.get('source_profile');
  if (next !== undefined && visited.includes(next))
    throw unusable(name, 'its source_profile leads back to it');
  const source =
    next === undefined
      ? await sourceIdentity(search, name, profile)
      : await resolve(search, next, [...visited, next]);
  const arn = profile.get('role_arn');
  if (arn === undefined) return source;
  const [externalId, mfa] = [profile.get('external_id'), profile.get('mfa_serial')];
  return sdk.fromTemporaryCredentials({
    masterCredentials: source,
    params: {
      RoleArn: arn,
      RoleSessionName: profile.get('role_session_name') ?? 'docker-registry-proxy',
      DurationSeconds: Number.parseInt(profile.get('duration_seconds') ?? '3600', 10),
      ...(externalId !== undefined && { ExternalId: externalId }),
      ...(mfa !== undefined && { SerialNumber: mfa }),
    },
    clientConfig: { ...call.clientConfig, region: profile.get('region') ?? call.region },
    logger: call.logger,
  })();
}

function sourceIdentity(
  { sdk, call, profiles }: Search,
  name: string,
  profile: Profile,
): Promise<AwsIdentity> {
  switch (profile.get('credential_source')) {
    case 'EcsContainer':
      return containerIdentity(call);
    case 'Ec2InstanceMetadata':
      return instanceIdentity(profiles.get(name), call);
    case 'Environment':
      return sdk.fromEnv({ logger: call.logger })();
    default:
      throw unusable(name, 'its credential_source is not EcsContainer, Ec2InstanceMetadata or Environment');
  }
}

function webIdentity({ sdk, call }: Search, profile: Profile, file: string): Promise<AwsIdentity> {
  const [arn, session] = [profile.get('role_arn'), profile.get('role_session_name')];
  return sdk.fromTokenFile({
    webIdentityTokenFile: file,
    ...(arn !== undefined && { roleArn: arn }),
    ...(session !== undefined && { roleSessionName: session }),
    clientConfig: { ...call.clientConfig, region: call.region },
    logger: call.logger,
  })();
}

function unusable(name: string, why: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `the AWS credentials of the profile ${name}: ${why}` });
}
