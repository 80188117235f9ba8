import { isLoopbackHost, isSecureUrl } from '../../settings/secure-url.js';

// A credential file also says where to send what it holds. Such files are passed around and edited: nothing goes to a host
// that is not Google's because a file says so (docs.cloud.google.com/docs/authentication/external/externally-sourced-credentials).

/** Of Google Cloud: `us`, `europe-west1`. Not any label: `storage.googleapis.com` has buckets below it. */
const location = '(?:us|eu|global|[a-z]+-[a-z]+[0-9]+)';

/**
 * The hosts Google serves these under: the global one, those of a location (`sts.LOCATION.rep.googleapis.com`, and the
 * older forms), and those of Private Service Connect.
 */
const hostsOf = (service: string) =>
  new RegExp(
    `^(?:${service}|${service}\\.${location}(?:\\.rep)?|${location}[.-]${service}|${service}-[a-z0-9-]+\\.p)\\.googleapis\\.com$`,
  );

const hosts = { sts: hostsOf('sts'), iamcredentials: hostsOf('iamcredentials') } as const;

/** @throws an Error with a one-line message */
export function checkGoogleUrl(key: string, url: string, service: keyof typeof hosts): URL {
  const refused = () => new Error(`its ${key} is not an https URL of ${service}.googleapis.com`);
  if (!URL.canParse(url)) throw refused();
  const { protocol, host, username, password } = new URL(url);
  if (protocol !== 'https:' || username !== '' || password !== '' || !hosts[service].test(host))
    throw refused();
  return new URL(url);
}

/** Metadata servers of clouds: AWS and Azure, over IPv4 and IPv6. */
const metadataHosts = ['169.254.169.254', '[fd00:ec2::254]'];

/** A server of this machine or a cloud's metadata server: plain http, and never through a proxy. */
export function isMachineUrl({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && (isLoopbackHost(hostname) || metadataHosts.includes(hostname));
}

/** @throws an Error with a one-line message */
export function checkMachineUrl(key: string, url: string): void {
  if (URL.canParse(url) && isMachineUrl(new URL(url))) return;
  throw new Error(`its ${key} is not of the metadata server 169.254.169.254`);
}

/** @throws an Error with a one-line message */
export function checkSubjectUrl(key: string, url: string): void {
  if (isSecureUrl(url) || (URL.canParse(url) && isMachineUrl(new URL(url)))) return;
  throw new Error(`its ${key} is neither https nor of this machine`);
}
