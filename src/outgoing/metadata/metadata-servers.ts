/** What a program was given by who started it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where all clouds have theirs: no packet to it leaves the link, and no name has to be looked up. */
const linkLocal = '169.254.169.254';

/** The names that Google Cloud's metadata server has. */
const googleHosts = { name: 'metadata.google.internal', address: linkLocal } as const;

/**
 * The metadata server of Google Cloud (cloud.google.com/compute/docs/metadata/querying-metadata).
 *
 * @param by where GCE_METADATA_HOST names none
 * @throws an Error with a one-line message where the variable is no host
 */
export function googleMetadata(
  { GCE_METADATA_HOST: named }: Environment,
  by: keyof typeof googleHosts = 'name',
): URL {
  const host = named || googleHosts[by];
  const url = `http://${host}`;
  // Of `http://host` the scheme would be taken for the host.
  if (!/^[^/?#@\\]+\/?$/.test(host) || !URL.canParse(url)) throw new Error('GCE_METADATA_HOST is not a host');
  return new URL('/', url);
}

/**
 * The instance metadata service of a virtual machine of Azure. It can be named by AZURE_POD_IDENTITY_AUTHORITY_HOST, as
 * for the SDKs of Azure: nothing secret is sent there, and who may set this program's environment may set its
 * configuration.
 *
 * @throws an Error with a one-line message where the variable is no http URL
 */
export function azureMetadata({ AZURE_POD_IDENTITY_AUTHORITY_HOST: named }: Environment): URL {
  return named ? urlIn(named, 'AZURE_POD_IDENTITY_AUTHORITY_HOST') : new URL(`http://${linkLocal}`);
}

/** @throws an Error with a one-line message that names the variable */
export function urlIn(text: string, variable: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new Error(`${variable} is not an http URL`);
  }
  return url;
}
