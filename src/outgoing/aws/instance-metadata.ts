import { RegistryError } from '../../errors.js';
import { isLoopbackHost } from '../../settings/secure-url.js';
import type { HttpAnswer, HttpCall, HttpCaller } from '../http-caller.js';
import type { Environment } from '../metadata/metadata-servers.js';
import { NoIdentity } from './identity-document.js';
import type { Profile } from './shared-config.js';

export interface MetadataCall {
  /** Without a proxy, which would be asked for its own identity. */
  readonly direct: HttpCaller;
  readonly signal: AbortSignal;
}

/** Of links that no packet leaves: whoever else asks or answers there is on the machine already. */
const instanceHosts: readonly string[] = ['169.254.169.254', '[fd00:ec2::254]'];

/**
 * True where the machine's own metadata must not be asked. As for the SDK, any value but `false` forbids it, also `1` and
 * `TRUE`.
 */
export function metadataIsDisabled({ AWS_EC2_METADATA_DISABLED: disabled }: Environment): boolean {
  return Boolean(disabled) && disabled !== 'false';
}

/** Why an instance's metadata cannot be asked at all. */
export class NoMetadata extends NoIdentity {
  readonly why: 'endpoint' | 'silent' | 'refused';

  /** @param message as that of `NoIdentity` */
  constructor(why: NoMetadata['why'], message: string) {
    super(message);
    this.why = why;
  }
}

/** Asks for one path. @throws NoMetadata where there is no answer; the signal's reason */
export type AskMetadata = (path: string) => Promise<HttpAnswer>;

/**
 * A session with the metadata service of an instance (Amazon EC2 user guide, "Use the Instance Metadata Service"): of
 * version 2 only, for version 1 answers whoever can make a program on the machine send a GET.
 *
 * @param profile may name the service's endpoint
 * @throws NoMetadata; the signal's reason
 */
export async function openInstanceMetadata(
  profile: Profile | undefined,
  call: MetadataCall,
): Promise<AskMetadata> {
  const base = instanceEndpoint(profile);
  const ttl = { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' };
  const session = await askMetadata(call, {
    url: new URL('/latest/api/token', base),
    method: 'PUT',
    headers: ttl,
  });
  const token = session.text.trim();
  if (session.status !== 200)
    throw new NoMetadata('refused', `it answers ${session.status} where IMDSv2 gives a token`);
  if (!/^[\x21-\x7e]{1,1024}$/.test(token)) throw new NoMetadata('refused', 'it gives no token of IMDSv2');
  return (path) =>
    askMetadata(call, { url: new URL(path, base), headers: { 'x-aws-ec2-metadata-token': token } });
}

function instanceEndpoint(profile: Profile | undefined): URL {
  const { env } = process;
  const named = env.AWS_EC2_METADATA_SERVICE_ENDPOINT || profile?.get('ec2_metadata_service_endpoint');
  if (named) return metadataEndpoint(named, instanceHosts);
  const mode =
    env.AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE || profile?.get('ec2_metadata_service_endpoint_mode');
  return new URL(`http://${instanceHosts[mode?.toLowerCase() === 'ipv6' ? 1 : 0]}`);
}

/** @throws NoMetadata for one where keys would go over a network in clear */
export function metadataEndpoint(text: string, hosts: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isClear = url?.protocol === 'http:' && (hosts.includes(url.hostname) || isLoopbackHost(url.hostname));
  if (url === undefined || url.username !== '' || !(isClear || url.protocol === 'https:')) {
    const expected = `expected https, or http to ${hosts.join(', ')}`;
    throw new NoMetadata('endpoint', `its endpoint is not one: ${expected}`);
  }
  return url;
}

/** Twice where it was busy. @throws NoMetadata where there is no answer; the signal's reason */
export async function askMetadata(
  { direct, signal }: MetadataCall,
  what: Omit<HttpCall, 'signal'>,
): Promise<HttpAnswer> {
  const once = () =>
    direct.call({ ...what, signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      if (error instanceof RegistryError) throw new NoMetadata('silent', 'no answer');
      throw error;
    });
  const answer = await once();
  return answer.status === 429 || answer.status >= 500 ? once() : answer;
}
