import { readFile } from 'node:fs/promises';
import type { AwsIdentity } from './identity-call.js';
import { identityIn, NoIdentity, NoRole } from './identity-document.js';
import {
  askMetadata,
  type MetadataCall as InstanceCall,
  metadataEndpoint,
  openInstanceMetadata,
} from './instance-metadata.js';
import type { Profile } from './shared-config.js';

export interface MetadataCall extends InstanceCall {
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Of links that no packet leaves: whoever else asks or answers there is on the machine already. */
const containerHosts: readonly string[] = ['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]'];
const roles = '/latest/meta-data/iam/security-credentials/';

/**
 * The role of an instance.
 *
 * @param profile may name the service's endpoint
 * @throws NoRole where it has none; NoIdentity; the signal's reason
 */
export async function instanceIdentity(
  profile: Profile | undefined,
  call: MetadataCall,
): Promise<AwsIdentity> {
  const ask = await openInstanceMetadata(profile, call);
  const get = async (path: string) => {
    const answer = await ask(path);
    if (answer.status === 404) throw new NoRole('it answers 404: no role?');
    if (answer.status !== 200) throw new NoIdentity(`it answers ${answer.status}`);
    return answer.text;
  };
  const role = (await get(roles)).trim();
  if (role === '') throw new NoRole('it names no role');
  if (!/^[\w+=,.@-]{1,128}$/.test(role)) throw new NoIdentity('it names no role');
  return identityIn(await get(`${roles}${role}`), { token: 'Token', now: call.now });
}

/**
 * The role of a container: EKS Pod Identity and ECS (AWS SDKs and Tools reference guide, "Container credential provider").
 *
 * @throws NoIdentity; an error of the file's where the token cannot be read; the signal's reason
 */
export async function containerIdentity(call: MetadataCall): Promise<AwsIdentity> {
  const { env } = process;
  const relative = env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
  const text = relative ? `http://${containerHosts[0]}${relative}` : env.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  const url = metadataEndpoint(text ?? '', containerHosts);
  const file = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  const token = (file ? await readFile(file, 'utf8') : env.AWS_CONTAINER_AUTHORIZATION_TOKEN)?.trimEnd();
  if (token && !/^[\x20-\x7e]+$/.test(token)) throw new NoIdentity('its token is no text for a header');
  const answer = await askMetadata(call, { url, ...(token && { headers: { authorization: token } }) });
  if (answer.status !== 200) throw new NoIdentity(`it answers ${answer.status}`);
  return identityIn(answer.text, { token: 'Token', now: call.now });
}
