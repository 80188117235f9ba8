import { RegistryError } from '../../errors.js';
import { regionPattern } from '../../reference/ecr-host.js';
import { NoIdentity } from './identity-document.js';
import { type MetadataCall, metadataIsDisabled, openInstanceMetadata } from './instance-metadata.js';
import { type Profile, readProfiles } from './shared-config.js';

/**
 * The region a machine is set up for, where AWS's programs look for it: AWS_REGION, AWS_DEFAULT_REGION, the profile, the
 * instance's own.
 *
 * @param name of the profile; without it AWS_PROFILE or `default`
 * @returns undefined where none of them says one
 * @throws RegistryError UNAVAILABLE where one says something that is no region; the signal's reason
 */
export async function findAwsRegion(
  name: string | undefined,
  call: MetadataCall,
): Promise<string | undefined> {
  const { env } = process;
  for (const variable of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
    const value = env[variable];
    if (value) return parseRegion(value, `the variable ${variable}`);
  }
  const usual = name ?? (env.AWS_PROFILE || 'default');
  const profile = (await readProfiles()).get(usual);
  const configured = profile?.get('region');
  if (configured !== undefined) return parseRegion(configured, `the profile ${usual}`);
  return metadataIsDisabled(env) ? undefined : instanceRegion(profile, call);
}

/** Who runs elsewhere has no such server: that is no error. */
async function instanceRegion(profile: Profile | undefined, call: MetadataCall): Promise<string | undefined> {
  try {
    const ask = await openInstanceMetadata(profile, call);
    const { status, text } = await ask('/latest/meta-data/placement/region');
    return status === 200 ? parseRegion(text.trim(), 'the instance metadata') : undefined;
  } catch (error) {
    if (error instanceof NoIdentity) return undefined;
    throw error;
  }
}

/** It becomes part of a host's name, which keys and tokens are sent to. */
function parseRegion(text: string, where: string): string {
  if (regionPattern.test(text)) return text;
  const shown = JSON.stringify(text.slice(0, 40));
  throw new RegistryError('UNAVAILABLE', { reason: `${where} names ${shown}, which is no region of AWS` });
}
