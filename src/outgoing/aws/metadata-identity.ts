import { readFile } from 'node:fs/promises';
import { RegistryError } from '../../errors.js';
import { isLoopbackHost } from '../../settings/secure-url.js';
import type { HttpAnswer, HttpCall, HttpCaller } from '../http-caller.js';
import type { AwsIdentity } from './identity-call.js';
import { identityIn, NoIdentity } from './identity-document.js';
import type { Profile } from './shared-config.js';

export interface MetadataCall {
  /** Without a proxy, which would be asked for its own identity. */
  readonly direct: HttpCaller;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Of links that no packet leaves: whoever else asks or answers there is on the machine already. */
const instanceHosts: readonly string[] = ['169.254.169.254', '[fd00:ec2::254]'];
const containerHosts: readonly string[] = ['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]'];
const roles = '/latest/meta-data/iam/security-credentials/';

/**
 * The role of an instance (Amazon EC2 user guide, "Use the Instance Metadata Service"): by version 2 only, for version 1
 * gives it to whoever can make a program on the machine send a GET.
 *
 * @param profile may name the service's endpoint
 * @throws NoIdentity; the signal's reason
 */
export async function instanceIdentity(
  profile: Profile | undefined,
  call: MetadataCall,
): Promise<AwsIdentity> {
  const base = instanceEndpoint(profile);
  const ttl = { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' };
  const session = await ask(call, { url: new URL('/latest/api/token', base), method: 'PUT', headers: ttl });
  const token = session.text.trim();
  if (session.status !== 200) throw new NoIdentity(`it answers ${session.status} where IMDSv2 gives a token`);
  if (!/^[\x21-\x7e]{1,1024}$/.test(token)) throw new NoIdentity('it gives no token of IMDSv2');
  const get = async (path: string) => {
    const answer = await ask(call, {
      url: new URL(path, base),
      headers: { 'x-aws-ec2-metadata-token': token },
    });
    if (answer.status === 404) throw new NoIdentity('it answers 404: no role?');
    if (answer.status !== 200) throw new NoIdentity(`it answers ${answer.status}`);
    return answer.text;
  };
  const role = (await get(roles)).trim();
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
  const url = endpointIn(text ?? '', containerHosts);
  const file = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  const token = (file ? await readFile(file, 'utf8') : env.AWS_CONTAINER_AUTHORIZATION_TOKEN)?.trimEnd();
  if (token && !/^[\x20-\x7e]+$/.test(token)) throw new NoIdentity('its token is no text for a header');
  const answer = await ask(call, { url, ...(token && { headers: { authorization: token } }) });
  if (answer.status !== 200) throw new NoIdentity(`it answers ${answer.status}`);
  return identityIn(answer.text, { token: 'Token', now: call.now });
}

function instanceEndpoint(profile: Profile | undefined): URL {
  const { env } = process;
  const named = env.AWS_EC2_METADATA_SERVICE_ENDPOINT || profile?.get('ec2_metadata_service_endpoint');
  if (named) return endpointIn(named, instanceHosts);
  const mode =
    env.AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE || profile?.get('ec2_metadata_service_endpoint_mode');
  return new URL(`http://${instanceHosts[mode?.toLowerCase() === 'ipv6' ? 1 : 0]}`);
}

/** @throws NoIdentity for one where keys would go over a network in clear */
function endpointIn(text: string, hosts: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isClear = url?.protocol === 'http:' && (hosts.includes(url.hostname) || isLoopbackHost(url.hostname));
  if (url === undefined || url.username !== '' || !(isClear || url.protocol === 'https:')) {
    throw new NoIdentity(`its endpoint is not one: expected https, or http to ${hosts.join(', ')}`);
  }
  return url;
}

/** Twice where it was busy. @throws NoIdentity where there is no answer */
async function ask({ direct, signal }: MetadataCall, what: Omit<HttpCall, 'signal'>): Promise<HttpAnswer> {
  const once = () =>
    direct.call({ ...what, signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      if (error instanceof RegistryError) throw new NoIdentity('no answer');
      throw error;
    });
  const answer = await once();
  return answer.status === 429 || answer.status >= 500 ? once() : answer;
}
